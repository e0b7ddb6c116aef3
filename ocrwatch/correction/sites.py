"""Sites: the places of a page that may be misread, each with what may truly stand there and the evidence for it. Pure.

Sources of candidates: words of the lists and of the document within a small edit distance, confusions of the channel undone,
the engine's own alternatives, a blank lost or found, and the halves of words that a line end parts. Owns where they come from,
not the choice among them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import Protocol

from rapidfuzz.distance import Levenshtein, Postfix, Prefix

from ocrwatch.correction import figures, marks
from ocrwatch.correction.channel import SEGMENT, Channel
from ocrwatch.correction.edits import Edit, Reason
from ocrwatch.correction.evidence import Evidence, changes
from ocrwatch.correction.words import Piece, carry_case
from ocrwatch.ocr.engine import Alternative, Word

MAX_OPTIONS = 5
_NATS_PER_ZIPF = 1.0
"""How much a tenfold frequency counts against the channel's cost, in the order of options."""

_NATS_PER_DOUBT = 3.0
"""How much a change counts there that the engine offered itself and doubts wholly."""

_SOURCES_TRIED = 16
"""Confusions that are undone per place."""

_MIN_ZIPF = 2.3
"""Rarer words are in the lists by accident as often as not."""

_SPLIT_ZIPF = 3.5
"""The same for the parts of a word that lost a blank: nearly every word can be cut into rare ones."""

_MIN_OFFER = 0.05
"""Of an alternative's confidence: the engine lists many at 0."""

_OFFERS_TRIED = 12
"""The surest alternatives of a word, which are taken alone and in pairs."""

_REACH_NATS = 22.0
"""No option may be ranked lower than this below the first."""

_TYPICAL_DAMAGE = 0.06
"""Share of unlisted small words on a damaged page."""

_MARKS = frozenset("|!¦")


class Lexicon(Protocol):
    """The words of the page's languages."""

    def frequency(self, word: str) -> float:
        """How usual the word is, whatever its case: log10 of uses in a billion words; 0.0 when it is not in the lists."""
        ...

    def near(self, word: str, distance: int) -> list[str]:
        """Words, in lower case, within this edit distance, the word itself left out; in a fixed order."""
        ...


@dataclass(frozen=True)
class Option:
    """An edit that may be right, and the evidence for it but for the model's."""

    edit: Edit
    evidence: Evidence


@dataclass(frozen=True)
class Site:
    """A place of the page, [start, end), with its options; `read` stands there."""

    start: int
    end: int
    read: str
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Page:
    """What finding sites needs of a page. seen: how often each word stands in the document. damage: of the page, in nats."""

    raw: str
    pieces: Sequence[Piece]
    words: dict[int, Word]
    seen: Counter[str]
    damage: float


