"""Marks in names that say which process of which machine made a file: so a crash's litter can be told from a neighbour's work."""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
from pathlib import Path


def maker() -> str:
    """A mark for names, never given twice, that tells this process from every other."""
    return f"{_machine()}-{_boot()}-{os.getpid()}-{_started(os.getpid())}-{secrets.token_hex(4)}"


def is_orphan(mark: str) -> bool:
    """Whether the process that made this mark is no more. Another machine's process may still be at work."""
    fields = mark.split("-")
    if len(fields) != 5 or not (fields[2].isascii() and fields[2].isdecimal()):
        return False
    machine, boot, pid, started, _ = fields
    return machine == _machine() and (boot != _boot() or started != _started(int(pid)))


def is_own(mark: str) -> bool:
    """Whether this very process made the mark."""
    return mark.rpartition("-")[0] == maker().rpartition("-")[0]


@functools.cache
def _machine() -> str:
    try:
        identity = Path("/etc/machine-id").read_text(encoding="ascii")
    except OSError:
        identity = os.uname().nodename
    return hashlib.sha256(identity.encode()).hexdigest()[:8]


@functools.cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]


def _started(pid: int) -> str:
    """When the process started, in ticks since boot; empty when there is none. Tells a process from a later one of its number."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return status.rpartition(")")[2].split()[19]
