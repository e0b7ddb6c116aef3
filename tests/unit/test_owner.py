"""The model's owner, with fake processes and a clock that the test moves: loaded when needed, gone when idle."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from ocrwatch.correction import finding
from ocrwatch.correction import owner as owner_module
from ocrwatch.correction.loading import Loader, ModelPlan
from ocrwatch.correction.owner import ModelOwner, model_of
from ocrwatch.correction.placing import GpuPolicy
from ocrwatch.correction.protocol import Correction, CorrectionRequest
from ocrwatch.correction.returned import Proof, Returned
from ocrwatch.correction.store import Download, ModelFile, ModelWish, Source, stamp_of
from ocrwatch.errors import DeviceFull, MissingPart, ModelUnavailable, OcrwatchError, StateUnwritable, WorkerDied
from ocrwatch.tally import Counted, Timed
from ocrwatch.worker.process import WorkerSpec
from ocrwatch.worker.supervised import WorkerState
from tests.faults.waiting import FakeClock, wait_until

Answer = Callable[[], dict[str, Any]]


class FakeProcess:
    """A child that does what the stage says."""

    def __init__(self, stage: Stage, spec: WorkerSpec) -> None:
        if spec.module in stage.refuse_start:
            raise stage.refuse_start[spec.module]
        self.module = spec.module
        self.layers = int(spec.options.get("layers") or 0)
        self.hello = {"device": "gpu" if self.layers else "cpu", "layers_on_gpu": self.layers}
        self.alive = True
        self._stage = stage
        stage.processes.append(self)
        self.pid = len(stage.processes)
        if spec.module == "model":
            stage.on_load(spec)

    def call(self, request: dict[str, Any], **_: Any) -> dict[str, Any]:
        self._stage.requests.append((self.module, str(request["op"])))
        answer = self._stage.answers[str(request["op"])]
        return answer()

    def __enter__(self) -> FakeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.alive = False

    kill = stop

    def release(self) -> None:
        assert not self.alive

    def resident_bytes(self) -> int:
        return 42


class Stage:
    """A model's owner with everything around it faked. layers: of the model, that are wanted on a GPU, if any."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.processes: list[FakeProcess] = []
        self.requests: list[tuple[str, str]] = []
        self.refuse_start: dict[str, OcrwatchError] = {}
        self.on_load: Callable[[WorkerSpec], object] = lambda _: None
        self.layers: int | None = None
        self.path = path
        path.touch()
        self.answers: dict[str, Answer] = {"find": self.find, "correct": Correction().to_json}
        self.backs = 0
        self.proofs: dict[int, Callable[[], Proof | None]] = {}  # of the model's processes, by pid
        self.owner: ModelOwner

    def find(self) -> dict[str, Any]:
        file = ModelFile(self.path, self.path.name, sha256="0", size_bytes=1, source=Source.PATH, stamp=stamp_of(self.path))
        return file.to_json()

    def start(
        self,
        *,
        idle_s: float | None = 300.0,
        download: Download = Download.NEVER,
        require: bool = False,
        has_thread: bool = True,
    ) -> ModelOwner:
        def on_back() -> None:
            self.backs += 1
            raise StateUnwritable("the disk is full")  # must not end the owner's thread

        plan = ModelPlan(
            wish=ModelWish(path=self.path, download=download),
            fetch=WorkerSpec(module="fetch"),
            devices=None,
            gpu=GpuPolicy(layers=self.layers, device=None, require=require, margin_bytes=0, context_tokens=4096),
            load=lambda _, placing: WorkerSpec(module="model", options={"layers": placing.layers}),
            idle_s=idle_s,
            page_timeout_s=1.0,
        )
        loader = Loader(plan, clock=self.clock, start=cast(Any, self.process))
        loader.returned = lambda pid: self.proofs[pid]()  # type: ignore[method-assign] # no driver is asked
        self.owner = ModelOwner(plan, clock=self.clock, on_back=on_back, loader=loader, has_thread=has_thread)
        return self.owner

    def process(self, spec: WorkerSpec, **_: Any) -> FakeProcess:
        return FakeProcess(self, spec)

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
    monkeypatch.setattr(owner_module, "_LOOK_S", 0.01)
    monkeypatch.setattr(owner_module, "_WATCH_S", 0.02)
    monkeypatch.setattr(finding, "WorkerProcess", made.process)
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
    file = owner.status().file
    assert file is not None
    assert file.path == stage.path
    assert model_of(file) is not None
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
    """Pages that will need it are being recognized, longer than the idle time, which counts from the end of that."""
    owner = stage.start(idle_s=300.0)
    with owner.soft_lease() as lease:
        assert owner.status().leases == 0
        lease.take()
        lease.take()
        wait_until(lambda: stage.state() is WorkerState.READY)
        stage.clock.now += 1000
        stage.look()
        assert (owner.status().idle_left_s, owner.status().leases) == (None, 1)
        assert stage.state() is WorkerState.READY
        stage.clock.now += 299
    assert owner.status().leases == 0
    wait_until(lambda: owner.status().idle_left_s == 300.0)
    stage.clock.now += 299
    stage.look()
    wait_until(lambda: owner.status().idle_left_s == 1.0)
    stage.clock.now += 1
    stage.look()
    wait_until(lambda: stage.state() is WorkerState.COLD)


