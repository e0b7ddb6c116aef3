"""Whether a tree is where it was. Owns the pinning of a root to its mount; reads no directory itself.

A mount point without its mount looks like an empty folder, and a share that is mounted over an inbox looks like other files.
So the mount on which a tree was found is remembered, across restarts too, and another one in its place is not believed at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ocrwatch.errors import ShareOffline
from ocrwatch.intake.beneath import Root, RootIdentity
from ocrwatch.intake.mounts import is_network

STRANGER_S = 300.0  # another mount at the path is taken for a new home after this long


class Remembered(Protocol):
    """Where the mounts of trees are remembered: the journal. `inbox` is the owner; '' for trees that are written to."""

    def root_of(self, inbox: str, path: str) -> RootIdentity | None: ...
    def set_root(self, inbox: str, path: str, identity: RootIdentity) -> None: ...


class Finder(Protocol):
    """How it is found out what stands at a path; both raise ShareOffline."""

    def identify(self, path: str) -> RootIdentity: ...
    def is_empty(self, path: str) -> bool: ...


class Place:
    """The root of one tree, at one absolute path."""

    def __init__(self, path: str, *, inbox: str, finder: Finder, remembered: Remembered, clock: Callable[[], float]) -> None:
        self._inbox = inbox
        self._finder = finder
        self._remembered = remembered
        self._clock = clock
        self._stranger: tuple[RootIdentity, float] | None = None
        self.root = Root(path=path)
        self.is_the_known_one = False
        """What is not there now is gone, because this is the mount on which it was."""

    @property
    def keeps_inodes(self) -> bool:
        """Whether an inode number belongs to a file here; SMB, FUSE and FAT make them up, and the root's own says so."""
        return self.root.identity is not None and self.root.identity.inode != 0

    @property
    def fs_type(self) -> str | None:
        """The kind of its file system; None as long as it was not found."""
        return self.root.identity.fs_type if self.root.identity is not None else None

    @property
    def may_hang(self) -> bool:
        """Its mount may hang, and caches attributes: open a file as well as stat it."""
        return self.fs_type is not None and is_network(self.fs_type)

    def pin(self) -> None:
        """Find the root and hold it to its mount. Raises ShareOffline while it is away or another mount stands there."""
        found = self._finder.identify(self.root.path)
        known = self.root.identity or self._remembered.root_of(self._inbox, self.root.path)
        if known is not None and not known.same_mount(found) and not self._is_believed(found, known):
            minutes = f"{STRANGER_S / 60:.0f} minutes"
            rest = f"{minutes} and is not empty" if found.lies_under(known) else minutes
            raise ShareOffline(
                f"another mount than the known one stands at {self.root.path} (known: {known.fs_type} at {known.mount_point})",
                f"mount it again; what stands there now is taken if it stays {rest}",
            )
        self.is_the_known_one = known is None or known.same_mount(found)
        self._stranger = None
        self.root = Root(path=self.root.path, identity=found)
        if found != known:
            self._remembered.set_root(self._inbox, self.root.path, found)

    def _is_believed(self, found: RootIdentity, known: RootIdentity) -> bool:
        if self._stranger is None or not self._stranger[0].same_mount(found):
            self._stranger = (found, self._clock())
        has_stayed = self._clock() - self._stranger[1] >= STRANGER_S
        # A bare mount point says that its mount is missing, for however long; with files in it, somebody uses it.
        return has_stayed and not (found.lies_under(known) and self._finder.is_empty(self.root.path))
