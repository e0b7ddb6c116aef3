"""The `devices` worker on a machine whose GPUs stand in a file: `python -m tests.faults.fake_nvml`.

Everything is the worker's own but the library `pynvml`. The folder that FAKE_NVML names has `cards.json`, read anew at each call,
and `calls`, to which each call adds its name. The file: `absent` (there is no such library), `raises` (by function: `kind` of the
error, or `Hang`, and `from` which call on), `foreign_pids` (the worker is in a container), `cards`, each with `uuid`, `name`,
`total_bytes`, `parts` (cards again, MIG) and `readings`; each look at the memory takes the next of these, the last one for ever:
`used_bytes` and `held` (bytes or null by pid). A card with `folder` in place of `readings` is a `FakeCard`, read as it is.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from ocrwatch.correction import devices
from ocrwatch.worker import child
from ocrwatch.worker.process import WorkerSpec
from tests.faults.fake_card import FakeCard

_PROJECT = Path(__file__).resolve().parents[2]
_LOG_BYTES = 1 << 18
_KINDS = ("LibraryNotFound", "DriverNotLoaded", "GpuIsLost", "NotFound", "NotSupported", "NoPermission", "Unknown")


class NVMLError(Exception):
    """As the library's: each kind is a class of its own."""


def _error(kind: str) -> type[NVMLError]:
    return type(f"NVMLError_{kind}", (NVMLError,), {})


class FakeNvml(ModuleType):
    """The library."""

    NVML_DEVICE_MIG_ENABLE = 1

    def __init__(self, folder: Path) -> None:
        super().__init__("pynvml")
        self._folder = folder
        self._errors = {kind: _error(kind) for kind in _KINDS}
        mismatch = type("NVMLLibraryMismatchError", (Exception,), {})
        vars(self).update({error.__name__: error for error in (NVMLError, mismatch, *self._errors.values())})
        # The sandbox lets the worker open nothing to write, and write no file; memory that is mapped before may change.
        with (folder / "calls").open("r+b") as file:
            self._calls = mmap.mmap(file.fileno(), _LOG_BYTES)
        self._counts: Counter[str] = Counter()
        self._looks: Counter[tuple[int, ...]] = Counter()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        answer = _ANSWERS.get(name)
        if answer is None:
            raise AttributeError(name)
        return lambda *arguments: self._called(name, answer, *arguments)

    def _called(self, name: str, answer: Callable[..., Any], *arguments: Any) -> Any:
        end = self._calls.find(b"\0")
        self._calls[end : end + len(name) + 1] = f"{name}\n".encode()
        self._counts[name] += 1
        state = self.state()
        if (fault := state.get("raises", {}).get(name)) and self._counts[name] >= fault.get("from", 1):
            if fault["kind"] == "Hang":
                threading.Event().wait()
            raise self._errors[fault["kind"]](fault["kind"])
        return answer(self, state, *arguments)

    def state(self) -> dict[str, Any]:
        """What the file says now."""
        return json.loads((self._folder / "cards.json").read_bytes())  # type: ignore[no-any-return]

    def error(self, kind: str) -> NVMLError:
        """An error of that kind."""
        return self._errors[kind](kind)

    def reading(self, card: dict[str, Any], handle: tuple[int, ...]) -> dict[str, Any]:
        """What the last look at the card's memory saw, or the next will."""
        if "folder" in card:
            shared = FakeCard(Path(card["folder"]))
            return {"used_bytes": shared.used_bytes(), "held": {str(pid): size for pid, size in shared.held().items()}}
        readings = card["readings"]
        return readings[min(max(0, self._looks[handle] - 1), len(readings) - 1)]  # type: ignore[no-any-return]

    def look(self, card: dict[str, Any], handle: tuple[int, ...]) -> SimpleNamespace:
        """The card's memory."""
        self._looks[handle] += 1
        used = self.reading(card, handle)["used_bytes"]
        return SimpleNamespace(total=card["total_bytes"], free=card["total_bytes"] - used, used=used)


