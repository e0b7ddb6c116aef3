"""Counts and times that only grow, from any thread."""

from __future__ import annotations

import math
import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.tally import BOUNDS_S, Counted, Tally, Timed


def test_counts_are_by_labels_and_one_that_never_happened_can_be_known() -> None:
    """So that its first time is seen as one more than none."""
    tally = Tally()
    tally.add(Counted.FINISHED, "letters", "done", by=0)
    assert tally.counts(Counted.FINISHED) == {("letters", "done"): 0}
    tally.add(Counted.FINISHED, "letters", "done")
    tally.add(Counted.FINISHED, "letters", "failed", by=3)
    assert tally.counts(Counted.FINISHED) == {("letters", "done"): 1, ("letters", "failed"): 3}
    assert tally.counts(Counted.PAGES) == {}


@pytest.mark.parametrize("timed", Timed)
def test_bounds_rise(timed: Timed) -> None:
    """Else a time would be in two classes."""
    assert all(low < high for low, high in pairwise(BOUNDS_S[timed]))


@given(st.lists(st.floats(min_value=0, max_value=1e6)))
def test_times_are_sorted_as_prometheus_reads_them(times_s: list[float]) -> None:
    """A class has what is at most its bound and above the bound before; none is lost, and the sum is theirs."""
    tally, bounds = Tally(), (*BOUNDS_S[Timed.WAIT], math.inf)
    for seconds in times_s:
        tally.took(Timed.WAIT, "letters", seconds=seconds)
    spread = tally.spreads(Timed.WAIT).get(("letters",))
    if spread is None:
        assert not times_s
        return
    assert spread.sum_s == pytest.approx(sum(times_s))
    for number, bound in enumerate(bounds):
        assert sum(spread.counts[: number + 1]) == sum(seconds <= bound for seconds in times_s)


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, -5.0, 1e300])
def test_time_that_cannot_be_spoils_no_sum(seconds: float) -> None:
    """A sum that is not a number, or falls, would be no figure any more."""
    tally = Tally()
    tally.took(Timed.CORRECTION, seconds=2.0)
    tally.took(Timed.CORRECTION, seconds=seconds)
    spread = tally.spreads(Timed.CORRECTION)[()]
    assert sum(spread.counts) == 2
    assert 2.0 <= spread.sum_s < 1e9


def test_nothing_is_lost_between_threads() -> None:
    """Workers of all cores count at once."""
    tally = Tally()

    def count() -> None:
        for _ in range(2000):
            tally.add(Counted.CORRECTED, "letters")
            tally.took(Timed.CORRECTION, seconds=1.0)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tally.counts(Counted.CORRECTED) == {("letters",): 8000}
    assert tally.spreads(Timed.CORRECTION)[()].sum_s == 8000
