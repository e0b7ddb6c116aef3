"""Files that others read: whole or absent, durable, and never in place of one that is not ours.

Everything is relative to a directory descriptor.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from ocrwatch.errors import ForeignFile
from ocrwatch.intake import beneath, syscalls
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.ignore import OWN_PREFIX
from ocrwatch.intake.troubles import is_vanished, output_error, what
from ocrwatch.output import marks
from ocrwatch.worker import rights

_TEMPORARY_SUFFIX = ".tmp"
_BLOCK_BYTES = 1 << 20
OWN_MAX_BYTES = 1 << 30  # whoever plants a file of terabytes must not make us hash it
_FSYNC_TRIES = 2
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOTTY})
# File systems without hard links say EPERM (FAT, many FUSE), or EMLINK when a file has too many.
_NO_LINKS = _UNSUPPORTED | {errno.EPERM, errno.EACCES, errno.EMLINK, errno.EXDEV}


_tell: ContextVar[Callable[[], None]] = ContextVar("tell", default=lambda: None)


@dataclass(frozen=True)
class Likeness:
    """Mode and group of the scan, which its sidecar takes over as far as it may, so that the same readers can read it."""

    mode: int
    gid: int


@dataclass(frozen=True)
class Written:
    """What was written. notes: what the file system could not do, for the log."""

    sha256: str
    notes: tuple[str, ...] = ()


def write_durably(
    root: Root,
    path: str,
    data: bytes | Path,
    *,
    like: Likeness | None = None,
    replaces: Collection[str] = (),
    make_directories: bool = False,
) -> Written:
    """Write `data` to `path` beneath the root: a temporary file, fsync, rename without clobbering, fsync of the directory.

    data: the bytes, or a file of ours that holds them. replaces: sha256 of our own earlier versions that may be replaced; what
    already holds the data is left as it is.
    Raises ForeignFile (and leaves it untouched), OutputUnwritable, ShareOffline. Nothing of ours remains after a failure.
    """
    wanted = hash_of(data)
    with beneath.opened(root) as root_fd, translated(path):
        if make_directories:
            make_directories_like(root_fd, path.rpartition("/")[0], like)
        with beneath.parent(root_fd, path) as (directory_fd, name):
            standing = _standing(directory_fd, path, ours={wanted, *replaces})
            notes: list[str] = []
            if standing != wanted:
                with _temporary(directory_fd, data, like, notes) as temporary:
                    _place(temporary, name, directory_fd=directory_fd, wanted=wanted, replacing=standing is not None)
            sync_directory(directory_fd, notes)
    return Written(sha256=wanted, notes=tuple(notes))


@contextlib.contextmanager
def telling(tell: Callable[[], None]) -> Iterator[None]:
    """Within the block, `tell` hears of every block that is read or written: what is large, on a slow share, moves."""
    before = _tell.set(tell)
    try:
        yield
    finally:
        _tell.reset(before)


def hash_of(data: bytes | Path) -> str:
    """The sha256 of what is to be written."""
    digest = hashlib.sha256()
    for block in _blocks(data):
        digest.update(block)
    return digest.hexdigest()


def sha256_of(root: Root, path: str) -> str | None:
    """The hash of a file beneath the root; None when there is none. Raises ForeignFile when it is no regular file."""
    with beneath.opened(root) as root_fd, translated(path):
        return _hash_of(root_fd, path)


def remove(root: Root, path: str, *, sha256: str) -> bool:
    """Remove a file of ours if it still is the one with this hash; False when it is not. Raises OutputUnwritable."""
    if sha256_of(root, path) != sha256:
        return False
    with beneath.opened(root) as root_fd, translated(path), beneath.parent(root_fd, path) as (directory_fd, name):
        os.unlink(name, dir_fd=directory_fd)
        sync_directory(directory_fd, [])
    return True


def sweep(root: Root, directory: str) -> list[str]:
    """Remove temporary files of processes of this machine that are no more; returns their names. What cannot be removed stays."""
    swept = []
    with beneath.opened(root) as root_fd, translated(directory), contextlib.ExitStack() as stack:
        try:
            directory_fd = stack.enter_context(beneath.directory(root_fd, directory))
        except FileNotFoundError:
            return []
        for name in sorted(os.listdir(directory_fd)):
            mark = name.removeprefix(OWN_PREFIX).removesuffix(_TEMPORARY_SUFFIX)
            if name == f"{OWN_PREFIX}{mark}{_TEMPORARY_SUFFIX}" and marks.is_orphan(mark):
                with contextlib.suppress(OSError):  # anybody may have given a folder such a name
                    os.unlink(name, dir_fd=directory_fd)
                    swept.append(name)
    return swept


def make_directories_like(root_fd: int, path: str, like: Likeness | None) -> None:
    """Make the directory `path` and those above it, as far as they are missing; who may read the scan may enter them."""
    names = beneath.components(path) if path else []
    for depth, name in enumerate(names):
        with beneath.directory(root_fd, "/".join(names[:depth])) as above_fd:
            try:
                os.mkdir(name, dir_fd=above_fd)
            except FileExistsError:
                continue
            if like is not None:
                with beneath.directory(above_fd, name) as made_fd, contextlib.suppress(OSError):
                    readable = like.mode & 0o444
                    os.fchmod(made_fd, 0o700 | readable | readable >> 2)
                    os.fchown(made_fd, -1, like.gid)


@contextlib.contextmanager
def translated(path: str) -> Iterator[None]:
    """Turns the OSError of writing `path` into OutputUnwritable."""
    try:
        yield
    except OSError as error:
        raise output_error(error, path) from error


def _standing(directory_fd: int, path: str, *, ours: Collection[str]) -> str | None:
    """The hash of what stands under the name, None when nothing does. Raises ForeignFile when it is not ours."""
    found = _hash_of(directory_fd, path.rpartition("/")[2])
    if found is not None and found not in ours:
        raise ForeignFile(
            f"{path!r} was not written by ocrwatch, or was changed since",
            "move it away and run `ocrwatch retry` to get the recognized text there",
        )
    return found


def _hash_of(directory_fd: int, path: str) -> str | None:
    descriptor = open_standing(directory_fd, path)
    if descriptor is None:
        return None
    try:
        return hash_of_descriptor(descriptor)
    finally:
        os.close(descriptor)


def open_standing(directory_fd: int, path: str) -> int | None:
    """A descriptor of what stands under the name; None when nothing does. Raises ForeignFile when it is no regular file."""
    try:
        descriptor = beneath.open_file(directory_fd, path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if is_vanished(error):
            raise ForeignFile(f"{path!r} is not a regular file", "move it away and run `ocrwatch retry`") from error
        raise
    if os.fstat(descriptor).st_size > OWN_MAX_BYTES:
        os.close(descriptor)
        raise ForeignFile(f"{path!r} is too large for a file of ocrwatch", "move it away and run `ocrwatch retry`")
    return descriptor


def hash_of_descriptor(descriptor: int) -> str:
    """The sha256 of all that the descriptor reads from the beginning."""
    digest, offset = hashlib.sha256(), 0
    while block := os.pread(descriptor, _BLOCK_BYTES, offset):
        digest.update(block)
        offset += len(block)
        _tell.get()()
    return digest.hexdigest()


@contextlib.contextmanager
def _temporary(directory_fd: int, data: bytes | Path, like: Likeness | None, notes: list[str]) -> Iterator[str]:
    """The name of a durable temporary file with this content; it is gone afterwards unless it was renamed."""
    for attempt in range(1, _FSYNC_TRIES + 1):
        name = temporary_name()
        try:
            if _write_new(directory_fd, name, data, like, notes):
                yield name
                return
        finally:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=directory_fd)
        # After a failed fsync the kernel may have dropped the pages and call them clean: only a new file is honest.
        notes.append(f"the disk reported an error at attempt {attempt}; the file was discarded and written anew")
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def _write_new(directory_fd: int, name: str, data: bytes | Path, like: Likeness | None, notes: list[str]) -> bool:
    """Whether the file is durable; False when its fsync failed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=directory_fd)
    try:
        for block in _blocks(data):
            write_all(descriptor, block)
        if like is not None:
            make_like(descriptor, like, notes)
        _sync(descriptor, notes)
    except OSError as error:
        if error.errno == errno.EIO:
            return False
        raise
    finally:
        os.close(descriptor)
    return True


