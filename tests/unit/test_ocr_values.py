"""Pages across the process boundary, and the parent's freedom from engines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.ocr.engine import Alternative, PageResult, PageSource, Word
from ocrwatch.ocr.text import typeset

_share = st.floats(0, 1)
_box = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
_alternatives = st.lists(
    st.builds(Alternative, st.integers(0, 9), st.integers(0, 9), st.text(max_size=3), st.none() | _share), max_size=3
)
_words = st.lists(
    st.builds(Word, st.text(max_size=5), st.just(0), st.none() | _box, st.none() | _share, _alternatives.map(tuple)), max_size=4
)


def page(words: Sequence[Word] = ()) -> PageResult:
    """A page with these words, one after the other."""
    text, placed = typeset((" ", word) for word in words)
    return PageResult(
        text=text, engine="tesseract", engine_version="5", source=PageSource.OCR, width_px=1, height_px=2, dpi=300.0, words=placed
    )


@given(_words)
def test_page_survives_json(words: list[Word]) -> None:
    """What a worker recognized is what the parent gets, and what a checkpoint gives back."""
    result = page(words)
    assert PageResult.from_json(json.loads(json.dumps(result.to_json()))) == result


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"source": "x"},
        {"words": [{}]},
        {"words": [[0, 9, None, None, []]]},
        {"words": [[-1, 1, None, None, []]]},
        {"words": [[0, 1, [1, 2, 3], None, []]]},
        {"words": [[0, 1, None, "sure", []]]},
        {"words": [[0, 1, None, float("nan"), []]]},
        {"words": [[0, 1, [1, 2, 3, float("nan")], None, []]]},
        {"words": [[0, 1, [1, 2, 3, float("inf")], None, []]]},
        {"words": [[0, 1, [1, 2, 3, "4"], None, []]]},
        {"words": [[0, 1, [1, 2, 3, 4.5], None, []]]},
        {"words": [[0, True, None, None, []]]},
        {"words": [[0, 1, None, 10**400, []]]},
        {"words": [[0, 1, None, None, [[0, 1, 7, 0.5]]]]},
        {"words": [[0, 1, None, None, [["0", 1, "b", 0.5]]]]},
        {"text": ["a"]},
        {"engine": None},
        {"warnings": [1]},
        {"confidence": "high"},
        {"confidence": float("nan")},
        {"dpi": float("inf")},
        {"dpi": 10**400},
        {"dpi": True},
        {"width_px": 1.5},
        {"render_s": "1"},
        {"trial": 1},
    ],
)
def test_nonsense_is_refused(broken: dict[str, object]) -> None:
    """A checkpoint or an answer that is no page raises instead of becoming half a page."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        PageResult.from_json(page([Word("a", 0)]).to_json() | broken if broken else {})


def test_parent_side_loads_no_engine() -> None:
    """The modules that the parent uses import neither an engine nor an image library."""
    code = (
        "import sys, ocrwatch.ocr.engine, ocrwatch.ocr.languages, ocrwatch.ocr.tessdata, ocrwatch.ocr.pages, "
        "ocrwatch.tools.openssl11; print([m for m in ('PIL', 'tesserocr', 'pypdfium2', 'aspose') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
