"""The memory of a GPU that several processes share: a folder, in which each process that holds some has a locked file.

Whatever way a process ends, the kernel drops its lock, and its memory is free. `fake_nvml` shows such a card as the driver would.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

_HELD, _LOST, _SPOILT = "held-", "lost", "spoilt"


class FakeCard:
    """A card; every process may have an object of its own for it. total_bytes: for the one that makes it."""

    def __init__(self, folder: Path, *, total_bytes: int | None = None) -> None:
        self.folder = folder
        if total_bytes is not None:
            folder.mkdir()
            (folder / "lock").touch()
            self._note("total", total_bytes)
        self.total_bytes = self._noted("total")

    def take(self, amount_bytes: int) -> bool:
        """So much more for this process, as long as it lives; False, and nothing, where there is no room."""
        with (self.folder / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            held = self.held()
            if sum(held.values()) + self._noted(_LOST) + self._noted(_SPOILT) + amount_bytes > self.total_bytes:
                return False
            name = f"{_HELD}{os.getpid()}"
            if os.getpid() not in held:
                fcntl.flock(os.open(self.folder / name, os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX)  # until the process ends
            self._note(name, held.get(os.getpid(), 0) + amount_bytes)
            return True

    def give_back(self) -> None:
        """All that this process holds, if it lives on."""
        self._note(f"{_HELD}{os.getpid()}", 0)

    def held(self) -> dict[int, int]:
        """The bytes of each process that lives."""
        return {int(path.name.removeprefix(_HELD)): _number(path) for path in self._holders()}

    def used_bytes(self) -> int:
        """What the driver tells: what processes hold, and what nobody does."""
        return sum(self.held().values()) + self._noted(_LOST)

    def lose(self, amount_bytes: int) -> None:
        """So much is in use from now on, and no process has it."""
        self._note(_LOST, amount_bytes)

    def spoil(self, amount_bytes: int) -> None:
        """So much is told to be free, and cannot be had: it is in pieces."""
        self._note(_SPOILT, amount_bytes)

    def _holders(self) -> Iterator[Path]:
        for path in self.folder.glob(f"{_HELD}*"):
            with path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    yield path

    def _noted(self, name: str) -> int:
        with contextlib.suppress(FileNotFoundError):
            return _number(self.folder / name)
        return 0

    def _note(self, name: str, value: int) -> None:
        """In place and in one write, so that no reader sees half of it: the lock is on this very file."""
        descriptor = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT)
        try:
            os.pwrite(descriptor, b"%020d" % value, 0)
        finally:
            os.close(descriptor)


def _number(path: Path) -> int:
    return int(path.read_bytes() or b"0")
