"""The weights of the evidence, by language: what was fitted, and how sure an edit has to be. Owns the table's form. Pure.

The choice among the options of a place, and what was read, is log-linear (Och and Ney, "Discriminative Training and Maximum
Entropy Models for Statistical Machine Translation", 2002): the odds of an option are exp(sum of weight * evidence), those of
what was read are 1. `weights.tsv` is fitted by `bench/correction/fit_weights.py`, by maximum likelihood, on pages that
the project renders, degrades and reads itself.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from ocrwatch.correction.evidence import FEATURES, Evidence

if TYPE_CHECKING:  # its fit knows the weights
    from ocrwatch.correction.calibration import Calibration

OTHER, UNLISTED = "other", "unlisted"
"""The languages of the table that stand for all that it does not have, and for those without a word list."""

_CAUTION_NATS = 2.0
"""By how much the margin moves when `correction.caution` goes up or down by one."""

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_PARAMETERS = ("margin", "untold", "least", "foreign", "guesses")


@dataclass(frozen=True)
class Weights:
    """The numbers of the choice.

    judged: weight of each kind of evidence. prior: the same for what is known before the model is asked. margin: log odds, in
    nats, that are asked of an edit. least: the model is not asked about options with less than this, in nats, before.
    foreign: a page with a greater share of unlisted words is not in the language that it is said to be in, or no text.
    untold: log odds asked more where the engine told nothing of the word. guesses: 1 where the model is asked, too, what it would
    have expected, 0 where the lists know better.
    """

    judged: Mapping[str, float]
    prior: Mapping[str, float]
    margin: float
    least: float
    foreign: float
    untold: float = 0.0
    guesses: float = 0.0

    def before(self, evidence: Evidence) -> float:
        """How much an option has for it before the model is asked, in nats against what was read."""
        return sum(self.prior.get(name, 0.0) * value for name, value in evidence.items())

    def after(self, options: Sequence[Evidence]) -> tuple[int, float]:
        """The best option, and its log odds against all others and what was read."""
        merits = [self.merit(evidence) for evidence in options]
        best = max(range(len(merits)), key=merits.__getitem__)
        others = [0.0, *(merit for index, merit in enumerate(merits) if index != best)]
        highest = max(others)
        return best, merits[best] - highest - math.log(sum(math.exp(merit - highest) for merit in others))

    def merit(self, evidence: Evidence) -> float:
        """How much an option has for it in the light of all evidence, in nats against what was read."""
        return sum(self.judged.get(name, 0.0) * value for name, value in evidence.items())

    def calibrated(self, calibration: Calibration) -> Weights:
        """The weights for a model of this calibration."""
        gain = self.judged.get("gain", 0.0) * calibration.gain
        return replace(self, judged={**self.judged, "gain": gain}, margin=self.margin + calibration.margin)

    def asked(self, caution: float, evidence: Evidence) -> float:
        """The log odds that an edit with this evidence must have."""
        return self.margin + self.untold * evidence.get("untold", 0.0) + _CAUTION_NATS * (caution - 1.0)


def parse(lines: Iterable[str]) -> dict[str, Weights]:
    """The weights of a table's lines, by language: `language<TAB>part<TAB>name<TAB>number`; lines that begin with `# ` tell
    where it comes from.

    Raises ValueError, with the line's number, for anything else.
    """
    parts: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for number, line in enumerate(lines, 1):
        row = line.rstrip("\n")
        if row.startswith("# ") or not row:
            continue
        fields = row.split("\t")
        known = {"judged": FEATURES, "prior": FEATURES, "choice": _PARAMETERS}
        if len(fields) != 4 or fields[2] not in known.get(fields[1], ()) or not _NUMBER.fullmatch(fields[3]):
            raise ValueError(f"table of weights, line {number}: expected language, part, name and number, separated by tabs")
        parts[fields[0]][fields[1]][fields[2]] = float(fields[3])
    return {language: Weights(part["judged"], part["prior"], **part["choice"]) for language, part in parts.items()}


def weights_for(languages: Sequence[str], *, covered: bool = True) -> Weights:
    """The weights of the page's languages; those of the first one rule, because the word lists of all hold at once.

    covered: whether there is a list for one of them.
    """
    table = _shipped()
    if not covered:
        return table[UNLISTED]
    return table.get(languages[0], table[OTHER]) if languages else table[OTHER]


@cache
def _shipped() -> dict[str, Weights]:
    return parse((files("ocrwatch.correction") / "weights.tsv").read_text(encoding="utf-8").splitlines())
