"""The model's life against what goes wrong around it: short memory, a silent driver, crash loops, other services on its card.

Everything is real but the model and the GPU: processes, jobs, sidecars. The card's memory is a folder (`FakeCard`).
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import os
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from ocrwatch.correction import finding, loading
from ocrwatch.correction.fit import RETRY_S, layers_that_fit
from ocrwatch.correction.loading import Loader
from ocrwatch.correction.owner import ModelOwner
from ocrwatch.correction.placing import GpuPolicy, Survey
from ocrwatch.correction.protocol import CorrectionRequest
from ocrwatch.correction.returned import Proof, Returned
from ocrwatch.journal.records import Job
from ocrwatch.journal.states import JobState
from ocrwatch.pipeline import Parts, Pipeline
from ocrwatch.worker import child
from ocrwatch.worker.process import WorkerSpec
from ocrwatch.worker.supervised import WorkerState, backoff_s
from tests.faults import scripted_model
from tests.faults.card_machine import CardMachine, card_plan
from tests.faults.model_service import ModelService
from tests.faults.waiting import FakeClock, wait_until
from tests.faults.workers import scripted_model as scripted
from tests.integration.test_pipeline import _PLAN, Bench

MB = 10**6
LAYERS = 31  # of SmolLM2; all of them take 783 MB by the sums
IDLE_S = 300.0
WAIT_S = 600.0  # `correction.wait`
SLOW_S = 120.0  # how long a busy machine may take for what needs no time
_PROOF = Proof(Returned.VERIFIED, "", used_bytes=0, after_s=0.0)

Standing = dict[str, Any]
Services = Callable[..., ModelService]


class Place(Bench):
    """A bench with a card."""

    def __init__(self, folder: Path, *, total_bytes: int = 10_000 * MB) -> None:
        self.clock = FakeClock()
        self.backs = 0
        super().__init__(folder)
        self.machine = CardMachine(folder / "machine", total_bytes=total_bytes)

    def with_card(self, *, require: bool = False, **options: Any) -> ModelOwner:
        """Correction is on. options: of the `carded_model`, whose needs are those of the sums unless said."""
        said = {"needs": self.machine.needs(), "record": str(self.folder / "layers"), **options}

        def on_back() -> None:
            self.backs += 1

        self.model = ModelOwner(card_plan(self.machine.folder, require=require, **said), clock=self.clock, on_back=on_back)
        self.treatment = replace(self.treatment, correction=replace(_PLAN, wait_s=WAIT_S))
        self._build()
        return self.model

    def _build(self) -> None:
        self.pipeline = Pipeline(Parts(self.journal, self.checkpoints, self.pool, self.model, self.clock, self.pdfs))

    def corrected(self, name: str) -> str:
        """The text of a scan of one page with a misread word and its name, once its job is at an end."""
        job = self.run_new(name, {"text": f"tbe {name}"})
        assert job.state is JobState.DONE, job
        return self.text(name)

    def left_raw(self, name: str, text: str) -> Job:
        """A job whose pages have waited long enough for a model that is not to be had: its raw text is there."""
        assert self.model is not None
        model, job = self.model, self.enter(self.put(name, {"text": text}))
        runner = threading.Thread(target=self.run, args=(job,))
        runner.start()
        wait_until(lambda: model.status().unavailable_since is not None, SLOW_S)
        wait_until(lambda: model.status().waiting > 0 or not runner.is_alive(), SLOW_S)
        self.later(WAIT_S)
        runner.join(SLOW_S)
        done = self.journal.job(job.id)
        assert (done.state, self.text(name)) == (JobState.AWAITING_CORRECTION, text)
        return done

    def tried(self) -> list[int]:
        """The layers of each process that was to load the model."""
        record = self.folder / "layers"
        return [int(line) for line in record.read_text(encoding="ascii").split()] if record.exists() else []

    def later(self, seconds: float) -> None:
        """Time passes; the owner sees it at its next look."""
        self.clock.now += seconds

    def idle(self, seconds: float = IDLE_S) -> None:
        """So much time passes, in which the model goes."""
        self.later(seconds)
        wait_until(lambda: self.state() is WorkerState.COLD, SLOW_S)

    def state(self) -> WorkerState:
        assert self.model is not None
        return self.model.status().worker.state

    def verdicts(self) -> dict[str, int]:
        """How often each came, but for those that never did."""
        assert self.model is not None
        return {str(verdict): count for verdict, count in self.model.status().verdicts.items() if count}


@pytest.fixture(autouse=True)
def _unhidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tester's own machine hides of its cards does not count."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A bench with a card on which all fits."""
    made = Place(tmp_path)
    yield made
    made.stop()


