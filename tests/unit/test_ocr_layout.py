"""The order of reading: a permutation of what was drawn, as a person would go through it."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.ocr.layout import (
    COLUMN_GAP,
    Row,
    Run,
    in_reading_order,
    in_words,
    line_of,
    paragraphs_in_reading_order,
    separators_of,
)

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


def _line(*parts: str | float, top: float = 100, blank: float = 4) -> Row:
    """Words of ten units' height, five a character; a number is the gap before the next word, else it is `blank`."""
    words: Row = []
    left, gap = 0.0, 0.0
    for part in parts:
        if isinstance(part, str):
            words.append(_run(left + gap, top, part))
            left, gap = words[-1].right, blank
        else:
            gap = part
    return words


def _spaced(lines: list[Row]) -> list[str]:
    rows = [[line_of(line, number)] for number, line in enumerate(lines)]
    words = [[word.text for word in line] for line in lines]
    return "".join(before + word for before, word in in_words(rows, words, separators=separators_of(lines))).split("\n")[1:]


_PAGE = [_line("some", "words", "of", "prose", "that", "tell", "the", "blank")] * 3


def test_two_figures_never_read_as_one() -> None:
    """A quantity of 12 beside a price of 345,00 stands apart from it; the groups of one number do not."""
    line = _line("Goods", "12", 10.0, "345,00", "and", "12", 5.0, "345")
    assert _spaced([*_PAGE, line])[-1] == "Goods 12  345,00 and 12 345"


def test_row_of_a_table_is_told_by_the_rest_of_the_page() -> None:
    """Where all gaps of a line are wide they are no blanks."""
    assert _spaced([*_PAGE, _line("Total", 30.0, "netto", 30.0, "brutto", 30.0, "Seite")])[-1] == "Total  netto  brutto  Seite"


def test_page_of_figures_alone_is_a_table() -> None:
    """No gap there is a blank's; the shape of type tells how wide one can be."""
    assert _spaced([_line("12", 20.0, "345,00", 25.0, "4.140,00")] * 4) == ["12  345,00  4.140,00"] * 4


def test_line_that_is_set_to_its_width_is_prose() -> None:
    """Its blanks are wider than others, and those behind a sentence widest."""
    line = _line("He", 8.0, "was", 9.0, "late.", 19.0, "They", 8.0, "were", 11.0, "not,", 12.0, "it", 9.0, "seems.")
    assert COLUMN_GAP not in _spaced([*_PAGE, line])[-1]


def test_blanks_of_a_typewriter_are_blanks() -> None:
    """They are as wide as its letters."""
    lines = [_line("to", "whom", "it", "may", "concern", "of", "12", "May", blank=12.0)] * 4
    assert all(COLUMN_GAP not in line for line in _spaced(lines))


def test_two_blanks_of_a_typewriter_part_figures() -> None:
    """It stretches none, so that less tells them from one."""
    lines = [_line("to", "whom", "it", "may", "concern", "of", "12", "May", blank=12.0)] * 4
    assert _spaced([*lines, _line("12", 19.0, "345,00", 12.0, "000", blank=12.0)])[-1] == "12  345,00 000"


def test_heading_of_two_words_far_apart_within_reason_is_one() -> None:
    """A line by itself tells little of its blanks: it takes more to part it than to part a line of many words."""
    assert _spaced([*_PAGE, _line("ROOFS", 14.0, "OF")])[-1] == "ROOFS OF"


def test_words_that_are_read_from_right_to_left_have_gaps_too() -> None:
    """Their order is that of reading, their gaps are those on the page."""
    words = [Run(300, 90, 330, 100, "one"), Run(266, 90, 296, 100, "two"), Run(100, 90, 130, 100, "three")]
    assert _spaced([*_PAGE, words])[-1] == "one two  three"


def test_lines_of_a_row_and_paragraphs_are_parted() -> None:
    """Words by blanks, lines on one row by a column's gap, paragraphs by a blank line."""
    lines = [_line("a", "b"), [_run(300, 100, "c")], _line("d", top=80)]
    runs = [line_of(line, number) for number, line in enumerate(lines)]
    words = in_words([[runs[0], runs[1]], [runs[2]]], [["a", "b"], ["c"], ["d"]], separators=separators_of(lines), starts={0, 2})
    assert list(words) == [("\n\n", "a"), (" ", "b"), (COLUMN_GAP, "c"), ("\n\n", "d")]


@given(
    st.lists(st.lists(st.builds(_run, st.floats(0, 600), st.floats(10, 800), st.text("a1.", min_size=1)), min_size=1), max_size=9)
)
def test_every_two_words_of_a_line_are_parted_once(lines: list[Row]) -> None:
    """Whatever the boxes are, by a blank or a column's gap."""
    separators = separators_of(lines)
    assert [len(line) for line in separators] == [len(line) - 1 for line in lines]
    assert {separator for line in separators for separator in line} <= {" ", COLUMN_GAP}
