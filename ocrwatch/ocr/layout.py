"""The order in which a person reads a page, and what parts the words of a line. Pure: runs of text with their boxes in, rows out.

A PDF draws its text in any order, and an engine reads an invoice's labels as one block and their amounts as another. So runs
that stand on one line are joined to one row, from top to bottom and from left to right; where two columns of prose stand
beside each other, each is read to its end first. Amounts beside labels are no such columns: their lines are short.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")

_LONGEST_BLOCK = 400  # rows; bounds the search on a page that was made to be slow
_COLUMN_ROWS = 8  # fewer rows beside each other are a table or an address, not columns
_COLUMN_CHARACTERS = 20  # in the middle line of a column of prose
_COLUMN_FILL = 0.75  # of the column's width, by its middle line
_PROSE_LINES, _PROSE_CHARACTERS = 5, 25  # of a paragraph that an engine found, from which on it is prose
_GUTTER_EMS = 0.8  # between columns, in heights of a line

# Gaps between the words of a line, in heights of its words, against what is usual there. Fitted to 22 pages of invoices, 12 of
# prose and 160 made-up ones of five typefaces, half of them justified, columns 0.6 to 4 ems apart. On 130 others, of 1,947 pairs
# of figures in columns at least 1 em (1.25 of a typewriter) apart none was missed; of 11,501 gaps of prose 4 were taken for a
# column's, of 696 within a number 24, all of them in justified lines.
_USUAL_SHARE = 5  # a fifth of the gaps are no wider than the usual one, on tables too
_WIDEST_BLANK = 1.4  # of a typewriter; what is usual and wider parts columns, and the page tells nothing of its blanks
_COMMON_BLANK = 0.5
_JUSTIFIED = 2.0  # times the page's usual gap: a line that is usual there is set to the width of its column, or a row of a table
_COLUMN_TIMES = 2.2  # words of justified prose: up to 2.1
_SENTENCE_TIMES = 3.3  # old books set a sentence apart by up to 3.1
_FIGURES_TIMES = 1.7  # groups of one number: up to 1.5; two numbers in one do more harm than one number in two
_TYPED_BLANK = 0.8  # a typewriter's blank, which is wide and never stretched:
_TYPED_FIGURES_TIMES = 1.45  # groups of one number: up to 1.15; two blanks: from 1.46
_STOPS = tuple(".,:;!?")


@dataclass(frozen=True, order=True)
class Run:
    """A run of text on one line. The box has y upwards, the page standing upright. number: the caller's own."""

    left: float
    bottom: float
    right: float
    top: float
    text: str
    number: int = 0

    @property
    def middle(self) -> float:
        """Height of the run's middle."""
        return (self.bottom + self.top) / 2

    @property
    def is_upright(self) -> bool:
        """Whether the text runs from left to right; text along an edge of the page is higher than it is wide."""
        return len(self.text) < 3 or self.top - self.bottom <= 2 * (self.right - self.left)

    def turned(self, clockwise_deg: int) -> Run:
        """The run as it stands on a page that is shown turned by 0, 90, 180 or 270 degrees."""
        left, bottom, right, top = self.left, self.bottom, self.right, self.top
        for _ in range(clockwise_deg // 90 % 4):
            left, bottom, right, top = bottom, -right, top, -left
        return replace(self, left=left, bottom=bottom, right=right, top=top)


Row = list[Run]

COLUMN_GAP = "  "  # between runs of a row: a quantity of 12 beside a price of 345,00 must not read as 12 345,00


def in_reading_order(runs: Sequence[Run]) -> list[Row]:
    """All runs in rows. Text that stands upright comes first, what runs along an edge after it."""
    upright = [run for run in runs if run.is_upright]
    return [*_read(_rows(upright)), *([run] for run in runs if not run.is_upright)]


def paragraphs_in_reading_order(paragraphs: Sequence[Sequence[Run]]) -> list[Row]:
    """All runs in rows, from paragraphs that an engine found; in its own order where it found prose beside prose.

    An engine looks at the page and knows columns better than their boxes tell.
    """
    runs = [run for paragraph in paragraphs for run in paragraph]
    prose = [paragraph for paragraph in paragraphs if _is_prose_paragraph(paragraph)]
    if any(_stands_left_of(one, other) for one in prose for other in prose):
        return [[run] for run in runs]
    return in_reading_order(runs)


def _is_prose_paragraph(runs: Sequence[Run]) -> bool:
    return len(runs) >= _PROSE_LINES and statistics.median(len(run.text) for run in runs) >= _PROSE_CHARACTERS


def _stands_left_of(one: Sequence[Run], other: Sequence[Run]) -> bool:
    beside = max(run.right for run in one) <= min(run.left for run in other)
    bottom = max(min(run.bottom for run in one), min(run.bottom for run in other))
    top = min(max(run.top for run in one), max(run.top for run in other))
    return beside and bottom < top


def _rows(runs: Sequence[Run]) -> list[Row]:
    """Runs on one line together, top line first, each from left to right."""
    rows: list[Row] = []
    for run in sorted(runs, key=lambda run: -run.middle):
        row = next((row for row in rows[-3:] if row[0].bottom <= run.middle <= row[0].top), None)
        if row is None:
            rows.append([run])
        else:
            row.append(run)
    return [sorted(row, key=lambda run: run.left) for row in rows]


def _read(rows: Sequence[Row]) -> Iterator[Row]:
    start = 0
    while start < len(rows):
        end, gutter = _block(rows, start)
        if gutter is not None and _are_columns(rows[start:end], gutter):
            for side in _sides(rows[start:end], gutter):
                yield from _read(side)  # a column may hold columns
            start = end
        else:
            yield rows[start]
            start += 1


def _block(rows: Sequence[Row], start: int) -> tuple[int, float | None]:
    """The rows from `start` that one upright strip of white divides: where they end, and the middle of the widest such strip."""
    best: tuple[int, float | None] = (start + 1, None)
    # Two rows together, because the lines of two columns need not stand at one height.
    for left, right in _gaps(sorted(run for row in rows[start : start + 2] for run in row)):
        low, high, end = left, right, start + 1
        while end < min(len(rows), start + _LONGEST_BLOCK):
            narrowed = _narrowed(rows[end], low, high)
            if narrowed is None:
                break
            low, high = narrowed
            end += 1
        if end > best[0]:
            best = (end, (low + high) / 2)
    return best


def _gaps(row: Row) -> list[tuple[float, float]]:
    height = max(run.top - run.bottom for run in row)
    reach, gaps = row[0].right, []
    for run in row[1:]:
        if run.left - reach >= _GUTTER_EMS * height:
            gaps.append((reach, run.left))
        reach = max(reach, run.right)
    return gaps


def _narrowed(row: Row, low: float, high: float) -> tuple[float, float] | None:
    """The strip between `low` and `high` as far as this row leaves it white; None when too little is left."""
    height = max(run.top - run.bottom for run in row)
    for run in row:
        if run.left < high and run.right > low:
            if (run.left + run.right) / 2 < (low + high) / 2:
                low = max(low, run.right)
            else:
                high = min(high, run.left)
    return (low, high) if high - low >= _GUTTER_EMS * height else None


def _are_columns(rows: Sequence[Row], gutter: float) -> bool:
    sides = _sides(rows, gutter)
    return all(len(side) >= _COLUMN_ROWS and _is_prose(side) for side in sides)


def _sides(rows: Sequence[Row], gutter: float) -> tuple[list[Row], list[Row]]:
    left = [part for row in rows if (part := [run for run in row if run.right <= gutter])]
    right = [part for row in rows if (part := [run for run in row if run.right > gutter])]
    return left, right


def _is_prose(rows: Sequence[Row]) -> bool:
    width = max(row[-1].right for row in rows) - min(row[0].left for row in rows)
    fill = statistics.median((row[-1].right - row[0].left) / width for row in rows) if width > 0 else 0.0
    characters = statistics.median(sum(len(run.text) for run in row) for row in rows)
    return fill >= _COLUMN_FILL and characters >= _COLUMN_CHARACTERS


def line_of(words: Row, number: int) -> Run:
    """The run of a whole line."""
    return Run(
        left=min(word.left for word in words),
        bottom=min(word.bottom for word in words),
        right=max(word.right for word in words),
        top=max(word.top for word in words),
        text=" ".join(word.text for word in words),
        number=number,
    )


def in_words(
    rows: Sequence[Row], lines: Sequence[Sequence[T]], *, separators: Sequence[Sequence[str]], starts: Collection[int] = ()
) -> Iterator[tuple[str, T]]:
    """The words of rows of lines, each after what parts it from the one before.

    rows: runs whose `number` is that of their line. separators: as `separators_of` has them, of each line. starts: the lines that
    begin a paragraph.
    """
    for row in rows:
        before = "\n\n" if row[0].number in starts else "\n"
        for run in row:
            yield from zip((before, *separators[run.number]), lines[run.number], strict=True)
            before = COLUMN_GAP


def separators_of(lines: Sequence[Row]) -> list[list[str]]:
    """What parts the words of each line, given as runs: a blank, or COLUMN_GAP where they stand so far apart as columns do."""
    gaps = [_gaps_in_heights(line) for line in lines]
    page = _usual([gap for line in gaps for gap in line if gap > 0])
    if page > _WIDEST_BLANK:
        page = _COMMON_BLANK
    return [_separators(line, widths, page) for line, widths in zip(lines, gaps, strict=True)]


def _gaps_in_heights(line: Row) -> list[float]:
    height = statistics.median_high(abs(word.top - word.bottom) for word in line) or 1.0
    # Words that are read from right to left stand the other way round.
    return [max(second.left - first.right, first.left - second.right) / height for first, second in pairwise(line)]


def _usual(gaps: Sequence[float]) -> float:
    return sorted(gaps)[len(gaps) // _USUAL_SHARE] if gaps else _COMMON_BLANK


def _separators(line: Row, gaps: Sequence[float], page: float) -> list[str]:
    usual = min(max(_usual(gaps), page), _JUSTIFIED * page)
    pairs = zip(gaps, pairwise(line), strict=True)
    return [COLUMN_GAP if gap >= _widest(first.text, second.text, page, usual) else " " for gap, (first, second) in pairs]


def _widest(first: str, second: str, page: float, usual: float) -> float:
    """How wide a gap between these two must be to part columns."""
    if _has_digit(first) and _has_digit(second):
        return (_TYPED_FIGURES_TIMES if page >= _TYPED_BLANK else _FIGURES_TIMES) * page
    return (_SENTENCE_TIMES if first.endswith(_STOPS) and not _has_digit(second) else _COLUMN_TIMES) * usual


def _has_digit(text: str) -> bool:
    return any(char.isdigit() for char in text)
