"""Whether an inbox is where it was. Owns the pinning of a root to its mount; reads no directory itself.

A mount point without its mount looks like an empty folder, and a share that is mounted over an inbox looks like other files.
So the mount on which an inbox was found is remembered, across restarts too, and another one in its place is not believed at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ocrwatch.errors import ShareOffline
from ocrwatch.intake.beneath import Root, RootIdentity

STRANGER_S = 300.0  # another mount at the path is taken for a new home after this long


class Remembered(Protocol):
    """Where the mounts of inboxes are remembered: the journal."""

    def root_of(self, inbox: str) -> RootIdentity | None: ...
    def set_root(self, inbox: str, identity: RootIdentity) -> None: ...


class Place:
    """The root of one inbox. identify: what stands at a path now; raises ShareOffline."""

    def __init__(
        self,
        inbox: str,
        path: str,
        *,
        identify: Callable[[str], RootIdentity],
        remembered: Remembered,
        clock: Callable[[], float],
    ) -> None:
        self._inbox = inbox
        self._identify = identify
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

    def pin(self) -> None:
        """Find the root and hold it to its mount. Raises ShareOffline while it is away or another mount stands there."""
        found = self._identify(self.root.path)
        known = self.root.identity or self._remembered.root_of(self._inbox)
        if known is not None and not known.same_mount(found) and not self._has_stayed(found):
            raise ShareOffline(
                f"another mount than the known one stands at {self.root.path} (known: {known.fs_type} at {known.mount_point})",
                f"mount it again; what stands there now is taken if it stays {STRANGER_S / 60:.0f} minutes",
            )
        self.is_the_known_one = known is None or known.same_mount(found)
        self._stranger = None
        self.root = Root(path=self.root.path, identity=found)
        self._remembered.set_root(self._inbox, found)

    def _has_stayed(self, found: RootIdentity) -> bool:
        if self._stranger is None or not self._stranger[0].same_mount(found):
            self._stranger = (found, self._clock())
        return self._clock() - self._stranger[1] >= STRANGER_S
