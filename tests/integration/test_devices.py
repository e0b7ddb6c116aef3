"""The worker that asks NVML: a real process, with cards that stand in a file, and with the real library as far as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.correction.driver import has_driver
from ocrwatch.correction.gguf import read
from ocrwatch.correction.placing import Device, Survey
from ocrwatch.correction.returned import Proof, Returned
from ocrwatch.errors import WorkerTimedOut
from ocrwatch.worker.process import WorkerProcess, WorkerSpec
from tests.faults.fake_nvml import FakeCards
from tests.faults.models import smollm2
from tests.faults.workers import is_running

PROJECT = Path(__file__).resolve().parents[2]
MB, GB = 10**6, 10**9
PID = 4711
QUICK = {"every_s": 0.001, "within_s": 0.05}

Cards = Callable[..., FakeCards]


def card(uuid: str = "GPU-one", *readings: Mapping[str, Any], used_bytes: int = GB, **more: Any) -> dict[str, Any]:
    """A card of 24 GB, as the file has it."""
    always = {"used_bytes": used_bytes}
    return {"uuid": uuid, "name": f"Card {uuid}", "total_bytes": 24 * GB, "readings": [*readings] or [always], **more}


def device(uuid: str, used_bytes: int = GB) -> Device:
    """The same, as it is told."""
    return Device(uuid, f"Card {uuid}", total_bytes=24 * GB, free_bytes=24 * GB - used_bytes, used_bytes=used_bytes)


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cards:
    """Puts cards into the machine. Those that the tester's own machine hides do not count."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return lambda *inserted, **state: FakeCards(tmp_path, cards=inserted, **state)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A file that is called a model and is none."""
    path = tmp_path / "rubbish.gguf"
    path.write_bytes(b"GGUF but no more")
    return path


def answer(spec: WorkerSpec, operation: str, **request: Any) -> dict[str, Any]:
    """What a process answers to one question; it is gone afterwards."""
    process = WorkerProcess(spec)
    try:
        return process.call({"op": operation, **request}, deadline_s=20)
    finally:
        process.stop()
        assert not is_running(process.pid)


def surveyed(machine: FakeCards, model: Path | None = None) -> Survey:
    """The devices, and the model's shape."""
    return Survey.from_json(answer(machine.spec(), "look", model_path=None if model is None else str(model)))


def proved(machine: FakeCards, uuid: str | None = "GPU-one", before_bytes: int | None = GB, **request: Any) -> Proof:
    """Whether the process has given its memory back."""
    asked = {"uuid": uuid, "pid": PID, "before_bytes": before_bytes, **QUICK, **request}
    return Proof.from_json(answer(machine.spec(), "gone", **asked))


def test_devices_are_listed_as_the_library_does(cards: Cards) -> None:
    """With what each has free, and what is used of it: the measure for afterwards."""
    survey = surveyed(cards(card("GPU-two", used_bytes=20 * GB), card("GPU-one")))
    assert survey == Survey((device("GPU-two", 20 * GB), device("GPU-one")), shape=None, problem="")


def test_shape_of_the_model_comes_with_the_devices(cards: Cards, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A stranger's file is read in there, not in the parent; the sandbox shows it, by a link as the hub's cache has them."""
    folder, real = tmp_path_factory.mktemp("cache"), smollm2()
    with real.open("rb") as whole, (folder / "blob").open("wb") as file:
        file.write(whole.read(8 * MB))  # its header, and no more
        file.truncate(real.stat().st_size)
    (folder / "model.gguf").symlink_to("blob")
    survey = surveyed(cards(card()), folder / "model.gguf")
    assert survey == Survey((device("GPU-one"),), shape=read(real), problem="")


def test_model_that_cannot_be_read_leaves_the_devices(cards: Cards, model: Path, tmp_path: Path) -> None:
    """One problem does not hide the rest of the answer."""
    rubbish, absent = surveyed(cards(card()), model), surveyed(cards(card()), tmp_path / "absent.gguf")
    for survey, path in ((rubbish, model), (absent, tmp_path / "absent.gguf")):
        assert (survey.devices, survey.shape) == ((device("GPU-one"),), None)
        assert str(path) in survey.problem


def test_both_problems_are_told(cards: Cards, model: Path) -> None:
    """Whoever mends the one need not come back for the other."""
    survey = surveyed(cards(raises={"nvmlInit": {"kind": "DriverNotLoaded"}}), model)
    assert (survey.devices, survey.shape) == ((), None)
    assert str(model) in survey.problem
    assert "the NVIDIA driver is not loaded" in survey.problem


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"absent": True}, "nvidia-ml-py is not installed"),
        ({"raises": {"nvmlInit": {"kind": "LibraryNotFound"}}}, "no libnvidia-ml.so.1; install the NVIDIA driver"),
        ({"raises": {"nvmlInit": {"kind": "NoPermission"}}}, "may not open the GPU"),
        ({"raises": {"nvmlDeviceGetCount": {"kind": "Unknown"}}}, "NVML says Unknown"),
        ({}, "finds no GPU"),
    ],
)
def test_machine_without_devices_says_why(cards: Cards, state: dict[str, Any], words: str) -> None:
    """A look never fails; a verdict on such a machine is never a success."""
    machine = cards(**state)
    survey = surveyed(machine)
    assert survey.devices == ()
    assert words in survey.problem
    proof = proved(machine, uuid=None)
    assert (proof.verdict, proof.used_bytes) == (Returned.UNVERIFIED, None)
    assert words in proof.reason


def test_lost_card_does_not_hide_the_others(cards: Cards) -> None:
    """The first falls off the bus; the second is listed, and the loss is told."""
    lost = {"nvmlDeviceGetMemoryInfo": {"kind": "GpuIsLost", "from": 2}}
    survey = surveyed(cards(card("GPU-one"), card("GPU-two"), raises=lost))
    assert survey.devices == (device("GPU-one"),)
    assert survey.problem == "GPU-two is left out: NVML says GpuIsLost"


def test_all_devices_are_not_proved_while_one_does_not_answer(cards: Cards) -> None:
    """The memory may be on the one that is silent."""
    proof = proved(cards(card(), raises={"nvmlDeviceGetHandleByIndex": {"kind": "GpuIsLost"}}), uuid=None)
    assert proof.verdict is Returned.UNVERIFIED
    assert "GPU 0 is left out" in proof.reason


@pytest.mark.parametrize(("setting", "expected"), [("1", ["GPU-two"]), ("GPU-one", ["GPU-one"]), ("", [])])
def test_cards_that_the_daemon_may_not_use_are_left_out(
    cards: Cards, monkeypatch: pytest.MonkeyPatch, setting: str, expected: list[str]
) -> None:
    """CUDA_VISIBLE_DEVICES of the service holds here as it does for CUDA."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", setting)
    survey = surveyed(cards(card("GPU-one"), card("GPU-two")))
    assert [found.uuid for found in survey.devices] == expected
    assert ("leaves none of the GPUs GPU-one, GPU-two" in survey.problem) == (not expected)


