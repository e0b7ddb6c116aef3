"""A FUSE file system that hands every operation on to a folder, but for those that its rules make fail.

Run as a process of its own: `python -m tests.faults.faultfs FOLDER POINT RULES SOURCE`. RULES is a JSON file, read before
each operation, so that a test changes the faults by renaming another one over it; without the file nothing fails. A rule is
`{"op": NAME or "*", "error": ERRNO, "name": PATTERN, "bytes": [FROM, TO]}`; the last two are optional. `{"ahead_s": SECONDS}`
puts its clock ahead.
"""

from __future__ import annotations

import errno
import fnmatch
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mfusepy

_RENAME_NOREPLACE = 1
_STATUS = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_ino")
_SPACE = ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree", "f_favail", "f_flag", "f_namemax")


class FaultFS(mfusepy.Operations):  # type: ignore[misc] # no type information is published for it
    """The operations on `folder`, each checked against the rules first. OSError goes to the kernel as its number."""

    use_ns = True

    def __init__(self, folder: str, rules: Path) -> None:
        self._folder = folder
        self._rules = rules

    def _at(self, path: str, op: str, *, offset: int = 0, size: int = 0) -> str:
        for rule in self._in_force():
            begin, end = rule.get("bytes", (0, sys.maxsize))
            touched = offset < end and offset + size >= begin
            if rule.get("op") in (op, "*") and fnmatch.fnmatch(path.rpartition("/")[2], rule.get("name", "*")) and touched:
                number = getattr(errno, rule["error"])
                raise OSError(number, os.strerror(number), path)
        return self._folder + path

    def _in_force(self) -> Iterator[dict[str, Any]]:
        try:
            text = self._rules.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        yield from json.loads(text)

    # -- reading -------------------------------------------------------------------------------------------------

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        status = os.lstat(self._at(path, "getattr"))
        ahead_ns = 10**9 * sum(rule.get("ahead_s", 0) for rule in self._in_force())
        times = {f"st_{time}": getattr(status, f"st_{time}_ns") + ahead_ns for time in ("atime", "mtime", "ctime")}
        return {name: getattr(status, name) for name in _STATUS} | times

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *os.listdir(self._at(path, "readdir"))]

    def readlink(self, path: str) -> str:
        return os.readlink(self._at(path, "readlink"))

    def statfs(self, path: str) -> dict[str, int]:
        space = os.statvfs(self._at(path, "statfs"))
        return {name: getattr(space, name) for name in _SPACE}

    def open(self, path: str, flags: int) -> int:
        return os.open(self._at(path, "open"), flags)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        self._at(path, "read", offset=offset, size=size)
        return os.pread(fh, size, offset)

    def release(self, path: str, fh: int) -> int:
        os.close(fh)
        return 0

    # -- writing -------------------------------------------------------------------------------------------------

    def create(self, path: str, mode: int, fi: int | None = None) -> int:
        return os.open(self._at(path, "create"), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._at(path, "write", offset=offset, size=len(data))
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        os.truncate(self._at(path, "truncate"), length)
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self._at(path, "fsync")
        os.fsync(fh)
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        self._at(path, "fsyncdir")
        return 0

    def chmod(self, path: str, mode: int) -> int:
        os.chmod(self._at(path, "chmod"), mode)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        os.chown(self._at(path, "chown"), uid, gid, follow_symlinks=False)
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        target = self._at(path, "utimens")
        if times is None:
            os.utime(target, follow_symlinks=False)
        else:
            os.utime(target, ns=times, follow_symlinks=False)
        return 0

    def mkdir(self, path: str, mode: int) -> int:
        os.mkdir(self._at(path, "mkdir"), mode)
        return 0

    def rmdir(self, path: str) -> int:
        os.rmdir(self._at(path, "rmdir"))
        return 0

    def unlink(self, path: str) -> int:
        os.unlink(self._at(path, "unlink"))
        return 0

    def link(self, target: str, source: str) -> int:
        os.link(self._folder + source, self._at(target, "link"))
        return 0

    def rename(self, old: str, new: str, flags: int = 0) -> int:
        target = self._at(new, "rename")
        if flags & ~_RENAME_NOREPLACE:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), new)
        if flags and os.path.lexists(target):
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), new)
        os.rename(self._folder + old, target)
        return 0


class _Mounted(mfusepy.FUSE):  # type: ignore[misc] # the same
    """mfusepy leaves out the flags of a rename, without which one that must not clobber would."""

    def rename_fuse_3(self, old: bytes, new: bytes, flags: int) -> int:
        return int(self.operations.rename(os.fsdecode(old), os.fsdecode(new), flags))


def main() -> None:
    """Serve until the mount goes."""
    folder, point, rules, source = sys.argv[1:]
    _Mounted(
        FaultFS(folder, Path(rules)),
        point,
        foreground=True,
        allow_other=os.geteuid() == 0,
        attr_timeout=0,
        entry_timeout=0,
        negative_timeout=0,
        fsname=source,
        subtype="ocrwatch-test",
    )


if __name__ == "__main__":
    main()