# -- short memory: B13, B14 ----------------------------------------------------------------------------------------------


def test_short_card_costs_steps_that_are_remembered_and_tried_again_upwards(place: Place) -> None:
    """B13. The driver tells of room that cannot be had: each try is a process of its own, and after an hour one more is made."""
    needs, total_bytes = place.machine.needs(), place.machine.card.total_bytes
    place.machine.card.spoil(total_bytes - needs[15])
    model = place.with_card()
    courses = []
    for name, seconds in (("first", IDLE_S), ("soon", RETRY_S), ("an hour later", RETRY_S)):
        before = len(place.tried())
        assert place.corrected(name) == f"the {name}"
        courses.append(place.tried()[before:])
        assert "ran out of memory with more than 15 of 31 layers" in model.status().degraded
        place.idle(seconds)
    assert courses == [[31, 23, 15], [15], [23, 15]]
    place.machine.card.spoil(0)
    assert place.corrected("another hour later") == "the another hour later"
    assert (place.tried()[-1], model.status().worker.deaths) == (23, 0)
    place.idle(RETRY_S)
    assert place.corrected("and another") == "the and another"
    assert (place.tried()[-1], model.status().degraded) == (31, "")


def test_card_without_any_room_leads_to_the_cpu(place: Place) -> None:
    """B13. The last step needs nothing of it; the page comes out, and the status says what it ran on."""
    place.machine.card.spoil(place.machine.card.total_bytes)
    model = place.with_card()
    assert place.corrected("a") == "the a"
    now = model.status()
    assert place.tried() == [31, 23, 15, 7, 0]
    assert (now.worker.hello or {})["device"] == "cpu"
    assert "ran out of memory" in now.degraded


