"""The one copy of a scan that everything after intake reads: hashed on the way and proven to be one version of the file."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ocrwatch import wording
from ocrwatch.errors import SourceChanged, StateUnwritable
from ocrwatch.intake import beneath, syscalls
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Identity
from ocrwatch.intake.troubles import source_error, state_error
from ocrwatch.worker import rights

_BLOCK_BYTES = 1 << 20
_RESERVE_BYTES = 64 << 20  # of the state's disk, or a twentieth of it: what the journal and the pages in hand need


@dataclass(frozen=True)
class Spooled:
    """What was copied. mode and gid are the scan's, for its sidecar."""

    sha256: str
    size: int
    mode: int
    gid: int

    def to_json(self) -> dict[str, Any]:
        """The value as a JSON object."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Spooled:
        """The value of `to_json`. Raises KeyError or TypeError on anything else."""
        return Spooled(sha256=str(data["sha256"]), size=int(data["size"]), mode=int(data["mode"]), gid=int(data["gid"]))


def copy(
    root: Root, path: str, *, expected: Identity, destination: Path, tell: Callable[[int], None] = lambda _: None
) -> Spooled:
    """Copy the scan to `destination` (0600; whole, or not there under its name); `tell` hears how many bytes are there.

    Raises SourceChanged, SourceVanished, ShareOffline, Infrastructure (the scan may not be read) or StateUnwritable.
    """
    with beneath.opened(root) as root_fd, _opened(root_fd, path) as source_fd, _new_file(destination) as destination_fd:
        mode, gid = _status(source_fd, path, expected)
        sha256 = _copy(source_fd, destination_fd, path=path, size=expected.size, destination=destination, tell=tell)
        _examine_again(root_fd, source_fd, path, expected=expected)
    return Spooled(sha256=sha256, size=expected.size, mode=mode, gid=gid)


@contextlib.contextmanager
def _opened(root_fd: int, path: str) -> Iterator[int]:
    try:
        source_fd = beneath.open_file(root_fd, path)
    except OSError as error:
        raise source_error(error, path) from error
    try:
        yield source_fd
    finally:
        os.close(source_fd)


def _status(source_fd: int, path: str, expected: Identity) -> tuple[int, int]:
    """Mode and group of the scan that was to be read. Raises SourceChanged when it is another."""
    try:
        status, mode = os.fstat(source_fd), rights.mode_of(source_fd) & 0o777
    except OSError as error:
        raise source_error(error, path) from error
    if not Identity.of(status).matches(expected):
        raise SourceChanged(f"{path!r} changed since it was looked at")
    return mode, status.st_gid


@contextlib.contextmanager
def _new_file(destination: Path) -> Iterator[int]:
    """A new file, whole and durable when the block ends well, absent when it does not."""
    name = str(destination.with_name(f".{destination.name}"))
    with contextlib.suppress(OSError):
        os.unlink(name)  # whoever made it was killed
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise state_error(error, name) from error
    try:
        yield descriptor
        try:
            os.fsync(descriptor)
            os.rename(name, destination)
        except OSError as error:
            raise state_error(error, name) from error
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    finally:
        os.close(descriptor)


def _copy(source_fd: int, destination_fd: int, *, path: str, size: int, destination: Path, tell: Callable[[int], None]) -> str:
    """Hash of what is in the destination now: `size` bytes."""
    try:
        syscalls.reflink(source_fd, destination_fd)
        shared = True
    except OSError:
        shared = False  # another file system, or one that cannot; the copy below tells of real trouble
        _room_for(size, destination_fd, destination)
    digest, done = hashlib.sha256(), 0
    read_fd = destination_fd if shared else source_fd
    while block := _read(read_fd, done, path):
        done += len(block)
        if done > size:
            break  # somebody writes to it: no need to know how much
        if not shared:
            _write(destination_fd, block, destination)
        digest.update(block)
        tell(done)
    if done != size:
        raise SourceChanged(f"{path!r} changed while it was copied")
    return digest.hexdigest()


def _room_for(size: int, destination_fd: int, destination: Path) -> None:
    """A scan that does not fit is not copied until the disk is full, where the others have no room either."""
    try:
        disk = os.fstatvfs(destination_fd)
    except OSError as error:
        raise state_error(error, str(destination)) from error
    total, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
    if total and size > free - min(_RESERVE_BYTES, total // 20):
        wanted = f"no space left on device for a scan of {wording.size(size)}, {wording.size(free)} are free"
        raise StateUnwritable(f"{str(destination)!r} cannot be written: {wanted}", "free some space there")


def _read(descriptor: int, offset: int, path: str) -> bytes:
    try:
        return os.pread(descriptor, _BLOCK_BYTES, offset)
    except OSError as error:
        raise source_error(error, path) from error


def _write(descriptor: int, block: bytes, destination: Path) -> None:
    try:
        view = memoryview(block)
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError as error:
        raise state_error(error, str(destination)) from error


def _examine_again(root_fd: int, source_fd: int, path: str, *, expected: Identity) -> None:
    """Both the file that was read and the one under its name must still be the one that was to be read."""
    try:
        opened, named = Identity.of(os.fstat(source_fd)), Identity.of(beneath.lstat(root_fd, path))
    except OSError as error:
        raise source_error(error, path) from error
    if not (opened.matches(expected) and named.matches(expected)):
        raise SourceChanged(f"{path!r} changed while it was copied")
