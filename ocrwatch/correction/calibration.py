"""A model's calibration: how much its gains count and which margin it needs. Owns how both are fitted to judged places. Pure.

The weights of `weights.tsv` were fitted with one model; another may be twice as sure of itself, or wrong more often. The factor
on its gains is the likeliest one in the log-linear choice, all else fixed (temperature scaling: Guo et al., "On Calibration of
Modern Neural Networks", 2017). The margin is the smallest at which few enough edits lead away from the truth.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ocrwatch.errors import UsageError

if TYPE_CHECKING:  # they know what a calibration is
    from ocrwatch.correction.truth import Place
    from ocrwatch.correction.weights import Weights

STRICTEST_MARGIN = 2.0
"""Log odds, in nats, that a model which was never calibrated needs beyond the table's margin: as much as a step of `caution`."""

MAX_GAIN_FACTOR = 4.0
"""A model whose gains would count more than that is hardly better than chance, and its places are few."""

WRONG_SHARE = 0.025
"""Of the edits may lead away from the truth."""

LEAST_PLACES, LEAST_EDITS = 100, 40
"""Judged places, and edits at the table's margin, below which nothing is fitted."""

_EXPECTED_WRONG, _EXPECTED_EDITS = 1.0, 20.0
"""Counted in beside what was found: one wrong edit in twenty. 20 edits without a wrong one, or 60 with one, are good enough."""

_SURE_OF_ONE = 4.0
"""How strongly the factor is held to 1.0, as the inverse of a variance: as far as a few dozen places can tell."""

_STEPS, _LONGEST_STEP, _ENOUGH = 60, 0.5, 1e-6


@dataclass(frozen=True)
class Calibration:
    """gain: the factor on the model's gain, in nats, before it is weighed. margin: log odds, in nats, added to the table's."""

    gain: float = 1.0
    margin: float = STRICTEST_MARGIN

    def __post_init__(self) -> None:
        if not (0.0 <= self.gain <= MAX_GAIN_FACTOR and 0.0 <= self.margin <= STRICTEST_MARGIN):  # NaN is in no range
            raise ValueError(
                f"a calibration has a gain of 0 to {MAX_GAIN_FACTOR} and a margin of 0 to {STRICTEST_MARGIN},"
                f" not {self.gain} and {self.margin}"
            )


STRICTEST = Calibration()
"""For a model that was never calibrated."""


@dataclass(frozen=True)
class Sample:
    """Judged places of pages in the same languages. weights: those of the table for them."""

    places: Sequence[Place]
    weights: Weights


@dataclass(frozen=True)
class Tally:
    """edits: that would be made. right, wrong: those that bring the page nearer to the truth, or lead away from it."""

    edits: int
    right: int
    wrong: int

    @property
    def wrong_share(self) -> float:
        """Of the edits; 0 without any."""
        return self.wrong / max(1, self.edits)


@dataclass(frozen=True)
class Fitted:
    """A calibration, and what it was found with. before: edits as without a calibration; after: with it."""

    calibration: Calibration
    places: int
    before: Tally
    after: Tally

    @property
    def is_held(self) -> bool:
        """Whether the margin keeps wrong edits below the bound; the strictest may not."""
        return _is_held(self.after)


class TooFewError(UsageError):
    """The pages have too little on them to learn from."""


def fit(samples: Sequence[Sample], *, pages: int) -> Fitted:
    """The calibration of the model that judged these places. pages: that all of them are of.

    Raises TooFewError, which says how many more pages are needed.
    """
    count = sum(len(sample.places) for sample in samples)
    require("judged places", count, least=LEAST_PLACES, pages=pages)
    gain = likeliest_gain(samples)
    require("edits", tally(samples, Calibration(gain, 0.0)).edits, least=LEAST_EDITS, pages=pages)
    calibration = Calibration(gain, smallest_margin(samples, gain=gain))
    return Fitted(calibration, count, before=tally(samples, STRICTEST), after=tally(samples, calibration))


