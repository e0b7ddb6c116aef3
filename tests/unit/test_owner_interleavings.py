"""The model's owner under everything that may happen to it, in every order and at every moment, turn by turn.

No thread and no process: the clock, the loader and the worker are the test's, and so is the moment of every event, also of those
that come in the middle of a load, a request or a stop. The owner, the supervision and the queue are the real ones.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from enum import StrEnum
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocrwatch.correction.owner import ModelOwner
from ocrwatch.correction.placing import is_shortage
from ocrwatch.correction.protocol import Correction, CorrectionRequest
from ocrwatch.errors import ModelUnavailable, OcrwatchError, WorkerDied
from ocrwatch.worker.supervised import WorkerState
from tests.faults.waiting import FakeClock

_IDLE_S = 10.0


class Event(StrEnum):
    """What may happen, to the owner or around it."""

    IDLE = "idle"  # the idle time passes
    PAGE = "page"  # a page is asked for
    LEASE = "lease"  # pages that will need the model begin to be recognized
    RELEASE = "release"  # they are done
    EXIT = "exit"  # the process ends by itself
    UNLOAD = "unload"  # a person wants the memory
    LOOKS = "looks"  # somebody asks ten times for the status
    NO_LOAD = "no load"  # the next load fails
    SHORT = "short"  # the device is short of memory at the next page


class Moment(StrEnum):
    """When events come that come within a turn."""

    LOAD = "load"
    REQUEST = "request"
    STOP = "stop"


_FROM_OUTSIDE = (Event.IDLE, Event.PAGE, Event.LEASE, Event.RELEASE, Event.EXIT, Event.UNLOAD, Event.LOOKS)


class Process:
    """A child that the world lets live and die."""

    def __init__(self, world: World) -> None:
        self._world = world
        world.processes.append(self)
        self.pid = len(world.processes)
        self.hello = {"layers_on_gpu": 1}
        self.alive = True
        self.was_told_to_go = False

    def call(self, request: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Answers, unless it dies under the request."""
        assert not self.was_told_to_go, "a request to a process that was told to go"
        self._world.reach(Moment.REQUEST)
        if self._world.is_short:
            self._world.is_short = self.alive = False
            raise WorkerDied("SIGABRT", last_words=["CUDA error: out of memory"])
        if not self.alive:
            self._world.lost += 1
            raise WorkerDied("SIGKILL")
        return Correction().to_json()

    def stop(self) -> None:
        """Goes."""
        self.was_told_to_go = True
        self._world.reach(Moment.STOP)
        self.alive = False

    def kill(self) -> None:
        """Goes at once."""
        self.alive = False

    def release(self) -> None:
        """Has nothing to give back."""
        assert not self.alive

    def resident_bytes(self) -> int:
        """Says something."""
        return 42


