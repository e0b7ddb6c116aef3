"""The states of a file: listed once, in the code and in the schema, and every other move is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ocrwatch.journal.journal import Journal
from ocrwatch.journal.states import ALLOWED, PUBLISHED, RETRYABLE, UNFINISHED, IllegalTransition, JobState, PageState, check
from tests.faults.waiting import FakeClock

_PAIRS = [(before, after) for before in JobState for after in JobState]


@pytest.mark.parametrize(("before", "after"), _PAIRS, ids=[f"{b}-{a}" for b, a in _PAIRS])
def test_transition_is_allowed_or_raises(before: JobState, after: JobState) -> None:
    """There is no third way."""
    if after in ALLOWED[before]:
        check(before, after)
    else:
        with pytest.raises(IllegalTransition, match=f"{before} cannot become {after}"):
            check(before, after)


def test_every_state_can_be_reached_and_none_leads_to_itself() -> None:
    """A state that nothing leads to would be a lie in `why`."""
    reachable = {JobState.QUEUED}.union(*ALLOWED.values())
    assert reachable == set(JobState)
    assert all(state not in ALLOWED[state] for state in JobState)


def test_retry_can_be_obeyed() -> None:
    """What is offered for `ocrwatch retry` can go back to the queue."""
    assert all(JobState.QUEUED in ALLOWED[state] for state in RETRYABLE)


def test_unfinished_and_published_are_told_apart() -> None:
    """Only a raw text that waits for its correction is both."""
    assert {JobState.AWAITING_CORRECTION} == UNFINISHED & PUBLISHED


@pytest.mark.parametrize(("states", "table"), [(JobState, "job"), (PageState, "page")])
def test_schema_knows_the_same_states(states: type[JobState] | type[PageState], table: str, tmp_path: Path) -> None:
    """The database refuses what the code does not know."""
    journal = Journal(tmp_path / "journal.db", wall_clock=FakeClock())
    ((schema,),) = journal._db.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,))
    journal.close()
    checked = re.search(r"CHECK \(state IN \((.*?)\)\)", schema, re.DOTALL)
    assert checked is not None
    assert set(re.findall(r"'(\w+)'", checked[1])) == {str(state) for state in states}
