"""Signals, for a main loop that waits at descriptors."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from typing import Any


@contextlib.contextmanager
def signals_into(seen: set[int]) -> Iterator[int]:
    """Signals only leave their number here and wake the main loop through the descriptor that this yields."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before: Mapping[int, Any] = {number: signal.signal(number, lambda n, _: seen.add(n)) for number in wanted}
    before_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(before_fd)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