def test_idle_time_counts_from_the_end_of_the_last_of_several_leases(stage: Stage) -> None:
    """B4. To the second, whenever the owner comes to look."""
    owner = stage.start(idle_s=300.0, has_thread=False)
    with owner.soft_lease() as long:
        long.take()
        owner.step()
        with owner.soft_lease() as short:
            short.take()
            stage.clock.now += 500
        stage.clock.now += 50
        owner.step()
        assert stage.state() is WorkerState.READY
    stage.clock.now += 200
    owner.step()
    assert owner.status().idle_left_s == 100.0
    stage.clock.now += 100
    owner.step()
    assert stage.state() is WorkerState.COLD


def test_lease_that_is_never_taken_loads_nothing(stage: Stage) -> None:
    """A job all of whose pages were read and corrected before; one that takes it when the job is done comes too late."""
    owner = stage.start(has_thread=False)
    with owner.soft_lease() as lease:
        owner.step()
    lease.take()
    owner.step()
    assert (stage.models(), owner.status().leases) == ([], 0)


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
    with owner.soft_lease() as lease:
        lease.take()
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
    stage.answers["fetch"] = stage.find
    stage.start(download=Download.AUTO)
    assert stage.ask().result(5) == Correction()
    assert stage.requests[:2] == [("fetch", "find"), ("fetch", "fetch")]


def test_model_file_that_was_moved_is_looked_for_again(stage: Stage, tmp_path: Path) -> None:
    """At the next load."""
    owner = stage.start()
    stage.ask().result(5)
    owner.unload()
    wait_until(lambda: stage.state() is WorkerState.COLD)
    stage.path.rename(tmp_path / "moved.gguf")
    stage.path = tmp_path / "moved.gguf"
    stage.ask().result(5)
    assert stage.requests.count(("fetch", "find")) == 2
    file = owner.status().file
    assert file is not None
    assert file.path == stage.path


def test_model_file_that_was_replaced_is_checked_again(stage: Stage) -> None:
    """Another model under the same name must not run by the digest of the first."""
    owner = stage.start(has_thread=False)
    for content in (b"", b"another"):
        stage.path.write_bytes(content)
        stage.ask()
        owner.step()
        owner.unload()
        owner.step()
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
    said = model_of(ModelFile.from_json(stage.find()))
    assert said is not None
    assert (said.repository, said.file, said.revision) == ("", "model.gguf", "")
    assert model_of(None) is None


def test_model_that_died_while_idle_is_noticed(stage: Stage) -> None:
    """Nothing stays said of a process that is gone, though the model is kept for ever and no page comes."""
    owner = stage.start(idle_s=None)
    stage.ask().result(5)
    wait_until(lambda: stage.state() is WorkerState.READY)
    stage.models()[0].alive = False
    wait_until(lambda: stage.state() is WorkerState.COLD)
    assert (owner.status().worker.pid, owner.status().worker.deaths) == (None, 1)
    assert len(stage.models()) == 1


