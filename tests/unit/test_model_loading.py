"""From a wished model to a process: what is tried in which order, and what is remembered of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.correction import finding
from ocrwatch.correction.loading import Loader, ModelPlan
from ocrwatch.correction.placing import GpuPolicy, Placing
from ocrwatch.correction.returned import Returned
from ocrwatch.correction.store import Download, ModelFile, ModelWish, Source
from ocrwatch.errors import DeviceFull, MissingPart, ModelUnavailable, OcrwatchError, WorkerDied, WorkerTimedOut
from ocrwatch.worker.process import WorkerSpec
from tests.faults.waiting import FakeClock

_GB = 10**9
_SHAPE = {  # ten blocks of a GB, which is what the card below has
    "architecture": "llama",
    "block_bytes": [_GB] * 10,
    "output_bytes": _GB // 10,
    "input_bytes": _GB // 10,
    "kv_bytes_per_token": [1000] * 10,
    "vocabulary": 1000,
    "embedding": 64,
}


@dataclass
class Card:
    """A GPU's memory, shared by whoever uses it."""

    free_bytes: int = 40 * _GB

    def take(self, layers: int) -> int:
        """The bytes of so many layers, from now on in use. Raises DeviceFull where there are not so many."""
        if layers * _GB > self.free_bytes:
            raise DeviceFull("CUDA0: cudaMalloc failed: out of memory")
        self.free_bytes -= layers * _GB
        return layers * _GB


class Machine:
    """Scripted workers of every kind, and what they were asked."""

    def __init__(self, path: Path, card: Card) -> None:
        self.path = path
        self.card = card
        self.asked: list[str] = []
        self.placed: list[Placing] = []
        self.running: list[int] = []
        self.answers: dict[str, Callable[[], Any] | OcrwatchError] = {
            "find": self._file,
            "look": self._survey,
            "gone": self._proof,
        }
        self.refuse: Callable[[Placing], OcrwatchError | None] = lambda _: None
        self.layers_on_gpu: Callable[[Placing], int] = lambda placing: 11 if placing.layers is None else placing.layers

    def _file(self) -> dict[str, Any]:
        file = ModelFile(path=self.path, file=self.path.name, sha256="a" * 64, size_bytes=1, source=Source.PATH)
        return file.to_json() | {"stamp": [[self.path.stat().st_size, self.path.stat().st_mtime_ns]]}

    def _survey(self) -> dict[str, Any]:
        card = {"uuid": "GPU-1", "name": "card", "total_bytes": 80 * _GB, "free_bytes": self.card.free_bytes, "used_bytes": 7}
        return {"devices": [card], "shape": _SHAPE, "problem": ""}

    def _proof(self) -> dict[str, Any]:
        return {"verdict": "verified", "reason": "", "used_bytes": 7, "after_s": 0.1}

    def load(self, file: ModelFile, placing: Placing) -> WorkerSpec:
        self.placed.append(placing)
        return WorkerSpec(module="model", options={"placing": placing})


