"""`ocrwatch` as it is, but for its engine and its wall clock: `python -m tests.torture.launcher run --config FILE`.

OCRWATCH_TORTURE_CLOCK: a file that says how many seconds the wall clock is wrong; none, and it is right.
"""

from __future__ import annotations

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


def _wrong_clock() -> float:
    try:
        return _right_clock() + float(_WRONG_BY.read_text(encoding="ascii") or 0)
    except FileNotFoundError:
        return _right_clock()


_WRONG_BY = Path(os.environ.get("OCRWATCH_TORTURE_CLOCK", os.devnull))
_right_clock = time.time  # noqa: TID251 - what it tells is what the test is about


if __name__ == "__main__":
    time.time = _wrong_clock  # type: ignore[assignment]  # noqa: TID251
    composition.engine_specs = _fast  # type: ignore[assignment]
    cli.main()
