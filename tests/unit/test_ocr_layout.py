"""The order of reading: a permutation of what was drawn, as a person would go through it."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.ocr.layout import Row, Run, in_reading_order, paragraphs_in_reading_order

_PROSE = "a line of prose that fills its column well"


def _text(rows: list[Row]) -> list[str]:
    return [" ".join(run.text for run in row) for row in rows]


def _run(left: float, top: float, text: str, *, width: float | None = None, height: float = 10) -> Run:
    return Run(left, top - height, left + (width or 5 * len(text)), top, text)


def test_amounts_stand_on_the_line_of_their_labels() -> None:
    """However the file draws them: all labels first, then all amounts."""
    labels = [_run(50, 700 - 20 * n, f"Item {n}") for n in range(12)]
    amounts = [_run(500, 701 - 20 * n, f"{n}.00") for n in range(12)]
    assert _text(in_reading_order([*amounts, *labels])) == [f"Item {n} {n}.00" for n in range(12)]


def test_columns_of_prose_are_read_one_after_the_other() -> None:
    """Below a headline over both, and before a line below both."""
    left = [_run(50, 700 - 12 * n, f"{_PROSE} left {n:02}", width=220) for n in range(20)]
    right = [_run(300, 700 - 12 * n, f"{_PROSE} right {n:02}", width=220) for n in range(20)]
    head, foot = _run(50, 740, "A headline over both of the columns", width=470), _run(50, 430, "A line below them", width=470)
    drawn = [*left, *right, head, foot]
    random.Random(7).shuffle(drawn)
    assert _text(in_reading_order(drawn)) == [r.text for r in (head, *left, *right, foot)]


def test_columns_whose_lines_stand_at_different_heights_are_columns() -> None:
    """Nobody sets the lines of two columns at one height on purpose."""
    left = [_run(50, 700 - 12 * n, f"{_PROSE} left {n:02}", width=220) for n in range(20)]
    right = [_run(300, 694 - 12 * n, f"{_PROSE} right {n:02}", width=220) for n in range(20)]
    assert _text(in_reading_order([*right, *left])) == [r.text for r in (*left, *right)]


def test_two_addresses_beside_each_other_are_no_columns() -> None:
    """A few short lines are read across, as the table of an invoice is."""
    runs = [_run(x, 700 - 12 * n, f"{side} {n}") for x, side in ((50, "from"), (300, "to")) for n in range(4)]
    assert _text(in_reading_order(runs)) == [f"from {n} to {n}" for n in range(4)]


def test_engine_that_found_prose_beside_prose_knows_its_order() -> None:
    """Narrow columns of a newspaper are told by the engine, not by their boxes."""
    columns = [
        [_run(x, 700 - 11 * n, f"narrow prose of a newspaper {x} {n}", width=95) for n in range(9)] for x in (50, 152, 254)
    ]
    assert _text(paragraphs_in_reading_order(columns)) == [run.text for column in columns for run in column]


def test_blocks_of_labels_and_amounts_become_lines() -> None:
    """What an engine read as two blocks is a table to a person."""
    labels = [_run(50, 700 - 20 * n, f"Item {n}") for n in range(6)]
    amounts = [_run(500, 701 - 20 * n, f"{n}.00") for n in range(6)]
    assert _text(paragraphs_in_reading_order([labels, amounts])) == [f"Item {n} {n}.00" for n in range(6)]


def test_text_along_the_edge_comes_last() -> None:
    """It would tear lines apart that it runs beside."""
    edge = Run(10, 100, 20, 700, "Company registered in Springfield")
    assert _text(in_reading_order([edge, _run(50, 650, "first"), _run(50, 600, "second")])) == [
        "first",
        "second",
        edge.text,
    ]


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_turned_page_is_read_as_it_is_shown(turn: int) -> None:
    """Boxes are those of the page before it is turned."""
    shown = [_run(50, 700, "Total"), _run(300, 700, "4.11"), _run(50, 650, "Thanks")]
    stored = [run.turned(360 - turn) for run in shown]
    assert _text(in_reading_order([run.turned(turn) for run in stored])) == ["Total 4.11", "Thanks"]


@given(st.lists(st.builds(_run, st.floats(0, 600), st.floats(10, 800), st.text("abc ", min_size=1, max_size=30)), max_size=60))
def test_nothing_is_lost_and_nothing_is_added(runs: list[Run]) -> None:
    """Whatever the boxes are, every run is in the text once."""
    letters = Counter("".join("".join(run.text for run in runs).split()))
    assert Counter("".join("".join(_text(in_reading_order(runs))).split())) == letters
