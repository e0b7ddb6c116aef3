"""System calls that Python's `os` does not have: openat2, renameat2, getdents64, reflink. Raises OSError, knows no policy."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os

_SYS_OPENAT2 = 437  # the same on every architecture
_RESOLVE_NO_XDEV = 0x01
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_RENAME_NOREPLACE = 1
_FICLONE = 0x40049409
_ENTRY_BYTES = 1024  # room for one entry of a directory, whatever its name


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def open_beneath(directory_fd: int, path: str, flags: int) -> int:
    """openat2 that leaves neither the directory nor its mount, and follows no symlink (EXDEV, ELOOP).

    What is mounted below is not touched. ENOSYS where the kernel lacks the call.
    """
    how = _OpenHow(flags, 0, _RESOLVE_BENEATH | _RESOLVE_NO_XDEV | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS)
    call = _libc().syscall
    call.restype = ctypes.c_long
    descriptor = call(
        ctypes.c_long(_SYS_OPENAT2),
        ctypes.c_int(directory_fd),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )
    if descriptor < 0:
        _raise(path)
    return int(descriptor)


def rename_noreplace(source: str, target: str, *, source_fd: int, target_fd: int) -> None:
    """Rename unless the target exists (EEXIST). EINVAL where the file system cannot, ENOSYS where the kernel cannot."""
    call = getattr(_libc(), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), target)
    if call(source_fd, os.fsencode(source), target_fd, os.fsencode(target), _RENAME_NOREPLACE) != 0:
        _raise(target)


def prove_readable(directory_fd: int, path: str) -> None:
    """Read the beginning of a directory. Raises OSError; ENOENT too, which the C library takes for the directory's end."""
    call = getattr(_libc(), "getdents64", None)
    if call is None:  # not the GNU library
        return
    os.lseek(directory_fd, 0, os.SEEK_SET)
    room = ctypes.create_string_buffer(_ENTRY_BYTES)
    if call(directory_fd, room, ctypes.c_size_t(_ENTRY_BYTES)) < 0:
        _raise(path)
    os.lseek(directory_fd, 0, os.SEEK_SET)


def reflink(source_fd: int, destination_fd: int) -> None:
    """Let the destination share the source's blocks. Many errors mean that the file system cannot: copy instead."""
    fcntl.ioctl(destination_fd, _FICLONE, source_fd)


def _raise(path: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), path)
