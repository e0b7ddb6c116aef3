"""The model's owner, with fake processes and a clock that the test moves: loaded when needed, gone when idle."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any, cast

import pytest

from ocrwatch.correction import owner as owner_module
from ocrwatch.correction.owner import ModelOwner, ModelPlan, model_of
from ocrwatch.correction.protocol import Correction, CorrectionRequest
from ocrwatch.correction.store import Download, ModelFile, ModelWish, Source
from ocrwatch.errors import MissingPart, ModelUnavailable, OcrwatchError, StateUnwritable, WorkerDied
from ocrwatch.worker.process import WorkerSpec
from ocrwatch.worker.supervised import Supervised, WorkerState
from tests.faults.waiting import FakeClock, wait_until

Answer = Callable[[], dict[str, Any]]


class FakeProcess:
    """A child that does what the stage says."""

    def __init__(self, stage: Stage, spec: WorkerSpec) -> None:
        if spec.module in stage.refuse_start:
            raise stage.refuse_start[spec.module]
        self.module = spec.module
        self.hello = {"device": "gpu"}
        self.alive = True
        self._stage = stage
        stage.processes.append(self)
        self.pid = len(stage.processes)

    def call(self, request: dict[str, Any], **_: Any) -> dict[str, Any]:
        self._stage.requests.append((self.module, str(request["op"])))
        answer = self._stage.answers[str(request["op"])]
        return answer()

    def stop(self) -> None:
        self.alive = False

    kill = stop

    def release(self) -> None:
        assert not self.alive

    def resident_bytes(self) -> int:
        return 42


class Stage:
    """A model's owner with everything around it faked."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.processes: list[FakeProcess] = []
        self.requests: list[tuple[str, str]] = []
        self.refuse_start: dict[str, OcrwatchError] = {}
        path.touch()
        self.file = ModelFile(path=path, file=path.name, sha256="0", size_bytes=1, source=Source.PATH)
        self.answers: dict[str, Answer] = {"find": self.file.to_json, "correct": Correction().to_json}
        self.backs = 0
        self.owner: ModelOwner

    def start(self, *, idle_s: float | None = 300.0, download: Download = Download.NEVER) -> ModelOwner:
        def on_back() -> None:
            self.backs += 1
            raise StateUnwritable("the disk is full")  # must not end the owner's thread

        plan = ModelPlan(
            wish=ModelWish(path=self.file.path, download=download),
            fetch=WorkerSpec(module="fetch"),
            load=lambda _: WorkerSpec(module="model"),
            idle_s=idle_s,
            page_timeout_s=1.0,
        )
        self.owner = ModelOwner(plan, clock=self.clock, on_back=on_back)
        return self.owner

    def ask(self, job: int = 1) -> Any:
        return self.owner.correct("in", job, lambda: CorrectionRequest(text="a page"))

    def state(self) -> WorkerState:
        return self.owner.status().worker.state

    def look(self) -> None:
        """Time has passed: let the owner see it."""
        self.owner._queue.nudge()

    def models(self) -> list[FakeProcess]:
        return [p for p in self.processes if p.module == "model"]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A stage whose owner is stopped at the end, with no process left."""
    made = Stage(tmp_path / "model.gguf")

    def process(spec: WorkerSpec, **_: Any) -> FakeProcess:
        return FakeProcess(made, spec)

    monkeypatch.setattr(owner_module, "_LOOK_S", 0.01)
    monkeypatch.setattr(owner_module, "WorkerProcess", process)
    monkeypatch.setattr(owner_module, "Supervised", functools.partial(Supervised, start=cast(Any, process)))
    yield made
    made.owner.stop(drain_s=1.0)
    assert not any(p.alive for p in made.processes)


def _raiser(error: OcrwatchError) -> Answer:
    def answer() -> dict[str, Any]:
        raise error

    return answer


def test_model_is_loaded_with_the_first_page_and_found_once(stage: Stage) -> None:
    """Nothing runs before there is work; the second page finds it loaded."""
    owner = stage.start()
    assert (stage.state(), owner.status().file) == (WorkerState.COLD, None)
    assert stage.ask().result(5) == Correction()
    assert stage.ask().result(5) == Correction()
    assert stage.requests == [("fetch", "find"), ("model", "correct"), ("model", "correct")]
    assert owner.status().file == stage.file
    assert owner.status().worker.state is WorkerState.READY
    assert [p.alive for p in stage.processes] == [False, True]


def test_model_goes_when_idle(stage: Stage) -> None:
    """Its process is the memory; asking for the status does not keep it."""
    owner = stage.start(idle_s=300.0)
    stage.ask().result(5)
    wait_until(lambda: owner.status().idle_left_s == 300.0)
    stage.clock.now += 299
    stage.look()
    assert owner.status().idle_left_s == 1.0
    stage.clock.now += 1
    stage.look()
    wait_until(lambda: stage.state() is WorkerState.COLD)
    assert not stage.models()[0].alive


def test_soft_lease_loads_the_model_and_keeps_it(stage: Stage) -> None:
    """Pages that will need it are being recognized."""
    owner = stage.start(idle_s=300.0)
    with owner.soft_lease():
        wait_until(lambda: stage.state() is WorkerState.READY)
        stage.clock.now += 1000
        stage.look()
        wait_until(lambda: owner.status().idle_left_s == 300.0)
        assert stage.state() is WorkerState.READY
    stage.clock.now += 301
    stage.look()
    wait_until(lambda: stage.state() is WorkerState.COLD)


def test_model_that_goes_at_once_is_kept_while_leased_without_a_busy_loop(stage: Stage) -> None:
    """`idle_unload: 0`: the owner sleeps while pages are being recognized, and unloads when that is over."""
    owner = stage.start(idle_s=0.0)
    looks = 0
    take = owner._queue.take

    def counted(timeout_s: float | None = None) -> Any:
        nonlocal looks
        looks += 1
        return take(timeout_s)

    owner._queue.take = counted  # type: ignore[method-assign] # counts
    with owner.soft_lease():
        wait_until(lambda: stage.state() is WorkerState.READY)
        threading.Event().wait(0.2)  # a busy loop would take thousands of turns in this time
        assert looks < 20
        assert stage.state() is WorkerState.READY
    wait_until(lambda: stage.state() is WorkerState.COLD)


def test_unload_ends_the_model_now(stage: Stage) -> None:
    """And the next page loads it again."""
    owner = stage.start()
    stage.ask().result(5)
    owner.unload()
    wait_until(lambda: stage.state() is WorkerState.COLD)
    assert stage.ask().result(5) == Correction()
    assert len(stage.models()) == 2


def test_unload_waits_for_the_page_in_hand_and_for_no_other(stage: Stage) -> None:
    """A book in the queue does not put it off."""
    owner, begun, go_on = stage.start(), threading.Event(), threading.Event()

    def slow() -> dict[str, Any]:
        begun.set()
        assert go_on.wait(5)
        return Correction().to_json()

    stage.answers["correct"] = slow
    pages = [stage.ask() for _ in range(3)]
    assert begun.wait(5)
    owner.unload()
    assert stage.models()[0].alive
    go_on.set()
    assert [page.result(5) for page in pages] == [Correction()] * 3
    assert len(stage.models()) == 2


def test_pages_wait_while_no_model_is_to_be_had(stage: Stage) -> None:
    """They are not answered with an error; who asked decides how long to wait. It is tried again ever more rarely."""
    stage.refuse_start["model"] = ModelUnavailable("no memory", "close other programs")
    owner = stage.start()
    page = stage.ask()
    wait_until(lambda: owner.status().unavailable_since is not None)
    assert stage.state() is WorkerState.BACKOFF
    assert "no memory" in owner.status().worker.problem
    assert not page.done()
    since = stage.clock.now
    stage.clock.now += 60
    assert owner.patience_s(600, since=stage.clock.now) == 540
    assert owner.patience_s(600, since=since - 30) == 510
    wait_until(lambda: owner.status().worker.starts >= 2)
    del stage.refuse_start["model"]
    stage.clock.now += 60
    assert page.result(5) == Correction()
    assert owner.status().unavailable_since is None
    assert owner.patience_s(600, since=stage.clock.now) == 600
    assert stage.backs == 1
    stage.ask().result(5)
    assert stage.backs == 1


def test_model_comes_back_without_a_page_that_waits(stage: Stage) -> None:
    """Jobs that await correction are told, though none of them asks any more."""
    stage.refuse_start["model"] = ModelUnavailable("no memory", "")
    owner = stage.start()
    page = stage.ask()
    wait_until(lambda: owner.status().unavailable_since is not None)
    owner.forget("in", 1)
    page.cancel()
    del stage.refuse_start["model"]
    stage.clock.now += 10
    wait_until(lambda: stage.backs == 1)


def test_model_that_is_not_installed_is_not_waited_for(stage: Stage) -> None:
    """Nothing will come of waiting until a person pulls it."""
    stage.answers["find"] = _raiser(MissingPart("no model", "ocrwatch model pull"))
    owner = stage.start()
    stage.ask()
    wait_until(lambda: owner.status().unavailable_since is not None)
    assert owner.patience_s(600, since=stage.clock.now) == 0
    assert "no model" in owner.status().worker.problem


def test_model_that_is_not_there_is_fetched_where_that_is_allowed(stage: Stage) -> None:
    """`download: auto`."""
    stage.answers["find"] = _raiser(MissingPart("no model", "ocrwatch model pull"))
    stage.answers["fetch"] = stage.file.to_json
    stage.start(download=Download.AUTO)
    assert stage.ask().result(5) == Correction()
    assert stage.requests[:2] == [("fetch", "find"), ("fetch", "fetch")]


def test_model_file_that_was_moved_is_looked_for_again(stage: Stage, tmp_path: Path) -> None:
    """At the next load."""
    owner = stage.start()
    stage.ask().result(5)
    owner.unload()
    wait_until(lambda: stage.state() is WorkerState.COLD)
    stage.file.path.unlink()
    stage.ask().result(5)
    assert stage.requests.count(("fetch", "find")) == 2


def test_page_that_ends_the_model_gets_the_error_and_the_next_a_new_model(stage: Stage) -> None:
    """What it means for the page is decided by who asked."""
    stage.start()
    stage.answers["correct"] = _raiser(WorkerDied("SIGABRT"))
    with pytest.raises(WorkerDied):
        stage.ask().result(5)
    stage.answers["correct"] = Correction().to_json
    assert stage.ask().result(5) == Correction()
    assert len(stage.models()) == 2


@pytest.mark.parametrize("reply", [{}, {"edits": 7}, {"edits": [{"offset": "x"}]}])
def test_nonsense_from_the_model_is_an_error_of_its_worker(stage: Stage, reply: dict[str, Any]) -> None:
    """And does not end the owner's thread."""
    stage.start()
    stage.answers["correct"] = lambda: reply
    with pytest.raises(WorkerDied, match="nonsense"):
        stage.ask().result(5)
    stage.answers["correct"] = Correction().to_json
    assert stage.ask().result(5) == Correction()


