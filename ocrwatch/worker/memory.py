"""The resident memory of a process, as the kernel counts it."""

from __future__ import annotations

import os
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pid: int | None = None) -> int:
    """Memory that a process holds now, without a pid this one; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid or 'self'}/statm").read_text(encoding="ascii").split()
        return int(fields[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0