def _card(state: dict[str, Any], handle: tuple[int, ...]) -> dict[str, Any]:
    card = state["cards"][handle[0]]
    return card["parts"][handle[1]] if len(handle) > 1 else card  # type: ignore[no-any-return]


def _handle(nvml: FakeNvml, state: dict[str, Any], uuid: str) -> tuple[int, ...]:
    for number, card in enumerate(state["cards"]):
        if card["uuid"] == uuid:
            return (number,)
        for place, part in enumerate(card.get("parts", ())):
            if part["uuid"] == uuid:
                return (number, place)
    raise nvml.error("NotFound")


def _mig_mode(nvml: FakeNvml, state: dict[str, Any], handle: tuple[int, ...]) -> list[int]:
    if "parts" not in _card(state, handle):
        raise nvml.error("NotSupported")
    return [1, 1]


def _part(nvml: FakeNvml, state: dict[str, Any], handle: tuple[int, ...], place: int) -> tuple[int, ...]:
    if place >= len(_card(state, handle)["parts"]):
        raise nvml.error("NotFound")
    return (*handle, place)


def _processes(nvml: FakeNvml, state: dict[str, Any], handle: tuple[int, ...]) -> list[SimpleNamespace]:
    held = nvml.reading(_card(state, handle), handle).get("held", {})
    return [SimpleNamespace(pid=int(pid), usedGpuMemory=amount) for pid, amount in held.items()]


_ANSWERS: dict[str, Callable[..., Any]] = {
    "nvmlInit": lambda nvml, state: None,
    "nvmlShutdown": lambda nvml, state: None,
    "nvmlDeviceGetCount": lambda nvml, state: len(state["cards"]),
    "nvmlDeviceGetHandleByIndex": lambda nvml, state, number: (number,),
    "nvmlDeviceGetHandleByUUID": _handle,
    "nvmlDeviceGetUUID": lambda nvml, state, handle: _card(state, handle)["uuid"],
    "nvmlDeviceGetName": lambda nvml, state, handle: _card(state, handle)["name"],
    "nvmlDeviceGetMigMode": _mig_mode,
    "nvmlDeviceGetMaxMigDeviceCount": lambda nvml, state, handle: 7,
    "nvmlDeviceGetMigDeviceHandleByIndex": _part,
    "nvmlDeviceGetMemoryInfo": lambda nvml, state, handle: nvml.look(_card(state, handle), handle),
    "nvmlDeviceGetComputeRunningProcesses": _processes,
    "nvmlDeviceGetGraphicsRunningProcesses": lambda nvml, state, handle: [],
}


class FakeCards:
    """The test's side: the folder with what the cards say, and the worker that asks them."""

    def __init__(self, folder: Path, **state: Any) -> None:
        self._folder = folder
        (folder / "calls").write_bytes(bytes(_LOG_BYTES))
        self.say(**state)

    def say(self, **state: Any) -> None:
        """What is said from now on, see the module."""
        (self._folder / "cards.new").write_text(json.dumps({"cards": [], **state}), encoding="ascii")
        (self._folder / "cards.new").replace(self._folder / "cards.json")

    def calls(self) -> list[str]:
        """The functions that were called so far, by whatever process."""
        return (self._folder / "calls").read_bytes().rstrip(b"\0").decode().split()

    def spec(self) -> WorkerSpec:
        """How to start the worker."""
        return nvml_spec(self._folder)


def nvml_spec(folder: Path) -> WorkerSpec:
    """How to start the worker on these cards. The folder is on the path of modules, so the sandbox lets it be read."""
    environment = {"PYTHONPATH": f"{_PROJECT}:{folder}", "FAKE_NVML": str(folder)}
    return WorkerSpec(module="tests.faults.fake_nvml", environment=environment)


if __name__ == "__main__":
    fake = FakeNvml(Path(os.environ["FAKE_NVML"]))
    state = fake.state()
    sys.modules["pynvml"] = None if state.get("absent") else fake  # type: ignore[assignment]
    devices.in_first_pid_namespace = lambda: not state.get("foreign_pids")
    child.serve(devices.start)
