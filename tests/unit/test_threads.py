"""Threads that begin or are refused."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable

import pytest

from ocrwatch.worker.threads import Thread


def test_thread_runs_under_its_name() -> None:
    """The log tells who wrote a line."""
    names: list[str] = []
    thread = Thread(lambda: names.append(threading.current_thread().name), "job-7")
    thread.start()
    thread.join(10)
    assert thread.is_over
    assert names == ["job-7"]


def test_thread_that_dies_before_its_first_line_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was begun by the system and had no memory for a frame; should it come late after all, it does nothing."""
    begun: list[Callable[[], None]] = []
    ran: list[str] = []
    monkeypatch.setattr(_thread, "start_new_thread", lambda run, _: begun.append(run))
    thread = Thread(lambda: ran.append("it ran"), "job-7")
    with pytest.raises(OSError, match=r"did not begin within 0\.01 s"):
        thread.start(patience_s=0.01)
    begun[0]()
    assert not ran
    assert not thread.is_over


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_system_without_threads_refuses_at_once(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """As an error of the machine, which is nobody's fault."""

    def none_left(*_: object) -> int:
        raise error

    monkeypatch.setattr(_thread, "start_new_thread", none_left)
    with pytest.raises(OSError, match="can't start new thread"):
        Thread(lambda: None, "job-7").start()


def test_target_that_raises_is_over_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who joins it must not wait for ever."""
    monkeypatch.setattr("sys.unraisablehook", lambda _: None)
    thread = Thread(lambda: [][0], "job-7")
    thread.start()
    thread.join(10)
    assert thread.is_over