def require(what: str, count: int, *, least: int, pages: int) -> None:
    """Raise TooFewError, saying how many more pages like these would do, where there are less than `least`."""
    if count < least:
        more = max(1, math.ceil(pages * least / max(count, 1)) - pages)
        raise TooFewError(
            f"{pages} pages with {count} {what} are too few, {least} are needed; what was there before is kept",
            f"give about {more} more pages like these, with the errors that your scans have",
        )


def likeliest_gain(samples: Sequence[Sample]) -> float:
    """The factor on the model's gains that makes the right choices likeliest, by Newton's method; rounded."""
    stakes = [_Stake(place, sample.weights) for sample in samples for place in sample.places]
    gain = 1.0
    for _ in range(_STEPS):
        slope, curvature = _SURE_OF_ONE * (1.0 - gain), _SURE_OF_ONE
        for stake in stakes:
            mean, variance = stake.expected(gain)
            slope += stake.wanted - mean
            curvature += variance
        step = max(-_LONGEST_STEP, min(_LONGEST_STEP, slope / curvature))
        gain = max(0.0, min(MAX_GAIN_FACTOR, gain + step))
        if abs(step) < _ENOUGH:
            break
    return round(gain, 3)


class _Stake:
    """A place as the factor sees it. wanted: what the model adds, at a factor of 1, to what is right."""

    def __init__(self, place: Place, weights: Weights) -> None:
        weight = weights.judged.get("gain", 0.0)
        self._pulls = [weight * evidence.get("gain", 0.0) for evidence in place.options]
        self._merits = [weights.merit(o) - pull for o, pull in zip(place.options, self._pulls, strict=True)]
        self.wanted = sum(share * pull for share, pull in zip(place.right(), self._pulls, strict=True))

    def expected(self, gain: float) -> tuple[float, float]:
        """Mean and variance of what the model adds, by the odds that a factor gives; it adds nothing to what was read."""
        merits = [merit + gain * pull for merit, pull in zip(self._merits, self._pulls, strict=True)]
        highest = max(0.0, *merits)
        odds = [math.exp(merit - highest) for merit in merits]
        total = math.exp(-highest) + sum(odds)
        mean = sum(o * pull for o, pull in zip(odds, self._pulls, strict=True)) / total
        square = sum(o * pull * pull for o, pull in zip(odds, self._pulls, strict=True)) / total
        return mean, max(0.0, square - mean * mean)


def tally(samples: Sequence[Sample], calibration: Calibration) -> Tally:
    """The edits that a calibration lets pass."""
    return _counted(nearer for odds, nearer in _chances(samples, calibration) if odds > 0)


def smallest_margin(samples: Sequence[Sample], *, gain: float) -> float:
    """The smallest margin, at most the strictest, at which few enough edits are wrong; in steps of a tenth."""
    chances = list(_chances(samples, Calibration(gain, 0.0)))
    for tenths in range(round(10 * STRICTEST_MARGIN)):
        if _is_held(_counted(nearer for odds, nearer in chances if odds > tenths / 10)):
            return tenths / 10
    return STRICTEST_MARGIN


def _chances(samples: Sequence[Sample], calibration: Calibration) -> Iterator[tuple[float, int]]:
    """The log odds, less the margin, of the best option of each place, and by how much it brings the page nearer to the truth."""
    for sample in samples:
        weights = sample.weights.calibrated(calibration)
        for place in sample.places:
            best, odds = weights.after(place.options)
            yield odds - weights.asked(1.0, place.options[best]), place.nearer[best]


def _counted(edits: Iterable[int]) -> Tally:
    nearer = list(edits)
    return Tally(len(nearer), sum(n > 0 for n in nearer), sum(n < 0 for n in nearer))


def _is_held(found: Tally) -> bool:
    return found.wrong + _EXPECTED_WRONG <= WRONG_SHARE * (found.edits + _EXPECTED_EDITS)
