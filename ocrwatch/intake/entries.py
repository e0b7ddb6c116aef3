"""What intake knows of a file: its identity and its place. Values only; pure.

Paths are relative to the inbox, `/`-separated, as `os.fsdecode` gives them; names that are not UTF-8 survive.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What stands under a name. Only regular files are scans."""

    REGULAR = "regular"  # a file of bytes
    DIRECTORY = "directory"  # entered, whatever its name
    SYMLINK = "symlink"  # never followed: it may lead out of the inbox
    SPECIAL = "special"  # FIFO, socket or device: opening it may block or act


def kind_of(mode: int) -> Kind:
    """The kind in the `st_mode` of an lstat."""
    if stat.S_ISREG(mode):
        return Kind.REGULAR
    if stat.S_ISDIR(mode):
        return Kind.DIRECTORY
    return Kind.SYMLINK if stat.S_ISLNK(mode) else Kind.SPECIAL


@dataclass(frozen=True, order=True)
class Identity:
    """By what one version of a file is told from another. An inode of 0 is one that the file system does not keep."""

    size: int
    mtime_ns: int
    inode: int = 0

    @staticmethod
    def of(status: os.stat_result) -> Identity:
        """The identity in the result of a stat call."""
        return Identity(size=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)

    def matches(self, other: Identity) -> bool:
        """Whether both are the same version; inodes count only where both are known."""
        same_inode = self.inode == other.inode or 0 in (self.inode, other.inode)
        return (self.size, self.mtime_ns) == (other.size, other.mtime_ns) and same_inode

    def without_inode(self) -> Identity:
        """The identity on a file system that gives a file another inode each time it looks."""
        return Identity(size=self.size, mtime_ns=self.mtime_ns)

    def to_json(self) -> list[int]:
        """The identity as a list, which is short in a frame of ten thousand."""
        return [self.size, self.mtime_ns, self.inode]

    @staticmethod
    def from_json(data: list[int]) -> Identity:
        """The identity of `to_json`. Raises TypeError or ValueError on anything else."""
        size, mtime_ns, inode = data
        return Identity(size=int(size), mtime_ns=int(mtime_ns), inode=int(inode))


@dataclass(frozen=True)
class Entry:
    """A regular file that a scan saw."""

    path: str
    identity: Identity

    def to_json(self) -> list[object]:
        """The entry as a list."""
        return [self.path, *self.identity.to_json()]

    @staticmethod
    def from_json(data: list[object]) -> Entry:
        """The entry of `to_json`. Raises TypeError or ValueError on anything else."""
        path, *identity = data
        return Entry(path=str(path), identity=Identity.from_json([int(str(n)) for n in identity]))
