"""`ocrwatch` as it is, but for its engine and its wall clock: `python -m tests.torture.launcher run --config FILE`.

OCRWATCH_TORTURE_CLOCK: a file that says how many seconds the wall clock is wrong; none, and it is right.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from ocrwatch import cli, composition
from ocrwatch.ocr.engine import EngineName
from ocrwatch.settings import Configuration
from ocrwatch.worker.process import WorkerSpec

_PROJECT = Path(__file__).resolve().parents[2]


def _fast(_: Configuration) -> dict[EngineName, Callable[[], WorkerSpec]]:
    passed = {name: value for name, value in os.environ.items() if name.startswith("OCRWATCH_TORTURE_")}
    environment = passed | {"PYTHONPATH": str(_PROJECT)}
    return dict.fromkeys(EngineName, lambda: WorkerSpec(module="tests.torture.fast_engine", environment=environment))


class _WrongClock:
    def __init__(self, told_by: Path) -> None:
        self._told_by = told_by
        self._right = time.time  # noqa: TID251 - what it tells is what the test is about
        self._wrong_by_s = 0.0

    def __call__(self) -> float:
        with contextlib.suppress(OSError, ValueError):  # a clock needs no descriptor
            self._wrong_by_s = float(self._told_by.read_text(encoding="ascii"))
        return self._right() + self._wrong_by_s


if __name__ == "__main__":
    time.time = _WrongClock(Path(os.environ.get("OCRWATCH_TORTURE_CLOCK", os.devnull)))  # type: ignore[assignment]  # noqa: TID251
    composition.engine_specs = _fast  # type: ignore[assignment]
    cli.main()
