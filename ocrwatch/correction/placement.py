"""What llama.cpp's log tells of a device: what of a model really lies on one, and whether its memory was short. Pure.

Only buffers that were made count: "offloaded 29/29 layers to GPU" is printed even where CUDA failed (ollama#7765), and a model
whose layers are all on the CPU may still compute on the GPU (llama.cpp#12614).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_DEVICE = r"(?:CUDA|ROCm|MUSA|Vulkan|SYCL|Metal)\d*"  # `CUDA_Host` is memory of the machine
_BUFFER = re.compile(rf"\b({_DEVICE}) +(.*\S) +buffer size = +([\d.]+) MiB")
_OFFLOADED = re.compile(r"\boffloaded (\d+)/(\d+) layers to GPU")
_SHORTAGE = re.compile(
    r"(?:CUDA|HIP|MUSA)_?malloc failed|(?:CUDA|ROCm|HIP|MUSA) error: out of memory|out ?of ?device ?memory"
    rf"|device memory allocation of size|bytes of memory on device|allocate {_DEVICE} buffer",
    re.IGNORECASE,
)
_WEIGHTS = "model"
_MIB = 1 << 20


@dataclass(frozen=True)
class Placement:
    """Where a model lies. device: "gpu" or "cpu". layers: all of the model's, its output being one.

    gpu_bytes: of all buffers on devices: weights, cache and what is computed with; not what the driver itself takes.
    """

    device: str
    layers_on_gpu: int
    layers: int
    gpu_bytes: int


def placement(log: Iterable[str], *, layers: int) -> Placement:
    """The placement, from the lines of a load that went well. layers: of the model, where the log does not count them."""
    lines = list(log)
    found = [match for line in lines if (match := _BUFFER.search(line))]
    counted = next((match for line in lines if (match := _OFFLOADED.search(line))), None)
    holds_weights = any(match[2] == _WEIGHTS for match in found)
    on_gpu = int(counted[1]) if counted and holds_weights else 0
    return Placement(
        device="gpu" if on_gpu else "cpu",
        layers_on_gpu=on_gpu,
        layers=int(counted[2]) if counted else layers,
        gpu_bytes=sum(round(float(match[3]) * _MIB) for match in found),
    )


def was_short(errors: Iterable[str]) -> bool:
    """Whether a device's memory was too short, not the machine's, from llama.cpp's errors."""
    return any(_SHORTAGE.search(line) for line in errors)
