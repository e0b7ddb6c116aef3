"""What intake knows of a file: its identity and its place. Values only; pure. They are tuples, which is what a
listing of a million files can afford.

Paths are relative to the inbox, `/`-separated, as `os.fsdecode` gives them; names that are not UTF-8 survive.
"""

from __future__ import annotations

import os
import stat
from enum import StrEnum
from typing import NamedTuple


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


def stored(number: int) -> int:
    """A time in ns or an inode as the journal can hold it, in 64 bits with a sign: a time after 2262 or a high inode wraps."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


class Identity(NamedTuple):
    """By what one version of a file is told from another. An inode of 0 is one that the file system does not keep."""

    size: int
    mtime_ns: int
    inode: int = 0

    @staticmethod
    def of(status: os.stat_result) -> Identity:
        """The identity in the result of a stat call."""
        return Identity(status.st_size, stored(status.st_mtime_ns), stored(status.st_ino))

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


Row = tuple[str, int, int, int]
"""Name, size, mtime_ns and inode of a possible scan: flat, because a listing of a million has to be cheap."""


class Entry(NamedTuple):
    """A regular file that a scan saw."""

    path: str
    identity: Identity


def lies_in(path: str, directory: str) -> bool:
    """Whether a path of an inbox is the directory or lies below it; everything lies in ''."""
    return not directory or path == directory or path.startswith(f"{directory}/")
