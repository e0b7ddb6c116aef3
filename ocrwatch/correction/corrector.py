"""The corrector: one raw page to guarded edits. Owns which places are looked at and when an edit is taken. Pure.

The noisy channel of Kernighan, Church and Gale (1990), with a language model that reads both sides. An edit is taken when

    alpha * (log P(left, after, right) - log P(left, before, right)) > cost(read | after) - cost(read | before) + margin

Places that look right cost nothing: only suspicious ones are put before the judge.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from ocrwatch.correction import figures, rewrite
from ocrwatch.correction.candidates import Candidate, Lexicon, propose
from ocrwatch.correction.channel import Channel
from ocrwatch.correction.context import Context
from ocrwatch.correction.edits import Edit, Reason
from ocrwatch.correction.guard import MAX_EDIT_CHARACTERS, Guard
from ocrwatch.correction.profiles import instruction
from ocrwatch.correction.protocol import Correction, CorrectionRequest, Mode, Refusal
from ocrwatch.correction.rewrite import Proposal, Written
from ocrwatch.correction.weights import Weights, weights_for
from ocrwatch.correction.words import Piece, pieces
from ocrwatch.ocr.engine import Word


class Judge(Protocol):
    """A language model that tells likely text from unlikely."""

    def score(self, left: str, alternatives: Sequence[str], right: str) -> list[float]:
        """log P(alternative + right | left) of each alternative, in nats."""
        ...


class Writer(Protocol):
    """A language model that answers an instruction."""

    def write(self, instruction: str, text: str, *, max_tokens: int, expired: Callable[[], bool]) -> Written:
        """The answer, or why there is none; it may disturb what the judge holds of the page, not what it answers."""
        ...


_SURE_CONFIDENCE = 0.95
_UNSURE_CONFIDENCE = 0.5
_TYPICAL_DAMAGE = 0.06
"""Share of suspicious words on the pages that the weights were set on."""

_MAX_CLEAN_NATS = 2.5
_DOUBTFUL_SHARE = 0.02
_SHORT = 2
_RULE_NATS = 10.0
"""The score of an edit that a rule makes, without a model: as sure as the surest."""


_MORE_TOKENS = 64


def correct_page(
    request: CorrectionRequest,
    *,
    judge: Judge,
    lexicon: Lexicon,
    channel: Channel,
    writer: Writer | None = None,
    weights: Weights | None = None,
    expired: Callable[[], bool] = lambda: False,
) -> Correction:
    """The edits of one page.

    writer: for `Mode.REWRITE`. expired: asked before each place; once it says True the rest stays raw. Deterministic for the same
    request as long as `expired` never says True and the judge is deterministic.
    """
    page = _Page(request, judge=judge, lexicon=lexicon, channel=channel, weights=weights or weights_for(request.languages))
    if request.letter_to_digit:
        page.take_misread_digits()
    suspicious = page.suspicious()
    for place in suspicious:
        if expired():
            page.stop()
            return page.result(len(suspicious))
        page.decide(place)
    if request.mode is Mode.REWRITE and writer is not None:
        page.rewrite(writer, expired)
    return page.result(len(suspicious))


@dataclass(frozen=True)
class _Place:
    """A place to be judged: what is read, in which token of the page."""

    start: int
    read: str
    reason: Reason
    frequency: float
    word: Word | None = None

    @property
    def end(self) -> int:
        return self.start + len(self.read)


class _Page:
    """One page under correction."""

    def __init__(self, request: CorrectionRequest, *, judge: Judge, lexicon: Lexicon, channel: Channel, weights: Weights) -> None:
        self._request, self._raw = request, request.text
        self._judge, self._lexicon, self._channel, self._weights = judge, lexicon, channel, weights
        self._pieces = pieces(request.text)
        seen = Counter(p.text for p in self._pieces)
        for text in request.earlier:
            seen.update(p.text for p in pieces(text))
        self._seen = seen
        self._guard = Guard(
            request.text,
            is_word=self._is_word,
            names=frozenset(w for w, n in seen.items() if n > 1 and w[:1].isupper() and not self._frequency(w)),
            letter_to_digit=request.letter_to_digit,
            digit_to_letter=request.digit_to_letter,
        )
        self._words = {word.offset: word for word in request.words}
        self._context = Context(request.text, prompt=request.prompt)
        self._edits: list[Edit] = []
        self._refused: list[Refusal] = []
        self._damage = 0.0
        self._scored = self._doubtful = 0
        self._truncated = False
        self._whys: list[str] = []

    def take_misread_digits(self) -> None:
        """The exception that needs no model: letters that were read into amounts, decimal numbers and dates."""
        for start, token in self._context.tokens():
            changed = figures.letter_to_digit(token)
            if changed is not None:
                self._take(Edit(start, token, changed, Reason.LETTER_TO_DIGIT, _RULE_NATS))

    def suspicious(self) -> list[_Place]:
        """The places that look wrong, in order."""
        halves = self._halves()
        words = [self._place(p) for p in self._pieces if self._is_open(p) and p.start not in halves]
        found = [place for place in words if place is not None]
        small = sum(p.text.islower() and len(p.text) > _SHORT for p in self._pieces)
        self._damage = (sum(p.read.islower() and len(p.read) > _SHORT and not p.frequency for p in found) + 1) / (small + 20)
        if self._damage > self._weights.foreign_share:
            self._whys.append("most words are in none of the page's languages; no word was touched")
            return []
        if self._request.digit_to_letter:
            found += self._misread_letters()
        return sorted(found, key=lambda place: place.start)

    def decide(self, place: _Place) -> None:
        """Put one place before the judge, and take the best edit if it is good enough."""
        candidates = [c for c in self._candidates(place) if self._guard.objection(self._edit(place, c.text, 0.0)) is None]
        if not candidates:
            return
        gains = self._gains(place.start, place.end, [c.text for c in candidates])
        own = self._channel.cost(place.read, place.read)
        merits = [self._weights.alpha * gain - (c.cost - own) for gain, c in zip(gains, candidates, strict=True)]
        best = max(range(len(merits)), key=merits.__getitem__)
        score = merits[best] - self._margin(place)
        if score > 0:
            self._take(self._edit(place, candidates[best].text, round(score, 2)))
        elif merits[best] > 0:
            self._doubtful += 1

    def rewrite(self, writer: Writer, expired: Callable[[], bool]) -> None:
        """Let the model propose, and judge each proposal."""
        for offset, text in rewrite.chunks(self._raw):
            if not text.strip():
                continue
            if expired():
                self.stop()
                return
            told = instruction(self._request.prompt)
            answer = writer.write(told, text.rstrip(), max_tokens=len(text) // 2 + _MORE_TOKENS, expired=expired)
            corrected, why = rewrite.read_answer(text, answer)
            if why:
                self._whys.append(why)
            else:
                for proposal in rewrite.proposals(text, corrected, offset=offset):
                    self._consider(proposal)

    def stop(self) -> None:
        """The time is up: what is not decided stays raw."""
        self._truncated = True
        self._whys.append("the time for this page was up; the rest stays as read")

    def result(self, suspicious: int) -> Correction:
        """The edits that the guard admits together."""
        kept, refused = self._guard.admit(self._edits)
        self._refused += [Refusal(r.edit.offset, r.edit.before, r.edit.after, r.why) for r in refused]
        return Correction(
            edits=tuple(kept),
            refused=tuple(sorted(self._refused, key=lambda r: r.offset)),
            truncated=self._truncated,
            review=self._truncated or self._doubtful > max(2.0, _DOUBTFUL_SHARE * len(self._pieces)),
            suspicious=suspicious,
            scored=self._scored,
            why="; ".join(dict.fromkeys(self._whys)),
        )

    def _is_word(self, word: str) -> bool:
        return self._frequency(word) > 0 or self._seen[word] > 1

    def _frequency(self, word: str) -> float:
        """Of the word, or of the rarest of the parts that an apostrophe makes."""
        found = self._lexicon.frequency(word)
        parts = [part for part in word.replace("’", "'").split("'") if len(part) > 1]
        if found or len(parts) < 2:
            return found or (self._lexicon.frequency(parts[0]) if parts else 0.0)
        return min(self._lexicon.frequency(part) for part in parts)

    def _is_open(self, piece: Piece) -> bool:
        """Whether a piece may be corrected at all. Two letters in capitals are initials or a code."""
        length = len(piece.text)
        fits = self._weights.shortest <= length <= MAX_EDIT_CHARACTERS and (length > _SHORT or piece.text.islower())
        return fits and not self._guard.is_protected(piece.start, piece.end)

    def _halves(self) -> set[int]:
        """The places of words that make a word of the lists together with the one beside them: parted, not misread."""
        found: set[int] = set()
        for first, second in pairwise(self._pieces):
            if self._raw[first.end : second.start].strip("-‐¬\u00ad \t\r\n"):
                continue
            if self._lexicon.frequency(first.text + second.text):
                found |= {first.start, second.start}
        return found

    def _place(self, piece: Piece) -> _Place | None:
        frequency = self._frequency(piece.text)
        word = self._word_at(piece.start)
        unsure = word is not None and word.confidence is not None and word.confidence < _UNSURE_CONFIDENCE
        if frequency > self._weights.rare_zipf and not (unsure and word and word.alternatives):
            return None
        if piece.joined:  # half a word says nothing by itself
            return None
        return _Place(piece.start, piece.text, Reason.WORD, frequency, word)

    def _misread_letters(self) -> Iterator[_Place]:
        for start, token in self._context.tokens():
            if any(c.isdigit() for c in token) and figures.digit_to_letter(token, self._is_word):
                yield _Place(start, token, Reason.DIGIT_TO_LETTER, 0.0)

    def _word_at(self, start: int) -> Word | None:
        """The engine's word that holds this offset."""
        token = self._context.token_start(start)
        return self._words.get(token)

    def _candidates(self, place: _Place) -> list[Candidate]:
        if place.reason is Reason.DIGIT_TO_LETTER:
            texts = figures.digit_to_letter(place.read, self._is_word)
            return [Candidate(text, self._channel.cost(place.read, text)) for text in texts]
        return propose(place.read, lexicon=self._lexicon, channel=self._channel, alternatives=_alternatives(place))

    def _edit(self, place: _Place, after: str, score: float) -> Edit:
        return Edit(place.start, place.read, after, place.reason, score)

    def _gains(self, start: int, end: int, texts: Sequence[str]) -> list[float]:
        """By how many nats each text makes the page likelier than what stands there."""
        left, right = self._context.around(start, end, self._edits)
        self._scored += 1
        own, *others = self._judge.score(left, [self._raw[start:end], *texts], right)
        return [other - own for other in others]

    def _margin(self, place: _Place) -> float:
        weights, margin = self._weights, self._weights.margin
        if place.reason is Reason.DIGIT_TO_LETTER:
            return self._request.caution * (margin + weights.digit)
        if place.frequency:
            margin += weights.known
        elif place.read.isupper():
            margin += weights.capitals
        elif place.read[:1].isupper():
            margin += weights.capitalized
        if len(place.read) <= _SHORT:
            margin += weights.short
        if place.word is not None and (place.word.confidence or 0.0) >= _SURE_CONFIDENCE:
            margin += weights.sure
        cleanness = min(_MAX_CLEAN_NATS, max(0.0, math.log(_TYPICAL_DAMAGE / self._damage)))
        return self._request.caution * (margin + weights.clean * cleanness)

    def _take(self, edit: Edit) -> None:
        self._edits = sorted([*self._edits, edit], key=lambda e: e.offset)

    def _consider(self, proposal: Proposal) -> None:
        """Judge what the model wrote; what is not taken is listed with its reason."""
        start, end = proposal.offset, proposal.offset + len(proposal.before)
        if any(e.offset < end and start < e.offset + len(e.before) for e in self._edits):
            return  # the place is decided
        edit = Edit(start, proposal.before, proposal.after, Reason.REWRITE, 0.0)
        why = "adds or removes words" if not (proposal.before and proposal.after) else self._guard.objection(edit)
        if why is None:
            score = self._rewrite_score(edit)
            if score > 0:
                self._take(Edit(start, proposal.before, proposal.after, Reason.REWRITE, score))
                return
            why = "is not likely enough"
        self._refused.append(Refusal(start, proposal.before, proposal.after, why))

    def _rewrite_score(self, edit: Edit) -> float:
        start, end = edit.offset, edit.offset + len(edit.before)
        place = _Place(start, edit.before, Reason.REWRITE, self._frequency(edit.before), self._word_at(start))
        cost = self._channel.cost(edit.before, edit.after) - self._channel.cost(edit.before, edit.before)
        gain = self._gains(start, end, [edit.after])[0]
        return round(self._weights.alpha * gain - cost - self._margin(place) - self._request.caution * self._weights.rewrite, 2)


def _alternatives(place: _Place) -> Iterator[str]:
    """What the engine would have read instead, inside the place."""
    if place.word is None:
        return
    shift = place.start - place.word.offset
    for choice in place.word.alternatives:
        start, end = choice.start - shift, choice.end - shift
        if 0 <= start <= end <= len(place.read):
            yield place.read[:start] + choice.text + place.read[end:]
