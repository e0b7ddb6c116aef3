"""Threads that begin or are refused, within a deadline.

`threading.Thread.start` waits without end for the new thread's first sign. A thread that finds no memory for its first
frame never gives one (it ends with `MemoryError` before it runs any code), and whoever started it hangs, with every lock
that it holds (python/cpython#140746).
"""

from __future__ import annotations

import _thread
import errno
import threading
from collections.abc import Callable

_PATIENCE_S = 5.0


class Thread:
    """A thread that does not keep the process from ending.

    target: catches what it may raise. name: for the log.
    """

    def __init__(self, target: Callable[[], None], name: str) -> None:
        self.name = name
        self._target = target
        self._lock = threading.Lock()
        self._begun = threading.Event()
        self._over = threading.Event()
        self._is_given_up = False

    def start(self, patience_s: float = _PATIENCE_S) -> None:
        """Begin. Raises OSError when there is no thread to have: then the target never runs, not even late."""
        try:
            _thread.start_new_thread(self._run, ())
        except (RuntimeError, MemoryError) as error:
            raise OSError(errno.EAGAIN, f"can't start new thread: {error}") from error
        if self._begun.wait(patience_s):
            return
        with self._lock:
            self._is_given_up = not self._begun.is_set()
        if self._is_given_up:
            raise OSError(errno.ENOMEM, f"can't start new thread: it did not begin within {patience_s:g} s")

    @property
    def is_over(self) -> bool:
        """Whether its target has returned."""
        return self._over.is_set()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until its target has returned; not for one that was never started."""
        self._over.wait(timeout_s)

    def _run(self) -> None:
        with self._lock:
            if self._is_given_up:
                return
            self._begun.set()
        try:
            threading.current_thread().name = self.name
            self._target()
        finally:
            self._over.set()
