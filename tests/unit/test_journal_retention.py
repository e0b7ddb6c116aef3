"""What the journal forgets, and what never."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocrwatch.intake.entries import Entry, Identity
from ocrwatch.journal.checkpoints import Checkpoints
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.leftovers import Leftovers
from ocrwatch.journal.opening import opened
from ocrwatch.journal.states import JobState
from tests.faults.waiting import FakeClock

_DAY_S = 86400.0
_NOW = 1_700_000_000.0


@pytest.fixture
def wall() -> FakeClock:
    return FakeClock(_NOW)


@pytest.fixture
def journal(tmp_path: Path, wall: FakeClock) -> Iterator[Journal]:
    """Without durability, which is tested elsewhere."""
    made = Journal(tmp_path / "journal.db", wall_clock=wall)
    made._db.execute("PRAGMA synchronous = OFF")
    yield made
    made.close()


def _file(journal: Journal, name: str, *states: JobState) -> int:
    (job,) = journal.add("in", [Entry(name, Identity(size=1, mtime_ns=1))])
    for state in states:
        journal.move(job.id, state, **({"text_name": f"{name}.txt"} if state is JobState.DONE else {}))
    return job.id


def _of_every_state(journal: Journal) -> dict[str, int]:
    done = (JobState.SPOOLED, JobState.DONE)
    failed = (JobState.SPOOLED, JobState.FAILED)
    jobs = {
        "vanished": _file(journal, "v.pdf", JobState.VANISHED),
        "superseded": _file(journal, "s.pdf", JobState.SUPERSEDED),
        "orphaned": _file(journal, "o.pdf", *done, JobState.ORPHANED),
        "archived": _file(journal, "a.pdf", *done, JobState.ARCHIVED),
        "quarantined": _file(journal, "q.pdf", *failed, JobState.QUARANTINED),
        "failed": _file(journal, "f.pdf", *failed),
        "partial": _file(journal, "p.pdf", JobState.SPOOLED, JobState.PARTIAL),
        "deferred": _file(journal, "w.pdf", JobState.DEFERRED),
        "done": _file(journal, "d.pdf", *done),
        "queued": _file(journal, "n.pdf"),
    }
    for job in jobs.values():
        journal.set_pages(job, 2)
    return jobs


def _left(journal: Journal) -> set[str]:
    return {str(job.state) for job in journal.in_state(*JobState)}


def test_what_has_been_over_for_a_year_is_forgotten_with_its_history(tmp_path: Path, journal: Journal, wall: FakeClock) -> None:
    """Not a day before; and what is in an inbox, or may come back into it by `retry`, never."""
    jobs = _of_every_state(journal)
    leftovers = Leftovers(journal, Checkpoints(tmp_path / "jobs"), wall_clock=wall)
    wall.now += 364 * _DAY_S
    leftovers.drop(is_active=lambda _: False)
    assert _left(journal) == jobs.keys()
    wall.now += 2 * _DAY_S
    leftovers.drop(is_active=lambda _: False)
    over = {"vanished", "superseded", "orphaned", "archived"}
    assert _left(journal) == jobs.keys() - over
    for state, job in jobs.items():
        assert bool(journal.events(job)) is bool(journal.pages(job)) is (state not in over)


def test_old_jobs_are_forgotten_a_few_at_a_time_the_oldest_first(journal: Journal, wall: FakeClock) -> None:
    """No scan waits for a long clean-up."""
    for number in range(10):
        _file(journal, f"{number}.pdf", JobState.VANISHED)
        wall.now += 1
    _file(journal, "new.pdf")
    assert journal.prune(before=_NOW + 8, limit=5) == 5
    assert journal.current("in", "4.pdf") is None
    assert journal.current("in", "5.pdf") is not None
    assert [journal.prune(before=_NOW + 8, limit=5) for _ in range(2)] == [3, 0]


def test_numbers_are_not_given_again(tmp_path: Path, journal: Journal, wall: FakeClock) -> None:
    """A hook has heard of everything up to an event of a number; a folder belongs to the job of a number."""
    journal.listen(["done"])
    old = _file(journal, "a.pdf", JobState.SPOOLED, JobState.DONE, JobState.ORPHANED)
    journal.note_events("done", lambda *_: False, room=100)
    assert journal.prune(before=_NOW + 1, limit=100) == 0, "the last job stays"
    new = _file(journal, "b.pdf", JobState.VANISHED)
    journal.note_events("done", lambda *_: False, room=100)
    assert journal.prune(before=_NOW + 1, limit=100) == 1
    heard: list[JobState] = []
    newest = _file(journal, "c.pdf", JobState.SPOOLED, JobState.DONE)
    journal.note_events("done", lambda event, _: bool(heard.append(event.after)), room=100)
    assert old < new < newest
    assert heard == [JobState.QUEUED, JobState.SPOOLED, JobState.DONE]


def test_scan_that_comes_back_after_it_was_forgotten_is_a_new_one(journal: Journal, wall: FakeClock) -> None:
    """Whose text, if it is still there, is found beside it."""
    old = _file(journal, "a.pdf", JobState.SPOOLED, JobState.DONE, JobState.ORPHANED)
    _file(journal, "b.pdf")
    assert journal.prune(before=_NOW + 1, limit=100) == 1
    again = _file(journal, "a.pdf")
    assert again != old
    assert journal.job(again).state is JobState.QUEUED


def test_room_of_what_was_forgotten_goes_back_to_the_disk(tmp_path: Path, wall: FakeClock) -> None:
    """At the next start, where it is much; what is left is all there."""
    path = tmp_path / "journal.db"
    with opened(path, wall_clock=wall) as journal:
        journal._db.execute("PRAGMA synchronous = OFF")
        with journal._transaction():
            for number in range(300):
                job = _file(journal, f"{number}.pdf")
                journal.move(job, JobState.VANISHED, detail="x" * 100_000)
            kept = _file(journal, "kept.pdf")
        assert journal.prune(before=_NOW + 1, limit=1000) == 300
    with opened(path, wall_clock=wall) as journal:
        assert path.stat().st_size < 1_000_000
        assert journal.job(kept).path == "kept.pdf"
        assert not journal.compact(), "there is nothing to be had"
