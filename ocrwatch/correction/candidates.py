"""Candidates: the texts that may truly stand where a word was read. Pure.

Sources: words of the lists and of the document within a small edit distance, confusions of the channel undone, the engine's own
alternatives, and what the language model would have expected. Owns where they come from, not what speaks for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Protocol

from rapidfuzz.distance import Levenshtein

from ocrwatch.correction.channel import SEGMENT, Channel
from ocrwatch.correction.guard import MAX_EDIT_DISTANCE
from ocrwatch.correction.words import carry_case, is_torn
from ocrwatch.ocr.engine import Alternative

MIN_ZIPF = 2.3
"""Rarer words are in the lists by accident as often as not."""

_SOURCES_TRIED = 16
"""Confusions that are undone per place."""

_SPLIT_ZIPF = 3.5
"""Like `MIN_ZIPF`, for the parts of a word that lost a blank: nearly every word can be cut into rare ones."""

_MIN_OFFER = 0.05
"""Of an alternative's confidence: the engine lists many at 0."""

_OFFERS_TRIED = 12
"""The surest alternatives of a word, which are taken alone and in pairs."""

_SHORTEST_LISTED = 3
"""Letters of a word of the lists, at least, that is held against the words near to it."""

_SHORTEST_RECALLED = 6
"""Letters of a word that is held against the document's own words."""


class Lexicon(Protocol):
    """The words of the page's languages."""

    @property
    def covers(self) -> bool:
        """Whether there is a list for one of the languages."""
        ...

    def frequency(self, word: str) -> float:
        """How usual the word is, whatever its case: log10 of uses in a billion words; 0.0 when it is not in the lists."""
        ...

    def near(self, word: str, distance: int) -> list[str]:
        """Words, in lower case, within this edit distance, the word itself left out; in a fixed order."""
        ...


class Candidates:
    """Texts for the words of one document. seen: how often each word stands in it."""

    def __init__(self, lexicon: Lexicon, channel: Channel, seen: Counter[str]) -> None:
        self._lexicon, self._channel = lexicon, channel
        self._frequencies: dict[str, float] = {}
        self._long = [w for w in seen if len(w) >= _SHORTEST_RECALLED and (self.frequency(w) >= MIN_ZIPF or not lexicon.covers)]
        self._names = [word for word, n in seen.items() if n > 1 and len(word) > 3 and not self.frequency(word)]

    def frequency(self, word: str) -> float:
        """Of the word, or of the rarest of the parts that an apostrophe makes."""
        known = self._frequencies.get(word)
        if known is None:
            known = self._frequencies[word] = self._looked_up(word)
        return known

    def _looked_up(self, word: str) -> float:
        found = self._lexicon.frequency(word)
        parts = [part for part in word.replace("’", "'").split("'") if len(part) > 1]
        if found or len(parts) < 2:
            return found or (self._lexicon.frequency(parts[0]) if parts else 0.0)
        return min(self._lexicon.frequency(part) for part in parts)

    def usual(self, read: str) -> float:
        """The frequency of the rarest word that was read; 0.0 for one that is in the lists but for its torn capitals."""
        return 0.0 if is_torn(read) else min(self.frequency(part) for part in read.split(" "))

    def texts(self, read: str, offers: Sequence[Alternative], guesses: Iterable[str] = ()) -> set[str]:
        """What may truly stand there; for a word of the lists that is only a word of the lists. guesses: the model's."""
        covers = self._lexicon.covers
        texts = self._listed(read, offers) if covers else {*_offered(read, offers), *self._unconfused(read)}
        if not self.usual(read):
            texts |= self._recalled(read) | {guess for guess in guesses if _is_near(read, guess)}
        return {t for t in texts if t != read and (len(t) > 1 or len(read) == 1)}

    def _listed(self, read: str, offers: Sequence[Alternative]) -> set[str]:
        folded, usual = read.casefold(), self.usual(read)
        words = _offered(folded, [Alternative(a.start, a.end, a.text.casefold(), a.confidence) for a in offers])
        words |= {w.casefold() for w in self._unconfused(folded)}
        if not usual:
            words |= {folded, *self._lexicon.near(read, _distance(read))}
        elif len(read) >= _SHORTEST_LISTED:
            words |= {w for w in self._lexicon.near(read, 1) if self.frequency(w) > usual}
        words = {w for w in words if self.frequency(w) >= MIN_ZIPF}
        texts = {_restore_sharp_s(form, read) for word in words for form in _forms(read, word)}
        return texts | {t for t in _offered(read, offers) if t.casefold() == folded and self.frequency(t)}

    def splits(self, read: str) -> Iterator[str]:
        """Two words of the lists with a blank between them."""
        if self.usual(read):
            return
        for at in range(1, len(read)):
            parts = read[:at], read[at:]
            if min(self._lexicon.frequency(part) for part in parts) >= _SPLIT_ZIPF and min(map(len, parts)) > 1:
                yield " ".join(parts)

    def _recalled(self, read: str) -> set[str]:
        """Names of the document that are near, and long words of it, more unlike than the lists are searched for."""
        near = {name for name in self._names if _is_near(read, name)}
        if len(read) < _SHORTEST_RECALLED:
            return near
        most = min(MAX_EDIT_DISTANCE, len(read) // 2)
        return near | {w for w in self._long if Levenshtein.distance(read, w, score_cutoff=most) <= most}

    def _unconfused(self, read: str) -> Iterator[str]:
        for at in range(len(read)):
            for length in range(1, min(SEGMENT, len(read) - at) + 1):
                for true in self._channel.sources(read[at : at + length])[:_SOURCES_TRIED]:
                    if " " not in true:
                        yield read[:at] + true + read[at + length :]


def _offered(read: str, offers: Sequence[Alternative]) -> set[str]:
    """The word with one or two of the offers taken."""
    likely = sorted((a for a in offers if (a.confidence or 0.0) >= _MIN_OFFER), key=lambda a: -(a.confidence or 0.0))
    likely = likely[:_OFFERS_TRIED]
    single = {read[: a.start] + a.text + read[a.end :] for a in likely}
    for one, two in combinations(sorted(likely, key=lambda a: a.start), 2):
        if one.end <= two.start:
            single.add(read[: one.start] + one.text + read[one.end : two.start] + two.text + read[two.end :])
    return single


def _distance(read: str) -> int:
    """Edits searched for in the word list; more would bring unlike words in."""
    return 1 if len(read) <= 3 else 2 if len(read) <= 6 else 3


def _is_near(read: str, name: str) -> bool:
    return Levenshtein.distance(read, name, score_cutoff=_distance(read)) <= _distance(read)


def _forms(read: str, word: str) -> tuple[str, ...]:
    """The word in the case of what was read; a small first letter may itself be a misread capital (`lt` for `It`)."""
    form = carry_case(read, word)
    if read[0].islower() and word[0] != read[0].casefold():
        return form, form[:1].upper() + form[1:]
    if read[0].isupper() and word[0] != read[0].casefold() and not read.isupper():
        return form, form[:1].lower() + form[1:]
    return (form,)


def _restore_sharp_s(form: str, read: str) -> str:
    # The lists are casefolded, so a sharp s is written ss there.
    if "ß" not in read or "ss" not in form:
        return form
    at = min((i for i in range(len(form)) if form.startswith("ss", i)), key=lambda i: abs(i - read.index("ß")))
    return form[:at] + "ß" + form[at + 2 :]
