"""The choice among the options of a place: log-linear odds, and the table that they come from."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.correction.weights import OTHER, Weights, parse, weights_for

PLAIN = Weights(judged={"gain": 1.0}, prior={"cost": -1.0, "zipf": 0.5}, margin=0.7, least=-3.0, foreign=0.2)


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=6))
def test_odds_are_those_of_the_best_against_all_else(gains: list[float]) -> None:
    """What was read competes with odds of 1; rivals that are as good take from the best."""
    best, odds = PLAIN.after([{"gain": gain} for gain in gains])
    assert gains[best] == max(gains)
    others = 1.0 + sum(math.exp(gain) for index, gain in enumerate(gains) if index != best)
    assert odds == pytest.approx(gains[best] - math.log(others))


def test_two_options_that_are_as_likely_are_a_coin_toss_at_best() -> None:
    """However much the model likes both, neither passes a margin above zero."""
    assert PLAIN.after([{"gain": 15.0}, {"gain": 15.0}])[1] < 0.0 < PLAIN.margin


def test_before_knows_nothing_of_the_model() -> None:
    """Evidence without a weight counts nothing."""
    assert PLAIN.before({"cost": 4.0, "zipf": 6.0, "gain": 9.0}) == pytest.approx(-1.0)


@pytest.mark.parametrize(("caution", "asked"), [(1.0, 0.7), (2.0, 2.7), (0.5, -0.3)])
def test_caution_moves_the_odds_that_are_asked(caution: float, asked: float) -> None:
    """Above 1 fewer edits, below 1 more."""
    assert PLAIN.asked(caution, {}) == pytest.approx(asked)


@pytest.mark.parametrize(
    "line", ["en\tjudged\tgain", "en\tjudged\tnonsense\t1.0", "en\tother\tgain\t1.0", "en\tjudged\tgain\tmuch"]
)
def test_table_with_a_mistake_is_refused(line: str) -> None:
    """A wrong line is not taken for a weight of 0."""
    with pytest.raises(ValueError, match="line 2"):
        parse(["# told", line])


def test_shipped_table_has_the_languages_and_a_stricter_rest() -> None:
    """The languages that there were places enough for have weights of their own; what is not known is asked for more."""
    rest = weights_for(("xx",))
    for language in ("en", "de", "fr", "it", "cs", "pl"):
        found = weights_for((language,))
        assert found is not rest
        assert found.judged["gain"] > 0 > found.judged["cost"]
        assert found.asked(1.0, {"untold": 1.0}) <= rest.asked(1.0, {"untold": 1.0})
    assert weights_for(("en",), covered=False) is weights_for(("xx",), covered=False)
    assert weights_for(("xx",), covered=False) is not rest
    assert weights_for(()) is weights_for((OTHER,))


def test_more_is_asked_where_the_engine_told_nothing() -> None:
    """An edit that only the lists and the model speak for needs better odds than one that the engine itself doubted."""
    weights = Weights(judged={}, prior={}, margin=0.5, least=-3.0, foreign=0.2, untold=0.25)
    assert weights.asked(1.0, {"untold": 1.0}) == weights.asked(1.0, {}) + 0.25