def test_model_that_died_under_a_lease_is_loaded_again(stage: Stage) -> None:
    """Its pages are still being recognized: they would wait for it otherwise."""
    owner = stage.start(has_thread=False)
    with owner.soft_lease() as lease:
        lease.take()
        owner.step()
        stage.models()[0].alive = False
        owner.step()
        assert stage.state() is WorkerState.READY
    assert len(stage.models()) == 2


def test_model_that_dies_at_every_page_is_loaded_ever_more_rarely(stage: Stage) -> None:
    """Each page has its error; the pages behind wait for the back-off."""
    stage.answers["correct"] = _raiser(WorkerDied("SIGABRT"))
    owner = stage.start(has_thread=False)
    pages = [stage.ask() for _ in range(4)]
    for _ in range(10):
        owner.step()
    assert [page.done() for page in pages] == [True, True, False, False]
    assert stage.state() is WorkerState.BACKOFF
    stage.clock.now += 1
    owner.step()
    owner.step()
    assert [page.done() for page in pages] == [True, True, True, False]
    stage.answers["correct"] = Correction().to_json
    stage.clock.now += 2
    owner.step()
    assert pages[3].result(0) == Correction()


def _short(message: str = "SIGABRT", *last_words: str) -> WorkerDied:
    return WorkerDied(message, last_words=last_words or ("CUDA error: out of memory",))


def test_page_under_which_the_gpu_ran_short_is_corrected_with_less_on_it(stage: Stage) -> None:
    """It is not to blame: it waits in the queue, and a process with fewer layers starts at once."""
    stage.layers = 28
    stage.answers["correct"] = _raiser(_short())
    owner = stage.start(has_thread=False)
    page = stage.ask()
    stage.proofs[2] = lambda: None
    owner.step()
    assert (page.done(), stage.state(), len(owner._queue)) == (False, WorkerState.COLD, 1)
    stage.answers["correct"] = Correction().to_json
    owner.step()
    assert page.result(0) == Correction()
    assert [(model.layers, model.alive) for model in stage.models()] == [(28, False), (21, True)]
    assert "ran out of memory with more than 21 of 28 layers" in owner.status().degraded


def test_device_shortage_that_is_answered_ends_the_process_as_well(stage: Stage) -> None:
    """llama.cpp said so and lives: what it holds on the device is given up all the same."""
    stage.layers = 28
    stage.answers["correct"] = _raiser(DeviceFull("no room for the batch"))
    owner = stage.start(has_thread=False)
    page = stage.ask()
    stage.proofs[2] = lambda: None
    owner.step()
    assert (page.done(), stage.models()[0].alive) == (False, False)
    stage.answers["correct"] = Correction().to_json
    owner.step()
    assert page.result(0) == Correction()


def test_words_of_a_gpu_from_a_process_without_one_do_not_excuse_its_page(stage: Stage) -> None:
    """On the CPU there is nothing lower to go to: the page would be tried for ever."""
    stage.answers["correct"] = _raiser(_short())
    owner = stage.start(has_thread=False)
    page = stage.ask()
    owner.step()
    with pytest.raises(WorkerDied):
        page.result(0)


def test_required_gpu_that_is_short_makes_the_page_wait(stage: Stage) -> None:
    """`require_gpu`: rather later than on the CPU; ever more rarely, and the page is not to blame."""
    stage.layers = 28
    stage.proofs = dict.fromkeys(range(20), lambda: None)
    stage.answers["correct"] = _raiser(_short())
    owner = stage.start(has_thread=False, require=True)
    page = stage.ask()
    for _ in range(10):
        owner.step()
    assert (page.done(), stage.state()) == (False, WorkerState.BACKOFF)
    assert [model.layers for model in stage.models()] == [28, 21, 14, 7, 7]
    assert owner.patience_s(600, since=stage.clock.now) == 600
    stage.clock.now += 1
    stage.answers["correct"] = Correction().to_json
    owner.step()
    assert page.result(0) == Correction()
    assert not any(model.layers == 0 for model in stage.models())


