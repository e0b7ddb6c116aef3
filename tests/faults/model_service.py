"""A process of its own that owns a model on a `CardMachine`, as a daemon does: `python -m tests.faults.model_service JSON`.

Each line that it reads is a JSON object of things to do, each line that it answers how it stands then:

    ask=[TEXT, ...]   pages to be corrected; nobody waits for them
    unload=true       a person wants the memory
    later=S           so many seconds pass
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from ocrwatch.correction.owner import ModelOwner
from ocrwatch.correction.protocol import Correction, CorrectionRequest
from tests.faults.card_machine import card_plan

_PROJECT = Path(__file__).resolve().parents[2]
_LIBRARIES = ("libllama", "libggml", "libcuda", "libnvidia-ml")


class LaterClock:
    """The monotonic clock, which a test may set forward."""

    def __init__(self) -> None:
        self.later_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.later_s


class ModelService:
    """The test's side. options: of `card_plan`."""

    def __init__(self, folder: Path, **options: Any) -> None:
        command = [sys.executable, "-m", "tests.faults.model_service", json.dumps({"folder": str(folder), **options})]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=_PROJECT)

    def say(self, **command: Any) -> dict[str, Any]:
        """Have this done; how it stands then."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(command), file=self._process.stdin, flush=True)
        return dict(json.loads(self._process.stdout.readline()))

    def children(self) -> list[int]:
        """Its processes, those included that are not reaped."""
        tasks = Path(f"/proc/{self._process.pid}/task").iterdir()
        return [int(pid) for task in tasks for pid in (task / "children").read_text(encoding="ascii").split()]

    def stop(self) -> int:
        """Its exit status; what it has to say besides is on standard error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        return self._process.wait(60)

    def end(self) -> None:
        """Whatever the test left is gone."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _standing(owner: ModelOwner, answers: list[Future[Correction]]) -> dict[str, Any]:
    answered = [None if not answer.done() else len(answer.result().edits) for answer in answers]  # so the rest is no older
    now = owner.status()
    mapped = Path("/proc/self/maps").read_text(encoding="utf-8")
    return {
        "state": now.worker.state,
        "epoch": now.epoch,
        "deaths": now.worker.deaths,
        "layers": (now.worker.hello or {}).get("layers_on_gpu"),
        "degraded": now.degraded,
        "problem": now.worker.problem,
        "is_away": now.unavailable_since is not None,
        "verdicts": now.verdicts,
        "answered": answered,
        "mapped": [library for library in _LIBRARIES if library in mapped],
    }


def _serve(options: dict[str, Any]) -> None:
    clock, answers = LaterClock(), list[Future[Correction]]()
    owner = ModelOwner(card_plan(Path(options.pop("folder")), **options), clock=clock, on_back=lambda: None)
    try:
        for line in sys.stdin:
            command = json.loads(line)
            clock.later_s += float(command.get("later", 0))
            if command.get("unload"):
                owner.unload()
            answers += [owner.correct("in", len(answers), _requested(text)) for text in command.get("ask", ())]
            print(json.dumps(_standing(owner, answers)), flush=True)
    finally:
        owner.stop(drain_s=1.0)
        assert [thread.name for thread in threading.enumerate() if thread.name.startswith("model")] == []


def _requested(text: str) -> Callable[[], CorrectionRequest]:
    return lambda: CorrectionRequest(text=text)


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
