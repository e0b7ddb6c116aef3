"""Judging: sites put before the model, window by window. Owns what stands in the context of each place. Pure but for the model.

A misread word spoils the context of its neighbours. Where an option is far ahead before the model is asked, it stands in the
place of what was read while other places are judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import isfinite

from ocrwatch.correction.edits import Edit
from ocrwatch.correction.evidence import MAX_GAIN
from ocrwatch.correction.judge import Judge, Question
from ocrwatch.correction.sites import Option, Site
from ocrwatch.correction.window import RunningText, Window, windows

_AHEAD = 1.0
"""By so many nats an option must be ahead, without the model, to stand in the context of other places."""


_BEHIND = 2.0
"""The model is not asked about options that are so many nats behind the best of their place: on rendered pages that
saved two options in five, and lost no right one on balance."""


@dataclass(frozen=True)
class Judgement:
    """A site with its options, the model's gain among their evidence."""

    site: Site
    options: tuple[Option, ...]


def judgements(
    text: RunningText,
    sites: Sequence[Site],
    judge: Judge,
    *,
    prompt: str,
    before: Callable[[Option], float],
    expired: Callable[[], bool] = lambda: False,
) -> Iterator[Judgement]:
    """What the model says of each site; ends early once the time is up, which is asked before each window.

    before: how far an option is ahead of what was read before the model is asked, in nats.
    """
    ranges = [text.covering(site.start, site.end) for site in sites]
    for window in windows(ranges, len(text)):
        if expired():
            return
        here = [_promising(sites[index], before) for index in window.places]
        laid_out = _LaidOut(text, window, _standing(here, before))
        questions = [laid_out.question(site, ranges[index]) for index, site in zip(window.places, here, strict=True)]
        for site, gains in zip(here, judge.gains(laid_out.words, questions, prompt=prompt), strict=True):
            yield Judgement(
                site, tuple(_told(option, gain - gains[0]) for option, gain in zip(site.options, gains[1:], strict=True))
            )


def _promising(site: Site, before: Callable[[Option], float]) -> Site:
    odds = [before(option) for option in site.options]
    return replace(site, options=tuple(o for o, own in zip(site.options, odds, strict=True) if own > max(odds) - _BEHIND))


def _told(option: Option, gain: float) -> Option:
    # What the model could not judge, an endless word, is not a number here.
    return replace(
        option, evidence=option.evidence | {"gain": max(-MAX_GAIN, min(MAX_GAIN, gain)) if isfinite(gain) else -MAX_GAIN}
    )


def _standing(sites: Iterable[Site], before: Callable[[Option], float]) -> list[Edit]:
    """The edits that stand in the context, without overlaps."""
    edits: list[Edit] = []
    for site in sites:
        best = max(site.options, key=before)
        if before(best) > _AHEAD and not _touching(edits, site.start, site.end):
            edits.append(best.edit)
    return sorted(edits, key=lambda e: e.offset)


def _touching(edits: Iterable[Edit], start: int, end: int) -> list[Edit]:
    return [e for e in edits if e.offset < end and start < e.offset + len(e.before)]


class _LaidOut:
    """The words of a window as they stand, and where each word of the page is among them."""

    def __init__(self, text: RunningText, window: Window, standing: Sequence[Edit]) -> None:
        self._text, self._first, self._standing = text, window.first, standing
        self.words: list[str] = []
        self._places: list[tuple[int, int]] = []
        ranges = [text.covering(e.offset, e.offset + len(e.before)) for e in standing]
        index = window.first
        while index < window.last:
            end = max([index + 1, *(last for first, last in ranges if first <= index < last)])
            made = self._made(index, end, standing).split(" ")
            self._places += [(len(self.words), len(self.words) + len(made))] * (end - index)
            self.words += made
            index = end

    def question(self, site: Site, covered: tuple[int, int]) -> Question:
        """What was read, and each option, in the place of what stands there."""
        first, last = covered
        others = [e for e in self._standing if e not in _touching(self._standing, site.start, site.end)]
        texts = [self._made(first, last, sorted([*others, *edit], key=lambda e: e.offset)) for edit in self._edits(site)]
        return Question(self._places[first - self._first][0], self._places[last - 1 - self._first][1], tuple(texts))

    def _edits(self, site: Site) -> Iterator[tuple[Edit, ...]]:
        yield ()
        yield from ((option.edit,) for option in site.options)

    def _made(self, first: int, last: int, edits: Iterable[Edit]) -> str:
        return self._text.text(first, last, [e for e in edits if self._text.holds(first, last, e)])
