"""`ocrwatch` as it is, but for its engine: `python -m tests.torture.launcher run --config FILE`."""

from __future__ import annotations

import os
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


if __name__ == "__main__":
    composition.engine_specs = _fast  # type: ignore[assignment]
    cli.main()
