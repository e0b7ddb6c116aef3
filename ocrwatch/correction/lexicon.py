"""Word lists: is this a word of the page's languages, how frequent, and which words are near. Owns lookup, no judgement.

A word is near another only if they have most letters in common. The letters of each word are bits of one number, so that
few words are left, after a few operations on the whole list, whose distance has to be worked out.

Reads wordfreq's lists, so it belongs into the worker; the pure modules know the `Lexicon` protocol of `candidates`.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import groupby

import langcodes
import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein
from wordfreq import available_languages, get_frequency_dict, top_n_list

WORDS_PER_LANGUAGE = 100_000
DICTIONARY_ZIPF = 4.0
"""Frequency that a word of the inbox's dictionary is given: as common as the six-thousandth word or so."""

_SHARED_LISTS = {"no": "nb", "hr": "sh", "sr": "sh", "bs": "sh"}

_SHORT_WORDS_ZIPF = 4.5
"""The lists hold every pair of letters; a word of one or two letters counts only when it is frequent."""

_REMEMBERED = 4096
"""Searches whose result is kept: a page's odd words come again."""


class WordList:
    """The words of some languages and of a dictionary. Frequencies are on the Zipf scale: log10 of uses in a billion words.

    languages: ISO 639 codes, of two or three letters; one without a list adds nothing. covers: whether any has one.
    """

    def __init__(self, languages: Iterable[str], dictionary: Iterable[str] = ()) -> None:
        self._zipf: dict[str, float] = {}
        names = [name for name in map(list_name, languages) if name is not None]
        self.covers = bool(names)
        for name in names:
            self._add(name)
        for word in dictionary:
            for part in (word, *word.split()):
                self._zipf[part.casefold()] = max(DICTIONARY_ZIPF, self._zipf.get(part.casefold(), 0.0))
        self._near = lru_cache(_REMEMBERED)(self._search)

    def _add(self, name: str) -> None:
        words, frequencies = top_n_list(name, WORDS_PER_LANGUAGE), get_frequency_dict(name)
        zipfs = {frequency: _zipf(frequency) for frequency in set(frequencies.values())}  # some hundred for all the words
        for word in words:
            zipf = zipfs[frequencies[word]]
            has_digit = not word.isalpha() and any(c.isdigit() for c in word)
            if has_digit or (len(word) <= 2 and zipf < _SHORT_WORDS_ZIPF):
                continue
            self._zipf[word] = max(zipf, self._zipf.get(word, 0.0))

    def frequency(self, word: str) -> float:
        """Zipf frequency of the word, whatever its case; 0.0 for none."""
        return self._zipf.get(word.casefold().replace("’", "'"), 0.0)

    def near(self, word: str, distance: int) -> list[str]:
        """Words, in lower case, within this edit distance, the word itself left out."""
        return list(self._near(word.casefold().replace("’", "'"), distance))

    def _search(self, target: str, distance: int) -> tuple[str, ...]:
        pool = self._index.like(target, distance)
        found = process.extract(target, pool, scorer=Levenshtein.distance, score_cutoff=distance, limit=None)
        return tuple(sorted(w for w, _, _ in found if w != target))

    @cached_property
    def _index(self) -> _Index:
        return _Index(self._zipf)


class _Index:
    """Words by length, each with its letters."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = sorted(words, key=len)
        groups = [_letters(list(group)) for _, group in groupby(self._words, len)]
        self._letters = np.concatenate(groups) if groups else np.empty(0, np.uint64)

    def like(self, target: str, distance: int) -> list[str]:
        """Words of about this length that miss at most so many letters of the target, and have at most so many others."""
        first, last = (bisect_left(self._words, n, key=len) for n in (len(target) - distance, len(target) + distance + 1))
        theirs, its = self._letters[first:last], _letters([target])
        alike = (np.bitwise_count(theirs & ~its) <= distance) & (np.bitwise_count(its & ~theirs) <= distance)
        return [self._words[first + i] for i in np.flatnonzero(alike)]


def _letters(words: Sequence[str]) -> NDArray[np.uint64]:
    """A number for each of some words of equal length: one bit says that it has a letter, one that it has it twice.

    An edit of one character thus sets, at most, one bit and clears one. Letters that share a bit only make the search longer.
    """
    characters = np.array(words).view(np.uint32).reshape(len(words), -1)
    once = np.zeros(len(words), dtype=np.uint64)
    twice = once.copy()
    for column in characters.T:
        letter = np.uint64(1) << (column % 32).astype(np.uint64)
        twice |= once & letter
        once |= letter
    return once | twice << np.uint64(32)


def list_name(language: str) -> str | None:
    """The list of a language, given by its ISO 639 code; None where there is none: a related language's list would do harm."""
    tag = langcodes.standardize_tag(language).split("-")[0] if language.isalpha() else language
    name = _SHARED_LISTS.get(tag, tag)
    return name if name in available_languages() else None


def _zipf(frequency: float) -> float:
    return round(math.log10(frequency) + 9, 2)
