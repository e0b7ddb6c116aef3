"""How tests start the scripted worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ocrwatch.worker.frames import USUAL_FRAME_BYTES
from ocrwatch.worker.process import WorkerSpec

_PROJECT = Path(__file__).resolve().parent.parent.parent


def scripted(
    *, start_s: float = 20.0, memory_bytes: int | None = None, answer_bytes: int = USUAL_FRAME_BYTES, **options: Any
) -> WorkerSpec:
    """The specification of a scripted worker with these options."""
    limits = {"start_s": start_s, "memory_bytes": memory_bytes, "answer_bytes": answer_bytes}
    return _spec("tests.faults.scripted_worker", options, **limits)


def scripted_ocr(*, memory_bytes: int | None = None, **options: Any) -> WorkerSpec:
    """The specification of a recognition worker that does what its file says."""
    return _spec("tests.faults.scripted_ocr", options, memory_bytes=memory_bytes)


def scripted_model(*, start_s: float = 20.0, **options: Any) -> WorkerSpec:
    """The specification of a correction worker without a model; it finds its file as well."""
    return _spec("tests.faults.scripted_model", options, start_s=start_s)


def carded_model(*, start_s: float = 20.0, **options: Any) -> WorkerSpec:
    """The same on a fake card."""
    return _spec("tests.faults.carded_model", options, start_s=start_s)


def confined(*, memory_bytes: int | None = None, **options: Any) -> WorkerSpec:
    """The specification of a worker in the sandbox that tries to get out."""
    return _spec("tests.faults.confined_worker", options, memory_bytes=memory_bytes)


def _spec(module: str, options: dict[str, Any], **limits: Any) -> WorkerSpec:
    return WorkerSpec(module=module, options=options, environment={"PYTHONPATH": str(_PROJECT)}, **limits)


def is_running(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
