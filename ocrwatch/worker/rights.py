"""Whether somebody else could `stat` a path: judged as the kernel would, from the mode bits and access lists on the way there.

Owns that judgement. It reads directories on the way, so a path that may hang is for a process that can be killed.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Collection, Iterator
from typing import NamedTuple

_LINK_LIMIT = 40  # as in the kernel
_ACCESS_LIST = "system.posix_acl_access"
_HEAD, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
_VERSION = 2
_USER, _GROUP_OWNER, _GROUP, _MASK = 0x02, 0x04, 0x08, 0x10  # tags of entries; owner and others are in the mode bits
_SEARCH = 1


class User(NamedTuple):
    """Somebody: the user and all of their groups."""

    uid: int
    groups: Collection[int]


def may_stat(path: str, user: User) -> bool:
    """Whether every directory on the way to an absolute path can be searched, symlinks followed; the path itself need not exist.

    False where that cannot be seen, and where a directory on the way is not there.
    """
    try:
        return _may_walk(path, user)
    except OSError:
        return False


def mode_of(descriptor: int) -> int:
    """The mode of an open file, with what its own group may in the bits of the group.

    Where there is an access list, `st_mode` has the list's mask there (acl(5)), which is more than the group may.
    """
    mode = os.fstat(descriptor).st_mode
    try:
        entries = list(_entries(os.getxattr(descriptor, _ACCESS_LIST)))
    except OSError:
        return mode  # no list, or a file system without any
    group = next((permissions for tag, permissions, _ in entries if tag == _GROUP_OWNER), 0)
    return mode & ~0o070 | (mode & 0o070 & group << 3)


def _may_walk(path: str, user: User) -> bool:
    here, names, links = "/", _names(path), 0
    while names:
        if not _may_search(here, user):
            return False
        name = names.pop(0)
        if not names:
            return True
        there = os.path.dirname(here) if name == ".." else os.path.join(here, name)
        if not stat.S_ISLNK(os.lstat(there).st_mode):
            here = there
            continue
        links += 1
        if links > _LINK_LIMIT:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        target = os.readlink(there)
        here = "/" if target.startswith("/") else here
        names = [*_names(target), *names]
    return True


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def _may_search(directory: str, user: User) -> bool:
    status = os.lstat(directory)
    if not stat.S_ISDIR(status.st_mode):
        return False
    if status.st_uid == user.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    listed = _access_list(directory)
    if listed is not None:
        return _may_by_list(listed, status, user)
    if status.st_gid in user.groups:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _access_list(directory: str) -> bytes | None:
    try:
        return os.getxattr(directory, _ACCESS_LIST, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return None
        raise


def _may_by_list(listed: bytes, status: os.stat_result, user: User) -> bool:
    """acl(5): the entry of the user decides; else any of their groups; else what others may. The mask bounds the first two."""
    entries = list(_entries(listed))
    mask = next((permissions for tag, permissions, _ in entries if tag == _MASK), 7)
    for tag, permissions, who in entries:
        if tag == _USER and who == user.uid:
            return bool(permissions & mask & _SEARCH)
    of_groups = [
        permissions
        for tag, permissions, who in entries
        if (tag == _GROUP and who in user.groups) or (tag == _GROUP_OWNER and status.st_gid in user.groups)
    ]
    if of_groups:
        return any(permissions & mask & _SEARCH for permissions in of_groups)
    return bool(status.st_mode & stat.S_IXOTH)


def _entries(listed: bytes) -> Iterator[tuple[int, int, int]]:
    if len(listed) < _HEAD.size or (len(listed) - _HEAD.size) % _ENTRY.size or _HEAD.unpack_from(listed)[0] != _VERSION:
        raise OSError(errno.EINVAL, "an access list of another form")
    yield from _ENTRY.iter_unpack(listed[_HEAD.size :])
