"""How amounts look to a person, in commands, logs and errors. Pure; the JSON forms keep bytes and seconds."""

from __future__ import annotations


def size(count_bytes: float) -> str:
    """`512 MB`, `4.1 GB`: powers of ten, as disks and files are told of."""
    return f"{count_bytes / 1e9:.1f} GB" if count_bytes >= 1e9 else f"{count_bytes / 1e6:.0f} MB"


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.4 h`, `2.0 d`."""
    for limit, divisor, unit in ((90, 1, "s"), (5400, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}" if unit != "h" else f"{seconds / divisor:.1f} h"
    return f"{seconds / 86400:.1f} d"
