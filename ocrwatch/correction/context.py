"""Context: the text to the left and right of a place, as the model is to read it. Owns how much, and where it begins. Pure.

The left text begins at an anchor that stays for many places and then moves on by a stretch, so that the model's cache of it
can be kept. White space is folded: a column's line ends are not the language's.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from ocrwatch.correction.edits import Edit, apply

LEFT_CHARACTERS = 700
"""The left text, at most."""

KEPT_CHARACTERS = 250
"""What is left of it when the anchor moves."""

RIGHT_CHARACTERS = 12
"""The right text, up to the end of the word that this falls into."""

_LONGEST_RIGHT = 40
"""The right text where the word that it ends in has no end."""

_BEGINNING = "\n"
"""Before the page: a chat model takes a bare start token for the beginning of a role, not of a text."""

_TOKEN = re.compile(r"\S+")
_HYPHENATED = re.compile(r"(?<=[^\W\d_])[-‐¬\u00ad]\s*\n\s*(?=[^\W\d_])")
_SPACE = re.compile(r"\s+")


class Context:
    """The tokens of a page and the text around them. prompt: stands before every left text."""

    def __init__(self, raw: str, *, prompt: str | None = None) -> None:
        self._raw = raw
        self._prompt = f"{prompt}\n\n" if prompt else _BEGINNING
        self._starts = [m.start() for m in _TOKEN.finditer(raw)]
        self._ends = [m.end() for m in _TOKEN.finditer(raw)]
        self._anchor = 0

    def tokens(self) -> Iterator[tuple[int, str]]:
        """Each stretch without white space, with its offset."""
        for start, end in zip(self._starts, self._ends, strict=True):
            yield start, self._raw[start:end]

    def token_start(self, offset: int) -> int:
        """Where the token begins that holds this offset."""
        index = bisect_right(self._starts, offset) - 1
        return self._starts[index] if index >= 0 else offset

    def around(self, start: int, end: int, edits: Sequence[Edit]) -> tuple[str, str]:
        """Left and right text of a place, with the edits made so far in the left one."""
        self._move_anchor(start)
        inside = [
            Edit(e.offset - self._anchor, e.before, e.after, e.reason, e.score)
            for e in edits
            if e.offset >= self._anchor and e.offset + len(e.before) <= start
        ]
        left = _fold(apply(self._raw[self._anchor : start], inside)).lstrip()
        return self._prompt + left, self._right(end)

    def _move_anchor(self, start: int) -> None:
        if start < self._anchor or start - self._anchor > LEFT_CHARACTERS:
            index = bisect_right(self._starts, max(0, start - KEPT_CHARACTERS)) - 1
            self._anchor = max(self._starts[max(index, 0)], start - LEFT_CHARACTERS)

    def _right(self, end: int) -> str:
        index = bisect_right(self._ends, end + RIGHT_CHARACTERS)
        stop = self._ends[min(index, len(self._ends) - 1)] if self._ends else end
        return _fold(self._raw[end : min(max(stop, end), end + _LONGEST_RIGHT)]).rstrip()


def _fold(text: str) -> str:
    return _SPACE.sub(" ", _HYPHENATED.sub("", text))
