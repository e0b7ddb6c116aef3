"""What the journal gives: jobs, pages and events as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ocrwatch.intake.entries import Identity
from ocrwatch.journal.states import JobState, PageState


@dataclass(frozen=True)
class Job:
    """One version of one scan. Times are seconds since the epoch; `path` is relative to the inbox."""

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


class Scope(NamedTuple):
    """Part of an inbox: what lies below one folder ('' for all of it), without what lies below the others."""

    below: str = ""
    without: tuple[str, ...] = ()


WHOLE_INBOX = Scope()
