"""The states of a worker, with a fake process and a fake clock: no interleaving loses a request or keeps an idle worker."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest

from ocrwatch.errors import EncryptedFile, Infrastructure, MissingPart, OcrwatchError, WorkerDied, WorkerTimedOut
from ocrwatch.worker import supervised
from ocrwatch.worker.process import WorkerSpec
from ocrwatch.worker.supervised import ALLOWED, IllegalTransition, Snapshot, Supervised, WorkerState, backoff_s, spawning
from tests.faults.waiting import FakeClock


class FakeProcess:
    """A child whose answers the test sets."""

    def __init__(self, pid: int, answer: Callable[[], dict[str, Any]]) -> None:
        self.pid = pid
        self.hello = {"fake": True}
        self.alive = True
        self.heeds_kill = True
        self._answer = answer

    def call(self, request: Any, **_: Any) -> dict[str, Any]:
        return self._answer()

    def stop(self) -> None:
        self.alive = self.alive and not self.heeds_kill

    kill = stop

    def release(self) -> None:
        assert not (self.alive and self.heeds_kill)

    def resident_bytes(self) -> int:
        return 42


class Stage:
    """A supervised worker with everything around it faked."""

    def __init__(self, idle_s: float | None = 10.0, spare_deaths: int | None = None) -> None:
        self.clock = FakeClock()
        self.started: list[FakeProcess] = []
        self.start_error: OcrwatchError | None = None
        self.meanwhile: Callable[[], object] = lambda: None  # while it starts
        self.answer: Callable[[], dict[str, Any]] = lambda: {"fine": True}
        self.gone: list[Snapshot] = []
        self.worker = Supervised(
            spawning(lambda: WorkerSpec(module="none"), self._start),  # type: ignore[arg-type] # a fake
            idle_s=idle_s,
            clock=self.clock,
            spare_deaths=spare_deaths,
            gone=self.gone.append,
        )

    def _start(self, spec: WorkerSpec, progress: Any) -> FakeProcess:
        self.meanwhile()
        if self.start_error is not None:
            raise self.start_error
        self.started.append(FakeProcess(100 + len(self.started), lambda: self.answer()))
        return self.started[-1]

    def call(self) -> dict[str, Any]:
        return self.worker.call({"op": "x"}, deadline_s=1.0)

    def state(self) -> WorkerState:
        return self.worker.snapshot().state

    def die_answering(self) -> None:
        def die() -> dict[str, Any]:
            raise WorkerDied("SIGABRT")

        kept, self.answer = self.answer, die
        with pytest.raises(WorkerDied, match="SIGABRT"):
            self.call()
        self.answer = kept

    def left_behind(self) -> tuple[OcrwatchError, FakeProcess]:
        """What a start ends with whose process outlasts its KILL."""
        error, process = WorkerTimedOut("no answer within 1 s"), FakeProcess(500, self.answer)
        process.heeds_kill = False
        error.left_behind = process
        return error, process

    def resting_s(self) -> float | None:
        """What is left of the back-off."""
        retry_at = self.worker.snapshot().retry_at
        return None if retry_at is None else retry_at - self.clock.now


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
    stage.worker.hold(stage.clock.now)
    stage.worker.hold(0.0)  # what ended before the last request adds nothing
    stage.clock.now += 9
    assert not stage.worker.end_if_idle()
    assert stage.worker.idle_left_s() == 1.0


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


def _diagram() -> dict[WorkerState, set[WorkerState]]:
    """The moves that the module's docstring draws."""
    lines = re.findall(r"^ +([A-Z]+) +-> ([A-Z |]+)$", supervised.__doc__ or "", re.MULTILINE)
    return {WorkerState[state]: {WorkerState[after] for after in afters.split(" | ")} for state, afters in lines}


def test_diagram_shows_the_moves_that_are_allowed() -> None:
    """What a newcomer reads is what holds, for every state."""
    assert _diagram() == ALLOWED
    assert set(ALLOWED) == set(WorkerState)


@pytest.mark.parametrize(
    ("state", "after"), [(state, after) for state in WorkerState for after in WorkerState if after not in ALLOWED[state]]
)
def test_move_that_is_not_in_the_table_raises(state: WorkerState, after: WorkerState) -> None:
    """A bug of ours ends where it happens."""
    stage = Stage()
    stage.worker._snapshot = Snapshot(state=state)
    with pytest.raises(IllegalTransition, match=f"{state} -> {after}"):
        stage.worker._move(after)
    assert stage.state() is state


def test_worker_that_died_while_idle_is_noticed_by_a_look() -> None:
    """No request has to come: it is reaped, counted and told, and nothing says any more that it is ready."""
    stage = Stage(idle_s=None)
    stage.call()
    stage.worker.look()
    assert stage.state() is WorkerState.READY
    stage.started[0].alive = False
    assert stage.worker.look()
    assert not stage.worker.look()
    now = stage.worker.snapshot()
    assert (now.state, now.pid, now.deaths, now.problem) == (WorkerState.COLD, None, 1, "it ended while it had nothing to do")
    assert [ended.pid for ended in stage.gone] == [100]


