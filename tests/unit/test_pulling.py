"""What is told of a download where no terminal is."""

from __future__ import annotations

from typing import Any

from ocrwatch.correction.store import Doing
from ocrwatch.service.pulling import Lines


def _frame(doing: Doing, done: int, total: int = 3_620_000_000) -> dict[str, Any]:
    return {"doing": doing, "done_bytes": done, "total_bytes": total}


def test_a_download_is_told_of_by_tenths() -> None:
    """Fourteen thousand frames are eleven lines."""
    lines: list[str] = []
    tell = Lines(lines.append)
    for done in range(256 * 1024, 3_620_000_000, 256 * 1024):
        tell(_frame(Doing.DOWNLOADING, done))
    tell(_frame(Doing.DOWNLOADING, 3_620_000_000))
    assert lines == [f"downloading: {percent} % of 3.6 GB" for percent in range(0, 101, 10)]


def test_the_check_is_told_of_apart_and_once() -> None:
    """It takes seconds; who waits reads what for."""
    lines: list[str] = []
    tell = Lines(lines.append)
    for done in range(0, 3_000_001, 1000):
        tell(_frame(Doing.CHECKING, done, total=3_000_000))
    assert lines == ["checking sha256: 3 MB"]


def test_an_empty_file_is_no_division_by_zero() -> None:
    """A hub may say that a file has no byte."""
    lines: list[str] = []
    Lines(lines.append)(_frame(Doing.DOWNLOADING, 0, total=0))
    assert lines == ["downloading: 0 % of 0 MB"]
