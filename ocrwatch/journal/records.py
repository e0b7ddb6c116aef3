"""What the journal gives: jobs, pages and events as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from ocrwatch.intake.entries import Identity, lies_in
from ocrwatch.journal.states import JobState, PageState


@dataclass(frozen=True)
class Job:
    """One version of one scan. Times are seconds since the epoch; `path` is relative to the inbox.

    moved_to: where the scan itself is, or is being moved to, when that is not its inbox; absolute. to_review: published pages
    that a person should look at.
    """

    id: int
    inbox: str
    path: str
    identity: Identity
    state: JobState
    reason: str
    detail: str
    sha256: str | None
    settings: str
    pages: int | None
    tries: int
    deferrals: int
    not_before: float | None
    text_name: str | None
    text_sha256: str | None
    json_sha256: str | None
    created: float
    changed: float
    moved_to: str | None = None
    to_review: int | None = None
    edits: int | None = None

    @property
    def published(self) -> tuple[str, ...]:
        """The hashes of its text and its JSON; none where they are not there yet."""
        return tuple(sha256 for sha256 in (self.text_sha256, self.json_sha256) if sha256)


@dataclass(frozen=True)
class Page:
    """One page of a job. `tries` counts begun work, `deaths` the workers that it killed."""

    number: int
    state: PageState
    tries: int
    deaths: int
    reason: str
    detail: str


@dataclass(frozen=True)
class Event:
    """One transition of a job."""

    at: float
    before: JobState | None
    after: JobState
    reason: str
    detail: str


@dataclass(frozen=True)
class Delivery:
    """What a hook is still to be told: that something became of a job, or that a part of an inbox went or came back.

    inbox, path, state, detail: of an inbox; empty where there is a job. `path` is absolute. attempts: those before.
    """

    id: int
    hook: str
    at: float
    attempts: int
    job: int | None
    event: Event | None
    inbox: str
    path: str
    state: str
    detail: str


class Scope(NamedTuple):
    """Part of an inbox: what lies below one folder ('' for all of it), without what lies below the others."""

    below: str = ""
    without: tuple[str, ...] = ()

    def holds(self, path: str) -> bool:
        """Whether a file of the inbox lies in it."""
        return lies_in(path, self.below) and not any(lies_in(path, other) for other in self.without)


WHOLE_INBOX = Scope()


def iso(seconds: float) -> str:
    """A time of the journal, for people and programs: ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
