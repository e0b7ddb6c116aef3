"""Fits `ocrwatch/correction/weights.tsv`: how much each kind of evidence counts in the choice among the options of a place.

    python -m bench.correction.fit_weights [--english 100] [--others 30] [--model GGUF] [--output ocrwatch/correction/weights.tsv]

The pages are those of `bench.correction.corpus`, which the project renders, degrades and reads. Each counts four times: with
what the engine told of its words and without, because not every engine tells, as it should have been read, because most pages
are read well, and that with blanks lost and found. A place's options compete with what was read;
those are right that bring the page nearest to the truth, else what was read is. Maximum likelihood by Newton's method.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.correction.corpus import CACHE, TrainingPage, load_all, make
from bench.correction.run import smollm2
from ocrwatch.correction import channel
from ocrwatch.correction.corrector import BEGINNING, surveyed
from ocrwatch.correction.evidence import FEATURES
from ocrwatch.correction.judge import Judge
from ocrwatch.correction.judging import judgements
from ocrwatch.correction.lexicon import WordList
from ocrwatch.correction.llama import Llama, LoadOptions
from ocrwatch.correction.model import ModelJudge
from ocrwatch.correction.protocol import CorrectionRequest
from ocrwatch.correction.sites import Option, Site
from ocrwatch.correction.survey import Survey
from ocrwatch.correction.truth import Alignment, Place
from ocrwatch.correction.weights import OTHER, UNLISTED, Weights

PRIOR_FEATURES = tuple(name for name in FEATURES if name != "gain")
LANGUAGES = ("en", "de", "fr", "es", "it", "cs", "pl")
UNLISTED_LANGUAGES = ("de", "fr")
"""Their pages, without their lists, stand for a language that has none."""


@dataclass(frozen=True)
class Choice:
    """What is chosen, not fitted (see `Weights`). Of the right options on damaged pages nine in ten have more than the `least`
    of listed languages before the model is asked; of all options one in nine. On the pages that the weights were fitted on
    the margins leave 4 to 5 % of English edits that lead away from the truth where the engine told of its words, 2 to 3 %
    where not and in other languages; of correct texts about one character in 25,000. Damaged English has up to 0.17 unlisted
    words with the English list, German 0.14 to 0.38 and Polish 0.6 to 0.8."""

    margin: float
    untold: float
    least: float = -3.2
    foreign: float = 0.35
    guesses: float = 1.0


CHOICES = {
    "en": Choice(-0.2, 1.0, foreign=0.22, guesses=0.0),
    UNLISTED: Choice(0.5, 0.5, least=-6.0, foreign=1.0),
    OTHER: Choice(0.7, 0.8),
}
ELSE = Choice(0.5, 0.8)
_FEWEST_PLACES = 300
"""A language with fewer is left out of the table, so that the weights of all others hold for it."""

_PRIOR_SHARE = 4
"""Every fourth page is enough for what is known before the model is asked: there each word is a place."""

_LOST_BLANK, _FOUND_BLANK = 1 / 120, 1 / 100
"""Of blanks between words, and of words of five letters or more: how often a torn reading loses one, or has one too many."""

_BLANK = re.compile(r"(?<=[^\W\d_]{2}) (?=[^\W\d_]{2})")
_LONG_WORD = re.compile(r"[^\W\d_]{5,}")
_RIDGE = 0.5
_STEPS = 60
Matrix = NDArray[np.floating[Any]]


def places(page: TrainingPage, options: Iterable[tuple[Site, Sequence[Option]]]) -> Iterator[Place]:
    """The places of a page, held against its true text."""
    judged = (((site.start, site.end), [(o.edit, o.evidence) for o in each]) for site, each in options)
    return Alignment(page.reading.text, page.true).places(judged)


def fitted(found: Sequence[Place], names: Sequence[str]) -> dict[str, float]:
    """The weights that make the right choices likeliest (a conditional logit with a small ridge)."""
    rows = np.array([[evidence.get(name, 0.0) for name in names] for place in found for evidence in place.options])
    group = np.repeat(np.arange(len(found)), [len(place.options) for place in found])
    right = np.concatenate([np.array(place.right()) for place in found])
    scale = np.abs(rows).max(axis=0) + 1e-9
    rows = rows / scale
    weights = np.zeros(len(names))
    for _ in range(_STEPS):
        step = _newton_step(rows, group, right, weights, len(found))
        weights = weights + step * min(1.0, 3.0 / float(np.abs(step).max()))
        if float(np.abs(step).max()) < 1e-6:
            break
    return dict(zip(names, (weights / scale).round(3).tolist(), strict=True))


def _newton_step(rows: Matrix, group: NDArray[np.int64], right: Matrix, weights: Matrix, count: int) -> Matrix:
    merits = rows @ weights
    highest = np.zeros(count)
    np.maximum.at(highest, group, merits)
    odds = np.exp(merits - highest[group])
    share = odds / (np.bincount(group, odds, count) + np.exp(-highest))[group]
    slope = rows.T @ (right - share) - _RIDGE * weights
    mean = np.zeros((count, rows.shape[1]))
    np.add.at(mean, group, rows * share[:, np.newaxis])
    curvature = (rows * share[:, np.newaxis]).T @ rows - mean.T @ mean + _RIDGE * np.eye(rows.shape[1])
    step: Matrix = np.linalg.solve(curvature, slope)
    return step


class Collector:
    """Surveys pages. listed: with the languages' word lists."""

    def __init__(self, judge: Judge, *, listed: bool = True) -> None:
        self._judge, self._listed = judge, listed
        self._channel = channel.parse((files("ocrwatch.correction") / "channel.tsv").read_text(encoding="utf-8").splitlines())
        self._lists: dict[str, WordList] = {}

    def sample(self, pages: Sequence[TrainingPage], choice: Choice) -> Sample:
        """All places of a language's pages."""
        before = self.before(pages[::_PRIOR_SHARE], choice)
        known = _weights({}, fitted(before, PRIOR_FEATURES), choice)
        return Sample(len(pages), before, self.after(pages, known))

    def before(self, pages: Iterable[TrainingPage], choice: Choice) -> list[Place]:
        """Every place with the evidence that is known before the model is asked."""
        every = replace(_weights({}, {}, choice), least=-math.inf)
        found: list[Place] = []
        for reading in chain.from_iterable(map(_readings, pages)):
            found += places(reading, ((site, site.options) for site in self._survey(reading, every).sites))
        return found

    def after(self, pages: Iterable[TrainingPage], weights: Weights) -> list[Place]:
        """The places that the model is asked about, with all evidence."""
        found: list[Place] = []
        for number, page in enumerate(pages):
            for reading in _readings(page):
                seen = self._survey(reading, weights)
                answers = judgements(
                    seen.text, seen.sites, self._judge, prompt=BEGINNING, before=lambda o: weights.before(o.evidence)
                )
                found += places(reading, ((answer.site, answer.options) for answer in answers))
            print(f"\r{number + 1} pages", end="", file=sys.stderr, flush=True)
        return found

    def _survey(self, page: TrainingPage, weights: Weights) -> Survey:
        language = page.language
        if language not in self._lists:
            self._lists[language] = WordList([language] if self._listed else [])
        request = CorrectionRequest(page.reading.text, languages=(language,), words=page.reading.words)
        return surveyed(
            request,
            judge=self._judge,
            lexicon=self._lists[language],
            channel=self._channel,
            weights=replace(weights, foreign=1.0),
        )


