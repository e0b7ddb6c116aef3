"""What the corrector asks of a language model. Owns the question and the contract of the answer, not the model. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

BEGINNING = "\n"
"""Before the words where there is no prompt: a chat model takes a bare start token for the beginning of a role, not of a text."""

RIGHT_WORDS = 2
"""Words behind a place that its alternatives are judged with."""

RIGHT_TOKENS = 5
"""The model's tokens that these words may have, at most: 8 tell no more."""


GUESSES = 40
"""Likely tokens that are told of each place in a word."""


@dataclass(frozen=True)
class Question:
    """What might stand in the place of words[first:last] of a window.

    Each alternative is a text, its words parted by single blanks.
    """

    first: int
    last: int
    alternatives: tuple[str, ...]


@dataclass(frozen=True)
class Guess:
    """What the model would have gone on with: the first `kept` characters of a word as they stand, then `text`."""

    kept: int
    text: str


@dataclass(frozen=True)
class Expectation:
    """What the model thinks of a word, from what stands before it. surprise: nats of its unlikeliest token."""

    surprise: float
    guesses: tuple[Guess, ...]


class Judge(Protocol):
    """A language model that tells likely text from unlikely."""

    def gains(self, words: Sequence[str], questions: Sequence[Question], *, prompt: str) -> list[list[float]]:
        """For each alternative: by how many nats the window is likelier with it than with the words as they stand.

        Counted over the place itself and RIGHT_WORDS words (bounded by RIGHT_TOKENS tokens) after it. `words` are without white
        space. Questions are independent of each other: each is asked with all other words as they stand. prompt: stands before
        the first word as it is, white space included. -inf for what is too long to be judged.
        """
        ...

    def expectations(self, words: Sequence[str], places: Sequence[int], *, prompt: str) -> list[Expectation]:
        """For each place, the index of a word: how surprising it is, and the GUESSES likeliest tokens at each of its tokens."""
        ...
