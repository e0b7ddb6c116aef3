"""Disks that are small, full, read-only, or gone: real file systems, mounted for one test."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(point: Path, *, options: str = "size=1m") -> Iterator[Path]:
    """A tmpfs of its own at `point`; the test is skipped where mounting is not allowed."""
    point.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "ocrwatch-test", str(point)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command here")
    if done.returncode != 0:
        pytest.skip(f"file systems cannot be mounted here: {done.stderr.partition(chr(10))[0]}")
    try:
        yield point
    finally:
        unmount(point)


@contextlib.contextmanager
def formatted(point: Path, kind: str, *, megabytes: int) -> Iterator[Path]:
    """A file system of that kind in a file of its own; the test is skipped where it cannot be made or mounted."""
    image = point.with_name(f"{point.name}.image")
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    point.mkdir()
    for command in ([f"mkfs.{kind}", "-q", str(image)], ["mount", "-o", "loop", "-t", kind, str(image), str(point)]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip(f"no {command[0]} here")
        if done.returncode != 0:
            pytest.skip(f"{command[0]} is not possible here: {done.stderr.partition(chr(10))[0]}")
    try:
        yield point
    finally:
        unmount(point)


def unmount(point: Path) -> None:
    """Take the file system away, whoever uses it."""
    subprocess.run(["umount", "-l", str(point)], capture_output=True, check=False)


def make_read_only(point: Path) -> None:
    """What a kernel does to a disk with errors."""
    subprocess.run(["mount", "-o", "remount,ro", str(point)], capture_output=True, check=True)


def fill(folder: Path, *, leave_bytes: int = 0) -> Path:
    """Use up the free space of the disk that the folder lies on; returns the file that does, to be removed or shortened."""
    hog, block = folder / ".hog", b"x" * 4096
    with hog.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(block) == len(block):
            pass
    with hog.open("r+b") as file:
        file.truncate(max(0, hog.stat().st_size - leave_bytes))
    return hog
