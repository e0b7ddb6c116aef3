"""Moving a scan away, done or failed, without ever losing a byte of it, or of what a writer put in its place meanwhile.

A file can only be proven to be the one that was read once nobody else can put another in its place. So it goes first into a
private directory beside it, under its own name, is verified there, and then moved on; or back, if it is another.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from ocrwatch.errors import OcrwatchError, SourceChanged
from ocrwatch.intake import beneath
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Identity
from ocrwatch.intake.ignore import OWN_PREFIX
from ocrwatch.intake.troubles import is_vanished, source_error
from ocrwatch.output import files, marks
from ocrwatch.output.files import Likeness

_PRIVATE_PREFIX = OWN_PREFIX + "moving-"
_moving: set[str] = set()
"""The private directories that threads of this process are at work in: one that is not among them could not be emptied."""
_NAMES_MAX = 10_000
_NAME_BYTES = 255
_BLOCK_BYTES = 1 << 20


def archive(
    root: Root,
    path: str,
    *,
    expected: Identity,
    sha256: str | None,
    destination_root: Root,
    destination: str,
    numbered: bool = True,
) -> str:
    """Move the scan to `destination` beneath `destination_root`; returns the path there, numbered when the name is taken.

    sha256: None when it was never read. numbered: whether another name will do; without, a name that is taken is refused.
    Raises SourceChanged (put back), SourceVanished, ShareOffline, OutputUnwritable (put back).
    """
    where, _, target = destination.rpartition("/")
    with beneath.opened(root) as root_fd, beneath.opened(destination_root) as destination_fd, files.translated(destination):
        files.make_directories_like(destination_fd, where, likeness(root_fd, path))
        with beneath.directory(destination_fd, where) as target_fd, _taken_aside(root_fd, path) as (private_fd, name):
            sha256 = _verify(private_fd, name, path, expected=expected, sha256=sha256)
            try:
                moved = _rename(private_fd, name, target_fd, target, numbered=numbered)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                copy = _verified_copy(private_fd, name, target_fd, sha256=sha256)
                moved = _name_copy(target_fd, copy, target, numbered=numbered)
                _remove_original(private_fd, name, target_fd, moved, path=path, expected=expected, sha256=sha256)
            files.sync_directory(target_fd, [])
    return f"{where}/{moved}" if where else moved


def likeness(root_fd: int, path: str) -> Likeness:
    """Mode and group of a scan. Raises SourceVanished, ShareOffline."""
    try:
        status = beneath.lstat(root_fd, path)
    except OSError as error:
        raise source_error(error, path) from error
    try:
        descriptor = beneath.open_file(root_fd, path)
    except OSError:  # it is no longer the file that was read, which is found out in a moment
        return Likeness(mode=status.st_mode & ~0o077, gid=status.st_gid)
    try:
        return files.likeness_of(descriptor)
    finally:
        os.close(descriptor)


def recover(root: Root, directory: str) -> list[str]:
    """Put back the scans that a crash left in a private directory here; returns their paths. What cannot be moved stays."""
    back = []
    with beneath.opened(root) as root_fd, files.translated(directory), contextlib.ExitStack() as stack:
        try:
            directory_fd = stack.enter_context(beneath.directory(root_fd, directory))
        except FileNotFoundError:
            return []
        for private in sorted(os.listdir(directory_fd)):
            mark = private.removeprefix(_PRIVATE_PREFIX)
            if private == mark or private in _moving or not (marks.is_orphan(mark) or marks.is_own(mark)):
                continue  # not ours, or somebody is at work on it
            with contextlib.suppress(OSError), beneath.directory(directory_fd, private) as private_fd:
                for name in sorted(os.listdir(private_fd)):
                    back += _returned(private_fd, name, directory_fd, directory)
            with contextlib.suppress(OSError):
                os.rmdir(private, dir_fd=directory_fd)
    return back


def _returned(private_fd: int, name: str, directory_fd: int, directory: str) -> list[str]:
    try:
        returned = _rename(private_fd, name, directory_fd, name)
    except OSError:
        return []
    return [f"{directory}/{returned}" if directory else returned]


@contextlib.contextmanager
def _taken_aside(root_fd: int, path: str) -> Iterator[tuple[int, str]]:
    """The scan in a private directory of its own; put back unless it has left that by the end of the block."""
    with contextlib.ExitStack() as stack:
        try:
            directory_fd, name = stack.enter_context(beneath.parent(root_fd, path))
        except OSError as error:
            raise source_error(error, path) from error
        private = f"{_PRIVATE_PREFIX}{marks.maker()}"
        _moving.add(private)
        stack.callback(_moving.discard, private)
        os.mkdir(private, 0o700, dir_fd=directory_fd)
        stack.callback(_remove_directory, private, directory_fd)
        private_fd = stack.enter_context(beneath.directory(directory_fd, private))
        stack.callback(_put_back, private_fd, name, directory_fd)
        try:
            os.rename(name, name, src_dir_fd=directory_fd, dst_dir_fd=private_fd)
        except FileNotFoundError as error:
            raise source_error(error, path) from error
        yield private_fd, name


def _put_back(private_fd: int, name: str, directory_fd: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        _rename(private_fd, name, directory_fd, name)
    files.sync_directory(directory_fd, [])


def _remove_directory(private: str, directory_fd: int) -> None:
    # Not empty only if the scan could not be put back; `recover` does that later.
    with contextlib.suppress(OSError):
        os.rmdir(private, dir_fd=directory_fd)


def _verify(private_fd: int, name: str, path: str, *, expected: Identity, sha256: str | None) -> str:
    """The hash of the file. Raises SourceChanged unless it is the one that was read, to the last byte."""
    try:
        descriptor = beneath.open_file(private_fd, name)
    except OSError as error:
        if is_vanished(error):
            raise SourceChanged(f"{path!r} is no longer the regular file that was read") from error
        raise source_error(error, path) from error
    try:
        before = Identity.of(os.fstat(descriptor))
        found = files.hash_of_descriptor(descriptor)
        after = Identity.of(os.fstat(descriptor))
    except OSError as error:
        raise source_error(error, path) from error
    finally:
        os.close(descriptor)
    if found != (sha256 or found) or not (before.matches(expected) and after.matches(expected)):
        raise SourceChanged(f"{path!r} is no longer the file that was read; it stays where it is")
    return found


def _rename(source_fd: int, name: str, target_fd: int, wanted: str, *, numbered: bool = True) -> str:
    """Move to the first free name; returns it."""
    for candidate in candidates(wanted) if numbered else (wanted,):
        with contextlib.suppress(FileExistsError):
            files.place(name, candidate, directory_fd=source_fd, target_fd=target_fd)
            return candidate
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), wanted)


def candidates(name: str) -> Iterator[str]:
    """The names that a file of this name may have where others lie: itself, then `scan.1.pdf` and so on.

    A name that would become too long for a file system loses the end of its stem.
    """
    yield name
    stem, dot, suffix = name.rpartition(".")
    stem, ending = (stem, f".{suffix}") if dot and stem else (name, "")
    for number in range(1, _NAMES_MAX):
        while stem and len(os.fsencode(f"{stem}.{number}{ending}")) > _NAME_BYTES:
            stem = stem[:-1]
        yield f"{stem}.{number}{ending}"


def _verified_copy(private_fd: int, name: str, target_fd: int, *, sha256: str) -> str:
    """A durable copy on another file system, read back; its temporary name."""
    temporary = files.temporary_name()
    try:
        _copy(private_fd, name, target_fd, temporary)
        _verify_copy(target_fd, temporary, sha256)
    except (OSError, OcrwatchError):
        _discard(target_fd, temporary)
        raise
    return temporary


def _name_copy(target_fd: int, temporary: str, wanted: str, *, numbered: bool) -> str:
    try:
        moved = _rename(target_fd, temporary, target_fd, wanted, numbered=numbered)
    except OSError:
        _discard(target_fd, temporary)
        raise
    files.sync_directory(target_fd, [])
    return moved


def _remove_original(
    private_fd: int, name: str, target_fd: int, copy: str, *, path: str, expected: Identity, sha256: str
) -> None:
    """Only now: a writer that still has the file open can write to it wherever it is, and what it wrote must not be lost."""
    try:
        _verify(private_fd, name, path, expected=expected, sha256=sha256)
    except OcrwatchError:
        _discard(target_fd, copy)
        raise
    os.unlink(name, dir_fd=private_fd)


def _discard(target_fd: int, name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=target_fd)


def _copy(source_fd: int, name: str, target_fd: int, temporary: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    reading = beneath.open_file(source_fd, name)
    try:
        writing = os.open(temporary, flags, 0o600, dir_fd=target_fd)
        try:
            while block := os.read(reading, _BLOCK_BYTES):
                files.write_all(writing, block)
            status = os.fstat(reading)
            files.make_like(writing, files.likeness_of(reading), [])
            with contextlib.suppress(OSError):
                os.utime(writing, ns=(status.st_atime_ns, status.st_mtime_ns))
            os.fsync(writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _verify_copy(target_fd: int, temporary: str, sha256: str) -> None:
    descriptor = beneath.open_file(target_fd, temporary)
    try:
        if files.hash_of_descriptor(descriptor) != sha256:
            raise OSError(errno.EIO, "the copy differs from the scan", temporary)
    finally:
        os.close(descriptor)