def test_idle_time_of_an_earlier_process_does_not_touch_a_later_one() -> None:
    """B2. Each process is an epoch, and what is timed goes with it."""
    stage = Stage(idle_s=10.0)
    stage.call()
    first = stage.worker.snapshot()
    stage.clock.now += 9
    stage.worker.stop()
    stage.call()
    assert (first.starts, stage.worker.snapshot().starts) == (1, 2)
    stage.clock.now += 5  # the first one's time is over
    assert not stage.worker.end_if_idle()
    assert stage.worker.idle_left_s() == 5.0


def test_back_off_of_an_earlier_start_does_not_touch_a_later_one() -> None:
    """B2."""
    stage = Stage()
    stage.start_error = MissingPart("no model")
    with pytest.raises(MissingPart):
        stage.call()
    stage.worker.stop()
    stage.start_error = None
    assert stage.call() == {"fine": True}
    assert stage.worker.snapshot().retry_at is None


def test_process_that_not_even_kill_ends_has_no_second_one_beside_it() -> None:
    """It hangs in a driver: the worker says so, and goes on as soon as it is gone."""
    stage = Stage()
    stage.call()
    stage.started[0].heeds_kill = False
    stage.worker.stop()
    assert stage.state() is WorkerState.STOPPING
    assert "process 100 was killed and does not end" in stage.worker.snapshot().problem
    stage.worker.look()
    stage.worker.stop()
    with pytest.raises(Infrastructure, match="does not end"):
        stage.call()
    assert (stage.state(), len(stage.started), stage.gone) == (WorkerState.STOPPING, 1, [])
    assert not stage.worker.may_start()
    stage.started[0].alive = False
    stage.worker.look()
    assert (stage.state(), stage.worker.snapshot().problem) == (WorkerState.COLD, "")
    assert [ended.pid for ended in stage.gone] == [100]
    assert stage.call() == {"fine": True}


def test_start_that_not_even_kill_ends_has_no_second_one_beside_it() -> None:
    """It hangs in a driver before it says hello; the back-off counts from when it is gone."""
    stage = Stage()
    stage.start_error, left = stage.left_behind()
    with pytest.raises(WorkerTimedOut, match="no answer"):
        stage.call()
    now = stage.worker.snapshot()
    assert (now.state, now.pid) == (WorkerState.STOPPING, left.pid)
    assert f"process {left.pid} was killed and does not end" in now.problem
    stage.clock.now += 1000
    with pytest.raises(Infrastructure, match="does not end"):
        stage.call()
    left.alive = False
    stage.worker.look()
    assert (stage.state(), stage.resting_s(), stage.gone) == (WorkerState.BACKOFF, backoff_s(1), [])
    stage.clock.now += backoff_s(1)
    stage.start_error, left = stage.left_behind()
    left.alive = False  # by now
    with pytest.raises(WorkerTimedOut, match="no answer"):
        stage.call()
    assert (stage.state(), stage.resting_s()) == (WorkerState.BACKOFF, backoff_s(2))
    stage.clock.now += backoff_s(2)
    stage.start_error = None
    assert stage.call() == {"fine": True}


def test_start_that_is_given_up_and_not_ended_by_kill_is_no_failure() -> None:
    """Nor is it lost sight of."""
    stage = Stage()
    stage.meanwhile = stage.worker.abandon
    stage.start_error, left = stage.left_behind()
    with pytest.raises(WorkerTimedOut):
        stage.call()
    assert stage.state() is WorkerState.STOPPING
    left.alive = False
    stage.worker.look()
    assert (stage.state(), stage.resting_s(), stage.worker.snapshot().pid) == (WorkerState.COLD, None, None)


def test_process_that_dies_and_cannot_be_reaped_counts_once() -> None:
    """Killed at its deadline, in a call that does not end: the death keeps its reason."""
    stage = Stage(spare_deaths=0)
    stage.call()
    stage.started[0].heeds_kill = False
    stage.die_answering()
    stage.worker.look()
    assert (stage.state(), stage.worker.snapshot().deaths) == (WorkerState.STOPPING, 1)
    stage.started[0].alive = False
    with pytest.raises(WorkerDied, match="SIGABRT"):
        stage.worker.ensure()
    assert (stage.state(), stage.worker.snapshot().deaths) == (WorkerState.BACKOFF, 1)