def test_page_that_came_back_is_dropped_with_its_job(stage: Stage) -> None:
    """It was begun once; whoever waits for it must be told all the same."""
    stage.layers = 28
    stage.proofs = dict.fromkeys(range(20), lambda: None)
    stage.answers["correct"] = _raiser(_short())
    owner = stage.start(has_thread=False)
    forgotten, left = stage.ask(1), stage.ask(2)
    owner.step()
    owner.step()
    owner.forget("in", 1)
    owner.stop(drain_s=0.0)
    for page in (forgotten, left):
        with pytest.raises(CancelledError):
            page.result(0)


def test_unload_gives_up_a_load_that_is_under_way(stage: Stage) -> None:
    """At once, not after the minutes that it takes; the page for which it was keeps waiting, and loads it anew."""
    owner, loads = stage.start(has_thread=False), 0

    def load(spec: WorkerSpec) -> None:
        nonlocal loads
        loads += 1
        if loads == 1:
            owner.unload()
            assert spec.ended.is_set()
            stage.models()[0].stop()
            raise WorkerDied("it was ended")

    stage.on_load = load
    page = stage.ask()
    owner.step()
    now = owner.status()
    assert (now.worker.state, now.worker.problem, now.unavailable_since) == (WorkerState.COLD, "", None)
    owner.step()
    assert page.result(0) == Correction()
    assert loads == 2


def test_unload_under_a_lease_leaves_the_model_unloaded_until_a_page_asks(stage: Stage) -> None:
    """A person wants the memory, and nothing needs it yet."""
    owner = stage.start(has_thread=False)
    with owner.soft_lease() as lease:
        lease.take()
        owner.step()
        owner.unload()
        owner.step()
        owner.step()
        assert (stage.state(), len(stage.models())) == (WorkerState.COLD, 1)
        page = stage.ask()
        owner.step()
        assert page.result(0) == Correction()
    assert len(stage.models()) == 2


def test_load_that_was_given_up_under_a_lease_is_not_begun_again(stage: Stage) -> None:
    """Only a page that asks has a claim against a person who wants the memory."""
    owner = stage.start(has_thread=False)

    def load(_: WorkerSpec) -> None:
        owner.unload()
        stage.models()[0].stop()
        raise WorkerDied("it was ended")

    stage.on_load = load
    with owner.soft_lease() as lease:
        lease.take()
        for _ in range(5):
            owner.step()
    assert (stage.state(), len(stage.models())) == (WorkerState.COLD, 1)


def test_device_that_has_no_room_is_no_doubt_of_the_file(stage: Stage) -> None:
    """Gigabytes are not read again for it."""
    owner = stage.start(has_thread=False)
    stage.refuse_start["model"] = DeviceFull("a GPU is required")
    page = stage.ask()
    owner.step()
    del stage.refuse_start["model"]
    stage.clock.now += 1
    owner.step()
    assert page.result(0) == Correction()
    assert stage.requests.count(("fetch", "find")) == 1


def test_page_that_came_back_is_dropped_when_the_service_ends_in_the_next_load(stage: Stage) -> None:
    """Its job's thread waits for an answer of some kind."""
    stage.layers = 28
    stage.proofs = dict.fromkeys(range(20), lambda: None)
    stage.answers["correct"] = _raiser(_short())
    owner = stage.start(has_thread=False)
    page = stage.ask()
    owner.step()
    assert page.running()

    def load(_: WorkerSpec) -> None:
        owner._queue.close()
        stage.models()[1].stop()
        raise ModelUnavailable("the file is gone")

    stage.on_load = load
    owner.step()
    with pytest.raises(CancelledError):
        page.result(0)


def test_unload_lets_a_download_go_on(stage: Stage) -> None:
    """Nothing is in memory yet, and hours may be lost; the model that it brings goes at once where nothing waits for it."""
    owner = stage.start(has_thread=False, download=Download.AUTO)

    def fetch() -> dict[str, Any]:
        owner._loader.fetched = (1, 2)
        owner.unload()
        return stage.find()

    stage.answers |= {"find": _raiser(MissingPart("no model")), "fetch": fetch}
    with owner.soft_lease() as lease:
        lease.take()
        owner.step()
        owner.step()
    assert stage.state() is WorkerState.COLD
    assert [model.alive for model in stage.models()] == [False]
    assert owner.status().unavailable_since is None


