"""Fits `ocrwatch/correction/weights.tsv`: how much each kind of evidence counts in the choice among the options of a place.

    python -m bench.correction.fit_weights [--english 100] [--others 30] [--model GGUF] [--output ocrwatch/correction/weights.tsv]

The pages are those of `bench.correction.corpus`, which the project renders, degrades and reads. Each counts twice,
with what the engine told of its words and without, because not every engine tells. A place's options compete with what was read;
those are right that bring the page nearest to the truth, else what was read is. Maximum likelihood by Newton's method.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from bench.correction.corpus import CACHE, TrainingPage, load_all, make
from bench.correction.run import smollm2
from ocrwatch.correction import channel
from ocrwatch.correction.evidence import FEATURES, Evidence
from ocrwatch.correction.judge import Judge
from ocrwatch.correction.judging import judgements
from ocrwatch.correction.lexicon import WordList
from ocrwatch.correction.llama import Llama, LoadOptions
from ocrwatch.correction.model import ModelJudge
from ocrwatch.correction.protocol import CorrectionRequest
from ocrwatch.correction.sites import Option, Site
from ocrwatch.correction.survey import Survey, survey
from ocrwatch.correction.weights import OTHER, Weights

PRIOR_FEATURES = tuple(name for name in FEATURES if name != "gain")
LANGUAGES = ("en", "de", "fr", "es", "it", "cs", "pl")
LEAST = -3.2
"""Of the right options on damaged pages nine in ten have more than this before the model is asked; of all options one in nine."""

MARGIN, MARGIN_ELSE, MARGIN_UNKNOWN = 0.7, 1.5, 2.0
"""Log odds, in nats. On the pages that the weights were fitted on 0.7 leaves 2.7 % of English edits that lead away from the
truth, 1.2 leaves 1 to 3 % in the other languages; real pages hold older spellings and names than those."""

FOREIGN = {"en": 0.22}
"""Measured: damaged English has up to 0.17 unlisted words with the English list, German 0.14 to 0.38 and Polish 0.6 to 0.8."""

FOREIGN_ELSE = 0.35
_CONTEXT = 25
"""Characters on either side of a place in which a change is measured."""

_RIDGE = 0.5
_STEPS = 60
Matrix = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Place:
    """The options of a place: their evidence, and by how many characters each brings the page nearer to the truth."""

    options: tuple[Evidence, ...]
    nearer: tuple[int, ...]


def places(page: TrainingPage, options: Iterable[tuple[Site, Sequence[Option]]]) -> Iterator[Place]:
    """The places of a page, held against its true text."""
    aligned = Alignment(page.reading.text, page.true)
    for site, each in options:
        yield Place(tuple(o.evidence for o in each), tuple(aligned.nearer(site, o) for o in each))


class Alignment:
    """A page as read beside its true text."""

    def __init__(self, raw: str, true: str) -> None:
        self._raw, self._true = raw, true
        self._opcodes = Levenshtein.opcodes(raw, true)

    def nearer(self, site: Site, option: Option) -> int:
        """By how many characters an option brings the text around a place nearer to the truth."""
        start, end = max(0, site.start - _CONTEXT), min(len(self._raw), site.end + _CONTEXT)
        true = self._true[self._true_offset(start) : self._true_offset(end)]
        edit = option.edit
        made = self._raw[start : edit.offset] + edit.after + self._raw[edit.offset + len(edit.before) : end]
        return Levenshtein.distance(_fold(self._raw[start:end]), _fold(true)) - Levenshtein.distance(_fold(made), _fold(true))

    def _true_offset(self, offset: int) -> int:
        for op in self._opcodes:
            if op.src_start <= offset <= op.src_end:
                return op.dest_start + min(offset - op.src_start, op.dest_end - op.dest_start)
        return len(self._true)


def fitted(found: Sequence[Place], names: Sequence[str]) -> dict[str, float]:
    """The weights that make the right choices likeliest (a conditional logit with a small ridge)."""
    rows = np.array([[evidence.get(name, 0.0) for name in names] for place in found for evidence in place.options])
    group = np.repeat(np.arange(len(found)), [len(place.options) for place in found])
    right = np.concatenate([_right(place) for place in found])
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


def _right(place: Place) -> Matrix:
    best = max(place.nearer)
    right = np.array([float(nearer == best and best > 0) for nearer in place.nearer])
    share: Matrix = right / max(1.0, right.sum())
    return share


def _fold(text: str) -> str:
    return " ".join(text.split())


class Collector:
    """Surveys pages."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._channel = channel.parse((files("ocrwatch.correction") / "channel.tsv").read_text(encoding="utf-8").splitlines())
        self._lists: dict[str, WordList] = {}

    def sample(self, pages: Sequence[TrainingPage]) -> Sample:
        """All places of a language's pages."""
        before = self.before(pages)
        known = Weights({}, fitted(before, PRIOR_FEATURES), margin=0.0, least=LEAST, foreign=1.0)
        return Sample(len(pages), before, self.after(pages, known))

    def before(self, pages: Iterable[TrainingPage]) -> list[Place]:
        """Every place with the evidence that is known before the model is asked."""
        found: list[Place] = []
        for page in pages:
            for reading in _readings(page):
                surveyed = self._survey(reading, lambda _: True)
                found += places(reading, ((site, site.options) for site in surveyed.sites))
        return found

    def after(self, pages: Iterable[TrainingPage], weights: Weights) -> list[Place]:
        """The places that the model is asked about, with all evidence."""
        found: list[Place] = []
        for number, page in enumerate(pages):
            for reading in _readings(page):
                surveyed = self._survey(reading, lambda o: weights.before(o.evidence) > weights.least)
                answers = judgements(
                    surveyed.text, surveyed.sites, self._judge, prompt="\n", before=lambda o: weights.before(o.evidence)
                )
                found += places(reading, ((answer.site, answer.options) for answer in answers))
            print(f"\r{number + 1} pages", end="", file=sys.stderr, flush=True)
        return found

    def _survey(self, page: TrainingPage, worth: Callable[[Option], bool]) -> Survey:
        language = page.language
        if language not in self._lists:
            self._lists[language] = WordList([language])
        request = CorrectionRequest(page.reading.text, languages=(language,), words=page.reading.words)
        return survey(request, lexicon=self._lists[language], channel=self._channel, foreign=1.0, worth=worth)


