"""Where a command keeps parts of documents while it runs. Owns that nothing of them stays, however it is ended but by KILL."""

from __future__ import annotations

import contextlib
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ocrwatch.errors import Infrastructure

_ENDING = (signal.SIGTERM, signal.SIGHUP)  # Ctrl-C raises by itself


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder of this command's own, gone at the end of the block, also when the terminal is closed. Raises Infrastructure."""
    with _ended_in_order():
        try:
            folder = tempfile.TemporaryDirectory(prefix="ocrwatch-")
        except OSError as error:
            raise Infrastructure(f"there is no folder for temporary files: {error.strerror}", "set TMPDIR") from error
        with folder as name:
            yield Path(name)


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """Signals that would end the process end the block first. Those that somebody else handles or ignores are left alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, _: FrameType | None) -> NoReturn:
    for each in _ENDING:
        if signal.getsignal(each) is _end:
            signal.signal(each, signal.SIG_IGN)  # a second one must not end the clearing up
    raise SystemExit(128 + number)
