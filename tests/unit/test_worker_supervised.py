"""The states of a worker, with a fake process and a fake clock: no interleaving loses a request or keeps an idle worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ocrwatch.errors import EncryptedFile, MissingPart, OcrwatchError, WorkerDied
from ocrwatch.worker.process import WorkerSpec
from ocrwatch.worker.supervised import Supervised, WorkerState, backoff_s
from tests.faults.waiting import FakeClock


class FakeProcess:
    """A child whose answers the test sets."""

    def __init__(self, pid: int, answer: Callable[[], dict[str, Any]]) -> None:
        self.pid = pid
        self.hello = {"fake": True}
        self.alive = True
        self._answer = answer

    def call(self, request: Any, **_: Any) -> dict[str, Any]:
        return self._answer()

    def stop(self) -> None:
        self.alive = False

    kill = stop

    def release(self) -> None:
        assert not self.alive

    def resident_bytes(self) -> int:
        return 42


class Stage:
    """A supervised worker with everything around it faked."""

    def __init__(self, idle_s: float | None = 10.0) -> None:
        self.clock = FakeClock()
        self.started: list[FakeProcess] = []
        self.start_error: OcrwatchError | None = None
        self.answer: Callable[[], dict[str, Any]] = lambda: {"fine": True}
        self.worker = Supervised(
            lambda: WorkerSpec(module="none"),
            idle_s=idle_s,
            clock=self.clock,
            start=self._start,  # type: ignore[arg-type] # a fake
        )

    def _start(self, spec: WorkerSpec, progress: Any) -> FakeProcess:
        if self.start_error is not None:
            raise self.start_error
        self.started.append(FakeProcess(100 + len(self.started), lambda: self.answer()))
        return self.started[-1]

    def call(self) -> dict[str, Any]:
        return self.worker.call({"op": "x"}, deadline_s=1.0)


def test_worker_starts_with_the_first_request_and_ends_when_idle() -> None:
    """Nothing runs before there is work, nor longer than `idle_s` after it."""
    stage = Stage()
    assert stage.worker.snapshot().state is WorkerState.COLD
    stage.call()
    stage.clock.now += 9.9
    assert not stage.worker.end_if_idle()
    stage.clock.now += 0.2
    assert stage.worker.end_if_idle()
    assert stage.worker.snapshot().state is WorkerState.COLD
    assert not stage.started[0].alive


def test_idle_time_counts_from_the_end_of_the_last_request() -> None:
    """A request that lasts longer than the idle time does not unload its worker."""
    stage = Stage()

    def slow() -> dict[str, Any]:
        stage.clock.now += 100
        assert stage.worker.idle_left_s() is None
        assert not stage.worker.end_if_idle()
        return {}

    stage.answer = slow
    stage.call()
    assert stage.worker.idle_left_s() == 10.0


def test_asking_for_the_state_does_not_keep_a_worker() -> None:
    """Status polling at ten times a second still lets it go on time."""
    stage = Stage()
    stage.call()
    for _ in range(101):
        stage.worker.snapshot()
        stage.worker.idle_left_s()
        stage.clock.now += 0.1
    assert stage.worker.end_if_idle()


def test_worker_that_is_held_is_not_idle() -> None:
    """Pages that will need it are being recognized."""
    stage = Stage()
    stage.call()
    stage.clock.now += 9
    stage.worker.hold()
    stage.clock.now += 9
    assert not stage.worker.end_if_idle()


def test_worker_without_idle_time_stays() -> None:
    """`idle_unload: never`."""
    stage = Stage(idle_s=None)
    stage.call()
    stage.clock.now += 1e6
    assert not stage.worker.end_if_idle()


def test_dead_worker_is_replaced_at_the_next_request() -> None:
    """A death costs one request; the next has a new process."""
    stage = Stage()

    def die() -> dict[str, Any]:
        raise WorkerDied("SIGKILL")

    stage.answer = die
    with pytest.raises(WorkerDied):
        stage.call()
    assert stage.worker.snapshot().state is WorkerState.COLD
    assert stage.worker.snapshot().deaths == 1
    stage.answer = lambda: {"fine": True}
    assert stage.call() == {"fine": True}
    assert [p.pid for p in stage.started] == [100, 101]


def test_worker_that_ended_while_idle_is_noticed_and_replaced() -> None:
    """Somebody killed it: the next request does not go into the void."""
    stage = Stage()
    stage.call()
    stage.started[0].alive = False
    assert stage.call() == {"fine": True}
    assert stage.worker.snapshot().pid == 101


def test_error_of_a_file_leaves_the_worker_ready() -> None:
    """The file is at fault, not the worker."""
    stage = Stage()

    def refuse() -> dict[str, Any]:
        raise EncryptedFile("password")

    stage.answer = refuse
    with pytest.raises(EncryptedFile):
        stage.call()
    assert stage.worker.snapshot().state is WorkerState.READY


def test_start_that_keeps_failing_is_tried_ever_more_rarely() -> None:
    """A crash loop at load costs little, and the reason stays the one it was."""
    stage = Stage()
    stage.start_error = MissingPart("no model", "pull it")
    waits = []
    for _ in range(4):
        with pytest.raises(MissingPart, match="no model"):
            stage.call()
        assert stage.worker.snapshot().state is WorkerState.BACKOFF
        retry_at = stage.worker.snapshot().retry_at
        assert retry_at is not None
        waits.append(retry_at - stage.clock.now)
        starts = stage.worker.snapshot().starts
        with pytest.raises(MissingPart, match="no model"):
            stage.call()
        assert stage.worker.snapshot().starts == starts
        stage.clock.now = retry_at
    assert waits == [1, 2, 4, 8]
    stage.start_error = None
    assert stage.call() == {"fine": True}


def test_back_off_is_bounded() -> None:
    """At most five minutes."""
    assert backoff_s(50) == 300


def test_interrupt_kills_what_runs_and_what_comes() -> None:
    """At shutdown no request keeps a process alive."""
    stage = Stage()
    stage.call()
    stage.worker.interrupt()
    assert not stage.started[0].alive