class World:
    """An owner, and all that it depends on. Is its own loader and verifier."""

    file = None
    placed = ""
    fetched = None
    last = None

    def __init__(self, idle_s: float | None = _IDLE_S) -> None:
        self.clock = FakeClock()
        self.processes: list[Process] = []
        self.pages: list[Future[Correction]] = []
        self.leases: list[ExitStack] = []
        self.verified: list[int] = []
        self.fails_to_load = False
        self.is_short = False
        self.lost = 0  # processes that died under a page
        self.plans: dict[Moment, list[Event]] = {}
        plan = cast(Any, SimpleNamespace(idle_s=idle_s, page_timeout_s=1.0))
        self.owner = ModelOwner(plan, clock=self.clock, on_back=lambda: None, loader=cast(Any, self), has_thread=False)
        self.owner._verifier = cast(Any, self)

    def load(self, ended: threading.Event, _: Any) -> Process:
        """A process, unless the next load is to fail or is given up."""
        assert not self.alive(), "a second process beside the first"
        self.reach(Moment.LOAD)
        if self.fails_to_load:
            self.fails_to_load = False
            raise ModelUnavailable("no model")
        if ended.is_set():
            raise WorkerDied("it was ended")
        return Process(self)

    def died(self, error: OcrwatchError) -> bool:
        """There always is a lower step."""
        return is_shortage(error)

    def forget(self) -> None:
        """There is no file."""

    def returned(self, pid: int) -> None:
        """Is never asked: the verifier is the world as well."""

    def add(self, pid: int) -> None:
        """A process is to be verified."""
        assert not self.processes[pid - 1].alive
        self.verified.append(pid)

    def close(self) -> None:
        """Nothing is verified here."""

    def counts(self) -> dict[Any, int]:
        """No verdicts."""
        return {}

    def reach(self, moment: Moment) -> None:
        """The owner is in the midst of something: what is planned for then happens, once."""
        for event in self.plans.pop(moment, ()):
            self.happen(event)

    def happen(self, event: Event) -> None:
        """Let it happen, as it would from another thread."""
        match event:
            case Event.IDLE:
                self.clock.now += _IDLE_S
            case Event.PAGE:
                self.pages.append(self.owner.correct("in", 1, lambda: CorrectionRequest(text="a page")))
            case Event.LEASE:
                stack = ExitStack()
                stack.enter_context(self.owner.soft_lease()).take()
                self.leases.append(stack)
            case Event.RELEASE:
                self._release()
            case Event.EXIT:
                self._exit()
            case Event.UNLOAD:
                self.owner.unload()
            case Event.LOOKS:
                self._look()
            case Event.NO_LOAD:
                self.fails_to_load = True
            case _:
                self.is_short = True

    def _release(self) -> None:
        if self.leases:
            self.leases.pop().close()

    def _exit(self) -> None:
        for process in self.alive():
            process.alive = False

    def _look(self) -> None:
        first, *others = [self.owner.status() for _ in range(10)]
        assert all(other == first for other in others)

    def step(self) -> None:
        """One turn of the owner, after which everything must fit together."""
        self.owner.step()
        self.check()

    def check(self) -> None:
        """What holds between any two turns."""
        assert len(self.alive()) <= 1
        waiting = [page for page in self.pages if not page.done()]
        assert len(waiting) == len(self.owner._queue), "a page is lost, or waits though it has its answer"
        now = self.owner.status().worker
        assert now.state in (WorkerState.COLD, WorkerState.READY, WorkerState.BACKOFF)
        assert (now.pid is not None) == (now.state is WorkerState.READY)
        assert not self.alive() or self.alive()[0].pid == now.pid
        assert sum(page.done() and page.exception() is not None for page in self.pages) == self.lost, "a page is blamed"

    def alive(self) -> list[Process]:
        """The processes that run."""
        return [process for process in self.processes if process.alive]

    def state(self) -> WorkerState:
        """Of the worker."""
        return self.owner.status().worker.state

    def settle(self) -> None:
        """Nothing more happens: every page gets its answer, and after the idle time nothing is left."""
        self.plans.clear()
        while self.leases:
            self.happen(Event.RELEASE)
        for _ in range(60):
            if all(page.done() for page in self.pages) and not self.owner._wanted:
                break
            self.clock.now += 1
            self.step()
        assert all(page.done() for page in self.pages), "a page waits for ever"
        for _ in range(3):
            self.step()
            self.clock.now += _IDLE_S
        self.step()
        assert (self.state(), self.alive()) == (WorkerState.COLD, [])
        assert self.verified == [process.pid for process in self.processes], "each is verified once, in order"


def _groupings(events: Sequence[Event], *patterns: Sequence[bool]) -> Iterator[list[tuple[Event, bool]]]:
    """The events in their order, each with whether a turn comes before the next, as the patterns say or in every way there is.

    After the last one a turn always comes.
    """
    for turns in patterns or itertools.product((False, True), repeat=len(events) - 1):
        yield list(zip(events, (*turns, True), strict=True))


def _live(course: Sequence[tuple[Event, bool]], plans: dict[Moment, list[Event]] | None = None) -> World:
    """A world to its end."""
    world = World()
    world.plans = dict(plans or {})
    for event, is_turn in course:
        world.happen(event)
        if is_turn:
            world.step()
    world.settle()
    return world


def _told(world: Callable[[], World], *course: Any) -> None:
    """Live, and say which course it was that failed."""
    try:
        world()
    except Exception as error:
        raise AssertionError(f"{error!r} in {course}") from error


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_order_of_events_ends_well(count: int) -> None:
    """B1. With any of them twice or thrice, and a turn of the owner between any two or not."""
    for events in itertools.product(Event, repeat=count):
        for course in _groupings(events):
            _told(lambda now=course: _live(now), course)  # type: ignore[misc]


def test_every_order_of_four_different_events_ends_well() -> None:
    """B1. With a turn between any two, between none, or after the first and the last."""
    for events in itertools.permutations(Event, 4):
        for course in _groupings(events, (True, True, True), (False, False, False), (True, False, True)):
            _told(lambda now=course: _live(now), course)  # type: ignore[misc]


@pytest.mark.parametrize("moment", Moment)
def test_events_in_the_midst_of_a_turn_end_well(moment: Moment) -> None:
    """B1, B3. Other threads do not wait for the end of a load, a request or a stop."""
    befores = [course for count in (1, 2) for events in itertools.product(Event, repeat=count) for course in _groupings(events)]
    within = [[event] for event in _FROM_OUTSIDE] + [list(pair) for pair in itertools.permutations(_FROM_OUTSIDE, 2)]
    for course, events in itertools.product(befores, within):
        _told(lambda now=course, then=events: _live(now, {moment: then}), course, moment, events)  # type: ignore[misc]


def test_longer_courses_end_well() -> None:
    """A sample, the same at every run, of courses of five to eight events, with others in the midst of the turns."""
    dice = random.Random(6)
    for _ in range(4000):
        count = dice.randint(5, 8)
        course = [(dice.choice(list(Event)), dice.random() < 0.5) for _ in range(count)]
        plans = {moment: dice.choices(_FROM_OUTSIDE, k=dice.randint(0, 2)) for moment in Moment}
        _told(lambda now=course, then=plans: _live(now, then), course, plans)  # type: ignore[misc]


