"""What the parts of an inbox are told, ask for and tell: rules, journal, events, status. Values and protocols only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from ocrwatch.intake.entries import Entry, Identity, Row
from ocrwatch.intake.ignore import Patterns
from ocrwatch.intake.place import Remembered
from ocrwatch.intake.settle import Waiting
from ocrwatch.journal.records import Job
from ocrwatch.journal.states import JobState
from ocrwatch.log_events import LogEvent


class KnownFiles(Remembered, Protocol):
    """What an inbox needs of the journal."""

    def known(self, inbox: str, path: str) -> tuple[Identity, JobState] | None: ...
    def known_of(self, inbox: str, paths: Sequence[str]) -> dict[str, tuple[Identity, JobState]]: ...
    def expected_in(self, inbox: str, directory: str) -> dict[str, Identity]: ...
    def is_as_known(self, inbox: str, directory: str, files: tuple[Row, ...]) -> bool: ...
    def directories(self, inbox: str) -> set[str]: ...
    def add(self, inbox: str, entries: Sequence[Entry]) -> list[Job]: ...
    def gone(self, inbox: str, path: str) -> Job | None: ...
    def places(self, inbox: str) -> list[str]: ...
    def forget_root(self, inbox: str, path: str) -> None: ...


class Events(Protocol):
    """Kernel events of a tree; `trouble` says why they cannot be trusted, '' when they can."""

    def watch(self, root: str, *, recursive: bool) -> None: ...
    def unwatch(self, root: str) -> None: ...
    def trouble(self, root: str) -> str: ...


@dataclass(frozen=True)
class InboxRules:
    """How one inbox is looked at. Times in seconds; poll_s is used instead of rescan_s where events are not trusted.

    by_events: kernel events are wanted where they can be had.
    """

    name: str
    path: str
    recursive: bool
    settle_s: float
    incomplete_max_s: float
    patterns: Patterns
    rescan_s: float
    poll_s: float
    by_events: bool = True


class InboxState(StrEnum):
    """Whether a part of an inbox can be looked at."""

    STARTING = "starting"  # not listed yet
    ONLINE = "online"  # listed, and the mount is the one it was
    OFFLINE = "offline"  # does not answer, or another mount stands there; nothing counts as deleted


class TerritoryStatus(NamedTuple):
    """A territory at one moment. problem: why it is offline. waiting: files that are seen but not taken yet.

    why_polling: why it does not live by events, '' when it does. unread: folders that cannot be listed, with the reason.
    """

    state: InboxState
    problem: str
    waiting: tuple[Waiting, ...]
    why_polling: str
    unread: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Surroundings:
    """What territories share.

    on_jobs: called when new jobs are in the journal. on_line: gets a line for the log, and its kind, at a change of state.
    """

    journal: KnownFiles
    events: Events
    clock: Callable[[], float]
    on_jobs: Callable[[], None]
    on_line: Callable[[str, LogEvent], None]
