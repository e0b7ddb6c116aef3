"""The parts of the demo that need no daemon."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from bench.demo.marks import Marks, marked_lines
from bench.demo.scans import FONTS, write_scans
from ocrwatch.correction.edits import Edit, Reason

RAW = "Invoic # 12345\n\nTotal: $1S0.00\nall well\n"
EDITS = [
    Edit(offset=6, before="", after="e", reason=Reason.WORD, score=3.0),
    Edit(offset=RAW.index("S0"), before="S", after="5", reason=Reason.LETTER_TO_DIGIT, score=9.0),
]


def test_marks_in_a_pipe_are_plain_text() -> None:
    """What goes into a file has no escape sequences."""
    marks = Marks.for_stream(io.StringIO())
    assert list(marked_lines(RAW, EDITS, marks, every=True)) == ["Invoic{+e+} # 12345", "Total: $1[-S-]{+5+}0.00", "all well"]
    assert list(marked_lines(RAW, EDITS, marks, every=False)) == ["Invoic{+e+} # 12345", "Total: $1[-S-]{+5+}0.00"]


def test_the_scans_are_the_same_each_time(tmp_path: Path) -> None:
    """What the demo shows today it shows tomorrow."""
    if not FONTS.is_dir():
        pytest.skip(f"no fonts at {FONTS} (Debian: fonts-dejavu-core)")
    contents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        contents.append([scan.path.read_bytes() for scan in write_scans(tmp_path / name)])
    assert contents[0] == contents[1]
