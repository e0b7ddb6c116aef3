"""What of a job stays in the state directory, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocrwatch.intake.entries import Entry, Identity
from ocrwatch.journal.checkpoints import Checkpoints
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.leftovers import Leftovers
from ocrwatch.journal.states import JobState
from tests.faults.waiting import FakeClock

NAMES = ("replaced.pdf", "deleted.pdf", "waiting.pdf")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """With three files whose work was begun and put off."""
    opened = Journal(tmp_path / "journal.db", wall_clock=FakeClock(1000.0))
    opened.add("in", [Entry(name, Identity(size=1, mtime_ns=1)) for name in NAMES])
    for name in NAMES:
        job = opened.current("in", name)
        assert job is not None
        opened.move(job.id, JobState.SPOOLED)
        opened.defer(job.id, delay_s=100.0, reason="infrastructure", detail="the disk was full")
    yield opened
    opened.close()


@pytest.fixture
def checkpoints(tmp_path: Path, journal: Journal) -> Checkpoints:
    """With a copy of each."""
    made = Checkpoints(tmp_path / "jobs")
    for name in NAMES:
        job = journal.current("in", name)
        assert job is not None
        made.source(job.id).write_bytes(b"a scan")
    return made


def _left(journal: Journal, checkpoints: Checkpoints) -> list[str]:
    return [journal.job(job).path for job in checkpoints.jobs()]


def _changed(journal: Journal) -> None:
    journal.add("in", [Entry("replaced.pdf", Identity(size=2, mtime_ns=2))])
    journal.gone("in", "deleted.pdf")


def test_copy_of_a_file_that_changed_or_went_while_it_waited_goes_with_it(journal: Journal, checkpoints: Checkpoints) -> None:
    """Not at the next start of a service that runs for months: somebody deleted the document."""
    leftovers = Leftovers(journal, checkpoints, wall_clock=FakeClock(1000.0))
    leftovers.drop(is_active=lambda _: False)
    assert _left(journal, checkpoints) == list(NAMES)
    _changed(journal)
    leftovers.drop(is_active=lambda _: False)
    assert _left(journal, checkpoints) == ["waiting.pdf"]


def test_copy_of_a_job_in_work_goes_when_that_ends(journal: Journal, checkpoints: Checkpoints) -> None:
    """Its thread would find its folder gone."""
    leftovers = Leftovers(journal, checkpoints, wall_clock=FakeClock(1000.0))
    _changed(journal)
    leftovers.drop(is_active=lambda _: True)
    assert _left(journal, checkpoints) == list(NAMES)
    leftovers.drop(is_active=lambda _: False)
    assert _left(journal, checkpoints) == ["waiting.pdf"]


def test_what_a_crash_left_goes_at_the_start(journal: Journal, checkpoints: Checkpoints) -> None:
    """Whatever had happened by then."""
    _changed(journal)
    Leftovers(journal, checkpoints, wall_clock=FakeClock(1000.0))
    assert _left(journal, checkpoints) == ["waiting.pdf"]


def test_copy_of_a_scan_that_went_and_is_back_stays(journal: Journal, checkpoints: Checkpoints) -> None:
    """A share that was away for a moment: what was read of it is wanted."""
    leftovers = Leftovers(journal, checkpoints, wall_clock=FakeClock(1000.0))
    job = journal.current("in", "waiting.pdf")
    assert job is not None
    journal.wake(longest_s=0.0)
    journal.move(job.id, JobState.SPOOLED)
    journal.move(job.id, JobState.PARTIAL, text_name="waiting.pdf.txt")
    gone = journal.gone("in", "waiting.pdf")
    assert gone is not None
    assert gone.state is JobState.ORPHANED
    (back,) = journal.add("in", [Entry("waiting.pdf", Identity(size=1, mtime_ns=1))])
    assert (back.id, back.state) == (job.id, JobState.PARTIAL)
    leftovers.drop(is_active=lambda _: False)
    assert "waiting.pdf" in _left(journal, checkpoints)