def test_model_on_the_cpu_where_a_gpu_was_wanted_is_told_once(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """B14. The build takes nothing of the card: pages are corrected all the same, the status says so, the log says it once."""
    model = place.with_card(card=None)
    with caplog.at_level(logging.WARNING, logger="ocrwatch.correction"):
        for name in ("a", "b"):
            assert place.corrected(name) == f"the {name}"
            assert "llama.cpp put nothing on the GPU" in model.status().degraded
            place.idle()
    assert len([record for record in caplog.records if "less of the GPU than was wanted" in record.message]) == 1
    assert place.verdicts() == {}


def test_required_gpu_that_is_not_taken_leaves_the_text_raw_and_no_process(place: Place) -> None:
    """B14. `require_gpu`: the process that runs on the CPU is ended, the raw text is published and says why."""
    model = place.with_card(card=None, require=True)
    job = place.left_raw("a", "tbe one")
    assert "a GPU is required, and the model runs on the CPU" in job.detail
    assert model.status().worker.pid is None
    wait_until(lambda: not _model_processes(), SLOW_S)


def test_required_gpu_that_is_full_defers_the_correction_until_it_is_free(place: Place) -> None:
    """B14, B19. Never the CPU; the raw text is there meanwhile, and is superseded without being recognized again."""
    assert place.machine.card.take(place.machine.card.total_bytes)
    model = place.with_card(require=True)
    job = place.left_raw("a", "tbe one")
    assert "a GPU is required" in place.metadata("a")["uncorrected_reason"]
    assert place.tried() == []
    place.machine.card.give_back()
    place.later(IDLE_S)
    wait_until(lambda: place.backs == 1, SLOW_S)
    assert place.run(job).state is JobState.DONE
    assert (place.text("a"), place.metadata("a")["corrected"], place.read_pages()) == ("the one", True, [1])
    assert (model.status().worker.hello or {})["layers_on_gpu"] == LAYERS


# -- the proof afterwards: B15, B16 ----------------------------------------------------------------------------------------


def test_memory_that_is_back_is_verified(place: Place) -> None:
    """The plain case: the process is off the card, and no more is used than before it came."""
    place.with_card()
    assert place.corrected("a") == "the a"
    assert place.machine.card.held()
    place.idle()
    wait_until(lambda: place.verdicts() == {"verified": 1}, SLOW_S)
    assert place.machine.card.used_bytes() == 0


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(lambda machine: machine.drive(absent=True), id="no library"),
        pytest.param(lambda machine: machine.drive(raises={"nvmlInit": {"kind": "DriverNotLoaded"}}), id="no driver"),
        pytest.param(
            lambda machine: machine.drive(raises={"nvmlDeviceGetComputeRunningProcesses": {"kind": "Hang"}}), id="hangs"
        ),
        pytest.param(lambda machine: machine.drive(foreign_pids=True), id="pids of another namespace"),
        pytest.param(lambda machine: machine.card.take(100 * MB), id="others use more than before"),
    ],
)
def test_driver_that_proves_nothing_ends_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch, trouble: Callable[[CardMachine], object]
) -> None:
    """B15. Unverified, whatever it is; the next page does not wait for that, and the next process is looked after as well."""
    monkeypatch.setattr(loading, "_RETURN_S", 0.5)
    monkeypatch.setattr(loading, "_FREED_S", 0.5)
    place.with_card()
    assert place.corrected("a") == "the a"
    trouble(place.machine)
    place.idle()
    assert place.corrected("b") == "the b"
    wait_until(lambda: place.verdicts() == {"unverified": 1}, SLOW_S)


def test_process_on_a_card_that_nobody_could_see_is_unverified(place: Place) -> None:
    """B15. Without NVML the build may find the GPU all the same: that nothing is proved of its memory is told."""
    place.machine.drive(absent=True)
    model = place.with_card()
    assert place.corrected("a") == "the a"
    assert (model.status().worker.hello or {})["layers_on_gpu"] == LAYERS
    place.idle()
    wait_until(lambda: place.verdicts() == {"unverified": 1}, SLOW_S)


