"""What the journal says of a day and of an hour."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocrwatch.intake.entries import Entry, Identity
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.states import JobState
from tests.faults.waiting import FakeClock


@pytest.fixture
def wall() -> FakeClock:
    """The wall clock."""
    return FakeClock(1000.0)


@pytest.fixture
def journal(tmp_path: Path, wall: FakeClock) -> Iterator[Journal]:
    """With a file done at 1000 (3 pages), one failed at 2000, one done and one replaced at 3000."""
    opened = Journal(tmp_path / "journal.db", wall_clock=wall)
    for at, name, state, reason in (
        (1000.0, "early.pdf", JobState.DONE, ""),
        (2000.0, "locked.pdf", JobState.FAILED, "encrypted_file"),
        (3000.0, "late.pdf", JobState.DONE, ""),
        (3000.0, "changed.pdf", JobState.DONE, ""),
    ):
        wall.now = at
        (job,) = opened.add("in", [Entry(name, Identity(size=1, mtime_ns=1))])
        opened.move(job.id, JobState.SPOOLED)
        opened.set_pages(job.id, 3)
        opened.move(job.id, state, reason=reason)
    opened.add("in", [Entry("changed.pdf", Identity(size=2, mtime_ns=2))])
    yield opened
    opened.close()


def test_a_day_has_the_files_that_ended_in_it(journal: Journal) -> None:
    """From its first moment to before its last; a version that is no more has no part in it."""
    assert [job.path for job in journal.finished_between(1000.0, 2000.0)] == ["early.pdf"]
    assert [job.path for job in journal.finished_between(1000.0, 9000.0)] == ["early.pdf", "late.pdf", "locked.pdf"]
    assert journal.finished_between(3001.0, 9000.0) == []


def test_an_hour_has_its_pages_and_failures(journal: Journal) -> None:
    """Work done counts, also on a version that is no more."""
    assert journal.work_since(0.0) == (9, {"encrypted_file": 1})
    assert journal.work_since(2500.0) == (6, {})
    assert journal.work_since(5000.0) == (0, {})


def test_what_is_asked_for_every_second_does_not_read_the_whole_history(journal: Journal) -> None:
    """A journal grows to millions of events, and `status --watch` asks for the last hour's each second."""
    asked: list[str] = []
    journal._db.set_trace_callback(asked.append)
    journal.finished_since(2000.0)
    journal.work_since(2000.0)
    journal.finished_between(2000.0, 3000.0)
    journal._db.set_trace_callback(None)
    plans = [row["detail"] for query in asked for row in journal._db.execute(f"EXPLAIN QUERY PLAN {query}")]
    assert len([step for step in plans if "event_by_end" in step]) == len(asked) == 4
    assert not [step for step in plans if step.startswith("SCAN event")]
