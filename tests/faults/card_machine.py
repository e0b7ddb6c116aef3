"""A machine with one GPU that is a `FakeCard`, and the plan of a model for it: real processes, nothing of them on a real GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ocrwatch.correction.fit import gpu_bytes
from ocrwatch.correction.gguf import Shape, read
from ocrwatch.correction.loading import ModelPlan
from ocrwatch.correction.placing import GpuPolicy
from ocrwatch.correction.store import ModelWish
from tests.faults.fake_card import FakeCard
from tests.faults.fake_nvml import FakeCards, nvml_spec
from tests.faults.models import smollm2
from tests.faults.workers import carded_model, scripted_model

UUID = "GPU-one"
_CONTEXT_TOKENS = 4096
_HEADER_BYTES = 8 * 10**6


class CardMachine:
    """The card, the driver that shows it, and a file with a real model's header: so the sums are those of a real model."""

    def __init__(self, folder: Path, *, total_bytes: int) -> None:
        folder.mkdir()
        self.folder = folder
        self.card = FakeCard(folder / "card", total_bytes=total_bytes)
        self.driver = FakeCards(folder)
        self.drive()
        self.shape = _headed(smollm2(), folder / "model.gguf")

    def drive(self, **state: Any) -> None:
        """The driver works, but for what is said here, see `fake_nvml`."""
        shown = {"uuid": UUID, "name": "Card", "total_bytes": self.card.total_bytes, "folder": str(self.card.folder)}
        self.driver.say(**{"cards": [shown], **state})

    def needs(self, *, times: int = 1) -> list[int]:
        """What each number of layers takes of the card: what the sums say, or so many times of that."""
        everything = range(self.shape.layers + 1)
        return [times * gpu_bytes(self.shape, layers=layers, context_tokens=_CONTEXT_TOKENS) for layers in everything]


def card_plan(folder: Path, *, require: bool = False, **options: Any) -> ModelPlan:
    """The plan of one service on the machine of this folder. options: of its `carded_model`."""
    return ModelPlan(
        wish=ModelWish(path=folder / "model.gguf"),
        fetch=scripted_model(),
        devices=nvml_spec(folder),
        gpu=GpuPolicy(layers=None, device=None, require=require, margin_bytes=0, context_tokens=_CONTEXT_TOKENS),
        load=lambda _, placing: carded_model(**{"card": str(folder / "card"), "layers": placing.layers, **options}),
        idle_s=300.0,
        page_timeout_s=60.0,
    )


def _headed(real: Path, path: Path) -> Shape:
    """A file of the real one's size that has its header and no weights."""
    with real.open("rb") as whole, path.open("wb") as file:
        file.write(whole.read(_HEADER_BYTES))
        file.truncate(real.stat().st_size)
    return read(real)
