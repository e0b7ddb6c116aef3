"""Edits: the only way in which corrected text differs from raw text. Owns apply and undo; pure.

Offsets count code points in the raw page. Edits are sorted, do not overlap, and each changes something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Reason(StrEnum):
    """Why an edit was made."""

    WORD = "word"  # another word is more likely here, by the model and the channel
    REWRITE = "rewrite"  # proposed by the prompted model, verified like any other
    LETTER_TO_DIGIT = "letter_to_digit"  # `$1O0.00` -> `$100.00`
    DIGIT_TO_LETTER = "digit_to_letter"  # `qu1ck` -> `quick`
    SIGN_TO_LETTER = "sign_to_letter"  # `such @ notice` -> `such a notice`
    PUNCTUATION = "punctuation"  # a stop for a comma or the other way round, or a speck read as a quotation mark


@dataclass(frozen=True)
class Edit:
    """Replace `before`, which stands at `offset` of the raw page, by `after`.

    score: how much better the text is with the edit, in nats after all costs and the margin; larger is surer.
    """

    offset: int
    before: str
    after: str
    reason: Reason
    score: float

    def to_json(self) -> dict[str, Any]:
        """The edit as a JSON object."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Edit:
        """The edit of `to_json`. Raises KeyError, TypeError or ValueError on anything else."""
        return Edit(
            offset=int(data["offset"]),
            before=str(data["before"]),
            after=str(data["after"]),
            reason=Reason(data["reason"]),
            score=float(data["score"]),
        )


def apply(raw: str, edits: Sequence[Edit]) -> str:
    """The corrected text. Raises ValueError when an edit does not fit the text or the one before it."""
    parts, position = [], 0
    for edit in edits:
        end = edit.offset + len(edit.before)
        if edit.offset < position or raw[edit.offset : end] != edit.before:
            raise ValueError(f"edit at {edit.offset} does not fit: {edit.before!r} is not there")
        parts += [raw[position : edit.offset], edit.after]
        position = end
    return "".join([*parts, raw[position:]])


def undo(corrected: str, edits: Sequence[Edit]) -> str:
    """The raw text that `apply` started from. Raises ValueError when an edit does not fit."""
    parts, position, shift = [], 0, 0
    for edit in edits:
        start = edit.offset + shift
        end = start + len(edit.after)
        if start < position or corrected[start:end] != edit.after:
            raise ValueError(f"edit at {edit.offset} cannot be undone: {edit.after!r} is not there")
        parts += [corrected[position:start], edit.before]
        position, shift = end, shift + len(edit.after) - len(edit.before)
    return "".join([*parts, corrected[position:]])
