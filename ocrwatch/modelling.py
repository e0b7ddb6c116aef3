"""From settings to the correction model: which one is wished, how it is found, where it runs, how it is loaded.

What it hands on are plain values.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from ocrwatch.correction.calibrations import Calibrations
from ocrwatch.correction.driver import has_driver
from ocrwatch.correction.loading import Loader, ModelPlan
from ocrwatch.correction.placing import GpuPolicy, Placing
from ocrwatch.correction.protocol import PAGE_BUDGET_S
from ocrwatch.correction.store import Download, ModelFile, ModelWish
from ocrwatch.correction.token import hub_environment
from ocrwatch.settings import Configuration
from ocrwatch.worker.process import WorkerProcess, WorkerSpec

log = logging.getLogger(__name__)

WordListKey = tuple[tuple[str, ...], tuple[str, ...]]
"""Languages, and the words of an inbox's own."""

_MARGIN_BYTES = 512 * 2**20  # of a card's free memory that stays free, for its other users and for what is not counted
# llama.cpp's threads spin at every barrier; on cores that recognition shares with them a batch of 8 tokens took 12 times as long.
_PATIENT_THREADS = {"OMP_WAIT_POLICY": "passive"}


def wish_of(settings: Configuration) -> ModelWish:
    """The model that is asked for."""
    model = settings.model
    return ModelWish(
        path=model.path,
        directory=model.directory,
        repo_id=model.repo_id,
        file=model.file,
        quantization=None if model.file else model.quantization,
        revision=model.revision,
        sha256=model.sha256,
        download=Download(model.download),
    )


def fetch_spec(state_dir: Path, environment: Mapping[str, str] = os.environ) -> WorkerSpec:
    """How to start the worker that finds and fetches models; the only one that may use the network.

    environment: where its variables of the hub are taken from.
    """
    return WorkerSpec(
        module="ocrwatch.correction.fetch",
        options={"state_dir": str(state_dir)},
        environment=hub_environment(environment),
    )


def plan_of(settings: Configuration, *, threads: int, word_lists: Sequence[WordListKey] = ()) -> ModelPlan:
    """How the model is found, placed and loaded. word_lists: made ready meanwhile."""
    model, calibrations = settings.model, Calibrations(settings.state_dir)

    def load(file: ModelFile, placing: Placing) -> WorkerSpec:
        found = calibrations.of(file.path)
        if found.problem:
            log.warning("%s", found)
        return WorkerSpec(
            module="ocrwatch.correction.worker",
            options={
                "model_path": str(file.path),
                "gpu_layers": placing.layers,
                "context_tokens": model.context,
                "threads": threads,
                "mmap": model.mmap,
                "calibration": asdict(found.calibration),
                "word_lists": [{"languages": languages, "dictionary": words} for languages, words in word_lists],
            },
            environment=_PATIENT_THREADS | _visible(placing),
            start_s=model.load_timeout,
        )

    return ModelPlan(
        wish=wish_of(settings),
        fetch=fetch_spec(settings.state_dir),
        gpu=GpuPolicy(
            layers=None if model.gpu_layers == "auto" else model.gpu_layers,
            device=None if model.device == "auto" else model.device,
            require=model.require_gpu,
            margin_bytes=_MARGIN_BYTES,
            context_tokens=model.context,
        ),
        devices=WorkerSpec(module="ocrwatch.correction.devices") if has_driver() else None,
        load=load,
        idle_s=model.idle_unload,
        page_timeout_s=1.5 * PAGE_BUDGET_S,
    )


def _visible(placing: Placing) -> dict[str, str]:
    """The GPUs that the process may see. Without any layer there llama.cpp would use one all the same, for long batches."""
    if placing.layers == 0:
        return dict.fromkeys(("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"), "")
    return {"CUDA_VISIBLE_DEVICES": placing.device} if placing.device else {}


@contextlib.contextmanager
def loaded_model(settings: Configuration, scratch: Path) -> Iterator[tuple[ModelFile, WorkerProcess]]:
    """The model's file, and its process, loaded, for a command that needs it once. Raises what keeps it from being had."""
    plan = plan_of(settings, threads=len(os.sched_getaffinity(0)), word_lists=[(settings.inboxes[0].languages, ())])
    loader = Loader(replace(plan, fetch=fetch_spec(scratch)), clock=time.monotonic)
    with loader.load(threading.Event(), None) as worker:
        assert loader.file is not None
        yield loader.file, worker
