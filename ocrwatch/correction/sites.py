"""Sites: the places of a page that may be misread, each with what may truly stand there and the evidence for it. Pure.

Words that may be others (see `candidates`), a blank lost or found, halves of words that a line end parts, marks, signs, digits.
Owns the kinds of places and the evidence, not the choice among the options.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from rapidfuzz.distance import Postfix, Prefix

from ocrwatch.correction import figures, marks
from ocrwatch.correction.candidates import MIN_ZIPF, Candidates
from ocrwatch.correction.channel import Channel
from ocrwatch.correction.edits import Edit, Reason
from ocrwatch.correction.evidence import Evidence, changes
from ocrwatch.correction.words import Piece
from ocrwatch.ocr.engine import Alternative, Word

MAX_OPTIONS = 8
_NATS_PER_ZIPF = 2.5
"""How much a tenfold frequency counts against the channel's cost, in the order of options."""

_NATS_PER_DOUBT = 8.0
"""How much a change counts there that the engine offered itself and doubts wholly."""

_NATS_PER_GUESS = 8.0
"""How much it counts there that the model would have expected the text."""

_LONE_LETTERS = "aeiouyàéèùóаиоуя"
_LONE_ZIPF = 6.0
"""Letters that are words, and how frequent they must be: the lists hold every letter."""

_REACH_NATS = 22.0
"""No option may be ranked lower than this below the first."""

_TYPICAL_DAMAGE = 0.06
"""Share of unlisted small words on a damaged page."""

_MARKS = frozenset("|!¦")


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

    def __init__(self, page: Page, candidates: Candidates, channel: Channel) -> None:
        self._page, self._candidates, self._channel = page, candidates, channel
        self._costs: dict[tuple[str, str], float] = {}

    def word(self, piece: Piece, word: Word | None, guesses: Iterable[str] = ()) -> Site:
        """A word that may be another, or two. guesses: the model's."""
        read, offers = piece.text, _offers(piece, word)
        found = self._candidates
        guessed = set(guesses)
        options = [
            self._option(piece.start, read, text, offers=offers, word=word, guessed=float(text in guessed))
            for text in found.texts(read, offers, guessed)
        ]
        options += [self._option(piece.start, read, text, offers=offers, word=word, split=1.0) for text in found.splits(read)]
        return Site(piece.start, piece.end, read, self._best(options))

    def joined(self, first: Piece, second: Piece, word: Word | None) -> Site | None:
        """Two words that may be one."""
        whole = first.text + second.text
        if self._candidates.frequency(whole) < MIN_ZIPF or "  " in (read := self._page.raw[first.start : second.end]):
            return None
        option = self._option(first.start, read, whole, offers=(), word=word, join=1.0)
        return Site(first.start, second.end, read, (option,))

    def hyphenated(self, first: Piece, second: Piece) -> Site | None:
        """A word that a line end parts: one of its halves may be misread."""
        whole = first.joined
        if self._candidates.frequency(whole):
            return None
        options = []
        for text in self._candidates.texts(whole, ()):
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
        texts = figures.digit_to_letter(token, lambda w: self._candidates.frequency(w) > 0 or self._page.seen[w] > 1)
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

    def lone_sign(self, start: int, token: str, word: Word | None) -> Site | None:
        """A sign that may be a word of one letter."""
        if not marks.is_lone_sign(self._page.raw, start, token):
            return None
        offers = word.alternatives if word is not None and word.text == token else ()
        texts = [letter for letter in _LONE_LETTERS if self._candidates.frequency(letter) >= _LONE_ZIPF]
        options = tuple(
            replace(found, edit=Edit(start, token, text, Reason.SIGN_TO_LETTER, 0.0))
            for text in texts
            for found in [self._option(start, token, text, offers=offers, word=word, sign=1.0)]
        )
        return Site(start, start + len(token), token, options) if options else None

    def proposed(self, edit: Edit) -> Option:
        """An edit that somebody else proposes, with the evidence for it."""
        return replace(self._option(edit.offset, edit.before, edit.after, offers=(), word=None), edit=edit)

    def _option(
        self, start: int, read: str, text: str, *, offers: Sequence[Alternative], word: Word | None, **kinds: float
    ) -> Option:
        found = changes(read, text, offers)
        offered = [c.offered for c in found if c.offered is not None]
        total = self._cost(read, text)
        parts = text.split(" ")
        zipf, read_zipf = min(self._candidates.frequency(part) for part in parts), self._candidates.usual(read)
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
            liked = _NATS_PER_ZIPF * of["zipf"] + _NATS_PER_GUESS * of.get("guessed", 0.0) + of["seen"]
            return of["cost"] + _NATS_PER_DOUBT * of["doubt"] - liked, option.edit.after

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
