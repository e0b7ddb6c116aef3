"""Judged places held against what truly stands on the page. Owns when an option is right. Pure.

What the weights are fitted on, and a model's calibration, come from here, so that both see the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from ocrwatch.correction.edits import Edit
from ocrwatch.correction.evidence import Evidence

MOST_WRONG = 0.25
"""Beyond this character error rate lines were lost or taken in another order: nothing to align."""

_CONTEXT = 25
"""Characters on either side of a place in which a change is measured."""


@dataclass(frozen=True)
class Place:
    """The options of a place: their evidence, and by how many characters each brings the page nearer to the truth."""

    options: tuple[Evidence, ...]
    nearer: tuple[int, ...]

    def right(self) -> list[float]:
        """The share of each option in being right: those that bring the page nearest, else none and what was read is right."""
        best = max(self.nearer)
        right = [float(nearer == best and best > 0) for nearer in self.nearer]
        return [each / max(1.0, sum(right)) for each in right]


class Alignment:
    """A page as read beside its true text."""

    def __init__(self, raw: str, true: str) -> None:
        self._raw, self._true = raw, true
        self._opcodes = Levenshtein.opcodes(raw, true)

    def places(self, judged: Iterable[tuple[tuple[int, int], Sequence[tuple[Edit, Evidence]]]]) -> Iterator[Place]:
        """The places of the page: where each starts and ends, and its options, held against the true text."""
        for (start, end), options in judged:
            yield Place(
                tuple(evidence for _, evidence in options),
                tuple(self.nearer(start, end, edit=edit) for edit, _ in options),
            )

    def nearer(self, start: int, end: int, *, edit: Edit) -> int:
        """By how many characters an edit of the place from start to end brings the text around it nearer to the truth."""
        start, end = max(0, start - _CONTEXT), min(len(self._raw), end + _CONTEXT)
        true = _fold(self._true[self._true_offset(start) : self._true_offset(end)])
        made = self._raw[start : edit.offset] + edit.after + self._raw[edit.offset + len(edit.before) : end]
        return Levenshtein.distance(_fold(self._raw[start:end]), true) - Levenshtein.distance(_fold(made), true)

    def _true_offset(self, offset: int) -> int:
        for op in self._opcodes:
            if op.src_start <= offset <= op.src_end:
                return op.dest_start + min(offset - op.src_start, op.dest_end - op.dest_start)
        return len(self._true)


def error_rate(raw: str, true: str) -> float:
    """Wrong characters as read, white space folded, by those of the true text."""
    return Levenshtein.distance(_fold(raw), _fold(true)) / max(1, len(_fold(true)))


def _fold(text: str) -> str:
    return " ".join(text.split())
