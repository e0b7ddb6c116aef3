"""A directory tree entered by descriptor: nothing outside it can be reached, and no symlink beneath it is followed.

Owns the opening of every inbox and output path. A root may itself be reached through symlinks (the administrator's
choice); what lies beneath it is an untrusted drop. Raises OSError as the kernel does; callers know what it means to them.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ocrwatch.errors import ShareOffline
from ocrwatch.intake import syscalls
from ocrwatch.intake.entries import Kind, kind_of
from ocrwatch.intake.mounts import Mount, contains, is_network, keeps_inodes, mount_of, read_mounts
from ocrwatch.intake.troubles import what

_REMEDY = "check that it exists, is mounted, and may be entered by the service's user"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Non-blocking, or a FIFO of that name would hold us; a terminal must not become ours.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# Kernels before 5.6 and strict sandboxes lack openat2; EAGAIN is a rename that raced it.
_BY_HAND = frozenset({errno.ENOSYS, errno.EPERM, errno.EAGAIN, errno.E2BIG})


@dataclass(frozen=True)
class RootIdentity:
    """By what a root is known again, across remounts and boots.

    inode: of the directory; 0 where the file system does not keep it. source: server and share of a network mount,
    empty for local disks, whose device names change.
    """

    inode: int
    fs_type: str
    mount_point: str
    mount_root: str
    source: str

    def same_mount(self, other: RootIdentity) -> bool:
        """Whether both lie on the same mount; a directory made anew there has another inode but is the same place."""
        mine, theirs = asdict(self), asdict(other)
        return all(mine[key] == theirs[key] for key in mine if key != "inode")

    def lies_under(self, other: RootIdentity) -> bool:
        """Whether this is what the other was mounted on: its bare mount point, or a folder in it."""
        return self.mount_point != other.mount_point and contains(self.mount_point, other.mount_point)


@dataclass(frozen=True)
class Root:
    """A directory tree on one mount; what is mounted below it is not entered.

    With an identity, `opened` refuses another mount than that one (an unmounted share, for instance).
    """

    path: str
    identity: RootIdentity | None = None

    def to_json(self) -> dict[str, Any]:
        """The root as a JSON object, for a frame."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Root:
        """The root of `to_json`. Raises KeyError or TypeError on anything else."""
        identity = data["identity"]
        return Root(path=str(data["path"]), identity=None if identity is None else RootIdentity(**identity))


def root_identity(path: str) -> RootIdentity:
    """What stands at `path` now. Raises ShareOffline when it cannot be entered."""
    with opened(Root(path)) as descriptor:
        return _identity_of(descriptor, path)


def is_empty(path: str) -> bool:
    """Whether nothing at all stands in the directory. Raises ShareOffline when it cannot be entered."""
    with opened(Root(path)) as descriptor:
        try:
            return not os.listdir(descriptor)
        except OSError as error:
            raise ShareOffline(f"{path!r} cannot be listed: {what(error)}") from error


@contextlib.contextmanager
def opened(root: Root) -> Iterator[int]:
    """A descriptor of the root directory. Raises ShareOffline when it is not there or not the mount that it should be."""
    try:
        descriptor = os.open(root.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ShareOffline(f"{root.path!r} cannot be entered: {what(error)}", _REMEDY) from error
    try:
        if root.identity is not None:
            _verify(root.path, expected=root.identity, found=_identity_of(descriptor, root.path))
        yield descriptor
    finally:
        os.close(descriptor)


def _verify(path: str, *, expected: RootIdentity, found: RootIdentity) -> None:
    if not found.same_mount(expected):
        was, now = (f"{i.fs_type} {i.source}".rstrip() + f" on {i.mount_point!r}" for i in (expected, found))
        message = f"{path!r} is not the directory it was: it lay on {was}, now on {now}"
        raise ShareOffline(message, "mount the share again, or restart ocrwatch if the change was meant")


def _identity_of(descriptor: int, path: str) -> RootIdentity:
    try:
        mount, inode = _mount_of_descriptor(descriptor), os.fstat(descriptor).st_ino
    except (OSError, LookupError) as error:
        reason = what(error) if isinstance(error, OSError) else str(error)
        raise ShareOffline(f"{path!r} cannot be looked at: {reason}", _REMEDY) from error
    return RootIdentity(
        inode=inode if keeps_inodes(mount.fs_type) else 0,
        fs_type=mount.fs_type,
        mount_point=mount.mount_point,
        mount_root=mount.root,
        source=mount.source if is_network(mount.fs_type) else "",
    )


def _mount_of_descriptor(descriptor: int) -> Mount:
    # The kernel's own answer for this very descriptor: right even when something is mounted over the path meanwhile.
    details = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii", errors="replace")
    numbers = [int(line.split()[1]) for line in details.splitlines() if line.startswith("mnt_id:")]
    found = read_mounts(only=numbers[0]) if numbers else ()
    return found[0] if found else mount_of(os.readlink(f"/proc/self/fd/{descriptor}"), read_mounts())


@contextlib.contextmanager
def directory(root_fd: int, path: str) -> Iterator[int]:
    """A descriptor of the directory `path` beneath the root; the empty path is the root itself."""
    descriptor = _open(root_fd, path, _DIRECTORY) if path else os.dup(root_fd)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def parent(root_fd: int, path: str) -> Iterator[tuple[int, str]]:
    """A descriptor of the directory that holds `path`, and its last component."""
    components(path)
    where, _, name = path.rpartition("/")
    with directory(root_fd, where) as descriptor:
        yield descriptor, name


def open_file(root_fd: int, path: str) -> int:
    """A descriptor for reading the regular file `path`, never blocking. Raises OSError (ELOOP; EINVAL: no regular file)."""
    descriptor = _open(root_fd, path, _FILE)
    try:
        if kind_of(os.fstat(descriptor).st_mode) is not Kind.REGULAR:
            raise OSError(errno.EINVAL, "not a regular file", path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def lstat(root_fd: int, path: str) -> os.stat_result:
    """The status of `path` itself."""
    with parent(root_fd, path) as (descriptor, name):
        return os.stat(name, dir_fd=descriptor, follow_symlinks=False)


def components(path: str) -> list[str]:
    """The names on the way. Raises ValueError for a path that might not lead beneath its root."""
    names = path.split("/")
    if any(name in ("", ".", "..") for name in names):
        raise ValueError(f"not a path beneath a root: {path!r}")
    return names


def _open(root_fd: int, path: str, flags: int) -> int:
    names = components(path)
    try:
        return syscalls.open_beneath(root_fd, path, flags)
    except OSError as error:
        if error.errno not in _BY_HAND:
            raise
    return _open_by_hand(root_fd, names, flags)


def _open_by_hand(root_fd: int, names: list[str], flags: int) -> int:
    here = os.dup(root_fd)
    try:
        for name in names[:-1]:
            below = os.open(name, _DIRECTORY, dir_fd=here)
            os.close(here)
            here = below
        return os.open(names[-1], flags, dir_fd=here)
    finally:
        os.close(here)