def _readings(page: TrainingPage) -> tuple[TrainingPage, TrainingPage]:
    return page, replace(page, reading=replace(page.reading, words=()))


@dataclass(frozen=True)
class Sample:
    """What was collected of a language's pages: their places before the model is asked, and those that it was asked about."""

    pages: int
    before: list[Place]
    after: list[Place]


def weights(samples: Sequence[Sample], *, margin: float, foreign: float, prior: dict[str, float] | None = None) -> Weights:
    """The weights for all the samples together. prior: fitted here where it is not given."""
    prior = prior or fitted([place for sample in samples for place in sample.before], PRIOR_FEATURES)
    judged = fitted([place for sample in samples for place in sample.after], FEATURES)
    return Weights(judged, prior, margin=margin, least=LEAST, foreign=foreign)


def write(samples: dict[str, Sample], path: Path, *, judge_name: str) -> None:
    """The table, with where it comes from."""
    pages = ", ".join(f"{language} {sample.pages}" for language, sample in samples.items())
    lines = [
        "# The weights of the evidence: language, part, name, number (tab-separated).",
        f"# Learned by bench/correction/fit_weights.py from pages that it rendered, degraded and read with Tesseract ({pages}),",
        f"# judged by {judge_name}.",
    ]
    for language, sample in samples.items():
        foreign, margin = FOREIGN.get(language, FOREIGN_ELSE), MARGIN if language == "en" else MARGIN_ELSE
        lines += table(language, weights([sample], margin=margin, foreign=foreign))
    others = [sample for language, sample in samples.items() if language != "en"] or list(samples.values())
    lines += table(OTHER, weights(others, margin=MARGIN_UNKNOWN, foreign=FOREIGN_ELSE))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def table(language: str, found: Weights) -> Iterator[str]:
    """The lines of a language."""
    for part, values in (("judged", found.judged), ("prior", found.prior)):
        yield from (f"{language}\t{part}\t{name}\t{value}" for name, value in values.items())
    yield from (f"{language}\tchoice\t{name}\t{getattr(found, name)}" for name in ("margin", "least", "foreign"))


def main() -> None:
    """Collect, fit and write."""
    options = _arguments()
    collector = Collector(ModelJudge(Llama(LoadOptions(path=options.model or smollm2(), threads=options.threads))))
    samples = {}
    for language in LANGUAGES:
        count = options.english if language == "en" else options.others
        pages = list(load_all(make(language, count, cache=options.cache)))[:count]
        print(f"{language}: {len(pages)} pages", file=sys.stderr)
        samples[language] = collector.sample(pages)
    write(samples, options.output, judge_name=options.judge_name)


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
