"""One mount's part of an inbox: from hints and listings to settled files in the journal. Owns when to look where.

The listing is the truth; a hint only says where to look now. Runs in a thread of its own, because a mount that hangs must hold
up no other; `hint` and `status` in any. Every path begins at the inbox.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Collection
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace

from ocrwatch.errors import OcrwatchError, ShareOffline, SourceChanged, SourceVanished
from ocrwatch.intake.entries import Entry, Identity, Kind, lies_in
from ocrwatch.intake.hints import Hints, rest_after
from ocrwatch.intake.ignore import why_ignored
from ocrwatch.intake.place import Place
from ocrwatch.intake.settle import Look, Tracker
from ocrwatch.intake.surroundings import InboxRules, InboxState, Surroundings, TerritoryStatus
from ocrwatch.intake.tree import DirectoryListing, Seen
from ocrwatch.intake.trust import EventTrust
from ocrwatch.journal.states import AWAY, MOVED, JobState
from ocrwatch.log_events import LogEvent
from ocrwatch.worker.share import Reach, Share

log = logging.getLogger(__name__)

_OFFLINE_RETRY_S = 5.0
_BATCH = 500
CACHED_SETTLE_S = 15.0  # attribute caches hid a growing file for up to 12 s (SMB 3.1.1), 6 s (NFS 4.2)


@dataclass
class _Tally:
    """One full listing as it runs."""

    directories: set[str] = field(default_factory=set)
    unread: dict[str, str] = field(default_factory=dict)


class Territory:
    """The part of an inbox that begins at the directory `below` ('' for the inbox itself) and lies on one mount.

    without: the directories at which other territories begin. is_abolished: whether the place of the mount is no more, asked
    while the territory is offline.
    """

    def __init__(
        self,
        rules: InboxRules,
        below: str,
        *,
        share: Share,
        around: Surroundings,
        without: Callable[[], frozenset[str]],
        is_abolished: Callable[[], bool] = lambda: False,
    ) -> None:
        self.rules = rules
        self.below = below
        self.path = f"{rules.path.rstrip('/')}/{below}" if below else rules.path
        self.wake = threading.Event()
        self.was_looked_at = False
        """The first full listing is done, or the mount was found to be away."""
        self.is_over = False
        """Its place is no more; the thread that steps it may end."""
        self.share = share
        self._journal = around.journal
        self._clock = around.clock
        self._on_jobs = around.on_jobs
        self._on_line = around.on_line
        self._without = without
        self._is_abolished = is_abolished
        self._tracker = Tracker(settle_s=rules.settle_s, incomplete_max_s=rules.incomplete_max_s)
        self._hints = Hints()
        self._unread: dict[str, str] = {}
        self.state = InboxState.STARTING
        self._problem = ""
        self._place = Place(self.path, inbox=rules.name, finder=share, remembered=around.journal, clock=around.clock)
        self._next_full_s = self._clock()
        self._trust = EventTrust(around.events, self.path, rules=rules, clock=around.clock)
        self._retry_s = 0.0

    def reach(self) -> Reach:
        """How its files are reached: held to the mount on which they were found."""
        return Reach(self.share, self._place.root, self._place.may_hang)

    def holds(self, path: str) -> bool:
        """Whether a file or directory of the inbox lies in this territory."""
        return lies_in(path, self.below) and not any(lies_in(path, other) for other in self._without())

    def hint(self, path: str, *, is_directory: bool) -> None:
        """Something may have changed there. From any thread; costs nothing."""
        folder = path if is_directory else path.rpartition("/")[0]
        if folder and not self.rules.recursive:
            return
        self._hints.add(path, is_directory=is_directory)
        self.wake.set()

    def status(self) -> TerritoryStatus:
        """The territory at this moment."""
        waiting, unread = tuple(self._tracker.waiting()), tuple(sorted(self._unread.items()))
        return TerritoryStatus(self.state, self._problem, waiting, self.why_polling(), unread)

    def why_polling(self) -> str:
        """Why events are not trusted at this moment; '' when they are."""
        return self._trust.why_not(self._place.fs_type)

    def step(self) -> float:
        """Do what is due; seconds until something is due again."""
        if self.state is InboxState.OFFLINE and (rest_s := self._retry_s - self._clock()) > 0:
            return rest_s
        try:
            if self.state is not InboxState.ONLINE or self._trust.is_due(self._place.fs_type):
                self._pin()
            if self._clock() >= self._next_full_s:
                self._list_everything()
            self._follow_hints()
            self._look_at_due()
        except ShareOffline as error:
            self._goes_offline(str(error))
        return self._rest_s()

    # -- the root ------------------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return f"inbox {self.rules.name}" + (f", {self.below}," if self.below else "")

    def _pin(self) -> None:
        known = self._place.root
        self._place.pin()
        self._tracker.settle_s = max(self.rules.settle_s, CACHED_SETTLE_S) if self._place.may_hang else self.rules.settle_s
        self._trust.begin(self._place.fs_type)  # before the listing, so that nothing is missed
        if self.state is not InboxState.ONLINE or self._place.root != known or not self.why_polling():
            self._next_full_s = self._clock()  # but not for a mere try to get events, of which there are many
        if self.state is InboxState.OFFLINE:
            self._on_line(f"{self._name} is back", LogEvent.INBOX_BACK)
        self.state, self._problem = InboxState.ONLINE, ""

    def _goes_offline(self, problem: str) -> None:
        if self.below and self._is_abolished():
            self._abolish()
            return
        if self.state is not InboxState.OFFLINE:
            self._on_line(f"{self._name} is offline: {problem}", LogEvent.INBOX_OFFLINE)
        self.state, self._problem, self.was_looked_at = InboxState.OFFLINE, problem, True
        self._retry_s = self._clock() + _OFFLINE_RETRY_S

    def _abolish(self) -> None:
        """The mount and its mount point were removed: what was there is gone, and the place is forgotten."""
        for directory in self._journal.directories(self.rules.name):
            if self.holds(directory):
                self._gone(self._journal.expected_in(self.rules.name, directory))
        self._journal.forget_root(self.rules.name, self.path)
        self._trust.end()
        self._on_line(f"{self._name} was removed", LogEvent.INBOX_OFFLINE)
        self.is_over = self.was_looked_at = True

    # -- listings ------------------------------------------------------------------------------------------------

    def _list_everything(self) -> None:
        self._hints.forget()
        tally, began_s = _Tally(), self._clock()
        self._scan(self.below, tally=tally)
        for directory in tally.unread.keys() - self._unread.keys():
            problem = f"the folder {directory!r} cannot be listed: {tally.unread[directory]}"
            self._on_line(f"{self._name}: {problem}", LogEvent.INBOX_TROUBLE)
        self._unread = tally.unread
        if self._place.is_the_known_one:
            for directory in self._journal.directories(self.rules.name) - tally.directories:
                if self.holds(directory) and not any(lies_in(directory, unread) for unread in tally.unread):
                    self._gone(self._journal.expected_in(self.rules.name, directory))
        interval_s = self.rules.rescan_s
        if self.why_polling():  # a large share is not listed without a pause, nor less often than where events are trusted
            interval_s = max(self.rules.poll_s, min(rest_after(self._clock() - began_s), interval_s))
        # Jitter, so that twenty inboxes on one server do not list it at the same moment.
        self._next_full_s = self._clock() + interval_s * random.uniform(0.9, 1.1)  # noqa: S311 - no secret
        self.was_looked_at = True

    def _scan(self, start: str, *, tally: _Tally) -> None:
        littered: list[str] = []

        def take(listing: DirectoryListing) -> None:
            if listing.error:
                tally.unread[listing.directory] = listing.error
                return
            tally.directories.add(listing.directory)
            if listing.leftovers:
                littered.append(listing.directory)
            self._listed(listing)

        root, without = self._place.root, self._without()
        self.share.scan(root, start, recursive=self.rules.recursive, patterns=self.rules.patterns, without=without, each=take)
        for directory in littered:  # only now: a share that answers a scan takes no other request
            self.share.tidy(root, directory)

    def _listed(self, listing: DirectoryListing) -> None:
        if not self._place.keeps_inodes:
            listing = replace(listing, files=tuple((name, size, mtime_ns, 0) for name, size, mtime_ns, _ in listing.files))
        if not listing.unread and self._journal.is_as_known(self.rules.name, listing.directory, listing.files):
            return  # nothing happened here, as in nearly every folder of a large inbox
        entries = listing.entries()
        expected = self._journal.expected_in(self.rules.name, listing.directory)
        self._compare(entries, expected)
        for name, reason in listing.unread:
            if (path := listing.path(name)) not in expected:
                self._tracker.unreadable(path, f"its status cannot be had: {reason}", self._clock())
        if self._place.is_the_known_one:
            present = {e.path for e in entries} | {listing.path(name) for name, _ in listing.unread}
            self._gone(expected.keys() - present)

    def _compare(self, entries: list[Entry], expected: dict[str, Identity]) -> None:
        back: list[Entry] = []
        strange = [e for e in entries if (identity := expected.get(e.path)) is None or not identity.matches(e.identity)]
        known = self._journal.known_of(self.rules.name, [entry.path for entry in strange if entry.path not in expected])
        for entry in strange:
            identity, state = known.get(entry.path, (None, None))
            if identity is None or not identity.matches(entry.identity):
                self._tracker.look(entry.path, entry.identity, self._clock())
            elif state is JobState.ORPHANED:
                back.append(entry)
            elif state in MOVED:  # looked at again: the listing may be older than the move that took it away
                self._hints.add(entry.path, is_directory=False)
        if back:
            self._journal.add(self.rules.name, back)

    def _gone(self, paths: Collection[str]) -> None:
        for path in paths:
            self._journal.gone(self.rules.name, path)

    # -- hints and single looks ----------------------------------------------------------------------------------

    def _follow_hints(self) -> None:
        paths, folders = self._hints.take(self._clock())
        for path in paths:
            if why_ignored(path, self.rules.patterns) is None and self.holds(path):
                self._look_once(path)
        if folders:
            began_s = self._clock()
            self._list_folders(folders)
            self._hints.listed(began_s=began_s, now_s=self._clock())

    def _list_folders(self, folders: set[str]) -> None:
        if self.below in folders and self.rules.recursive:
            self._list_everything()
            return
        for folder in sorted(folders):
            if self.holds(folder):
                self._scan(folder, tally=_Tally())

    def _look_once(self, path: str) -> None:
        try:
            seen = self._look(path, closely=False)
        except Exception as error:  # noqa: BLE001 - of one file; logged there
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
        elif state in AWAY:
            self._journal.add(self.rules.name, [Entry(path, seen.identity)])

    def _look(self, path: str, *, closely: bool) -> Seen | None:
        seen = self.share.look(self._place.root, path, closely=closely)
        if seen is None or seen.identity is None:
            return seen
        return seen if self._place.keeps_inodes else replace(seen, identity=seen.identity.without_inode())

    def _look_at_due(self) -> None:
        settled: list[Entry] = []
        for path in self._tracker.due(self._clock()):
            if (entry := self._settled(path)) is not None:
                settled.append(entry)
            if len(settled) >= _BATCH:
                self._enter(settled)
                settled = []
        self._enter(settled)

    def _settled(self, path: str) -> Entry | None:
        try:
            seen = self._look(path, closely=self._place.may_hang)
            if seen is None or seen.kind is not Kind.REGULAR or seen.identity is None:
                self._tracker.gone(path)
                return None
            if self._tracker.look(path, seen.identity, self._clock()) is not Look.CHECK:
                return None
            completeness = self.share.completeness(self._place.root, path, seen.identity)
        except SourceVanished:
            self._tracker.gone(path)
            return None
        except SourceChanged:
            return None  # due again; the next look sees what it is now
        except Exception as error:  # noqa: BLE001 - of one file; logged there
            self._unreadable(path, error)
            return None
        return Entry(path, seen.identity) if self._tracker.checked(path, completeness, self._clock()) else None

    def _unreadable(self, path: str, error: Exception) -> None:
        """One file's is no trouble of the others. Raises ShareOffline when it is the share's, CancelledError at the end."""
        if isinstance(error, CancelledError):
            raise error
        if isinstance(error, ShareOffline):  # or a bad sector, a stale handle: they look the same
            self.share.identify(self.path)
        detail = str(error)
        if not isinstance(error, OcrwatchError):
            log.error("%s: %r waits: unforeseen trouble", self._name, path, exc_info=error)
            detail = f"unforeseen trouble: {error!r}"
        self._tracker.unreadable(path, detail, self._clock())

    def _enter(self, settled: list[Entry]) -> None:
        if not settled:
            return
        try:
            self._journal.add(self.rules.name, settled)
        except OcrwatchError:
            raise
        except Exception as error:  # noqa: BLE001 - likewise
            if len(settled) == 1:
                self._unreadable(settled[0].path, error)
            else:
                for entry in settled:
                    self._enter([entry])
            return
        for entry in settled:
            self._tracker.taken(entry.path)
        self._on_jobs()

    def _rest_s(self) -> float:
        now = self._clock()
        if self.state is not InboxState.ONLINE:
            return max(0.0, self._retry_s - now)
        pending = (self._next_full_s, self._hints.due_s(now), self._tracker.next_due_s())
        return max(0.0, min(due_s for due_s in pending if due_s is not None) - now)