class Finder:
    """Finds the options of places."""

    def __init__(self, page: Page, *, lexicon: Lexicon, channel: Channel) -> None:
        self._page, self._lexicon, self._channel = page, lexicon, channel
        self._costs: dict[tuple[str, str], float] = {}
        self._names = [word for word, n in page.seen.items() if n > 1 and len(word) > 3 and not lexicon.frequency(word)]

    def frequency(self, word: str) -> float:
        """Of the word, or of the rarest of the parts that an apostrophe makes."""
        found = self._lexicon.frequency(word)
        parts = [part for part in word.replace("’", "'").split("'") if len(part) > 1]
        if found or len(parts) < 2:
            return found or (self._lexicon.frequency(parts[0]) if parts else 0.0)
        return min(self._lexicon.frequency(part) for part in parts)

    def word(self, piece: Piece, word: Word | None) -> Site:
        """A word that may be another, or two."""
        read, offers = piece.text, _offers(piece, word)
        texts = self._texts(read, offers)
        options = [self._option(piece.start, read, text, offers=offers, word=word) for text in texts]
        options += [self._option(piece.start, read, text, offers=offers, word=word, split=1.0) for text in self._splits(read)]
        return Site(piece.start, piece.end, read, self._best(options))

    def joined(self, first: Piece, second: Piece, word: Word | None) -> Site | None:
        """Two words that may be one."""
        whole = first.text + second.text
        if self.frequency(whole) < _MIN_ZIPF or "  " in (read := self._page.raw[first.start : second.end]):
            return None
        option = self._option(first.start, read, whole, offers=(), word=word, join=1.0)
        return Site(first.start, second.end, read, (option,))

    def hyphenated(self, first: Piece, second: Piece) -> Site | None:
        """A word that a line end parts: one of its halves may be misread."""
        whole = first.joined
        if self.frequency(whole):
            return None
        options = []
        for text in self._texts(whole, ()):
            for half, other in ((second, first), (first, second)):
                after = text[len(other.text) :] if half is second else text[: -len(other.text)]
                kept = text.startswith(other.text) if half is second else text.endswith(other.text)
                if kept and after and after != half.text:
                    found = self._option(half.start, whole, text, offers=(), word=None, hyphen=1.0)
                    edit = Edit(half.start, half.text, after, Reason.WORD, 0.0)
                    options.append(replace(found, edit=edit))
        return Site(first.start, second.end, whole, self._best(options)) if options else None

    def misread_letter(self, start: int, token: str) -> Site | None:
        """A digit in a word."""
        texts = figures.digit_to_letter(token, lambda w: self.frequency(w) > 0 or self._page.seen[w] > 1)
        options = tuple(
            replace(found, edit=Edit(start, token, text, Reason.DIGIT_TO_LETTER, 0.0))
            for text in texts
            for found in [self._option(start, token, text, offers=(), word=None, digit=1.0)]
        )
        return Site(start, start + len(token), token, options) if options else None

    def mark(self, start: int, token: str, word: Word | None) -> Site | None:
        """A mark at a word. One for another only where the engine itself was in doubt: authors differ more than readings."""
        if word is None or word.text != token:
            return None
        offers, options = word.alternatives, []
        for text in marks.repairs(token):
            kind = "quote" if text[-1] == token[-1] else "comma" if text[-1] == "," else "stop"
            if kind != "quote" and text[-1] not in {a.text for a in offers if a.end == len(token)}:
                continue
            found = self._option(start, token, text, offers=offers, word=word, **{kind: 1.0})
            evidence = found.evidence | {"zipf": 0.0, "read_zipf": 0.0, "read_unlisted": 0.0, "unlisted": 0.0}
            options.append(Option(Edit(start, token, text, Reason.PUNCTUATION, 0.0), evidence))
        return Site(start, start + len(token), token, tuple(options)) if options else None

    def proposed(self, edit: Edit) -> Option:
        """An edit that somebody else proposes, with the evidence for it."""
        return replace(self._option(edit.offset, edit.before, edit.after, offers=(), word=None), edit=edit)

    def _texts(self, read: str, offers: Sequence[Alternative]) -> set[str]:
        folded = read.casefold()
        words = _offered(folded, [Alternative(a.start, a.end, a.text.casefold(), a.confidence) for a in offers])
        words |= {w.casefold() for w in self._unconfused(folded)}
        if not self.frequency(read):
            words |= set(self._lexicon.near(read, _distance(read)))
        words = {w for w in words if self.frequency(w) >= _MIN_ZIPF}
        texts = {_restore_sharp_s(form, read) for word in words for form in _forms(read, word)}
        if not self.frequency(read):
            texts |= {name for name in self._names if _is_near(read, name)}
        texts |= {t for t in _offered(read, offers) if t.casefold() == folded and self.frequency(t)}
        return {t for t in texts if t != read and (len(t) > 1 or len(read) == 1)}

    def _unconfused(self, read: str) -> Iterator[str]:
        for at in range(len(read)):
            for length in range(1, min(SEGMENT, len(read) - at) + 1):
                for true in self._channel.sources(read[at : at + length])[:_SOURCES_TRIED]:
                    if " " not in true:
                        yield read[:at] + true + read[at + length :]

    def _splits(self, read: str) -> Iterator[str]:
        if self.frequency(read):
            return
        for at in range(1, len(read)):
            parts = read[:at], read[at:]
            if min(self._lexicon.frequency(part) for part in parts) >= _SPLIT_ZIPF and min(map(len, parts)) > 1:
                yield " ".join(parts)

    def _option(
        self, start: int, read: str, text: str, *, offers: Sequence[Alternative], word: Word | None, **kinds: float
    ) -> Option:
        found = changes(read, text, offers)
        offered = [c.offered for c in found if c.offered is not None]
        total = self._cost(read, text)
        parts = text.split(" ")
        zipf, read_zipf = min(self.frequency(part) for part in parts), self.frequency(read)
        seen = self._page.seen
        evidence: Evidence = {
            "edit": 1.0,
            "cost": total * (len(found) - len(offered)) / len(found),
            "offered": float(len(offered)),
            "doubt": sum(1.0 - c for c in offered),
            "zipf": zipf,
            "unlisted": float(not zipf),
            "read_zipf": read_zipf,
            "read_unlisted": float(not read_zipf),
            "unsure": 1.0 - word.confidence if word is not None and word.confidence is not None else 0.0,
            "untold": float(word is None or word.confidence is None),
            "capital": float(read[:1].isupper()),
            "capitals": float(read.isupper()),
            "mixed": float(any(c.isupper() for c in read[1:]) and not read.isupper()),
            "short": 1.0 / len(read),
            "seen": math.log1p(min(seen[part] for part in parts)),
            "read_seen": math.log1p(max(seen[read] - 1, 0)),
            "damage": self._page.damage,
            "case": float(read.casefold() == text.casefold()),
            "marks": float(bool(_MARKS & set(read))),
        }
        return Option(Edit(start, read, text, Reason.WORD, 0.0), evidence | kinds)

    def _cost(self, read: str, text: str) -> float:
        """By how much it costs more to have read this text so than to have read it right. What is the same at both ends, but for
        one character of a segment, costs the same and is left out."""
        head = max(0, Prefix.similarity(read, text) - 1)
        tail = max(0, Postfix.similarity(read[head + 1 :], text[head + 1 :]) - 1)
        key = read[head : len(read) - tail], text[head : len(text) - tail]
        if key not in self._costs:
            self._costs[key] = self._channel.cost(*key) - self._channel.cost(key[0], key[0])
        return self._costs[key]

    def _best(self, options: Iterable[Option]) -> tuple[Option, ...]:
        def rank(option: Option) -> tuple[float, str]:
            of = option.evidence
            return of["cost"] + _NATS_PER_DOUBT * of["doubt"] - _NATS_PER_ZIPF * of["zipf"] - of["seen"], option.edit.after

        ranked = sorted(options, key=rank)
        return tuple(o for o in ranked if rank(o)[0] <= rank(ranked[0])[0] + _REACH_NATS)[:MAX_OPTIONS]


def damage(small: int, unlisted: int) -> float:
    """How much more of a page's small words is in no list than usual, in nats."""
    return math.log((unlisted + 1) / (small + 20) / _TYPICAL_DAMAGE)


def neighbours(pieces: Sequence[Piece], raw: str) -> Iterator[tuple[Piece, Piece]]:
    """Pieces that only a blank parts."""
    return ((a, b) for a, b in pairwise(pieces) if raw[a.end : b.start] == " ")


def _offers(piece: Piece, word: Word | None) -> tuple[Alternative, ...]:
    """What the engine would have read instead, in the piece's own offsets."""
    if word is None:
        return ()
    shift = piece.start - word.offset
    inside = (a for a in word.alternatives if shift <= a.start <= a.end <= shift + len(piece.text))
    return tuple(Alternative(a.start - shift, a.end - shift, a.text, a.confidence) for a in inside)


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
