"""Worker: what the GPUs of this machine have free, and whether one has its memory back after a process has ended.

Owns NVML. Its library opens the devices' files and wakes sleeping GPUs, so it is loaded in a process of its own that answers one
question and is then ended: the parent never has it, and an idle service asks nothing. The process is confined as other workers
are before it reads the model's header or loads the library, which otherwise, as root, makes files in /dev and starts programs; a
call that hangs in the driver ends with the parent's deadline.

Operations:

    look  `model_path` (or null): a Survey, the devices in NVML's order. `problem` says what could not be read, of the devices or
          the model; the rest is listed all the same.
    gone  `pid`, `uuid` (null: of all devices), `before_bytes` (or null), `within_s`, `every_s`: a Proof

Devices that CUDA_VISIBLE_DEVICES leaves out are none; a number there counts as `nvidia-smi` does. A GPU that is divided (MIG) is
listed by its parts, since CUDA uses nothing else of it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ocrwatch.correction import gguf
from ocrwatch.correction.placing import Device, Survey
from ocrwatch.correction.returned import Departure, Reading, awaited, unreadable
from ocrwatch.correction.store import ModelWish, local_parts
from ocrwatch.errors import Infrastructure, OcrwatchError
from ocrwatch.worker import child, sandbox

_WITHIN_S = 5.0
_EVERY_S = 0.25
_FIRST_PID_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO of the kernel

_WORDS = {
    "LibraryNotFound": "there is no libnvidia-ml.so.1; install the NVIDIA driver, or give the container its libraries",
    "DriverNotLoaded": "the NVIDIA driver is not loaded, or has no files in /dev; `nvidia-smi` as root makes them or says why",
    "LibRmVersionMismatch": "the NVIDIA driver was updated and its older kernel module still runs; restart the machine",
    "NoPermission": "this user may not open the GPU; `ls -l /dev/nvidia*` says who may",
}


def start(_: child.Message) -> tuple[child.Message, dict[str, child.Handler]]:
    """The operations; each enters the sandbox itself, since the question names the model's files."""
    return {}, {"look": look, "gone": gone}


def look(request: child.Message) -> child.Message:
    """The devices, and the shape of the model."""
    problems: list[str] = []
    parts: tuple[Path, ...] = ()
    shape = None
    devices: tuple[Device, ...] = ()
    with _noted(problems):
        parts = local_parts(ModelWish(path=Path(request["model_path"]))) if request.get("model_path") else ()
    sandbox.enter(sandbox.Policy(readable=parts, gpu=True))
    with _noted(problems):
        shape = gguf.read(parts[0]) if parts else None
    with _noted(problems), _nvml() as nvml:
        devices = tuple(_devices(nvml, problems))
    return Survey(devices=devices, shape=shape, problem="; ".join(problems)).to_json()


def gone(request: child.Message) -> child.Message:
    """Whether a process that ended has given its memory back."""
    sandbox.enter(sandbox.Policy(gpu=True))
    departure = Departure(
        pid=int(request["pid"]), before_bytes=request.get("before_bytes"), within_s=float(request.get("within_s", _WITHIN_S))
    )
    every_s = float(request.get("every_s", _EVERY_S))
    try:
        with _nvml() as nvml:
            handles = _asked(nvml, request.get("uuid"))
            proof = awaited(departure, lambda: _reading(nvml, handles), every_s=every_s, clock=time.monotonic, sleep=time.sleep)
    except Infrastructure as error:
        proof = unreadable(error)
    return proof.to_json()


def visible(setting: str | None, cards: Sequence[Sequence[str]]) -> list[str]:
    """The UUIDs that CUDA_VISIBLE_DEVICES leaves, in the order of the cards. cards: by number, the UUIDs of each."""
    if setting is None:
        return [uuid for card in cards for uuid in card]
    named: set[str] = set()
    for entry in setting.split(","):
        found = _named(entry.strip(), cards)
        if not found:
            break  # CUDA, too, takes nothing from the first wrong entry on
        named.update(found)
    return [uuid for card in cards for uuid in card if uuid in named]


def _named(entry: str, cards: Sequence[Sequence[str]]) -> Sequence[str]:
    if entry.startswith(("GPU-", "MIG-")):  # CUDA takes the beginning of one as well
        found = [uuid for card in cards for uuid in card if uuid.startswith(entry)]
        return found if len(found) == 1 else ()
    return next((card for number, card in enumerate(cards) if str(number) == entry), ())


@contextlib.contextmanager
def _noted(problems: list[str]) -> Iterator[None]:
    """An error within becomes one of the problems."""
    try:
        yield
    except OcrwatchError as error:
        problems.append(str(error))


@contextlib.contextmanager
def _nvml() -> Iterator[Any]:
    """The library of NVML while it is set up; what it raises within becomes Infrastructure."""
    try:
        import pynvml  # not before the sandbox is entered
    except ImportError as error:
        raise Infrastructure("GPUs cannot be asked: the package nvidia-ml-py is not installed") from error
    with _translated(pynvml):
        pynvml.nvmlInit()
        try:
            yield pynvml
        finally:
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()