def test_stop_cancels_what_waits(stage: Stage) -> None:
    """No job thread is left waiting for an answer that will not come."""
    stage.refuse_start["model"] = ModelUnavailable("no memory", "")
    owner = stage.start()
    pages = [stage.ask(n) for n in range(3)]
    wait_until(lambda: owner.status().unavailable_since is not None)
    owner.stop(drain_s=0.0)
    for page in [*pages, stage.ask()]:
        with pytest.raises(CancelledError):
            page.result(5)


def test_stop_in_the_middle_of_a_load_leaves_nobody_waiting(stage: Stage) -> None:
    """The page whose turn it was came back to a queue that is closed."""
    begun, go_on = threading.Event(), threading.Event()

    def find() -> dict[str, Any]:
        begun.set()
        assert go_on.wait(5)
        raise WorkerDied("it was ended")

    stage.answers["find"] = find
    owner = stage.start()
    page = stage.ask()
    assert begun.wait(5)
    stopper = threading.Thread(target=owner.stop, kwargs={"drain_s": 5.0})
    stopper.start()
    wait_until(owner._stopping.is_set)
    go_on.set()
    stopper.join(5)
    with pytest.raises(CancelledError):
        page.result(5)


def test_page_that_nobody_waits_for_is_not_corrected(stage: Stage) -> None:
    """Its job gave up while the model was away."""
    stage.refuse_start["model"] = ModelUnavailable("no memory", "")
    owner = stage.start()
    page = stage.ask(1)
    wait_until(lambda: owner.status().unavailable_since is not None)
    assert page.cancel()
    del stage.refuse_start["model"]
    stage.clock.now += 10
    assert stage.ask(2).result(5) == Correction()
    assert stage.requests.count(("model", "correct")) == 1


def test_what_the_sidecar_says_of_the_model(stage: Stage) -> None:
    """Where it is from, as far as that is known."""
    stage.start()
    said = model_of(stage.file)
    assert said is not None
    assert (said.repository, said.file, said.revision) == ("", "model.gguf", "")
    assert model_of(None) is None
