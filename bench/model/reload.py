"""From a request to its answer when the model is unloaded, beside a bare load and the same evaluation; in turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.model import life
from ocrwatch.correction.loading import ModelPlan
from ocrwatch.correction.placing import Placing
from ocrwatch.correction.protocol import CorrectionRequest
from ocrwatch.correction.store import ModelFile, Source


@dataclass(frozen=True)
class Reloads:
    """Seconds of each round. batches: tokens that the model runs for the page."""

    ours_s: tuple[float, ...]
    bare_s: tuple[float, ...]
    batches: tuple[int, ...]

    @property
    def ratio(self) -> float:
        """Ours to the bare one's, round by round; the median."""
        return median(our / bare for our, bare in zip(self.ours_s, self.bare_s, strict=True))


def measure(model: Path, folder: Path, *, text: str, rounds: int) -> Reloads:
    """So many rounds, each way first in every other one; one more before that, which also finds the file, is not counted."""
    plan = life.real_plan(model, folder)
    batches = _batches(plan, model, text)
    bare = _bare_command(plan, model, text, batches)
    ours_s, bare_s = list[float](), list[float]()
    with life.owned(plan) as owner:

        def ours() -> None:
            begun = time.perf_counter()
            life.corrected(owner, text)
            ours_s.append(time.perf_counter() - begun)
            life.unload(owner)

        def theirs() -> None:
            bare_s.append(_answered_s(bare))

        ours()
        theirs()
        for each in (ours_s, bare_s):
            each.clear()
        for number in range(rounds):
            for way in (ours, theirs)[:: -1 if number % 2 else 1]:
                way()
    return Reloads(tuple(ours_s), tuple(bare_s), batches)


def _spec_options(plan: ModelPlan, model: Path) -> dict[str, object]:
    file = ModelFile(path=model, file=model.name, sha256="", size_bytes=model.stat().st_size, source=Source.PATH)
    return dict(plan.load(file, Placing(0)).options)


def _batches(plan: ModelPlan, model: Path, text: str) -> tuple[int, ...]:
    options = {"load": _spec_options(plan, model), "request": CorrectionRequest(text=text).to_json()}
    command = [sys.executable, "-m", "bench.model.batches", json.dumps(options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return tuple(json.loads(done.stdout))


def _bare_command(plan: ModelPlan, model: Path, text: str, batches: tuple[int, ...]) -> list[str]:
    load = _spec_options(plan, model)
    given = {name: load[name] for name in ("context_tokens", "threads")}
    options = {"model": str(model), "text": text, "batches": batches, **given}
    return [sys.executable, str(Path(__file__).with_name("bare.py")), json.dumps(options)]


def _answered_s(command: list[str]) -> float:
    """Seconds from the start of a process to its first line."""
    environment = os.environ | {"OMP_WAIT_POLICY": "passive"}  # as ours: both share the cores with other work
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True) as process:
        line = process.stdout.readline() if process.stdout else ""
        took_s = time.perf_counter() - begun
    if process.returncode or line != "done\n":
        raise life.LifeFailed(f"the bare load ended with status {process.returncode}")
    return took_s