@contextlib.contextmanager
def _translated(nvml: Any, where: str = "GPUs cannot be asked") -> Iterator[None]:
    try:
        yield
    except nvml.NVMLError as error:
        kind = type(error).__name__.partition("_")[2]
        raise Infrastructure(f"{where}: {_WORDS.get(kind) or f'NVML says {error}'}") from error


def _devices(nvml: Any, problems: list[str]) -> list[Device]:
    devices: list[Device] = []
    for uuid, handle in _candidates(nvml, problems).items():
        with _noted(problems), _translated(nvml, f"{uuid} is left out"):
            name, memory = nvml.nvmlDeviceGetName(handle), nvml.nvmlDeviceGetMemoryInfo(handle)
            devices.append(Device(uuid, name, total_bytes=memory.total, free_bytes=memory.free, used_bytes=memory.used))
    return devices


def _candidates(nvml: Any, problems: list[str]) -> dict[str, Any]:
    """What may be used, by UUID."""
    handles: dict[str, Any] = {}
    cards: list[tuple[str, ...]] = []
    for number in range(nvml.nvmlDeviceGetCount()):
        usable: dict[str, Any] = {}
        with _noted(problems), _translated(nvml, f"GPU {number} is left out"):
            usable = _usable(nvml, nvml.nvmlDeviceGetHandleByIndex(number))
        handles |= usable
        cards.append(tuple(usable))
    setting = os.environ.get("CUDA_VISIBLE_DEVICES")
    chosen = visible(setting, cards)
    if not cards:
        problems.append("the NVIDIA driver finds no GPU; `nvidia-smi` says why")
    elif handles and not chosen:
        problems.append(f"CUDA_VISIBLE_DEVICES={setting} leaves none of the GPUs {', '.join(handles)}")
    return {uuid: handles[uuid] for uuid in chosen}


def _usable(nvml: Any, card: Any) -> dict[str, Any]:
    """A GPU, or its parts where it is divided."""
    divided = False
    with contextlib.suppress(nvml.NVMLError):  # most GPUs cannot be divided, and say so by an error
        divided = nvml.nvmlDeviceGetMigMode(card)[0] == nvml.NVML_DEVICE_MIG_ENABLE
    if not divided:
        return {nvml.nvmlDeviceGetUUID(card): card}
    parts: dict[str, Any] = {}
    for place in range(nvml.nvmlDeviceGetMaxMigDeviceCount(card)):
        with contextlib.suppress(nvml.NVMLError_NotFound):  # a place without a part
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(card, place)
            parts[nvml.nvmlDeviceGetUUID(part)] = part
    if not parts:
        raise Infrastructure(f"{nvml.nvmlDeviceGetUUID(card)} is left out: it is in MIG mode and has no MIG device")
    return parts


def _asked(nvml: Any, uuid: str | None) -> tuple[Any, ...]:
    """The device, or all of them. Raises Infrastructure when one of those cannot be looked at: it may be the one."""
    if uuid is not None:
        return (nvml.nvmlDeviceGetHandleByUUID(uuid),)
    problems: list[str] = []
    handles = tuple(_candidates(nvml, problems).values())
    if problems:
        raise Infrastructure("; ".join(problems))
    return handles


def _reading(nvml: Any, handles: Sequence[Any]) -> Reading:
    with _translated(nvml):
        used = sum(nvml.nvmlDeviceGetMemoryInfo(handle).used for handle in handles)
        return Reading(used_bytes=used, held_bytes=_held(nvml, handles))


def _held(nvml: Any, handles: Sequence[Any]) -> dict[int, int] | None:
    """The bytes of each process, or None where that cannot be known."""
    if not in_first_pid_namespace():
        return None
    held: dict[int, int] = {}
    for handle in handles:
        try:
            processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        except (nvml.NVMLError_NotSupported, nvml.NVMLError_NoPermission, nvml.NVMLLibraryMismatchError):
            return None
        with contextlib.suppress(nvml.NVMLError, nvml.NVMLLibraryMismatchError):  # a screen's programs; not on every card
            processes = [*nvml.nvmlDeviceGetGraphicsRunningProcesses(handle), *processes]
        here = {process.pid: process.usedGpuMemory for process in processes}  # one that computes and draws is listed twice
        if None in here.values():
            return None
        for pid, amount in here.items():
            held[pid] = held.get(pid, 0) + amount
    return held


def in_first_pid_namespace() -> bool:
    """Whether pids are the same for the driver as here: it names them as the host does, or not at all (nvidia-docker#1483)."""
    try:
        return os.readlink("/proc/self/ns/pid") == _FIRST_PID_NAMESPACE
    except OSError:
        return False


if __name__ == "__main__":
    child.serve(start)
