"""Word lists: is this a word of the page's languages, how frequent, and which words are near. Owns lookup, no judgement.

Reads wordfreq's lists, so it belongs into the worker; the pure modules know the `Lexicon` protocol of `candidates`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import langcodes
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein
from wordfreq import available_languages, get_frequency_dict, top_n_list

from ocrwatch.errors import MissingPart

WORDS_PER_LANGUAGE = 100_000
DICTIONARY_ZIPF = 4.0
"""Frequency that a word of the inbox's dictionary is given: as common as the six-thousandth word or so."""

_SHARED_LISTS = {"no": "nb", "hr": "sh", "sr": "sh", "bs": "sh"}

_SHORT_WORDS_ZIPF = 4.5
"""The lists hold every pair of letters; a word of one or two letters counts only when it is frequent."""


class WordList:
    """The words of some languages and of a dictionary. Frequencies are on the Zipf scale: log10 of uses in a billion words.

    languages: ISO 639 codes, of two or three letters. Raises MissingPart for one without a list.
    """

    def __init__(self, languages: Iterable[str], dictionary: Iterable[str] = ()) -> None:
        self._zipf: dict[str, float] = {}
        for language in languages:
            self._add(language)
        for word in dictionary:
            for part in (word, *word.split()):
                self._zipf[part.casefold()] = max(DICTIONARY_ZIPF, self._zipf.get(part.casefold(), 0.0))
        self._by_length: dict[int, list[str]] = {}
        for word in self._zipf:
            self._by_length.setdefault(len(word), []).append(word)

    def _add(self, language: str) -> None:
        name = list_name(language)
        words, frequencies = top_n_list(name, WORDS_PER_LANGUAGE), get_frequency_dict(name)
        for word in words:
            zipf = _zipf(frequencies[word])
            if any(c.isdigit() for c in word) or (len(word) <= 2 and zipf < _SHORT_WORDS_ZIPF):
                continue
            self._zipf[word] = max(zipf, self._zipf.get(word, 0.0))

    def frequency(self, word: str) -> float:
        """Zipf frequency of the word, whatever its case; 0.0 for none."""
        return self._zipf.get(word.casefold().replace("’", "'"), 0.0)

    def near(self, word: str, distance: int) -> list[str]:
        """Words, in lower case, within this edit distance, the word itself left out."""
        target = word.casefold().replace("’", "'")
        pool = [w for n in range(len(target) - distance, len(target) + distance + 1) for w in self._by_length.get(n, ())]
        found = process.extract(target, pool, scorer=Levenshtein.distance, score_cutoff=distance, limit=None)
        return sorted(w for w, _, _ in found if w != target)


def list_name(language: str) -> str:
    """The list of a language, given by its ISO 639 code. Raises MissingPart: a related language's list would do harm."""
    tag = langcodes.standardize_tag(language).split("-")[0] if language.isalpha() else language
    name = _SHARED_LISTS.get(tag, tag)
    if name not in available_languages():
        raise MissingPart(f"no word list for the language {language!r}", "correction leaves its pages as they were read")
    return name


def _zipf(frequency: float) -> float:
    return round(math.log10(frequency) + 9, 2)
