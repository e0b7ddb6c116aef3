"""The daemon with the fast engine, asked at its socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults.outside import AskedService

WORKERS = 2


class TorturedService(AskedService):
    """One `ocrwatch run` after another, whose pages take `page_ms` and leave a line in `record` when they are begun."""

    module = "tests.torture.launcher"

    def __init__(self, folder: Path, environment: pytest.MonkeyPatch, *, page_ms: float, **settings: Any) -> None:
        self.record = folder / "record"
        environment.setenv("OCRWATCH_TORTURE_RECORD", str(self.record))
        environment.setenv("OCRWATCH_TORTURE_PAGE_MS", str(page_ms))
        super().__init__(folder, ocr={"workers": WORKERS}, **settings)