def test_b1_page_that_comes_as_the_idle_time_ends_is_answered() -> None:
    """B1. Before that turn it is answered by the process that is there, within it by a new one."""
    before = _live([(Event.PAGE, True), (Event.IDLE, False), (Event.PAGE, True)])
    assert len(before.processes) == 1
    within = _live([(Event.PAGE, True), (Event.IDLE, True)], {Moment.STOP: [Event.PAGE]})
    assert len(within.processes) == 2


def test_b2_idle_time_of_an_earlier_process_does_not_end_a_later_one() -> None:
    """B2. Loaded a second before the time of the first one would be over."""
    world = World()
    world.happen(Event.PAGE)
    world.step()
    world.clock.now += _IDLE_S - 1
    world.happen(Event.EXIT)
    world.step()
    world.happen(Event.PAGE)
    world.step()
    world.clock.now += 2
    world.step()
    assert (world.state(), world.owner.status().epoch) == (WorkerState.READY, 2)
    assert world.owner.status().idle_left_s == _IDLE_S - 2


def test_b3_page_that_comes_while_the_model_goes_gets_a_new_one() -> None:
    """B3. As soon as the old one is gone, without waiting until its memory is proved free."""
    world = World()
    world.happen(Event.PAGE)
    world.step()
    world.plans = {Moment.STOP: [Event.PAGE]}
    world.happen(Event.UNLOAD)
    world.step()
    assert (world.state(), world.pages[1].done()) == (WorkerState.COLD, False)
    world.step()
    assert world.pages[1].result(0) == Correction()
    assert (len(world.processes), world.verified) == (2, [1])


def test_b4_page_that_takes_longer_than_the_idle_time_keeps_the_model() -> None:
    """B4. The time counts from its end."""
    world = World()
    world.plans = {Moment.REQUEST: [Event.IDLE, Event.IDLE, Event.LOOKS]}
    world.happen(Event.PAGE)
    world.step()
    world.step()
    assert (world.state(), world.owner.status().idle_left_s) == (WorkerState.READY, _IDLE_S)


def test_b5_status_that_is_asked_for_all_the_time_keeps_nothing_and_starts_nothing() -> None:
    """B5. Ten times a second, for three times the idle time."""
    world = World()
    world.happen(Event.LOOKS)
    world.step()
    assert world.processes == []
    world.happen(Event.PAGE)
    world.step()
    begun_s = world.clock.now
    for _ in range(int(30 * _IDLE_S)):
        world.happen(Event.LOOKS)
        world.clock.now += 0.1
        world.step()
        if world.state() is WorkerState.COLD:
            break
    assert world.clock.now - begun_s == pytest.approx(_IDLE_S, abs=0.2)
    for _ in range(20):
        world.happen(Event.LOOKS)
        world.step()
    assert len(world.processes) == 1


def test_b6_jump_of_the_wall_clock_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """B6. Nothing asks for it, only for the clock that was given."""
    world = World()
    world.happen(Event.PAGE)
    world.step()
    for jumped in (0.0, 4e9):
        monkeypatch.setattr(time, "time", lambda now=jumped: now)
        world.step()
        assert (world.state(), world.owner.status().idle_left_s) == (WorkerState.READY, _IDLE_S)


def test_b7_page_under_which_the_model_dies_has_its_answer_at_once() -> None:
    """B7. And the state says so; who asked for it asks again, and a new process answers."""
    world = World()
    world.plans = {Moment.REQUEST: [Event.EXIT]}
    world.happen(Event.PAGE)
    world.step()
    assert isinstance(world.pages[0].exception(0), WorkerDied)
    assert world.state() is WorkerState.COLD
    world.happen(Event.PAGE)
    world.step()
    assert world.pages[1].result(0) == Correction()
    assert len(world.processes) == 2


def test_b8_page_that_ends_every_model_does_not_keep_others_from_theirs() -> None:
    """B8. Each of its tries costs a process, and what comes behind is answered, after the back-off at the latest."""
    world = World()
    for _ in range(4):
        world.plans = {Moment.REQUEST: [Event.EXIT]}
        world.happen(Event.PAGE)
        while not world.pages[-1].done():
            world.clock.now += 1
            world.step()
    assert [type(page.exception(0)) for page in world.pages] == [WorkerDied] * 4
    world.happen(Event.PAGE)
    world.settle()
    assert world.pages[-1].result(0) == Correction()


def test_model_that_is_never_to_go_is_there_for_ever() -> None:
    """`idle_unload: never`, but a person may end it."""
    world = World(idle_s=None)
    world.happen(Event.PAGE)
    for _ in range(5):
        world.step()
        world.happen(Event.IDLE)
    assert world.state() is WorkerState.READY
    world.happen(Event.UNLOAD)
    world.step()
    assert world.state() is WorkerState.COLD
