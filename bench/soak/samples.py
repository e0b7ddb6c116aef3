"""What a process and its children hold at one moment, as the kernel says."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Sample:
    """at_s: since the beginning. children: processes that it started; their bytes count shared pages once for each."""

    at_s: float
    resident_bytes: int
    descriptors: int
    threads: int
    children: int
    children_bytes: int


def sample(pid: int, *, at_s: float) -> Sample:
    """The process now. Raises OSError when it is gone."""
    own = Path(f"/proc/{pid}")
    children = _children(own)
    return Sample(
        at_s=at_s,
        resident_bytes=_resident_bytes(own),
        descriptors=len(os.listdir(own / "fd")),
        threads=len(os.listdir(own / "task")),
        children=len(children),
        children_bytes=sum(held for child in children if (held := _held(child)) is not None),
    )


def _children(own: Path) -> list[int]:
    pids: list[int] = []
    for task in (own / "task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            pids += [int(pid) for pid in (task / "children").read_text(encoding="ascii").split()]
    return pids


def _held(pid: int) -> int | None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return _resident_bytes(Path(f"/proc/{pid}"))
    return None


def _resident_bytes(process: Path) -> int:
    return int((process / "statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
