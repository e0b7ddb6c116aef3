"""Clocks that the test moves, and waiting on a condition with a bound instead of sleeping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class FakeClock:
    """Seconds that pass when the test says so."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def wait_until(predicate: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Return as soon as the condition holds. Fails the test when it does not within the time."""
    limit = time.monotonic() + timeout_s
    pause = threading.Event()
    while not predicate():
        assert time.monotonic() < limit, f"the condition did not come true within {timeout_s:g} s"
        pause.wait(0.005)
