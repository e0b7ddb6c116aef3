"""What a model's calibration is fitted to: how much its gains count, and which margin keeps wrong edits rare."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocrwatch.correction import calibration
from ocrwatch.correction.calibration import (
    LEAST_EDITS,
    LEAST_PLACES,
    STRICTEST,
    STRICTEST_MARGIN,
    WRONG_SHARE,
    Calibration,
    Sample,
    TooFewError,
    fit,
    likeliest_gain,
    smallest_margin,
    tally,
)
from ocrwatch.correction.edits import Edit, Reason
from ocrwatch.correction.truth import Alignment, Place
from ocrwatch.correction.weights import Weights

WEIGHTS = Weights(judged={"edit": -1.0, "gain": 0.5}, prior={}, margin=0.7, least=-3.0, foreign=0.2)


def drawn(seed: int, count: int = 1500, *, scale: float = 1.0) -> Sample:
    """Places whose options are right as often as the weights say, when the model's gains are scaled back."""
    chance = random.Random(seed)
    places = []
    for _ in range(count):
        gain = chance.gauss(2.0, 5.0)
        odds = math.exp(WEIGHTS.merit({"edit": 1.0, "gain": gain}))
        right = chance.random() < odds / (1.0 + odds)
        places.append(Place(({"edit": 1.0, "gain": gain * scale},), (1 if right else -1,)))
    return Sample(places, WEIGHTS)


def sure(right: int, wrong: int, *, merit: float = 10.0) -> Sample:
    """Places where the model is equally sure of what is right and of what is wrong."""
    options = ({"edit": 0.0, "gain": merit / 0.5},)
    return Sample([Place(options, (1,))] * right + [Place(options, (-1,))] * wrong, WEIGHTS)


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_gain_scaled_by_half_is_found_as_a_factor_of_two(seed: int) -> None:
    """A model whose nats are worth twice as much counts twice; the table's own model counts once."""
    own, half = likeliest_gain([drawn(seed)]), likeliest_gain([drawn(seed, scale=0.5)])
    assert own == pytest.approx(1.0, abs=0.25)
    assert half == pytest.approx(2 * own, rel=0.1)


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_gain_of_a_model_that_knows_nothing_counts_nothing(seed: int) -> None:
    """What the model says without regard to the truth is not believed."""
    chance = random.Random(seed)
    places = [Place(({"edit": 1.0, "gain": chance.gauss(0.0, 8.0)},), (chance.choice((1, -1)),)) for _ in range(1500)]
    assert likeliest_gain([Sample(places, WEIGHTS)]) < 0.15


def test_gain_stays_near_one_with_few_places() -> None:
    """Three places tell nothing."""
    assert likeliest_gain([drawn(7, 3, scale=0.5)]) == pytest.approx(1.0, abs=0.5)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(0, 40), st.integers(0, 40))
def test_margin_grows_with_wrong_edits(seed: int, few: int, more: int) -> None:
    """More wrong edits that pass the table's margin never make the margin smaller."""
    chance = random.Random(seed)
    good = [Place(({"gain": chance.uniform(2.0, 12.0)},), (1,)) for _ in range(400)]
    bad = [Place(({"gain": chance.uniform(2.0, 6.0)},), (-1,)) for _ in range(few + more)]
    margins = [smallest_margin([Sample(good + bad[:count], WEIGHTS)], gain=1.0) for count in (few, few + more)]
    assert 0.0 <= margins[0] <= margins[1] <= STRICTEST_MARGIN


def test_margin_is_none_without_wrong_edits_and_the_strictest_where_the_model_is_sure_of_what_is_wrong() -> None:
    """Few data do not pass for a good model."""
    assert smallest_margin([sure(100, 0)], gain=1.0) == 0.0
    assert smallest_margin([sure(100, 10)], gain=1.0) == STRICTEST_MARGIN
    assert smallest_margin([sure(10, 0)], gain=1.0) == STRICTEST_MARGIN


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from([0.5, 1.0, 2.0]))
def test_fit_keeps_wrong_edits_rare_or_says_that_it_cannot(seed: int, scale: float) -> None:
    """What is promised of the margin holds on the pages that it was found on."""
    found = fit([drawn(seed, scale=scale)], pages=50)
    assert found.is_held == (found.after.wrong + 1 <= WRONG_SHARE * (found.after.edits + 20))
    assert found.is_held or found.calibration.margin == STRICTEST_MARGIN
    assert found.before == tally([drawn(seed, scale=scale)], STRICTEST)


@pytest.mark.parametrize(("places", "more"), [(LEAST_PLACES // 2, 10), (LEAST_PLACES // 10, 90), (0, 990)])
def test_too_few_places_say_how_many_more_pages_are_needed(places: int, more: int) -> None:
    """An administrator learns what to do, in pages."""
    with pytest.raises(TooFewError, match=f"{places} judged places are too few, {LEAST_PLACES} are needed") as raised:
        fit([sure(places, 0)], pages=10)
    assert f"about {more} more pages" in raised.value.remedy


def test_too_few_edits_are_refused_too() -> None:
    """Places that all stay as read tell nothing of wrong edits."""
    quiet = replace(sure(LEAST_PLACES, 0), weights=replace(WEIGHTS, margin=50.0))
    with pytest.raises(TooFewError, match=f"0 edits are too few, {LEAST_EDITS} are needed"):
        fit([quiet], pages=10)


@pytest.mark.parametrize(
    ("gain", "margin"), [(-0.1, 0.0), (99.0, 0.0), (1.0, -0.1), (1.0, 2.1), (math.nan, 0.0), (1.0, math.nan)]
)
def test_calibration_without_sense_is_none(gain: float, margin: float) -> None:
    """No file can make the model looser than the table, or its gains endless."""
    with pytest.raises(ValueError, match="a calibration has"):
        Calibration(gain, margin)


@given(st.lists(st.floats(-15, 15), min_size=1, max_size=4))
def test_strictest_lets_no_edit_pass_that_the_table_does_not(gains: list[float]) -> None:
    """A model that was never calibrated makes at most the edits of the one that the table was fitted with."""
    options = [{"edit": 1.0, "gain": gain} for gain in gains]
    strict = WEIGHTS.calibrated(STRICTEST)
    assert strict.after(options) == WEIGHTS.after(options)
    assert strict.asked(1.0, {}) == WEIGHTS.asked(2.0, {})
    assert calibration.STRICTEST_MARGIN > 0


def test_alignment_finds_what_leads_to_the_truth() -> None:
    """Nearer, away, and neither; where the place is counts, not the page's other errors."""
    aligned = Alignment("Tbe fox\nsaw tbe dog", "The fox saw the dog")
    edits = [(Edit(12, "tbe", after, Reason.WORD, 0.0), {"edit": 1.0}) for after in ("the", "tle", "tube")]
    (place,) = aligned.places([((12, 15), edits)])
    assert place.nearer == (1, 0, -1)
    assert place.right() == [1.0, 0.0, 0.0]
