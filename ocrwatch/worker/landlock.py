"""Landlock: the files that a worker may open. Owns the rules' way into the kernel; which files, is `sandbox`'s matter.

Rules hold for the thread that enters and for all that it starts afterwards, not for threads that were there before. They are
about opening: a path's status can still be asked for, and what was opened before stays open.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_ASK_VERSION = 1
_RULE_PATH_BENEATH = 1
_NET_BIND_TCP, _NET_CONNECT_TCP = 1, 2
_SCOPE_ABSTRACT_SOCKET, _SCOPE_SIGNAL = 1, 2


class Rights(IntFlag):
    """What may be done with what lies beneath a path."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13  # a rename from one folder into another; from version 2 on
    TRUNCATE = 1 << 14  # version 3
    IOCTL_DEV = 1 << 15  # version 5


READ = Rights.READ_FILE | Rights.READ_DIR
DRIVE = READ | Rights.WRITE_FILE | Rights.IOCTL_DEV
WRITE = READ | Rights.WRITE_FILE | Rights.TRUNCATE | Rights.MAKE_REG | Rights.MAKE_DIR | Rights.REMOVE_FILE | Rights.REMOVE_DIR
_ALL = Rights((1 << 16) - 1)
_OF_FILES = Rights.EXECUTE | Rights.WRITE_FILE | Rights.READ_FILE | Rights.TRUNCATE | Rights.IOCTL_DEV


@dataclass(frozen=True)
class Grant:
    """A file, or a folder with all beneath it, and what may be done there. A path that is not there grants nothing."""

    path: str
    rights: Rights


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


def version() -> int:
    """The version of Landlock's interface that the running kernel has. Raises OSError when it has none, or it is off."""
    return _call(_CREATE_RULESET, None, 0, _ASK_VERSION)


def restrict(grants: Iterable[Grant]) -> int:
    """Let this thread, and all that it starts, open nothing but what is granted; the version in force.

    Where the kernel can, they also reach no TCP port, no abstract socket and no process outside by a signal. Needs
    no_new_privs. Raises OSError when it does not hold.
    """
    known = version()
    handled = _handled(known)
    network = _NET_BIND_TCP | _NET_CONNECT_TCP if known >= 4 else 0
    scoped = _SCOPE_ABSTRACT_SOCKET | _SCOPE_SIGNAL if known >= 6 else 0
    attributes = _Ruleset(handled, network, scoped)
    ruleset = _call(_CREATE_RULESET, ctypes.byref(attributes), ctypes.sizeof(attributes), 0)
    try:
        for grant in grants:
            _add(ruleset, grant, handled)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return known


def _handled(known: int) -> Rights:
    """Every right that this version can take away."""
    rights = _ALL
    for right, since in ((Rights.REFER, 2), (Rights.TRUNCATE, 3), (Rights.IOCTL_DEV, 5)):
        if known < since:
            rights &= ~right
    return rights


def _add(ruleset: int, grant: Grant, handled: Rights) -> None:
    try:
        # Never closed: a rule is about an inode, and procfs makes a new one, for which it does not hold, when the kernel has
        # dropped the name for want of memory. An open descriptor keeps the name.
        descriptor = os.open(grant.path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
    rights = grant.rights & handled & (_ALL if is_folder else _OF_FILES)
    beneath = _PathBeneath(rights, descriptor)
    _call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(beneath), 0)


def _call(number: int, *arguments: object) -> int:
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    result = call(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)
