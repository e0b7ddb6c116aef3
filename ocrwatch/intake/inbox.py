"""One inbox: from hints and listings to settled files in the journal. Owns when to look where, and whether the inbox is there.

The listing is the truth; a hint only says where to look now. Runs in the inbox's own thread; `hint` and `status` in any.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from ocrwatch.errors import Infrastructure, ShareOffline, SourceChanged, SourceVanished
from ocrwatch.intake.arrivals import Hint
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Entry, Identity, Kind
from ocrwatch.intake.ignore import why_ignored
from ocrwatch.intake.place import Place, Remembered
from ocrwatch.intake.settle import Look, Tracker, Waiting
from ocrwatch.intake.tree import DirectoryListing, Seen
from ocrwatch.journal.records import Job
from ocrwatch.journal.states import JobState
from ocrwatch.worker.share import Share

_MOST_HINTS = 500  # more paths than this, and their folders are listed instead
_OFFLINE_RETRY_S = 5.0
_SCAN_SHARE = 9.0  # listings by hints rest nine times as long as they took: a tenth of the time at most
_BATCH = 500


class KnownFiles(Remembered, Protocol):
    """What an inbox needs of the journal."""

    def known(self, inbox: str, path: str) -> tuple[Identity, JobState] | None: ...
    def known_in(self, inbox: str, directory: str) -> dict[str, tuple[Identity, JobState]]: ...
    def expected_in(self, inbox: str, directory: str) -> set[tuple[str, tuple[int, ...]]]: ...
    def directories(self, inbox: str) -> set[str]: ...
    def add(self, inbox: str, entries: Sequence[Entry]) -> list[Job]: ...
    def gone(self, inbox: str, path: str) -> Job | None: ...


@dataclass(frozen=True)
class InboxRules:
    """How one inbox is looked at. Times in seconds."""

    name: str
    path: str
    recursive: bool
    settle_s: float
    incomplete_max_s: float
    patterns: tuple[str, ...]
    closely: bool
    """The mount caches attributes: open a file as well as stat it."""


class InboxState(StrEnum):
    """Whether an inbox can be looked at."""

    STARTING = "starting"  # not listed yet
    ONLINE = "online"  # listed, and the mount is the one it was
    OFFLINE = "offline"  # does not answer, or another mount stands there; nothing counts as deleted


@dataclass(frozen=True)
class InboxStatus:
    """An inbox at one moment. problem: why it is offline. waiting: files that are seen but not taken yet."""

    state: InboxState
    problem: str
    waiting: tuple[Waiting, ...]


@dataclass
class _Tally:
    """One full listing as it runs."""

    directories: set[str] = field(default_factory=set)
    unread: set[str] = field(default_factory=set)


class Inbox:
    """One inbox.

    interval_s: seconds between two full listings, asked anew each time. on_jobs: called when new jobs are in the journal.
    on_line: gets a line for the log at a change of state.
    """

    def __init__(
        self,
        rules: InboxRules,
        *,
        share: Share,
        journal: KnownFiles,
        clock: Callable[[], float],
        interval_s: Callable[[], float],
        on_jobs: Callable[[], None],
        on_line: Callable[[str], None],
    ) -> None:
        self.rules = rules
        self.wake = threading.Event()
        self.was_looked_at = False
        """The first full listing is done, or the inbox was found to be away."""
        self._share = share
        self._journal = journal
        self._clock = clock
        self._interval_s = interval_s
        self._on_jobs = on_jobs
        self._on_line = on_line
        self._tracker = Tracker(settle_s=rules.settle_s, incomplete_max_s=rules.incomplete_max_s)
        self._lock = threading.Lock()  # of the hints, which come from other threads
        self._paths: set[str] = set()
        self._folders: set[str] = set()
        self._state = InboxState.STARTING
        self._problem = ""
        self._place = Place(rules.name, rules.path, identify=share.identify, remembered=journal, clock=clock)
        self._next_full_s = clock()
        self._next_folders_s = 0.0
        self._retry_s = 0.0

    @property
    def root(self) -> Root:
        """The tree, pinned to the mount on which it was found."""
        return self._place.root

    def hint(self, hint: Hint) -> None:
        """Something may have changed there. From any thread; costs nothing."""
        folder = hint.path if hint.is_directory else hint.path.rpartition("/")[0]
        if folder and not self.rules.recursive:
            return
        with self._lock:
            if hint.is_directory or len(self._paths) >= _MOST_HINTS:
                self._folders.add(folder)
            else:
                self._paths.add(hint.path)
        self.wake.set()

    def status(self) -> InboxStatus:
        """The inbox at this moment."""
        return InboxStatus(self._state, self._problem, tuple(self._tracker.waiting()))

    def step(self) -> float:
        """Do what is due; seconds until something is due again."""
        now = self._clock()
        if self._state is InboxState.OFFLINE and now < self._retry_s:
            return self._retry_s - now
        try:
            if self._state is not InboxState.ONLINE:
                self._pin()
            if self._clock() >= self._next_full_s:
                self._list_everything()
            self._follow_hints()
            self._look_at_due()
        except ShareOffline as error:
            self._goes_offline(str(error))
        return self._rest_s()

    # -- the root ------------------------------------------------------------------------------------------------

    def _pin(self) -> None:
        self._place.pin()
        self._next_full_s = self._clock()
        if self._state is InboxState.OFFLINE:
            self._on_line(f"inbox {self.rules.name} is back")
        self._state, self._problem = InboxState.ONLINE, ""

    def _goes_offline(self, problem: str) -> None:
        if self._state is not InboxState.OFFLINE:
            self._on_line(f"inbox {self.rules.name} is offline: {problem}")
        self._state, self._problem, self.was_looked_at = InboxState.OFFLINE, problem, True
        self._retry_s = self._clock() + _OFFLINE_RETRY_S

    # -- listings ------------------------------------------------------------------------------------------------

    def _list_everything(self) -> None:
        with self._lock:
            self._paths.clear()
            self._folders.clear()
        tally = _Tally()
        self._scan("", recursive=self.rules.recursive, tally=tally)
        if self._place.is_the_known_one:
            for directory in self._journal.directories(self.rules.name) - tally.directories:
                if not any(directory == unread or directory.startswith(f"{unread}/") for unread in tally.unread):
                    self._gone_from(directory, present=frozenset())
        # Jitter, so that twenty inboxes on one server do not list it at the same moment.
        self._next_full_s = self._clock() + self._interval_s() * random.uniform(0.9, 1.1)  # noqa: S311 - no secret
        self.was_looked_at = True

    def _scan(self, start: str, *, recursive: bool, tally: _Tally) -> None:
        leftovers: dict[str, tuple[str, ...]] = {}

        def take(listing: DirectoryListing) -> None:
            if listing.error:
                tally.unread.add(listing.directory)
                return
            tally.directories.add(listing.directory)
            leftovers[listing.directory] = listing.leftovers
            self._listed(listing)

        self._share.scan(self.root, start, recursive=recursive, patterns=self.rules.patterns, each=take)
        for directory, names in leftovers.items():  # only now: a share that answers a scan takes no other request
            self._share.tidy(self.root, directory, names)

    def _listed(self, listing: DirectoryListing) -> None:
        if not self._place.keeps_inodes:
            listing = replace(listing, entries=tuple(Entry(e.path, e.identity.without_inode()) for e in listing.entries))
        if self._journal.expected_in(self.rules.name, listing.directory) == set(listing.entries):
            return  # nothing happened here, as in nearly every folder of a large inbox
        known = self._journal.known_in(self.rules.name, listing.directory)
        back = [e for e in listing.entries if self._is_back(e, known)]
        for entry in listing.entries:
            if entry.path not in known or not known[entry.path][0].matches(entry.identity):
                self._tracker.look(entry.path, entry.identity, self._clock())
        if back:
            self._journal.add(self.rules.name, back)
        if self._place.is_the_known_one:
            self._gone_from(listing.directory, present={e.path for e in listing.entries}, known=known)

    @staticmethod
    def _is_back(entry: Entry, known: dict[str, tuple[Identity, JobState]]) -> bool:
        identity, state = known.get(entry.path, (None, None))
        return identity is not None and identity.matches(entry.identity) and state is JobState.ORPHANED

    def _gone_from(
        self, directory: str, *, present: set[str] | frozenset[str], known: dict[str, tuple[Identity, JobState]] | None = None
    ) -> None:
        for path, (_, state) in (known or self._journal.known_in(self.rules.name, directory)).items():
            if path not in present and state not in (JobState.ORPHANED, JobState.ARCHIVED):
                self._journal.gone(self.rules.name, path)

    # -- hints and single looks ----------------------------------------------------------------------------------

    def _follow_hints(self) -> None:
        with self._lock:
            paths, self._paths = self._paths, set()
            folders: set[str] = set()
            if self._clock() >= self._next_folders_s:
                folders, self._folders = self._folders, folders
        for path in paths:
            if why_ignored(path, self.rules.patterns) is None:
                self._look_once(path)
        if folders:
            begin = self._clock()
            self._list_folders(folders)
            self._next_folders_s = self._clock() + _SCAN_SHARE * (self._clock() - begin)

    def _list_folders(self, folders: set[str]) -> None:
        if "" in folders and self.rules.recursive:
            self._next_full_s = self._clock()
            self._list_everything()
            return
        for folder in sorted(folders):
            self._scan(folder, recursive=self.rules.recursive, tally=_Tally())

    def _look_once(self, path: str) -> None:
        try:
            seen = self._look(path, closely=False)
        except Infrastructure as error:
            self._unreadable(path, error)
            return
        if seen is None or seen.kind is not Kind.REGULAR or seen.identity is None:
            self._tracker.gone(path)
            if seen is None and self._place.is_the_known_one:
                self._journal.gone(self.rules.name, path)
            return
        identity, state = self._journal.known(self.rules.name, path) or (None, None)
        if identity is None or not identity.matches(seen.identity):
            self._tracker.look(path, seen.identity, self._clock())
        elif state is JobState.ORPHANED:
            self._journal.add(self.rules.name, [Entry(path, seen.identity)])

    def _look(self, path: str, *, closely: bool) -> Seen | None:
        seen = self._share.look(self.root, path, closely=closely)
        if seen is None or seen.identity is None:
            return seen
        return replace(seen, identity=self._lasting(seen.identity))

    def _lasting(self, identity: Identity) -> Identity:
        """The identity as it will be found again."""
        return identity if self._place.keeps_inodes else identity.without_inode()

    def _look_at_due(self) -> None:
        settled: list[Entry] = []
        for path in self._tracker.due(self._clock()):
            entry = self._settled(path)
            if entry is not None:
                settled.append(entry)
            if len(settled) >= _BATCH:
                self._enter(settled)
                settled = []
        self._enter(settled)

    def _settled(self, path: str) -> Entry | None:
        try:
            seen = self._look(path, closely=self.rules.closely)
            if seen is None or seen.kind is not Kind.REGULAR or seen.identity is None:
                self._tracker.gone(path)
                return None
            if self._tracker.look(path, seen.identity, self._clock()) is not Look.CHECK:
                return None
            completeness = self._share.completeness(self.root, path, seen.identity)
        except SourceVanished:
            self._tracker.gone(path)
            return None
        except SourceChanged:
            return None  # due again; the next look sees what it is now
        except Infrastructure as error:
            self._unreadable(path, error)
            return None
        return Entry(path, seen.identity) if self._tracker.checked(path, completeness, self._clock()) else None

    def _unreadable(self, path: str, error: Infrastructure) -> None:
        """A file that cannot be read is no trouble of the others. Raises ShareOffline when it is the share that cannot."""
        if isinstance(error, ShareOffline):  # or a bad sector, a stale handle: they look the same
            self._share.identify(self.rules.path)
        self._tracker.unreadable(path, str(error), self._clock())

    def _enter(self, settled: list[Entry]) -> None:
        if not settled:
            return
        self._journal.add(self.rules.name, settled)
        for entry in settled:
            self._tracker.taken(entry.path)
        self._on_jobs()

    def _rest_s(self) -> float:
        now = self._clock()
        if self._state is not InboxState.ONLINE:
            return max(0.0, self._retry_s - now)
        with self._lock:
            pending = [self._next_full_s] + ([self._next_folders_s] if self._folders else []) + ([now] if self._paths else [])
        due = self._tracker.next_due_s()
        return max(0.0, min(pending + ([due] if due is not None else [])) - now)