def test_memory_that_does_not_come_back_is_warned_of_and_the_next_page_corrected(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """B16. Counted, with how much, and the service goes on."""
    monkeypatch.setattr(loading, "_RETURN_S", 0.5)
    monkeypatch.setattr(loading, "_FREED_S", 60.0)
    place.with_card()
    assert place.corrected("a") == "the a"
    place.machine.card.lose(100 * MB)
    place.idle()
    assert place.corrected("b") == "the b"
    wait_until(lambda: place.verdicts() == {"timeout": 1}, SLOW_S)
    assert "has ended, but not all of its GPU memory is free" in caplog.text


# -- loads that are slow, or fail: B10, B19 --------------------------------------------------------------------------------


@pytest.mark.slow
def test_pages_that_come_while_a_slow_load_lasts_wait_for_it(place: Place) -> None:
    """B10. It lasts longer than its limit, which is one of silence: it is begun once, and none of the pages is lost."""
    mark, limit_s = place.folder / "loaded", 3.0
    model = place.with_card(loads_until=str(mark), start_s=limit_s)
    jobs = [place.enter(place.put(name, {"text": f"tbe {name}"})) for name in ("a", "b", "c")]
    runners = [threading.Thread(target=place.run, args=(job,)) for job in jobs]
    runners[0].start()
    wait_until(lambda: place.tried() == [LAYERS], SLOW_S)
    begun = time.monotonic()
    for runner in runners[1:]:
        runner.start()
    wait_until(lambda: model.status().waiting >= 2 and len(place.read_pages()) == 3, SLOW_S)
    wait_until(lambda: time.monotonic() - begun > limit_s + 1, SLOW_S)
    assert place.state() is WorkerState.LOADING
    mark.touch()
    for runner in runners:
        runner.join(SLOW_S)
    assert [place.text(name) for name in ("a", "b", "c")] == ["the a", "the b", "the c"]
    assert (place.tried(), model.status().epoch, model.status().waiting) == ([LAYERS], 1, 0)


def test_load_that_ends_in_a_crash_again_and_again_opens_the_breaker(place: Place) -> None:
    """B19. Tried ever more rarely, to once in five minutes; raw texts are published meanwhile and superseded afterwards."""
    mark = place.folder / "broken"
    mark.touch()
    model = place.with_card(aborts_while=str(mark))
    first = place.left_raw("a", "tbe one")
    assert "GGML_ASSERT" in first.detail
    wait_until(lambda: len(place.tried()) == 2, SLOW_S)
    while (failures := len(place.tried())) < 10:
        wait_until(lambda: place.state() is WorkerState.BACKOFF, SLOW_S)
        left_s = (model.status().worker.retry_at or 0.0) - place.clock()
        assert left_s == backoff_s(failures)
        place.later(left_s)
        wait_until(lambda: len(place.tried()) > failures, SLOW_S)
    wait_until(lambda: place.state() is WorkerState.BACKOFF, SLOW_S)
    assert (model.status().worker.retry_at or 0.0) - place.clock() == 300.0
    second = place.run_new("b", {"text": "tbe two"})  # the model has been away for longer than any page waits
    assert (second.state, place.text("b"), len(place.tried())) == (JobState.AWAITING_CORRECTION, "tbe two", 10)
    mark.unlink()
    place.later(backoff_s(10))
    wait_until(lambda: place.backs == 1, SLOW_S)
    assert [place.run(job).state for job in (first, second)] == [JobState.DONE] * 2
    assert (place.text("a"), place.text("b"), place.read_pages()) == ("the one", "the two", [1, 1])
    assert len(place.tried()) == 11


def test_raw_text_says_why_there_is_no_model_though_it_is_being_tried_again(place: Place) -> None:
    """B19. A try that is under way at that moment is no reason, nor does it hide the one that there is."""
    away, loads = place.folder / "away", place.folder / "loads"
    for mark in (away, loads):
        mark.touch()
    model = place.with_card(fails_while=str(away), loads_until=str(loads))
    with model.soft_lease() as lease:
        lease.take()
        wait_until(lambda: model.status().unavailable_since is not None, SLOW_S)
        loads.unlink()
        place.later(IDLE_S)
        wait_until(lambda: place.state() is WorkerState.LOADING, SLOW_S)
        place.later(WAIT_S)
        job = place.run_new("a", {"text": "tbe one"})
    assert (job.state, place.text("a")) == (JobState.AWAITING_CORRECTION, "tbe one")
    assert "the model is not to be had: no memory for the model" in job.detail


# -- a process of its own: B17, B21, two services on one card ----------------------------------------------------------------


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """Starts services on one machine; each ends well, and none is left."""
    started: list[ModelService] = []

    def start(machine: CardMachine, **options: Any) -> ModelService:
        record = tmp_path / f"layers-{len(started)}"
        said = {"needs": machine.needs(), "record": str(record), **options}
        started.append(ModelService(machine.folder, **said))
        return started[-1]

    yield start
    try:
        assert [service.stop() for service in started] == [0] * len(started)
    finally:
        for service in started:
            service.end()


def standing(service: ModelService, is_so: Callable[[Standing], bool], **command: Any) -> Standing:
    """How a service stands as soon as it is so, after this command."""
    now = service.say(**command)

    def look() -> bool:
        nonlocal now
        now = service.say()
        return is_so(now)

    try:
        wait_until(look, SLOW_S)
    except AssertionError as error:
        raise AssertionError(f"{error}: {now}") from error
    return now


def is_answered(now: Standing) -> bool:
    """Whether every page that was asked for has come out, with its one edit."""
    assert set(now["answered"]) <= {1, None}
    return None not in now["answered"]


def test_idle_service_asks_no_driver_and_holds_nothing_for_an_hour(tmp_path: Path, services: Services) -> None:
    """B17. No call of NVML, no child, no library of a GPU or a model in the parent; then a page has it all loaded again."""
    machine = CardMachine(tmp_path / "machine", total_bytes=10_000 * MB)
    service = services(machine)
    standing(service, is_answered, ask=["tbe one"])
    standing(service, lambda now: now["state"] == "cold" and now["verdicts"]["verified"] == 1, later=IDLE_S)
    wait_until(lambda: not service.children(), SLOW_S)
    calls = machine.driver.calls()
    assert "nvmlDeviceGetMemoryInfo" in calls
    pause = threading.Event()
    for _ in range(60):
        pause.wait(0.03)  # what would look now and then, does so every second at the latest
        now = service.say(later=60.0)
        assert (now["state"], now["epoch"], now["mapped"], service.children()) == ("cold", 1, [], [])
    assert machine.driver.calls() == calls
    assert standing(service, is_answered, ask=["tbe two"])["epoch"] == 2


def test_second_service_takes_what_the_first_leaves_of_the_card(tmp_path: Path, services: Services) -> None:
    """Fewer layers for the later one, and all of them as soon as it loads again on a card that is free."""
    machine = CardMachine(tmp_path / "machine", total_bytes=1500 * MB)
    first, second = services(machine), services(machine)
    assert standing(first, is_answered, ask=["tbe one"])["layers"] == LAYERS
    later = standing(second, is_answered, ask=["tbe two"])
    assert 0 < later["layers"] < LAYERS
    assert "no room for more" in later["degraded"]
    assert sum(machine.card.held().values()) <= machine.card.total_bytes
    for service in (first, second):
        standing(service, lambda now: now["state"] == "cold", unload=True)
    assert standing(second, is_answered, ask=["tbe three"])["layers"] == LAYERS


def test_services_that_load_at_the_same_moment_both_get_a_model(tmp_path: Path, services: Services) -> None:
    """Each sees a card that is free, and one of them is too late: it takes what is left, in another process."""
    machine = CardMachine(tmp_path / "machine", total_bytes=1500 * MB)
    mark = tmp_path / "now"
    both = [services(machine, loads_until=str(mark)) for _ in range(2)]
    for service in both:
        service.say(ask=["tbe one"])
    wait_until(lambda: all((tmp_path / f"layers-{number}").exists() for number in range(2)), SLOW_S)
    mark.touch()
    nows = [standing(service, is_answered) for service in both]
    fewer, more = sorted(now["layers"] for now in nows)
    left_bytes = machine.card.total_bytes - machine.needs()[LAYERS]
    fitting = layers_that_fit(machine.shape, context_tokens=4096, free_bytes=left_bytes, margin_bytes=0)
    assert (fewer, more) == (fitting, LAYERS)
    assert [(now["deaths"], now["is_away"]) for now in nows] == [(0, False)] * 2


def test_service_whose_page_finds_the_card_full_of_another_steps_down(tmp_path: Path, services: Services) -> None:
    """B25. Its process ends by an error of CUDA; the page comes out of one with fewer layers, and the other service lives on."""
    machine = CardMachine(tmp_path / "machine", total_bytes=1500 * MB)
    mark = tmp_path / "other has loaded"
    service = services(machine, page=100 * MB, corrects_when=str(mark))
    other = services(machine)
    service.say(ask=["tbe one"])
    standing(service, lambda now: now["state"] == "busy")
    loaded = standing(other, is_answered, ask=["tbe two"])
    mark.touch()
    now = standing(service, is_answered)
    assert now["deaths"] >= 1
    assert 0 <= now["layers"] < LAYERS
    assert other.say()["epoch"] == loaded["epoch"] == 1
    assert other.say()["layers"] == loaded["layers"]


def test_service_that_requires_the_gpu_waits_until_the_other_has_left_it(tmp_path: Path, services: Services) -> None:
    """Its page waits, nothing crashes, and no layer goes to the CPU."""
    machine = CardMachine(tmp_path / "machine", total_bytes=800 * MB)
    first, second = services(machine), services(machine, require=True)
    standing(first, is_answered, ask=["tbe one"])
    waiting = standing(second, lambda now: now["is_away"], ask=["tbe two"])
    assert waiting["answered"] == [None]
    assert "a GPU is required" in waiting["problem"]
    standing(first, lambda now: now["state"] == "cold", unload=True)
    now = standing(second, is_answered, later=IDLE_S)
    assert (now["layers"], now["deaths"], now["is_away"]) == (LAYERS, 0, False)


class InProcess:
    """Answers as the workers do, and is none of them: it costs its parent what a real one does, until it is released."""

    pids = itertools.count(1)

    def __init__(self, spec: WorkerSpec, **_: Any) -> None:
        self.pid = next(self.pids)
        self.alive = True
        self._descriptors = os.pipe()
        self.hello, handlers = scripted_model.start(dict(spec.options))
        self._answers: dict[str, child.Handler] = {
            **handlers,
            "look": lambda _: Survey(devices=(), shape=None).to_json(),
            "gone": lambda _: _PROOF.to_json(),
        }

    def call(self, request: dict[str, Any], **_: Any) -> dict[str, Any]:
        return self._answers[request["op"]](request)

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.alive = False
        for descriptor in self._descriptors:
            os.close(descriptor)

    def resident_bytes(self) -> int:
        return 0


def test_thousand_loads_and_unloads_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """B21. Found, placed, loaded, asked, idle, unloaded, verified: no descriptor, thread or memory more than after the first."""
    monkeypatch.setattr(finding, "WorkerProcess", InProcess)
    (tmp_path / "model.gguf").touch()
    gpu = GpuPolicy(layers=4, device=None, require=False, margin_bytes=0, context_tokens=4096)
    plan = replace(card_plan(tmp_path), gpu=gpu, load=lambda _, placing: scripted(layers=placing.layers))
    clock = FakeClock()
    loader = Loader(plan, clock=clock, start=cast(Any, InProcess))
    model = ModelOwner(plan, clock=clock, on_back=lambda: None, loader=loader, has_thread=False)

    def cycles(first: int, last: int) -> tuple[int, int]:
        for number in range(first, last + 1):
            answer = model.correct("in", 1, lambda: CorrectionRequest(text="tbe one"))
            model.step()
            assert len(answer.result(0).edits) == 1
            clock.now += IDLE_S
            model.step()
            now = model.status()
            assert (now.worker.state, now.epoch) == (WorkerState.COLD, number)
        model.forget("in", 1)
        wait_until(lambda: model.status().verdicts[Returned.VERIFIED] == last, SLOW_S)
        gc.collect()
        return _held()

    before = cycles(1, 100)
    tracemalloc.start()
    try:
        assert cycles(101, 1000) == before
        grown_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        model.stop(drain_s=0.0)
    assert grown_bytes < 100_000


def test_loads_and_unloads_of_real_processes_leave_nothing_behind(place: Place) -> None:
    """B21. No descriptor, thread or zombie; the driver is asked before and after each."""
    model = place.with_card()

    def cycle(number: int) -> None:
        answer = model.correct("in", number, lambda: CorrectionRequest(text="tbe one"))
        assert len(answer.result(SLOW_S).edits) == 1
        model.unload()
        wait_until(lambda: place.verdicts() == {"verified": number}, SLOW_S)
        wait_until(lambda: place.state() is WorkerState.COLD, SLOW_S)

    cycle(1)
    wait_until(lambda: not _children(), SLOW_S)
    before = _held()
    for number in range(2, 26):
        cycle(number)
    wait_until(lambda: not _children() and _held() == before, SLOW_S)
    assert (model.status().epoch, model.status().worker.deaths) == (25, 0)


def _held() -> tuple[int, int]:
    """This process's descriptors and threads."""
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))


def _children() -> list[str]:
    """Those of this process that are not reaped; a thread may end meanwhile."""
    found: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += (task / "children").read_text(encoding="ascii").split()
    return found


def _model_processes() -> list[str]:
    """Those children that have a model, or load it."""
    found = []
    for pid in _children():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += [pid] if b"carded_model" in Path(f"/proc/{pid}/cmdline").read_bytes() else []
    return found
