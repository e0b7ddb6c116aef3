"""Writers as scanners, shares and people are: slow, in place, in between, and under other names first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def growing(path: Path, data: bytes, *, steps: int) -> Iterator[int]:
    """Write the file bit by bit, one step each time the caller asks; yields the size so far."""
    for step in range(1, steps + 1):
        with path.open("ab") as file:
            file.write(data[len(data) * (step - 1) // steps : len(data) * step // steps])
        yield path.stat().st_size


def sized_before_filled(path: Path, data: bytes, *, filled: float) -> None:
    """Give the file its final size at once, as SMB clients do, and fill only its beginning."""
    with path.open("wb") as file:
        file.truncate(len(data))
        file.write(data[: int(len(data) * filled)])


def rewrite_in_place(path: Path, data: bytes) -> None:
    """Other content under the same name and inode, with a later time."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000_000))


def replace(path: Path, data: bytes) -> None:
    """Another file under the same name, put there by a rename."""
    fresh = path.with_name(path.name + ".part")
    fresh.write_bytes(data)
    fresh.replace(path)
