"""Where the next process of the model puts its layers: which GPU, how many, and why not all. Decides; asks and starts nothing.

What the devices have free comes from `look`, what a load came to is told by `loaded` and `failed`. Used by one thread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ocrwatch.correction.fit import Key, Ladder, gpu_bytes, layers_that_fit, steps
from ocrwatch.correction.gguf import Shape
from ocrwatch.errors import DeviceFull, ModelUnavailable, OcrwatchError, WorkerDied
from ocrwatch.wording import size

if TYPE_CHECKING:
    from ocrwatch.correction.store import ModelFile

_NO_DRIVER = "no NVIDIA driver is to be seen on this machine"
_NOT_TAKEN = "llama.cpp put nothing on the GPU, though there is room: it was built for none, or CUDA did not start"
_MAKE_ROOM = "end what else uses it, take a smaller quantization or context, or set `model.require_gpu: false`"
_GET_ONE = "`ocrwatch doctor` says what is missing; or set `model.require_gpu: false`"

_SHORTAGE = re.compile(
    r"out of memory|out ?of ?device ?memory|(cuda|hip)(host)?_?malloc failed|(cuda|rocm|hip|musa|sycl) error"
    r"|cublas_status_alloc_failed|device memory allocation of size|allocate (cuda|rocm|vulkan|sycl|musa)\d",
    re.IGNORECASE,
)
"""Last words of llama.cpp where a device was short of memory. Any error of CUDA counts: under pressure they come in many forms,
and a lower step is what a broken device needs as well."""


@dataclass(frozen=True)
class Device:
    """A GPU and its memory at one moment."""

    uuid: str
    name: str
    total_bytes: int
    free_bytes: int
    used_bytes: int

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Device:
        """The device of `Survey.to_json`. Raises KeyError, TypeError or ValueError on anything else."""
        sizes = {name: int(data[name]) for name in ("total_bytes", "free_bytes", "used_bytes")}
        return Device(uuid=str(data["uuid"]), name=str(data["name"]), **sizes)


@dataclass(frozen=True)
class Survey:
    """What there is: the devices, and the model's shape. problem: what could not be found out, and why."""

    devices: tuple[Device, ...]
    shape: Shape | None
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """The survey as a JSON object, for a frame."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Survey:
        """The survey of `to_json`. Raises KeyError, TypeError or ValueError on anything else."""
        shape = data["shape"]
        return Survey(
            devices=tuple(Device.from_json(device) for device in data["devices"]),
            shape=None if shape is None else Shape.from_json(shape),
            problem=str(data["problem"]),
        )


@dataclass(frozen=True)
class Placing:
    """Where a process is to put the model.

    layers: None for as many as the build takes, 0 for the CPU. device: a UUID, for CUDA_VISIBLE_DEVICES; None leaves it open.
    reason: why it is not all of it on a GPU.
    """

    layers: int | None
    device: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class GpuPolicy:
    """What is wanted of a GPU.

    layers: None for as many as fit, 0 for the CPU. device: a UUID, None for any. require: rather no correction than on the CPU.
    margin_bytes: of the device's free memory, left to others. context_tokens: what the model is loaded with.
    """

    layers: int | None
    device: str | None
    require: bool
    margin_bytes: int
    context_tokens: int


@dataclass(frozen=True)
class _Choice:
    """One device, or one that nobody knows, and how much of the model it would get.

    all_layers: of the model; 1 where nobody knows: then it is all or nothing. wanted: without regard to memory.
    fitting: by the sums. layers: after what was learnt.
    """

    key: Key
    device: Device | None
    uuid: str | None
    all_layers: int
    wanted: int
    fitting: int
    layers: int

    @property
    def rank(self) -> tuple[int, int]:
        """The more layers the better, and among equals the more free memory."""
        return self.layers, self.device.free_bytes if self.device is not None else 0


class Placer:
    """Decides for one load after the other, and learns from what became of them.

    look: asks the devices about a model's file; None where the machine has no NVIDIA driver. clock: monotonic seconds.
    """

    def __init__(self, policy: GpuPolicy, *, look: Callable[[ModelFile], Survey] | None, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._look = look
        self._clock = clock
        self._ladder = Ladder()
        self._choice: _Choice | None = None
        self._reason = ""

    def next(self, file: ModelFile) -> Placing:
        """Where the next process is to load the model.

        Raises DeviceFull when a GPU is required and has no room, ModelUnavailable when the one that is named is not there.
        """
        policy = self._policy
        self._choice, self._reason = None, ""
        if policy.layers == 0:
            return Placing(0)
        if self._look is None and policy.layers is None and policy.require:
            raise DeviceFull(
                f"a GPU is required, and {_NO_DRIVER}",
                "install it; for a GPU of another maker set `model.gpu_layers` to a number; or set `model.require_gpu: false`",
            )
        survey = Survey(devices=(), shape=None) if self._look is None else self._look(file)
        choices = [self._choose(file, survey.shape, device) for device in self._eligible(survey)]
        choice = max(choices, key=lambda choice: choice.rank)
        reason = self._shortfall(choice, survey) if choice.layers < choice.wanted else _unknown(choice, survey)
        if policy.require and not choice.layers:
            raise DeviceFull(f"a GPU is required: {reason}", _MAKE_ROOM)
        self._choice, self._reason = choice, reason
        layers = policy.layers if choice.layers == choice.wanted else choice.layers
        return Placing(layers, choice.uuid if choice.layers else None, reason)

    def loaded(self, hello: Mapping[str, Any]) -> str:
        """What the process of the last placing says of itself; why less of it runs on a GPU than was wanted, or nothing.

        Raises DeviceFull when a GPU is required and nothing runs there: the process is to be ended.
        """
        choice = self._choice
        if choice is None:  # the CPU was asked for
            return ""
        if hello.get("layers_on_gpu"):
            self._ladder.worked(choice.key, layers=choice.layers, now=self._clock())
            return self._reason if choice.layers < choice.wanted else ""
        reason = self._why_nothing()
        if self._policy.require:
            raise DeviceFull(f"a GPU is required, and the model runs on the CPU: {reason}", _GET_ONE)
        return reason

    def failed(self) -> bool:
        """The device was short of memory with the last placing. Whether a lower one is to be tried, at once, in a new process."""
        choice, self._choice = self._choice, None
        if choice is None:
            return False
        lower = self._ladder.failed(choice.key, layers=choice.layers, now=self._clock())
        return lower is not None and (lower > 0 or not self._policy.require)

    def _eligible(self, survey: Survey) -> tuple[Device | None, ...]:
        named = self._policy.device
        if named is None or not survey.devices:
            return survey.devices or (None,)
        found = tuple(device for device in survey.devices if device.uuid == named)
        if not found:
            there = ", ".join(f"{device.uuid} ({device.name})" for device in survey.devices)
            raise ModelUnavailable(f"there is no GPU {named}, but {there}", "set `model.device` to one of them, or to auto")
        return found

    def _choose(self, file: ModelFile, shape: Shape | None, device: Device | None) -> _Choice:
        policy = self._policy
        all_layers = shape.layers if shape is not None else policy.layers or 1
        wanted = fitting = all_layers if policy.layers is None else min(policy.layers, all_layers)
        if policy.layers is None and shape is not None and device is not None:
            fitting = layers_that_fit(
                shape, context_tokens=policy.context_tokens, free_bytes=device.free_bytes, margin_bytes=policy.margin_bytes
            )
        uuid = device.uuid if device is not None else policy.device
        key = Key(file.sha256, policy.context_tokens, uuid or "")
        layers = self._ladder.first(key, fitting=fitting, now=self._clock())
        if policy.require and fitting and not layers:
            layers = steps(fitting)[-2]  # the lowest that is on the GPU at all
        return _Choice(key, device, uuid, all_layers=all_layers, wanted=wanted, fitting=fitting, layers=layers)

    def _shortfall(self, choice: _Choice, survey: Survey) -> str:
        if choice.layers < choice.fitting or survey.shape is None or choice.device is None:
            where = choice.uuid or "the GPU"
            more = f" with more than {choice.layers} of {choice.all_layers} layers" if choice.layers else ""
            return f"{where} ran out of memory{more}"
        needed = gpu_bytes(survey.shape, layers=choice.all_layers, context_tokens=self._policy.context_tokens)
        return (
            f"no room{' for more' if choice.layers else ''}: {choice.uuid} has {size(choice.device.free_bytes)} free, "
            f"all {choice.all_layers} layers need {size(needed)} and {size(self._policy.margin_bytes)} to spare"
        )

    def _why_nothing(self) -> str:
        """Why nothing is on a GPU; empty where nobody asked for one: neither the settings nor a driver that is there."""
        if self._reason:
            return self._reason
        if self._look is not None:
            return _NOT_TAKEN
        return "" if self._policy.layers is None and self._policy.device is None else _NO_DRIVER


def _unknown(choice: _Choice, survey: Survey) -> str:
    """What kept the sums from being made."""
    return survey.problem if choice.device is None or survey.shape is None else ""


def is_shortage(error: OcrwatchError) -> bool:
    """Whether a load or a request ended because a GPU was short of memory, or failed: less of the model there may help."""
    if isinstance(error, WorkerDied):
        return any(_SHORTAGE.search(line) for line in (error.message, *error.last_words))
    return isinstance(error, DeviceFull)
