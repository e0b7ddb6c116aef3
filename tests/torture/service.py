"""The daemon with the fast engine, asked at its socket."""

from __future__ import annotations

import contextlib
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
        self._clock = folder / "clock"
        environment.setenv("OCRWATCH_TORTURE_CLOCK", str(self._clock))
        super().__init__(folder, ocr={"workers": WORKERS}, **settings)

    def start_again(self, *, times: int = 3) -> None:
        """As the service manager does: another start after each that failed."""
        for _ in range(times - 1):
            with contextlib.suppress(AssertionError):
                return self.start()
        return self.start()

    def set_clock(self, wrong_by_s: float) -> None:
        """The service's wall clock is wrong by so much from now on."""
        new = self._clock.with_suffix(".new")
        new.write_text(f"{wrong_by_s}", encoding="ascii")
        new.replace(self._clock)
