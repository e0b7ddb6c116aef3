"""What the corrector asks of a language model. Owns the question and the contract of the answer, not the model. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

RIGHT_WORDS = 2
"""Words behind a place that its alternatives are judged with."""

RIGHT_TOKENS = 8
"""The model's tokens that these words may have, at most."""


@dataclass(frozen=True)
class Question:
    """What might stand in the place of words[first:last] of a window.

    Each alternative is a text, its words parted by single blanks.
    """

    first: int
    last: int
    alternatives: tuple[str, ...]


class Judge(Protocol):
    """A language model that tells likely text from unlikely."""

    def gains(self, words: Sequence[str], questions: Sequence[Question], *, prompt: str) -> list[list[float]]:
        """For each alternative: by how many nats the window is likelier with it than with the words as they stand.

        Counted over the place itself and RIGHT_WORDS words (bounded by RIGHT_TOKENS tokens) after it. `words` are without white
        space. Questions are independent of each other: each is asked with all other words as they stand. prompt: stands before
        the first word as it is, white space included. -inf for what is too long to be judged.
        """
        ...