class Process:
    """Stands for one started worker."""

    pids = iter(range(100, 10**6))

    def __init__(self, machine: Machine, spec: WorkerSpec) -> None:
        self.machine, self.pid = machine, next(self.pids)
        self.hello: Mapping[str, Any] = {}
        self.held_bytes = 0
        if spec.module == "model":
            placing = spec.options["placing"]
            error = machine.refuse(placing)
            if error is not None:
                raise error
            layers = machine.layers_on_gpu(placing)
            self.held_bytes = machine.card.take(layers)
            self.hello = {"device": "gpu" if layers else "cpu", "layers_on_gpu": layers, "layers": 11, "gpu_bytes": layers * _GB}
        machine.running.append(self.pid)

    def call(self, request: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        self.machine.asked.append(request["op"])
        answer = self.machine.answers[request["op"]]
        if isinstance(answer, OcrwatchError):
            raise answer
        return dict(answer())

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.machine.running.remove(self.pid)
        self.machine.card.free_bytes += self.held_bytes


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with one card on which everything fits."""
    path = tmp_path / "model.gguf"
    path.write_bytes(b"weights")
    made = Machine(path, Card())
    monkeypatch.setattr(finding, "WorkerProcess", lambda spec, **_: Process(made, spec))
    return made


def _loader(
    machine: Machine,
    *,
    driver: bool = True,
    download: Download = Download.NEVER,
    clock: Callable[[], float] = lambda: 0.0,
    **gpu: Any,
) -> Loader:
    plan = ModelPlan(
        wish=ModelWish(path=machine.path, download=download),
        fetch=WorkerSpec(module="fetch"),
        devices=WorkerSpec(module="devices") if driver else None,
        gpu=GpuPolicy(**({"layers": None, "device": None, "require": False, "margin_bytes": _GB, "context_tokens": 4096} | gpu)),
        load=machine.load,
        idle_s=300.0,
        page_timeout_s=1.0,
    )
    start: Any = lambda spec, **_: Process(machine, spec)  # noqa: E731 - the type of a worker is another's
    return Loader(plan, clock=clock, start=start)


def _load(loader: Loader) -> Any:
    return loader.load(threading.Event(), None)


def test_model_that_fits_is_loaded_at_once_and_leaves_no_helper_behind(machine: Machine) -> None:
    """One process has the model; those that found the file and asked the driver are gone."""
    loader = _loader(machine)
    process = _load(loader)
    assert machine.asked == ["find", "look"]
    assert [placing.device for placing in machine.placed] == ["GPU-1"]
    assert machine.running == [process.pid]
    assert loader.placed == ""


def test_nothing_is_asked_of_a_driver_that_is_not_there(machine: Machine) -> None:
    """A machine without a GPU is not degraded: nobody wanted one."""
    machine.layers_on_gpu = lambda _: 0
    loader = _loader(machine, driver=False)
    process = _load(loader)
    assert machine.asked == ["find"]
    assert loader.placed == ""
    assert loader.returned(process.pid) is None


def test_short_memory_leads_down_to_what_fits_each_in_a_new_process(machine: Machine) -> None:
    """The sums may be wrong, or somebody else quicker: fewer layers, at last the CPU."""
    machine.refuse = lambda placing: DeviceFull("cudaMalloc failed") if placing.layers != 0 else None
    loader = _loader(machine)
    process = _load(loader)
    layers = [11 if placing.layers is None else placing.layers for placing in machine.placed]
    assert layers == sorted(set(layers), reverse=True)
    assert layers[0] == 11
    assert layers[-1] == 0
    assert "out of memory" in loader.placed
    assert machine.running == [process.pid]


def test_a_death_of_the_device_in_mid_page_leads_to_fewer_layers(machine: Machine) -> None:
    """llama.cpp aborts the process where a card is full: the next one asks for less."""
    loader = _loader(machine)
    _load(loader)
    assert loader.died(WorkerDied("it was ended by SIGABRT", last_words=["CUDA error: out of memory"]))
    _load(loader)
    assert 0 < (machine.placed[1].layers or 0) < 11


def test_any_other_death_is_not_the_devices(machine: Machine) -> None:
    """A page that kills the model does so on the CPU as well."""
    loader = _loader(machine)
    _load(loader)
    assert not loader.died(WorkerDied("it was ended by SIGSEGV"))


def test_required_gpu_that_is_full_is_waited_for(machine: Machine) -> None:
    """Never the CPU, and no process stays."""
    machine.card.free_bytes = _GB
    loader = _loader(machine, require=True)
    with pytest.raises(DeviceFull, match="GPU-1"):
        _load(loader)
    assert machine.running == []
    machine.card.free_bytes = 40 * _GB
    assert _load(loader).hello["device"] == "gpu"


def test_required_gpu_that_the_build_cannot_use_ends_the_process_again(machine: Machine) -> None:
    """What really ran counts, not what was asked for."""
    machine.layers_on_gpu = lambda _: 0
    with pytest.raises(DeviceFull, match="runs on the CPU"):
        _load(_loader(machine, require=True))
    assert machine.running == []


def test_a_model_that_cannot_be_loaded_is_no_matter_of_layers(machine: Machine) -> None:
    """A damaged file is told, once."""
    machine.refuse = lambda _: ModelUnavailable("tensor data is missing")
    with pytest.raises(ModelUnavailable, match="tensor data"):
        _load(_loader(machine))
    assert len(machine.placed) == 1


def test_a_driver_that_hangs_costs_its_answer_not_the_model(machine: Machine) -> None:
    """Then as many layers as the build takes, and the reason is kept."""
    machine.answers["look"] = WorkerTimedOut("no answer within 20 s")
    machine.layers_on_gpu = lambda _: 0
    loader = _loader(machine)
    _load(loader)
    assert "could not be asked" in loader.placed


def test_file_is_checked_anew_only_when_it_is_another(machine: Machine) -> None:
    """A model that was replaced under its name has to be verified before it runs; an unchanged one is not read again."""
    loader = _loader(machine)
    _load(loader)
    _load(loader)
    assert machine.asked.count("find") == 1
    machine.path.write_bytes(b"other weights")
    os.utime(machine.path, ns=(1, 1))
    _load(loader)
    assert machine.asked.count("find") == 2


def test_network_is_asked_only_for_a_model_that_is_not_here(machine: Machine) -> None:
    """With `download: auto` a filled cache is enough; without, nothing is fetched."""
    _load(_loader(machine, download=Download.AUTO))
    assert "fetch" not in machine.asked
    machine.answers["find"] = MissingPart("not here")
    with pytest.raises(MissingPart):
        _load(_loader(machine))
    assert "fetch" not in machine.asked
    machine.answers["fetch"] = machine._file
    _load(_loader(machine, download=Download.AUTO))
    assert "fetch" in machine.asked


def test_hub_that_wants_to_be_left_alone_is(machine: Machine) -> None:
    """However often the model is tried for meanwhile; what a person pulls is found at the next try."""
    clock = FakeClock()
    loader = _loader(machine, download=Download.AUTO, clock=clock)
    machine.answers["find"] = MissingPart("not here")
    machine.answers["fetch"] = ModelUnavailable("the hub answered 429", "try again in 3600 s", wait_s=3600)
    told = []
    for seconds in (0, 300, 3299, 1):
        clock.now += seconds
        with pytest.raises(ModelUnavailable, match="429") as caught:
            _load(loader)
        told.append(caught.value.remedy)
    assert [machine.asked.count(operation) for operation in ("find", "fetch")] == [4, 2]
    assert "try again in 3600 s" in told[0]
    assert ["in 3300 s" in told[1], "in 1 s" in told[2]] == [True, True]
    machine.answers["find"] = machine._file
    assert _load(loader).pid in machine.running
    assert machine.asked.count("fetch") == 2


def test_hub_that_names_no_time_or_an_absurd_one_is_asked_again(machine: Machine) -> None:
    """At the next try, or after a day."""
    clock = FakeClock()
    loader = _loader(machine, download=Download.AUTO, clock=clock)
    machine.answers["find"] = MissingPart("not here")
    for wait_s, seconds in ((0.0, 0), (1e9, 86_400)):
        machine.answers["fetch"] = ModelUnavailable("the hub answered 503", wait_s=wait_s)
        before = machine.asked.count("fetch")
        for _ in range(2):
            with pytest.raises(ModelUnavailable, match="503"):
                _load(loader)
            clock.now += seconds
        assert machine.asked.count("fetch") == before + 2


def test_process_that_stays_on_the_device_has_no_second_one_beside_it(machine: Machine) -> None:
    """It found no memory, was killed, and hangs: fewer layers are for when it is gone."""
    loader = _loader(machine)
    error = DeviceFull("CUDA0: cudaMalloc failed: out of memory")
    error.left_behind = object()
    machine.refuse = lambda _: error
    with pytest.raises(DeviceFull):
        _load(loader)
    machine.refuse = lambda _: None
    _load(loader)
    assert [placing.layers for placing in machine.placed] == [None, 8]


def test_memory_is_proved_free_for_a_process_that_had_some(machine: Machine) -> None:
    """Once, by a process that is gone afterwards; a driver that does not answer proves nothing."""
    loader = _loader(machine)
    process = _load(loader)
    process.stop()
    proof = loader.returned(process.pid)
    assert proof is not None
    assert proof.verdict is Returned.VERIFIED
    assert loader.returned(process.pid) is None
    machine.answers["gone"] = WorkerTimedOut("no answer within 7 s")
    process = _load(loader)
    process.stop()
    proof = loader.returned(process.pid)
    assert proof is not None
    assert proof.verdict is Returned.UNVERIFIED
    assert machine.running == []


def test_second_service_on_a_card_takes_what_is_left_of_it(machine: Machine) -> None:
    """Two daemons, one GPU: the later one gets fewer layers or the CPU, and neither dies."""
    machine.card.free_bytes = 18 * _GB
    first, second, third = (_load(_loader(machine)) for _ in range(3))
    assert first.hello["layers_on_gpu"] == 11
    assert 0 < second.hello["layers_on_gpu"] < 11
    assert third.hello["device"] == "cpu"
    assert machine.card.free_bytes >= 0


def test_two_services_that_look_before_either_takes_memory_both_get_a_model(machine: Machine) -> None:
    """What the driver said is out of date by the time of the load: the ladder finds what is left."""
    machine.card.free_bytes = 16 * _GB
    survey = machine._survey()
    machine.answers["look"] = lambda: survey
    one, two = _load(_loader(machine)), _load(_loader(machine))
    assert one.hello["layers_on_gpu"] == 11
    assert 0 <= two.hello["layers_on_gpu"] <= 5


def test_service_that_requires_the_gpu_waits_for_the_other_to_leave(machine: Machine) -> None:
    """Waiting is an answer too: nothing crashes, and it gets the card when it is free."""
    machine.card.free_bytes = 12 * _GB
    other = _load(_loader(machine))
    loader = _loader(machine, require=True)
    with pytest.raises(DeviceFull):
        _load(loader)
    other.stop()
    assert _load(loader).hello["layers_on_gpu"] > 0