def test_worker_that_loads_and_dies_at_every_request_is_started_ever_more_rarely() -> None:
    """A load of gigabytes a page, for every page, for ever, would be a crash loop as well."""
    stage = Stage(spare_deaths=1)
    stage.die_answering()
    assert stage.state() is WorkerState.COLD  # the page may be to blame
    waits = []
    for _ in range(4):
        stage.die_answering()
        assert stage.state() is WorkerState.BACKOFF
        waits.append(stage.resting_s())
        with pytest.raises(WorkerDied, match="SIGABRT"):
            stage.worker.ensure()
        stage.clock.now += waits[-1] or 0.0
    assert waits == [1, 2, 4, 8]
    assert stage.call() == {"fine": True}
    stage.die_answering()
    assert stage.state() is WorkerState.COLD  # one good answer, and the count begins anew


def test_idle_end_between_two_deaths_does_not_reset_their_count() -> None:
    """Only an answer proves that a worker works."""
    stage = Stage(spare_deaths=1)
    stage.die_answering()
    stage.worker.ensure()
    stage.clock.now += 11
    assert stage.worker.end_if_idle()
    assert stage.state() is WorkerState.COLD
    stage.die_answering()
    assert stage.state() is WorkerState.BACKOFF


def test_deaths_do_not_make_a_worker_wait_where_its_owner_counts_them() -> None:
    """Recognition: each file has a budget, and the next is not to suffer for it."""
    stage = Stage()
    for _ in range(5):
        stage.die_answering()
        assert stage.state() is WorkerState.COLD


def test_death_that_is_excused_does_not_count() -> None:
    """The device was short of memory: the next process, with less on it, starts at once."""
    stage = Stage(spare_deaths=1)
    for _ in range(3):
        stage.die_answering()
        stage.worker.excuse()
        assert (stage.state(), stage.resting_s()) == (WorkerState.COLD, None)
    stage.die_answering()
    stage.die_answering()
    stage.worker.excuse()
    assert stage.state() is WorkerState.COLD


def test_worker_that_is_of_no_use_any_more_counts_as_dead() -> None:
    """It answered, and what it said means that it cannot go on."""
    stage = Stage(spare_deaths=0)
    stage.call()
    stage.worker.discard(Infrastructure("no memory"))
    assert (stage.state(), stage.started[0].alive) == (WorkerState.BACKOFF, False)
    stage.worker.discard(Infrastructure("said twice"))
    assert stage.worker.snapshot().deaths == 1


@pytest.mark.parametrize("fails", [False, True])
def test_start_that_is_given_up_is_no_failure(fails: bool) -> None:
    """By another thread, while the model loads: whether the start ended by it or was done at that moment, nothing is left."""
    stage = Stage()

    def give_up() -> None:
        assert stage.worker.abandon()
        if fails:
            stage.start_error = WorkerDied("it was ended")

    stage.meanwhile = give_up
    with pytest.raises(WorkerDied):
        stage.worker.ensure()
    assert (stage.state(), stage.resting_s(), stage.worker.snapshot().problem) == (WorkerState.COLD, None, "")
    assert not any(process.alive for process in stage.started)
    assert len(stage.gone) == len(stage.started)
    stage.meanwhile, stage.start_error = lambda: None, None
    assert stage.call() == {"fine": True}


def test_reason_of_a_failed_start_is_told_until_one_succeeds() -> None:
    """A try that is under way, or was given up, is no answer to why there is no worker."""
    stage = Stage()
    stage.start_error = MissingPart("no engine")
    with pytest.raises(MissingPart):
        stage.call()
    stage.clock.now += backoff_s(1)
    told: list[str] = []

    def give_up() -> None:
        told.append(stage.worker.snapshot().problem)
        stage.worker.abandon()

    stage.meanwhile = give_up
    with pytest.raises(MissingPart):
        stage.call()
    assert (told, stage.state(), stage.worker.snapshot().problem) == (["no engine"], WorkerState.COLD, "no engine")
    stage.meanwhile, stage.start_error = (lambda: None), None
    stage.call()
    assert stage.worker.snapshot().problem == ""


def test_worker_that_is_there_is_not_given_up() -> None:
    """`abandon` is for starts: a request is never cut off by it, nor the next start spoilt."""
    stage = Stage()
    assert not stage.worker.abandon()
    stage.answer = lambda: {"given_up": stage.worker.abandon()}
    assert stage.call() == {"given_up": False}
    assert stage.state() is WorkerState.READY


def test_interrupt_ends_the_start_that_is_under_way_and_every_later_one() -> None:
    """At shutdown."""
    stage = Stage()
    stage.meanwhile = stage.worker.interrupt
    for _ in range(2):
        with pytest.raises(WorkerDied):
            stage.worker.ensure()
    assert not any(process.alive for process in stage.started)


def test_start_gets_an_event_of_its_own() -> None:
    """What gives up one start must not be seen by the next."""
    seen: list[threading.Event] = []

    def begin(ended: threading.Event, progress: Any) -> Any:
        seen.append(ended)
        return FakeProcess(len(seen), dict)

    worker = Supervised(begin, idle_s=None, clock=FakeClock())
    for _ in range(2):
        worker.ensure()
        worker.stop()
    assert seen[0] is not seen[1]
