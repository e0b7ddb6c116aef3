"""Windows: the words of a page as the model is to read them. Owns how lines become running text, and how much of it a place
is judged with. Pure.

White space is folded and words that a line end parts are joined: a column's line ends are not the language's.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ocrwatch.correction.edits import Edit, apply

LEFT_WORDS = 16
"""Words before the first place of a window: with SmolLM2, on rendered pages, 12 to 80 tell right from wrong equally well."""

AHEAD_WORDS = 4
"""Words behind the last place of a window: more than the judge looks at."""

MOST_WORDS = 160
"""Words of a window, but for those behind its last place."""

_GAP_WORDS = 20
"""Places that stand farther apart are in windows of their own."""

_TOKEN = re.compile(r"\S+")
_HYPHENATED = re.compile(r"(?<=[^\W\d_])[-‐¬\u00ad]\s*\n\s*(?=[^\W\d_])")
_SPACE = re.compile(r"\s+")


class RunningText:
    """The words of a page in order, without white space, each with its place in the raw page."""

    def __init__(self, raw: str) -> None:
        self._raw = raw
        breaks = {m.start() for m in _HYPHENATED.finditer(raw)}
        self._starts: list[int] = []
        self._ends: list[int] = []
        for match in _TOKEN.finditer(raw):
            if self._ends and self._ends[-1] - 1 in breaks:
                self._ends[-1] = match.end()
            else:
                self._starts.append(match.start())
                self._ends.append(match.end())

    def __len__(self) -> int:
        return len(self._starts)

    def covering(self, start: int, end: int) -> tuple[int, int]:
        """The words, as a half-open range, that hold the characters between the offsets."""
        first = max(bisect_right(self._starts, start) - 1, 0)
        return first, max(bisect_right(self._starts, end - 1), first + 1)

    def text(self, first: int, last: int, edits: Sequence[Edit] = ()) -> str:
        """Words of a range, parted by single blanks, with edits made that lie within it."""
        start, end = self._starts[first], self._ends[last - 1]
        shifted = [Edit(e.offset - start, e.before, e.after, e.reason, e.score) for e in edits]
        return _SPACE.sub(" ", _HYPHENATED.sub("", apply(self._raw[start:end], shifted))).strip()

    def holds(self, first: int, last: int, edit: Edit) -> bool:
        """Whether an edit lies within the words of a range."""
        return self._starts[first] <= edit.offset and edit.offset + len(edit.before) <= self._ends[last - 1]

    def tokens(self) -> Iterator[tuple[int, str]]:
        """Each stretch without white space, with its offset."""
        return ((m.start(), m.group()) for m in _TOKEN.finditer(self._raw))


@dataclass(frozen=True)
class Window:
    """A stretch of the page's words, and which of the places given are to be judged in it."""

    first: int
    last: int
    places: range


def windows(ranges: Sequence[tuple[int, int]], count: int) -> Iterator[Window]:
    """Windows for the places that cover these ranges of words, in order; count: words of the page."""
    begin = 0
    for index, (_, last) in enumerate(ranges):
        following = ranges[index + 1] if index + 1 < len(ranges) else None
        start = max(0, ranges[begin][0] - LEFT_WORDS)
        if following is None or following[0] - last > _GAP_WORDS or following[1] - start > MOST_WORDS:
            furthest = max(end for _, end in ranges[begin : index + 1])
            yield Window(start, min(count, furthest + AHEAD_WORDS), range(begin, index + 1))
            begin = index + 1