def test_memory_of_the_gpu_is_verified_beside_the_next_load(stage: Stage) -> None:
    """B3. No page waits until it is proved that the last process gave its memory back."""
    go_on = threading.Event()
    verified = Proof(Returned.VERIFIED, "it is off the device", used_bytes=7, after_s=0.5)

    def proof() -> Proof:
        assert go_on.wait(5)
        return verified

    stage.layers = 28
    stage.proofs = {2: proof, 3: lambda: replace(verified, verdict=Returned.TIMEOUT)}
    owner = stage.start()
    stage.ask().result(5)
    owner.unload()
    wait_until(lambda: stage.state() is WorkerState.COLD)
    assert stage.ask().result(5) == Correction()
    assert owner.status().returned is None
    go_on.set()
    wait_until(lambda: owner.status().returned == verified)
    stage.models()[1].alive = False  # a death is verified as well
    wait_until(lambda: owner.status().verdicts == {Returned.VERIFIED: 1, Returned.UNVERIFIED: 0, Returned.TIMEOUT: 1})
    assert owner.status().worker.starts == owner.status().epoch == 2


def test_driver_that_cannot_be_asked_proves_nothing_and_ends_nothing(stage: Stage) -> None:
    """B15. Whatever goes wrong there is a verdict, and the next process is verified again."""

    def no_process() -> Proof:
        raise OSError("no more processes")

    stage.layers = 28
    stage.proofs = dict.fromkeys((2, 3), no_process)
    owner = stage.start(has_thread=False)
    for expected in (1, 2):
        stage.ask()
        owner.step()
        owner.unload()
        owner.step()
        wait_until(lambda wanted=expected: owner.status().verdicts[Returned.UNVERIFIED] == wanted)  # type: ignore[misc]
    now = owner.status().returned
    assert now is not None
    assert "no more processes" in now.reason


def test_memory_that_does_not_come_back_is_warned_of_and_the_service_goes_on(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """B16."""
    stage.layers = 28
    stage.proofs = {2: lambda: Proof(Returned.TIMEOUT, "500 MB more are used than before", used_bytes=7, after_s=5.0)}
    owner = stage.start(has_thread=False)
    stage.ask()
    owner.step()
    owner.unload()
    owner.step()
    wait_until(lambda: "500 MB more are used than before" in caplog.text)
    assert owner.status().verdicts[Returned.TIMEOUT] == 1
    page = stage.ask()
    owner.step()
    assert page.result(0) == Correction()


def test_model_without_a_gpu_has_nothing_verified(stage: Stage) -> None:
    """No driver is asked, and no thread is there for it."""
    owner = stage.start(has_thread=False)
    stage.ask()
    owner.step()
    owner.unload()
    owner.step()
    assert owner.status().returned is None
    assert owner._verifier._thread is None
    assert stage.models()[0].alive is False


def test_unloads_are_counted_by_why_and_loads_timed(stage: Stage) -> None:
    """Idle, asked for, dead: each is another thing to an administrator."""
    owner = stage.start(idle_s=300.0, has_thread=False)

    def load() -> None:
        stage.ask()
        owner.step()

    stage.on_load = lambda _: setattr(stage.clock, "now", stage.clock.now + 7)
    load()
    stage.clock.now += 300
    owner.step()
    load()
    owner.unload()
    owner.step()
    stage.answers["correct"] = _raiser(WorkerDied("out of memory"))
    load()
    stage.answers["correct"] = Correction().to_json
    load()
    stage.clock.now += 300
    owner.step()
    assert owner._tally.counts(Counted.MODEL_UNLOADS) == {("idle",): 2, ("asked",): 1, ("died",): 1}
    spread = owner._loader._tally.spreads(Timed.MODEL_LOAD)[()]
    assert (sum(spread.counts), spread.sum_s) == (4, 28.0)