def test_divided_card_is_listed_by_its_parts(cards: Cards) -> None:
    """CUDA uses nothing else of it; one that is divided into nothing is told."""
    parts = [card("MIG-one"), card("MIG-two")]
    survey = surveyed(cards(card("GPU-one", parts=parts), card("GPU-two"), card("GPU-three", parts=[])))
    assert [found.uuid for found in survey.devices] == ["MIG-one", "MIG-two", "GPU-two"]
    assert "GPU-three is left out: it is in MIG mode" in survey.problem
    assert proved(cards(card("GPU-one", parts=parts)), "MIG-two").verdict is Returned.VERIFIED


def held(used_bytes: int, **by_pid: int | None) -> dict[str, Any]:
    """A reading: all that is used, and what each process (`p4711=...`) holds of it."""
    return {"used_bytes": used_bytes, "held": {pid.removeprefix("p"): amount for pid, amount in by_pid.items()}}


def test_memory_is_verified_when_it_is_back(cards: Cards) -> None:
    """The driver takes three looks to let go."""
    loaded = held(3 * GB, p4711=2 * GB)
    machine = cards(card("GPU-one", loaded, loaded, held(2 * GB), held(GB + 30 * MB)))
    proof = proved(machine, within_s=20)
    assert (proof.verdict, proof.used_bytes) == (Returned.VERIFIED, GB + 30 * MB)
    assert machine.calls().count("nvmlDeviceGetMemoryInfo") == 4


@pytest.mark.parametrize(
    ("reading", "verdict", "words"),
    [
        (held(3 * GB, p4711=2 * GB), Returned.TIMEOUT, "process 4711 is still on the device"),
        (held(2 * GB), Returned.TIMEOUT, "1.0 GB more are used than before, and no other process explains it"),
        (held(2 * GB, p815=GB), Returned.UNVERIFIED, "other processes hold 1.0 GB"),
        (held(2 * GB, p815=None), Returned.UNVERIFIED, "cannot be seen"),
        (held(GB, p815=None), Returned.UNVERIFIED, "no more memory is used than before, but"),
    ],
)
def test_memory_that_does_not_come_back_is_told_apart(
    cards: Cards, reading: dict[str, Any], verdict: Returned, words: str
) -> None:
    """Ours that stays, nobody's, somebody else's, and what cannot be known."""
    proof = proved(cards(card("GPU-one", reading)))
    assert (proof.verdict, proof.used_bytes) == (verdict, reading["used_bytes"])
    assert words in proof.reason


@pytest.mark.parametrize(
    "state",
    [
        {"foreign_pids": True},
        {"raises": {"nvmlDeviceGetComputeRunningProcesses": {"kind": "NotSupported"}}},
        {"raises": {"nvmlDeviceGetComputeRunningProcesses": {"kind": "NoPermission"}}},
    ],
)
def test_processes_that_cannot_be_seen_prove_nothing(cards: Cards, state: dict[str, Any]) -> None:
    """In a container the driver's pids are those of the host: that ours is not among them says nothing."""
    proof = proved(cards(card("GPU-one", held(GB)), **state))
    assert (proof.verdict, proof.used_bytes) == (Returned.UNVERIFIED, GB)
    assert "cannot be seen" in proof.reason