def _sync(descriptor: int, notes: list[str]) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        notes.append("the file system has no fsync")


def _blocks(data: bytes | Path) -> Iterator[bytes]:
    if isinstance(data, bytes):
        yield data
        return
    with data.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte, in as many calls as it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    _tell.get()()


def likeness_of(descriptor: int) -> Likeness:
    """What a file that is open for reading is like."""
    return Likeness(mode=rights.mode_of(descriptor), gid=os.fstat(descriptor).st_gid)


def make_like(descriptor: int, like: Likeness, notes: list[str]) -> None:
    """Give the file the scan's group and mode, without execute bits, as far as this is allowed."""
    mode = stat.S_IMODE(like.mode) & 0o666 | 0o600
    try:
        os.fchown(descriptor, -1, like.gid)
    except OSError as error:
        notes.append(f"the group could not be set: {what(error)}")
        mode = mode & ~0o070 | (mode & 0o007) << 3  # another group may do what all others may
    try:
        os.fchmod(descriptor, mode)
    except OSError as error:
        notes.append(f"the mode could not be set: {what(error)}")


def _place(temporary: str, name: str, *, directory_fd: int, wanted: str, replacing: bool) -> None:
    try:
        place(temporary, name, directory_fd=directory_fd, replacing=replacing)
    except FileExistsError as error:
        # NFS may repeat a call that had been done: the file that is said to stand there is then the very one.
        if _hash_of(directory_fd, name) != wanted:
            raise ForeignFile(
                f"{name!r} was written by somebody else just now", "move it away and run `ocrwatch retry`"
            ) from error


