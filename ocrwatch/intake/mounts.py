"""Which file system a path lies on, from `/proc/self/mountinfo`, and what that kind of file system can be trusted with.

Reads the kernel's table only: no path of a mount is touched, because a dead network mount blocks whoever touches it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ocrwatch.errors import ShareOffline
from ocrwatch.intake.troubles import what

# These tell inotify of every change, because every change goes through this kernel.
_EVENTS_TRUSTED = frozenset({"ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "overlay"})
# These answer from this machine alone. Whatever is not listed here may hang: network, FUSE, autofs, and the unknown.
_LOCAL = _EVENTS_TRUSTED | {
    *("ext2", "ext3", "jfs", "reiserfs", "nilfs2", "bcachefs", "erofs", "squashfs", "ramfs", "rootfs", "devtmpfs"),
    *("vfat", "exfat", "ntfs3", "hfsplus", "udf", "iso9660", "aufs", "proc", "sysfs"),
}
# A file keeps its inode number across looks, remounts and boots.
_KEEP_INODES = frozenset({*_EVENTS_TRUSTED, "ext2", "ext3", "jfs", "bcachefs", "nfs", "nfs4"})

_OCTAL = re.compile(r"\\([0-7]{3})")
_LINK_LIMIT = 40


@dataclass(frozen=True)
class Mount:
    """One line of the mount table. `root` is the directory of the file system that stands at `mount_point`."""

    mount_id: int
    parent_id: int
    device: str
    root: str
    mount_point: str
    fs_type: str
    source: str


def events_trusted(fs_type: str) -> bool:
    """Whether kernel events tell of every change on this kind of file system."""
    return fs_type in _EVENTS_TRUSTED


def is_network(fs_type: str) -> bool:
    """Whether an operation on this kind of file system may hang: everything that is not known to be local."""
    return fs_type not in _LOCAL


def keeps_inodes(fs_type: str) -> bool:
    """Whether an inode number belongs to a file's identity here; FUSE, SMB and FAT make them up."""
    return fs_type in _KEEP_INODES


def read_mounts(*, only: int | None = None) -> tuple[Mount, ...]:
    """The mounts that this process sees, in the order in which they were made; or the one with this number."""
    text = os.fsdecode(Path("/proc/self/mountinfo").read_bytes())
    if only is not None:
        text = next((line for line in text.split("\n") if line.startswith(f"{only} ")), "")
    return parse(text)


def parse(text: str) -> tuple[Mount, ...]:
    """The mounts of a mountinfo table; a line that is none is left out."""
    found = (_parse_line(line) for line in text.split("\n"))
    return tuple(mount for mount in found if mount is not None)


def _parse_line(line: str) -> Mount | None:
    before, separator, after = line.partition(" - ")
    left, right = before.split(" "), after.split(" ")
    if not separator or len(left) < 6 or len(right) < 2:
        return None
    return Mount(
        mount_id=int(left[0]),
        parent_id=int(left[1]),
        device=left[2],
        root=_unescape(left[3]),
        mount_point=_unescape(left[4]),
        fs_type=right[0],
        source=_unescape(right[1]),
    )


def _unescape(field: str) -> str:
    # The kernel writes space, tab, newline, backslash and `#` as three octal digits; other bytes as they are.
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)


def mount_of(path: str, mounts: Sequence[Mount]) -> Mount:
    """The mount that `path` (absolute, without `..`, symlinks already resolved) lies on. Raises LookupError if there is none.

    Walks as the kernel does, from the root through what is mounted on top of each mount, so that a mount which a
    later one hides is not taken.
    """
    known = {mount.mount_id for mount in mounts}
    below = [m for m in mounts if contains(m.mount_point, path)]
    roots = [m for m in below if m.parent_id not in known or m.parent_id == m.mount_id]
    if not roots:
        raise LookupError(f"no mount holds {path!r}")
    here = max(roots, key=lambda m: len(m.mount_point))
    while children := [m for m in below if m.parent_id == here.mount_id != m.mount_id]:
        here = min(children, key=lambda m: len(m.mount_point))
    return here


def points_below(path: str, mounts: Sequence[Mount]) -> list[str]:
    """The mount points strictly below the directory `path` (resolved), relative to it, that nothing hides; outer ones first."""
    own = "" if path == "/" else path
    points = {m.mount_point for m in mounts if m.mount_point.startswith(own + "/") and m.mount_point != "/"}
    return sorted(p.removeprefix(own + "/") for p in points if mount_of(p, mounts).mount_point == p)


def may_hang(path: str, mounts: Sequence[Mount]) -> bool:
    """Whether `path` (absolute) lies on a mount that may not answer. What is mounted below it does not count. See `resolve`."""
    return is_network(mount_of(resolve(path, mounts), mounts).fs_type)


class MountTable:
    """The kernel's table of mounts, read again only when it has changed. For any thread; touches no mount.

    While it cannot be read, for want of memory, it is the one before.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file = open("/proc/self/mountinfo", "rb")  # noqa: SIM115 - held open: the kernel marks changes on it
        self._changes = select.poll()
        self._changes.register(self._file, select.POLLPRI)
        self._mounts = read_mounts()
        self._is_stale = False
        self._may_hang: dict[str, bool] = {}

    def close(self) -> None:
        """Give back the descriptor."""
        self._file.close()

    def current(self) -> tuple[Mount, ...]:
        """The mounts at this moment."""
        with self._lock:
            return self._now()

    def may_hang(self, path: str) -> bool:
        """`may_hang` at this moment."""
        with self._lock:
            table = self._now()
            known = self._may_hang.get(path)
            if known is None:
                known = self._may_hang[path] = may_hang(path, table)
            return known

    def _now(self) -> tuple[Mount, ...]:
        if self._changes.poll(0):
            self._is_stale = True  # the kernel tells of a change once
        if self._is_stale:
            with contextlib.suppress(OSError):
                self._file.seek(0)  # no other is opened: there may be no descriptor to be had
                self._mounts = parse(os.fsdecode(self._file.read()))
                self._may_hang.clear()
                self._is_stale = False
        return self._mounts


def contains(directory: str, path: str) -> bool:
    """Whether `path` is the directory or lies below it, by name."""
    return directory in ("/", path) or path.startswith(directory + "/")


def resolve(path: str, mounts: Sequence[Mount]) -> str:
    """`path` without symlinks, as far as that can be known without touching a mount that may hang.

    Raises ShareOffline when links lead in circles.
    """
    done, rest, links = "/", [c for c in path.split("/") if c], 0
    while rest:
        if is_network(mount_of(done, mounts).fs_type):
            return os.path.join(done, *rest)
        name = rest.pop(0)
        if name in (".", ".."):
            done = os.path.dirname(done) if name == ".." else done
            continue
        here = os.path.join(done, name)
        target = _link_target(here, mounts)
        if target is None:
            done = here
            continue
        links += 1
        if links > _LINK_LIMIT:
            circle = what(OSError(errno.ELOOP, ""))
            raise ShareOffline(f"{path!r} cannot be entered: {circle}", "check where its links lead")
        done = "/" if target.startswith("/") else done
        rest = [c for c in target.split("/") if c] + rest
    return done


def _link_target(path: str, mounts: Sequence[Mount]) -> str | None:
    if is_network(mount_of(path, mounts).fs_type):
        return None  # a mount point is a directory, and this one may hang
    try:
        return os.readlink(path)
    except OSError:
        return None