def test_screen_programs_count_where_the_card_tells_of_them(cards: Cards) -> None:
    """A card that knows of no such programs is judged by the others alone."""
    silent = {"nvmlDeviceGetGraphicsRunningProcesses": {"kind": "NotSupported"}}
    assert proved(cards(card("GPU-one", held(GB)), raises=silent)).verdict is Returned.VERIFIED


def test_library_that_fails_in_between_proves_nothing(cards: Cards) -> None:
    """It answered once; what it says the second time is the reason."""
    lost = {"nvmlDeviceGetMemoryInfo": {"kind": "GpuIsLost", "from": 2}}
    proof = proved(cards(card("GPU-one", held(3 * GB, p4711=2 * GB)), raises=lost), within_s=20)
    assert (proof.verdict, proof.used_bytes) == (Returned.UNVERIFIED, None)
    assert "NVML says GpuIsLost" in proof.reason


def test_unknown_device_proves_nothing(cards: Cards) -> None:
    """A card that was taken out, or a UUID that never was."""
    assert proved(cards(card()), "GPU-other").verdict is Returned.UNVERIFIED


def test_all_devices_count_together_where_none_is_named(cards: Cards) -> None:
    """The process is to be on none of them."""
    one, two = card("GPU-one", held(GB)), card("GPU-two", held(GB, p4711=MB))
    assert proved(cards(one, two), uuid=None, before_bytes=2 * GB).verdict is Returned.TIMEOUT
    assert proved(cards(one, card("GPU-two", held(GB))), uuid=None, before_bytes=2 * GB).verdict is Returned.VERIFIED


@pytest.fixture
def process(cards: Cards) -> Iterator[tuple[WorkerProcess, FakeCards]]:
    """A process that nobody has asked yet."""
    machine = cards(card("GPU-one", held(GB)))
    process = WorkerProcess(machine.spec())
    yield process, machine
    process.stop()


@pytest.mark.parametrize("question", [{"op": "look", "model_path": None}, {"op": "gone", "uuid": None, "pid": 1, **QUICK}])
def test_library_is_used_for_the_question_alone(process: tuple[WorkerProcess, FakeCards], question: dict[str, Any]) -> None:
    """Nothing is called before it, and after its answer nothing but what is asked again; in the end there is no process."""
    worker, machine = process
    assert machine.calls() == []
    worker.call(question, deadline_s=20)
    calls = machine.calls()
    assert (calls[0], calls[-1]) == ("nvmlInit", "nvmlShutdown")
    worker.stop()
    assert machine.calls() == calls
    assert not is_running(worker.pid)


def test_worker_is_confined(process: tuple[WorkerProcess, FakeCards]) -> None:
    """It reads a stranger's file, and needs neither network nor other programs."""
    worker, _ = process
    worker.call({"op": "look", "model_path": None}, deadline_s=20)
    status = Path(f"/proc/{worker.pid}/status").read_text(encoding="ascii").split()
    assert status[status.index("Seccomp:") + 1] == "2"
    assert status[status.index("NoNewPrivs:") + 1] == "1"


def test_library_that_hangs_ends_at_the_deadline(cards: Cards) -> None:
    """A driver that is stuck costs this process and the parent's deadline, nothing else."""
    process = WorkerProcess(cards(card(), raises={"nvmlDeviceGetMemoryInfo": {"kind": "Hang"}}).spec())
    with pytest.raises(WorkerTimedOut):
        process.call({"op": "look", "model_path": None}, deadline_s=0.5)
    process.release()
    assert not is_running(process.pid)


def test_real_library_says_what_is_missing() -> None:
    """The package itself, on a machine without a driver."""
    if has_driver():
        pytest.skip("this machine has an NVIDIA driver")
    spec = WorkerSpec(module="ocrwatch.correction.devices", environment={"PYTHONPATH": str(PROJECT)})
    survey = Survey.from_json(answer(spec, "look", model_path=str(smollm2())))
    assert survey.devices == ()
    assert survey.shape is not None
    assert "NVIDIA driver" in survey.problem
    proof = Proof.from_json(answer(spec, "gone", uuid=None, pid=1, before_bytes=None))
    assert proof.verdict is Returned.UNVERIFIED
    assert "NVIDIA driver" in proof.reason


def test_real_devices_are_listed() -> None:
    """The real library, confined, on a machine with a driver."""
    if not has_driver():
        pytest.skip("no GPU: this machine has no NVIDIA driver")
    spec = WorkerSpec(module="ocrwatch.correction.devices", environment={"PYTHONPATH": str(PROJECT)})
    survey = Survey.from_json(answer(spec, "look", model_path=None))
    assert survey.devices, survey.problem
    assert all(0 < found.free_bytes <= found.total_bytes for found in survey.devices)
    one = survey.devices[0]
    proof = Proof.from_json(answer(spec, "gone", uuid=one.uuid, pid=2**22 + 1, before_bytes=None))
    assert proof.used_bytes is not None, proof.reason
