"""The card at one moment, by NVML. The library is loaded in a process of its own for each look, `python -m bench.model.gpu.card`.

That process says plainly what keeps it from looking; it makes no CUDA context, so it takes nothing of what it measures.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RETURNED_BYTES = 32 * 2**20
"""As much more than before may be in use when a model is gone."""


class NoCard(Exception):
    """There is no GPU to measure, or it cannot be asked; the message says why."""


@dataclass(frozen=True)
class Card:
    """A GPU. capability: what CUDA calls the compute capability, as (9, 0). held_bytes: by process."""

    uuid: str
    name: str
    capability: tuple[int, int]
    total_bytes: int
    used_bytes: int
    free_bytes: int
    held_bytes: Mapping[int, int]

    @property
    def architecture(self) -> str:
        """For CMAKE_CUDA_ARCHITECTURES."""
        return f"{self.capability[0]}{self.capability[1]}"

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Card:
        """The card that a look printed. Raises KeyError, TypeError or ValueError on anything else."""
        major, minor = data["capability"]
        sizes = {name: int(data[name]) for name in ("total_bytes", "used_bytes", "free_bytes")}
        held = {int(pid): int(size) for pid, size in data["held_bytes"].items()}
        return Card(uuid=str(data["uuid"]), name=str(data["name"]), capability=(int(major), int(minor)), held_bytes=held, **sizes)


def look(uuid: str | None = None) -> Card:
    """The card, the first where none is named. Raises NoCard."""
    command = [sys.executable, "-m", "bench.model.gpu.card", *([uuid] if uuid else [])]
    return parsed(subprocess.run(command, capture_output=True, text=True, check=False))


def parsed(done: subprocess.CompletedProcess[str]) -> Card:
    """What a look said. Raises NoCard."""
    lines = done.stderr.strip().splitlines()
    if done.returncode:
        raise NoCard(lines[-1] if lines else f"the look at the GPU ended with status {done.returncode}")
    try:
        return Card.from_json(json.loads(done.stdout))
    except (KeyError, TypeError, ValueError) as error:
        raise NoCard(f"the look at the GPU said nonsense: {error}") from error


def _seen(nvml: Any, uuid: str | None) -> dict[str, Any]:
    handle = nvml.nvmlDeviceGetHandleByUUID(uuid) if uuid else nvml.nvmlDeviceGetHandleByIndex(0)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    return {
        "uuid": nvml.nvmlDeviceGetUUID(handle),
        "name": nvml.nvmlDeviceGetName(handle),
        "capability": nvml.nvmlDeviceGetCudaComputeCapability(handle),
        "total_bytes": memory.total,
        "used_bytes": memory.used,
        "free_bytes": memory.free,
        "held_bytes": {process.pid: process.usedGpuMemory or 0 for process in processes},
    }


def main() -> int:
    """Print the card that the argument names, or the first; 1, and why, where that cannot be."""
    import pynvml

    try:
        pynvml.nvmlInit()
        print(json.dumps(_seen(pynvml, sys.argv[1] if len(sys.argv) > 1 else None)))
    except pynvml.NVMLError as error:
        print(f"NVML says {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
