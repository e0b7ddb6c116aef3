"""Expecting: what the model itself would rather have read, from its likely tokens. Pure but for the model.

That needs no word list: it finds words that the lists lack, and where a language has no list at all it also says, by its
surprise, which words may be misread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ocrwatch.correction.candidates import Lexicon
from ocrwatch.correction.judge import Expectation, Guess, Judge
from ocrwatch.correction.window import RunningText, windows
from ocrwatch.correction.words import Piece, pieces

SURPRISING_NATS = 6.0
"""A word whose unlikeliest token has less is taken to be read right where there is no list."""

_SHORTEST = 3
"""Letters of a word, at least: shorter ones have too many neighbours."""


def guesses(
    raw: str, *, lexicon: Lexicon, judge: Judge, prompt: str, expired: Callable[[], bool] = lambda: False
) -> Mapping[int, tuple[str, ...]]:
    """What the model would have expected in the place of each word that is in no list, by its offset; where there is no list, of
    each surprising word. Ends early once the time is up.
    """
    text = RunningText(raw)
    asked = [piece for piece in pieces(raw) if _is_asked(piece, lexicon)]
    ranges = [text.covering(piece.start, piece.end) for piece in asked]
    found: dict[int, tuple[str, ...]] = {}
    for window in windows(ranges, len(text)):
        if expired():
            break
        words = [text.text(at, at + 1) for at in range(window.first, window.last)]
        places = [ranges[index][0] - window.first for index in window.places]
        answers = judge.expectations(words, places, prompt=prompt)
        for index, place, answer in zip(window.places, places, answers, strict=True):
            if lexicon.covers or answer.surprise > SURPRISING_NATS:
                found[asked[index].start] = tuple(dict.fromkeys(_spelled(asked[index].text, words[place], answer)))
    return found


def _is_asked(piece: Piece, lexicon: Lexicon) -> bool:
    return len(piece.text) >= _SHORTEST and not piece.joined and not lexicon.frequency(piece.text)


def _spelled(read: str, word: str, answer: Expectation) -> Iterator[str]:
    """The texts of the guesses that are words, in the place of the piece within its word."""
    at = word.find(read)
    before, behind = word[:at], word[at + len(read) :]
    for guess in answer.guesses:
        for text in _completed(word, guess):
            inner = text.removeprefix(before).removesuffix(behind)
            if at >= 0 and inner.isalpha():
                yield inner


def _completed(word: str, guess: Guess) -> Iterator[str]:
    """The guess as the end of the word, and with what was read behind it, one character more or less."""
    begun = word[: guess.kept] + guess.text
    yield begun
    for rest in (len(begun) - 1, len(begun), len(begun) + 1):
        if guess.kept <= rest < len(word):
            yield begun + word[rest:]