def place(temporary: str, name: str, *, directory_fd: int, replacing: bool = False, target_fd: int | None = None) -> None:
    """Rename without clobbering; FileExistsError when the name is taken. replacing: what stands there is ours."""
    target = directory_fd if target_fd is None else target_fd
    if replacing:
        os.rename(temporary, name, src_dir_fd=directory_fd, dst_dir_fd=target)
        return
    try:
        syscalls.rename_noreplace(temporary, name, source_fd=directory_fd, target_fd=target)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        _link_or_check(temporary, name, directory_fd=directory_fd, target_fd=target)


def _link_or_check(temporary: str, name: str, *, directory_fd: int, target_fd: int) -> None:
    try:
        os.link(temporary, name, src_dir_fd=directory_fd, dst_dir_fd=target_fd, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    else:
        os.unlink(temporary, dir_fd=directory_fd)
        return
    # The last resort, on file systems that can neither rename without clobbering nor link.
    with contextlib.suppress(FileNotFoundError):
        os.stat(name, dir_fd=target_fd, follow_symlinks=False)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
    os.rename(temporary, name, src_dir_fd=directory_fd, dst_dir_fd=target_fd)


def sync_directory(directory_fd: int, notes: list[str]) -> None:
    """Make names durable; where a directory cannot be synced that is noted."""
    try:
        os.fsync(directory_fd)
    except OSError as error:
        if error.errno not in _UNSUPPORTED | {errno.EBADF, errno.EACCES}:
            raise
        notes.append("the file system cannot sync a directory")


def temporary_name() -> str:
    """A name that no other file has, and that tells who made it."""
    return f"{OWN_PREFIX}{marks.maker()}{_TEMPORARY_SUFFIX}"
