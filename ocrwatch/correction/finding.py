"""The model that is wished: from this machine where it is there, else, where that is allowed, from the hub."""

from __future__ import annotations

from ocrwatch.correction.store import Download, ModelFile, ModelWish
from ocrwatch.errors import MissingPart, ModelUnavailable
from ocrwatch.worker.process import Progress, WorkerProcess, WorkerSpec

_STALL_S = 120.0  # without a byte; a download has no total limit


def find_or_fetch(fetcher: WorkerSpec, wish: ModelWish, *, progress: Progress | None = None) -> ModelFile:
    """The model's file, checked; the network is asked only for one that is not here. Raises what keeps it from being had."""
    question = {"wish": wish.to_json()}
    with WorkerProcess(fetcher) as worker:
        try:
            reply = worker.call({"op": "find"} | question, deadline_s=_STALL_S, progress=progress)
        except (MissingPart, ModelUnavailable):  # not here, or damaged: the hub mends its own cache, and touches no other file
            if wish.download is not Download.AUTO:
                raise
            reply = worker.call({"op": "fetch"} | question, deadline_s=_STALL_S, progress=progress)
        return ModelFile.from_json(reply)
