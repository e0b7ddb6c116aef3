"""The survey of a page: which places may be misread, with their options. Pure.

What the corrector decides on and what the weights are fitted on come from here, so that both see the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ocrwatch.correction.candidates import Candidates, Lexicon
from ocrwatch.correction.channel import Channel
from ocrwatch.correction.guard import MAX_EDIT_CHARACTERS, Guard
from ocrwatch.correction.protocol import CorrectionRequest
from ocrwatch.correction.sites import Finder, Option, Page, Site, damage, neighbours
from ocrwatch.correction.window import RunningText
from ocrwatch.correction.words import Piece, pieces
from ocrwatch.ocr.engine import Word

_SHORT = 2
_NOTHING: Mapping[int, Iterable[str]] = {}
_LEADING_MARKS = 2
"""Marks, at most, before a word in the engine's own word."""


@dataclass(frozen=True)
class Survey:
    """A page with its sites in order. is_foreign: most words are in no list, so no site was looked for. pieces: its words."""

    text: RunningText
    guard: Guard
    finder: Finder
    sites: list[Site]
    is_foreign: bool
    pieces: int


def survey(
    request: CorrectionRequest,
    *,
    lexicon: Lexicon,
    channel: Channel,
    foreign: float,
    worth: Callable[[Option], bool],
    guesses: Mapping[int, Iterable[str]] = _NOTHING,
) -> Survey:
    """Find the sites of a page.

    foreign: the share of unlisted small words from which the page is in none of its languages. worth: whether an option has a
    chance at all, whatever the model will say. guesses: what the model would have expected in the
    place of words, by their offset; where there is no list only these words are looked at.
    """
    raw = request.text
    found = pieces(raw)
    seen = Counter(p.text for p in found)
    for page_text in request.earlier:
        seen.update(p.text for p in pieces(page_text))
    small = [p for p in found if p.text.islower() and len(p.text) > _SHORT and not p.joined]
    unlisted = sum(not lexicon.frequency(p.text) for p in small)
    page = Page(raw, found, {w.offset: w for w in request.words}, seen, damage(len(small), unlisted))
    candidates = Candidates(lexicon, channel, seen)
    finder = Finder(page, candidates, channel)
    guard = Guard(
        raw,
        is_word=lambda w: candidates.frequency(w) > 0 or seen[w] > 1,
        names=frozenset(w for w, n in seen.items() if n > 1 and w[:1].isupper() and not candidates.frequency(w)),
        letter_to_digit=request.letter_to_digit,
        digit_to_letter=request.digit_to_letter,
    )
    text = RunningText(raw)
    asked = [
        (piece, guesses.get(piece.start, ()))
        for piece in found
        if _SHORT <= len(piece.text) <= MAX_EDIT_CHARACTERS
        and not piece.joined
        and (lexicon.covers or piece.start in guesses)
        and not guard.is_protected(piece.start, piece.end)
    ]
    is_foreign = lexicon.covers and (unlisted + 1) / (len(small) + 20) > foreign
    sites = [] if is_foreign else _allowed(_sites(page, finder, text, guard, asked), guard, worth)
    return Survey(text, guard, finder, sorted(sites, key=lambda s: (s.start, s.end)), is_foreign, len(found))


def _sites(
    page: Page, finder: Finder, text: RunningText, guard: Guard, asked: Iterable[tuple[Piece, Iterable[str]]]
) -> Iterator[Site | None]:
    for piece, guesses in asked:
        yield finder.word(piece, _engine_word(page, piece), guesses)
    for first, second in neighbours(page.pieces, page.raw):
        yield finder.joined(first, second, _engine_word(page, first))
    halves = [piece for piece in page.pieces if piece.joined]
    for first, second in zip(halves[::2], halves[1::2], strict=False):
        yield finder.hyphenated(first, second)
    for start, token in text.tokens():
        yield finder.mark(start, token, page.words.get(start))
        yield finder.lone_sign(start, token, page.words.get(start))
        if any(c.isdigit() for c in token):
            yield finder.misread_letter(start, token)


def _engine_word(page: Page, piece: Piece) -> Word | None:
    """The engine's word that holds a piece; marks may stand before the piece."""
    words = (page.words.get(piece.start - back) for back in range(_LEADING_MARKS + 1))
    return next((word for word in words if word is not None and word.offset + len(word.text) >= piece.end), None)


def _allowed(sites: Iterable[Site | None], guard: Guard, worth: Callable[[Option], bool]) -> Iterator[Site]:
    for site in sites:
        if site is not None:
            options = tuple(o for o in site.options if worth(o) and guard.objection(o.edit) is None)
            if options:
                yield replace(site, options=options)
