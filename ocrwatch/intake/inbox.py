"""One inbox: which mounts it consists of. What happens on each is `territory`'s matter.

A share that is mounted below a local inbox needs another treatment than the folder around it: its own process, polling instead
of events, no inode numbers; and when it is away, that says nothing about the files of the rest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from ocrwatch.errors import OcrwatchError, ShareOffline
from ocrwatch.intake import mounts
from ocrwatch.intake.beneath import RootIdentity
from ocrwatch.intake.ignore import why_directory_ignored
from ocrwatch.intake.mounts import MountTable
from ocrwatch.intake.settle import Waiting
from ocrwatch.intake.surroundings import InboxRules, InboxState, Surroundings, TerritoryStatus
from ocrwatch.intake.territory import Territory
from ocrwatch.journal.records import Scope
from ocrwatch.worker.share import Share


@dataclass(frozen=True)
class InboxStatus:
    """An inbox at one moment: its own territory, then those below it by where they begin."""

    own: TerritoryStatus
    below: dict[str, TerritoryStatus]

    @property
    def waiting(self) -> list[Waiting]:
        """Every file that is seen but not taken yet."""
        return [waiting for status in (self.own, *self.below.values()) for waiting in status.waiting]


class Inbox:
    """One inbox. share: makes the way to a territory that begins at `below`. on_territory: gets each one to be looked after."""

    def __init__(
        self,
        rules: InboxRules,
        *,
        share: Callable[[str], Share],
        around: Surroundings,
        table: MountTable,
        on_territory: Callable[[Territory], None],
    ) -> None:
        self.rules = rules
        self._share = share
        self._around = around
        self._journal = around.journal
        self._table = table
        self._on_territory = on_territory
        self._lock = threading.Lock()
        self._territories: dict[str, Territory] = {}
        self._follow("")

    def follow_mounts(self) -> None:
        """Take up the mounts below the inbox, and those that were ever below it and may be back."""
        if not self.rules.recursive:
            return
        self.territories()  # without those that are over: their place may be used again
        for below in self._mounted_below() | self._remembered():
            if why_directory_ignored(below, self.rules.patterns) is None:
                self._follow(below)

    def territories(self) -> list[Territory]:
        """Its own first, each before those that lie in it."""
        with self._lock:
            for below in [b for b, territory in self._territories.items() if territory.is_over]:
                self._territories.pop(below).share.close()
            return [self._territories[below] for below in sorted(self._territories)]

    def territory_of(self, path: str) -> Territory:
        """The territory in which a path of the inbox lies."""
        return next(territory for territory in reversed(self.territories()) if territory.holds(path))

    def scope_of(self, territory: Territory) -> Scope:
        """The files of one territory."""
        return Scope(territory.below, tuple(sorted(self._inner(territory.below))))

    def open_scopes(self) -> list[Scope]:
        """The parts whose files can be worked on now."""
        return [self.scope_of(t) for t in self.territories() if t.state is InboxState.ONLINE]

    def hint(self, root: str, path: str, *, is_directory: bool) -> None:
        """Something may have changed at `path` below the territory that begins at the absolute path `root`."""
        for territory in self.territories():
            if territory.path == root:
                territory.hint("/".join(p for p in (territory.below, path) if p), is_directory=is_directory)

    def status(self) -> InboxStatus:
        """The inbox at this moment."""
        own, *below = self.territories()
        return InboxStatus(own.status(), {territory.below: territory.status() for territory in below})

    def is_offline(self) -> bool:
        """Whether any part of it is away."""
        return any(territory.state is InboxState.OFFLINE for territory in self.territories())

    def was_looked_at(self) -> bool:
        """Whether every part that cannot hang was listed once."""
        return all(territory.was_looked_at for territory in self.territories() if not self._may_hang(territory))

    def close(self) -> None:
        """Give back what the shares hold."""
        for territory in self.territories():
            territory.share.close()

    def _follow(self, below: str) -> None:
        with self._lock:
            if below in self._territories:
                return
            territory = Territory(
                self.rules,
                below,
                share=self._share(below),
                around=self._around,
                without=lambda: self._inner(below),
                is_abolished=lambda: self._is_abolished(below),
            )
        if below:
            self._inherit(territory)
        with self._lock:  # only now: whoever fails on the way is asked to follow it again
            self._territories[below] = territory
        try:
            self._on_territory(territory)
        except BaseException:  # no thread to be had, or not all of them: it goes, and is followed anew
            territory.is_over = True
            territory.wake.set()
            self.territories()
            raise

    def _inherit(self, territory: Territory) -> None:
        """Files that are known there lay on the mount around it, unless the place is known: they did not go with this mount."""
        name = self.rules.name
        if self._journal.root_of(name, territory.path) is not None:
            return
        if any(territory.holds(directory) for directory in self._journal.directories(name)):
            around = self._root_around(territory)
            if around is not None:
                self._journal.set_root(name, territory.path, around)

    def _root_around(self, territory: Territory) -> RootIdentity | None:
        outer = self._outer(territory.below)
        return outer.reach().root.identity or self._journal.root_of(self.rules.name, outer.path)

    def _outer(self, below: str) -> Territory:
        return next(t for t in reversed(self.territories()) if not t.below or below.startswith(f"{t.below}/"))

    def _inner(self, below: str) -> frozenset[str]:
        """Where the territories begin that lie in this one."""
        with self._lock:
            return frozenset(b for b in self._territories if b and b != below and (not below or b.startswith(f"{below}/")))

    def _mounted_below(self) -> set[str]:
        table = self._table.current()
        try:
            return set(mounts.points_below(mounts.resolve(self.rules.path, table), table))
        except ShareOffline:  # a path that leads nowhere has nothing below it; its own territory says so
            return set()

    def _may_hang(self, territory: Territory) -> bool:
        try:
            return self._table.may_hang(territory.path)
        except ShareOffline:
            return True

    def _remembered(self) -> set[str]:
        prefix = self.rules.path.rstrip("/") + "/"
        return {p.removeprefix(prefix) for p in self._journal.places(self.rules.name) if p.startswith(prefix)}

    def _is_abolished(self, below: str) -> bool:
        """Nothing is mounted there, and nothing stands there in the folder around it."""
        if below in self._mounted_below():
            return False
        outer = self._outer(below)
        reach = outer.reach()
        try:
            return reach.root.identity is not None and reach.share.look(reach.root, below, closely=False) is None
        except OcrwatchError:
            return False
