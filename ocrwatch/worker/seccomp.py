"""seccomp: the system calls that a worker may not make. Owns the filter; what is refused, and why, stands in `syscalls.tsv`.

The filter lets through what it does not name: the engines' runtimes need hundreds of calls, and which ones changes with each of
their versions. What it refuses is an error to the library that tries, not its death. Calls newer than the table do not exist.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_LAST_NUMBER = 462  # mseal, Linux 6.10; whatever came later could open a door that the table does not know
_AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_MODE_FILTER = 2

_LOAD, _RETURN = 0x20, 0x06
_IF_EQUAL, _IF_GREATER, _IF_BITS = 0x15, 0x25, 0x45
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000

_CLONE_THREAD = 0x00010000
_PR_SET_PDEATHSIG = 1
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX = 8, 10, 15
_TIOCSTI, _TIOCLINUX, _FIOSETOWN, _SIOCSPGRP = 0x5412, 0x541C, 0x8901, 0x8902


class Rule(StrEnum):
    """When a call of the table is let through."""

    REFUSED = "refused"  # never
    ABSENT = "absent"  # never, and as if the kernel had no such call: the C library then takes the older one
    THREAD = "thread"  # for a thread of this process, not for a new process
    ITSELF = "itself"  # when its first argument is this process
    ITSELF_OR_ZERO = "itself_or_zero"  # the same, where 0 stands for this process too
    NO_ORPHAN = "no_orphan"  # unless the worker would outlive its parent by it
    NO_OWNER = "no_owner"  # unless a signal would go to another process by it
    NO_SIGNAL = "no_signal"  # the same, of another call; and unless keys would be typed into a terminal
    NOT_FOR_GPU = "not_for_gpu"  # in a worker that drives a GPU


@dataclass(frozen=True)
class Call:
    """A row of the table: what holds for a system call on each machine; a number is None where there is no such call."""

    name: str
    numbers: dict[str, int | None]
    rule: Rule


@dataclass(frozen=True)
class _Check:
    """What is asked of an argument. allowed: what becomes of the call when the argument is one of the values."""

    argument: int
    values: tuple[int, ...]
    allowed: bool
    operation: int = _IF_EQUAL


def read_table(text: str) -> tuple[Call, ...]:
    """The calls of the table. Raises ValueError for what is none."""
    rows = (line.split("\t") for line in text.splitlines() if line and not line.startswith("#"))
    return tuple(
        Call(name, {"x86_64": _number(x86_64), "aarch64": _number(aarch64)}, Rule(rule)) for name, x86_64, aarch64, rule in rows
    )


def _number(field: str) -> int | None:
    return None if field == "-" else int(field)


def program(calls: Sequence[Call], *, machine: str, pid: int, gpu: bool) -> bytes:
    """The filter for a process on a machine (`x86_64` or `aarch64`), as the kernel takes it."""
    steps = [
        _step(_LOAD, _ARCHITECTURE_OFFSET),
        # A call of another architecture, by `int 0x80` for one, has numbers of its own.
        *_when(_IF_EQUAL, _AUDIT_ARCHITECTURE[machine], otherwise=[_error(errno.EPERM)]),
        _step(_LOAD, _NUMBER_OFFSET),
        _step(_IF_GREATER, _LAST_NUMBER, if_not=1),
        _error(errno.ENOSYS),
    ]
    for call in calls:
        number = call.numbers[machine]
        if number is not None:
            answer = _answer(call.rule, pid=pid, gpu=gpu)
            steps += [_step(_IF_EQUAL, number, if_not=len(answer)), *answer]
    return b"".join([*steps, _step(_RETURN, _ALLOW)])


def _answer(rule: Rule, *, pid: int, gpu: bool) -> list[bytes]:
    if rule is Rule.REFUSED:
        return [_error(errno.EPERM)]
    if rule is Rule.ABSENT:
        return [_error(errno.ENOSYS)]
    if rule is Rule.NOT_FOR_GPU:
        return [_step(_RETURN, _ALLOW) if gpu else _error(errno.EPERM)]
    check = {
        Rule.THREAD: _Check(0, (_CLONE_THREAD,), allowed=True, operation=_IF_BITS),
        Rule.ITSELF: _Check(0, (pid,), allowed=True),
        Rule.ITSELF_OR_ZERO: _Check(0, (0, pid), allowed=True),
        Rule.NO_ORPHAN: _Check(0, (_PR_SET_PDEATHSIG,), allowed=False),
        Rule.NO_OWNER: _Check(1, (_F_SETOWN, _F_SETSIG, _F_SETOWN_EX), allowed=False),
        Rule.NO_SIGNAL: _Check(1, (_TIOCSTI, _TIOCLINUX, _FIOSETOWN, _SIOCSPGRP), allowed=False),
    }[rule]
    otherwise, then = (_error(errno.EPERM), _step(_RETURN, _ALLOW))[:: 1 if check.allowed else -1]
    # These arguments are of 32 bits to the kernel; the lower half comes first on both machines.
    tests = [_step(check.operation, value, if_so=len(check.values) - place) for place, value in enumerate(check.values)]
    return [_step(_LOAD, _ARGUMENTS_OFFSET + 8 * check.argument), *tests, otherwise, then]


def _when(operation: int, value: int, *, otherwise: list[bytes]) -> list[bytes]:
    return [_step(operation, value, if_so=len(otherwise)), *otherwise]


def _error(number: int) -> bytes:
    return _step(_RETURN, _ERROR | number)


def _step(operation: int, value: int, *, if_so: int = 0, if_not: int = 0) -> bytes:
    return struct.pack("HBBI", operation, if_so, if_not, value)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def machine() -> str | None:
    """The machine's name in the table; None when the table does not know it."""
    name = os.uname().machine
    return name if name in _AUDIT_ARCHITECTURE and sys.maxsize > 2**32 and sys.byteorder == "little" else None


def lacking() -> str:
    """Why this machine cannot filter a process's calls; empty when it can. Changes nothing."""
    if machine() is None:
        return f"there is no table of system calls for {os.uname().machine}"
    try:
        _prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.c_void_p(None))
    except OSError as error:
        return "" if error.errno == errno.EFAULT else f"the kernel has no seccomp filters: {os.strerror(error.errno or 0)}"
    return "the kernel took a filter that is none"


def forbid_new_privileges() -> None:
    """No program that this process starts gets more rights than it has. Raises OSError."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, ctypes.c_ulong(0))


def install(*, gpu: bool) -> None:
    """Filter the calls of this thread, and of all that it starts, for good. Raises OSError; see `lacking` first."""
    name = machine()
    if name is None:
        raise OSError(errno.ENOSYS, lacking())
    table = Path(__file__).with_name("syscalls.tsv").read_text(encoding="utf-8")
    steps = program(read_table(table), machine=name, pid=os.getpid(), gpu=gpu)
    _prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(_Program(len(steps) // 8, steps)))


def _prctl(option: int, value: int, argument: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), argument, ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
