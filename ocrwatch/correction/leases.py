"""What holds the model, and why it goes: values of its owner."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import StrEnum


class Unload(StrEnum):
    """Why a process that had the model loaded is no more."""

    IDLE = "idle"  # nothing needed it for the idle time
    ASKED = "asked"  # a person wanted its memory
    DIED = "died"  # it ended by itself, was killed at a limit, or its device had no memory for a page


class Lease:
    """The soft lease of one job: from its first page that needs the model and is being recognized, until the job is done."""

    def __init__(self, taken: Callable[[], None]) -> None:
        self._taken = taken
        self._lock = threading.Lock()
        self._is_open = True
        self.is_held = False

    def take(self) -> None:
        """A page that will need the model begins to be recognized: it loads meanwhile. From any thread, however often."""
        with self._lock:
            if self._is_open and not self.is_held:
                self.is_held = True
                self._taken()

    def close(self) -> None:
        """The job is done; whoever comes late takes nothing."""
        with self._lock:
            self._is_open = False