def _readings(page: TrainingPage) -> Iterator[TrainingPage]:
    """The page as it was read, with and without what the engine told of its words; its true text, where every edit is wrong; and
    that with blanks lost and found, which is rare in what is rendered and common where columns are narrow."""
    yield page
    for text in (page.reading.text, page.true, torn(page.true, seed=page.name)):
        yield replace(page, reading=replace(page.reading, text=text, words=()))


def torn(text: str, *, seed: str) -> str:
    """The text with some blanks lost between words, and some found within."""
    chance = random.Random(seed)

    def lose(blank: re.Match[str]) -> str:
        return "" if chance.random() < _LOST_BLANK else blank.group()

    def find(word: re.Match[str]) -> str:
        if chance.random() >= _FOUND_BLANK:
            return word.group()
        at = chance.randint(2, len(word.group()) - 2)
        return f"{word.group()[:at]} {word.group()[at:]}"

    return _LONG_WORD.sub(find, _BLANK.sub(lose, text))


@dataclass(frozen=True)
class Sample:
    """What was collected of a language's pages: their places before the model is asked, and those that it was asked about."""

    pages: int
    before: list[Place]
    after: list[Place]


def _weights(judged: Mapping[str, float], prior: Mapping[str, float], choice: Choice) -> Weights:
    return Weights(judged, prior, **vars(choice))


def weights(samples: Sequence[Sample], choice: Choice) -> Weights:
    """The weights for all the samples together."""
    prior = fitted([place for sample in samples for place in sample.before], PRIOR_FEATURES)
    judged = fitted([place for sample in samples for place in sample.after], FEATURES)
    return _weights(judged, prior, choice)


def write(samples: dict[str, Sample], unlisted: Sequence[Sample], path: Path, *, judge_name: str) -> None:
    """The table, with where it comes from."""
    pages = ", ".join(f"{language} {sample.pages}" for language, sample in samples.items())
    lines = [
        "# The weights of the evidence: language, part, name, number (tab-separated).",
        f"# Learned by bench/correction/fit_weights.py from pages that it rendered, degraded and read with Tesseract ({pages}),",
        f"# judged by {judge_name}.",
    ]
    for language, sample in samples.items():
        if len(sample.after) >= _FEWEST_PLACES:
            lines += table(language, weights([sample], CHOICES.get(language, ELSE)))
    others = [sample for language, sample in samples.items() if language != "en"] or list(samples.values())
    lines += table(OTHER, weights(others, CHOICES[OTHER]))
    lines += table(UNLISTED, weights(unlisted, CHOICES[UNLISTED]))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def table(language: str, found: Weights) -> Iterator[str]:
    """The lines of a language."""
    for part, values in (("judged", found.judged), ("prior", found.prior)):
        yield from (f"{language}\t{part}\t{name}\t{value}" for name, value in values.items())
    yield from (f"{language}\tchoice\t{name}\t{getattr(found, name)}" for name in vars(ELSE))


def main() -> None:
    """Collect, fit and write."""
    options = _arguments()
    judge = ModelJudge(Llama(LoadOptions(path=options.model or smollm2(), threads=options.threads)))
    samples, unlisted = {}, []
    for language in LANGUAGES:
        count = options.english if language == "en" else options.others
        pages = list(load_all(make(language, count, cache=options.cache)))[:count]
        print(f"{language}: {len(pages)} pages", file=sys.stderr)
        samples[language] = Collector(judge).sample(pages, CHOICES.get(language, ELSE))
        if language in UNLISTED_LANGUAGES:
            unlisted.append(Collector(judge, listed=False).sample(pages[::2], CHOICES[UNLISTED]))
    write(samples, unlisted, options.output, judge_name=options.judge_name)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.correction.fit_weights", description=__doc__.splitlines()[0])
    parser.add_argument("--english", type=int, default=100, help="pages")
    parser.add_argument("--others", type=int, default=30, help="pages of each other language")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--model")
    parser.add_argument("--judge-name", default="SmolLM2-135M-Instruct Q4_1")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("ocrwatch/correction/weights.tsv"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
