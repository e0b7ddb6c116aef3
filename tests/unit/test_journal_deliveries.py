"""What hooks are still to be told, kept in the journal: nothing twice in the normal case, nothing lost in any."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from ocrwatch.errors import StateUnwritable
from ocrwatch.hooks import Hook, concerns
from ocrwatch.intake.entries import Entry, Identity
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.records import Delivery
from ocrwatch.journal.states import JobState
from tests.faults.waiting import FakeClock


@pytest.fixture
def wall() -> FakeClock:
    """The wall clock, which may be set back."""
    return FakeClock(1_700_000_000.0)


@pytest.fixture
def journal(tmp_path: Path, wall: FakeClock) -> Iterator[Journal]:
    """An empty journal."""
    opened = Journal(tmp_path / "journal.db", wall_clock=wall)
    yield opened
    opened.close()


def _finish(journal: Journal, path: str, state: JobState = JobState.DONE, *, to_review: int = 0) -> int:
    (job,) = journal.add("in", [Entry(path, Identity(size=1, mtime_ns=1))])
    journal.move(job.id, JobState.SPOOLED, sha256="s")
    journal.move(job.id, state, reason="why", to_review=to_review)
    return job.id


def _note(journal: Journal, hook: Hook = Hook.DONE, *, room: int = 1000) -> None:
    journal.note_events(hook, lambda event, to_review: concerns(hook, event, to_review), room=room)


def _due(journal: Journal, hook: Hook = Hook.DONE) -> Delivery | None:
    return journal.due_delivery(hook, longest_s=3600.0)


def _told(journal: Journal, hook: Hook = Hook.DONE) -> list[int | None]:
    """Tell everything that is due; the jobs."""
    jobs = []
    while (delivery := _due(journal, hook)) is not None:
        jobs.append(delivery.job)
        journal.delivered(delivery.id)
    return jobs


def test_each_event_is_noted_once(journal: Journal) -> None:
    """However often the journal is looked through."""
    journal.listen([Hook.DONE, Hook.FAILED])
    first, second = _finish(journal, "a"), _finish(journal, "b", JobState.FAILED)
    for _ in range(3):
        _note(journal)
        _note(journal, Hook.FAILED)
    assert _told(journal) == [first]
    assert _told(journal, Hook.FAILED) == [second]
    _note(journal)
    assert _told(journal) == []


def test_new_hook_is_told_of_what_comes_not_of_what_was(journal: Journal) -> None:
    """Whoever configures a hook does not want the last ten years; nor those of the months without it."""
    _finish(journal, "old")
    journal.listen([Hook.DONE])
    _note(journal)
    assert _told(journal) == []
    journal.listen([])
    _finish(journal, "meanwhile")
    journal.listen([Hook.DONE])
    new = _finish(journal, "new")
    _note(journal)
    assert _told(journal) == [new]


def test_what_was_not_told_outlasts_a_restart(tmp_path: Path, wall: FakeClock) -> None:
    """Noted or not noted yet, begun or not."""
    journal = Journal(tmp_path / "j.db", wall_clock=wall)
    journal.listen([Hook.DONE])
    jobs = [_finish(journal, "begun")]
    _note(journal)
    begun = _due(journal)
    assert begun is not None
    journal.delivery_begins(begun.id, next_s=5.0)
    jobs.append(_finish(journal, "noted"))
    _note(journal)
    jobs.append(_finish(journal, "not noted"))
    journal.close()
    wall.now += 6.0
    journal = Journal(tmp_path / "j.db", wall_clock=wall)
    journal.listen([Hook.DONE])
    _note(journal)
    again = {delivery.job: delivery.attempts for delivery in iter(lambda: _take(journal), None)}
    assert again == {jobs[0]: 1, jobs[1]: 0, jobs[2]: 0}
    journal.close()


def _take(journal: Journal) -> Delivery | None:
    if (delivery := _due(journal)) is not None:
        journal.delivered(delivery.id)
    return delivery


def test_only_as_much_is_noted_as_there_is_room(journal: Journal) -> None:
    """The rest waits as what it is, and is noted later, in order."""
    journal.listen([Hook.DONE])
    jobs = [_finish(journal, str(number)) for number in range(8)]
    told: list[int | None] = []
    for _ in range(20):
        _note(journal, room=3)
        assert journal.waiting_deliveries(Hook.DONE) <= 3
        told += _told(journal)
    assert told == jobs


def test_attempt_is_counted_before_it_is_made(journal: Journal, wall: FakeClock) -> None:
    """A program that takes the service down with it is not run at each start for ever."""
    journal.listen([Hook.DONE])
    _finish(journal, "a")
    _note(journal)
    delivery = _due(journal)
    assert delivery is not None
    journal.delivery_begins(delivery.id, next_s=10.0)
    assert _due(journal) is None
    wall.now += 10.0
    again = _due(journal)
    assert again is not None
    assert (again.id, again.attempts) == (delivery.id, 1)


def test_clock_that_was_set_back_holds_nothing_up(journal: Journal, wall: FakeClock) -> None:
    """A year in the future is not a year of silence."""
    journal.listen([Hook.DONE])
    _finish(journal, "a")
    _note(journal)
    wall.now -= 365 * 86400.0
    assert _due(journal) is not None


def test_pages_to_review_are_those_of_the_published_text(journal: Journal) -> None:
    """A text without doubts is no news for whoever reviews."""
    journal.listen([Hook.REVIEW])
    _finish(journal, "clear")
    doubtful = _finish(journal, "doubtful", to_review=2)
    _note(journal, Hook.REVIEW)
    assert _told(journal, Hook.REVIEW) == [doubtful]


def _away(journal: Journal, is_away: bool, *, path: str = "/srv/in", hold_s: float = 10.0) -> None:
    journal.note_inbox(
        Hook.INBOX_OFFLINE,
        "in",
        path=path,
        state="offline" if is_away else "online",
        detail="gone" if is_away else "",
        is_away=is_away,
        hold_s=hold_s,
    )


def _news(journal: Journal, wall: FakeClock) -> list[tuple[str, str]]:
    wall.now += 10.0
    found = []
    while (delivery := _due(journal, Hook.INBOX_OFFLINE)) is not None:
        journal.delivery_begins(delivery.id, next_s=5.0)
        journal.delivered(delivery.id)
        found.append((delivery.path, delivery.state))
    return found


def test_inbox_that_goes_and_comes_back_is_told_once_each(journal: Journal, wall: FakeClock) -> None:
    """Said at every look, told at every change."""
    journal.listen([Hook.INBOX_OFFLINE])
    for is_away in (False, True, True):
        _away(journal, is_away)
    _away(journal, True, path="/srv/in/share")
    assert _news(journal, wall) == [("/srv/in", "offline"), ("/srv/in/share", "offline")]
    for _ in range(2):
        _away(journal, False)
    assert _news(journal, wall) == [("/srv/in", "online")]


def test_inbox_that_is_back_at_once_was_never_away(journal: Journal, wall: FakeClock) -> None:
    """A server that starts anew wakes nobody up; nor does one that goes away again before its return was told."""
    journal.listen([Hook.INBOX_OFFLINE])
    _away(journal, True)
    _away(journal, False)
    assert _news(journal, wall) == []
    _away(journal, True)
    assert _news(journal, wall) == [("/srv/in", "offline")]
    _away(journal, False)
    _away(journal, True)
    assert _news(journal, wall) == []


def test_return_is_told_though_the_service_was_started_anew_meanwhile(tmp_path: Path, wall: FakeClock) -> None:
    """Whoever was told of an alarm is told of its end."""
    journal = Journal(tmp_path / "j.db", wall_clock=wall)
    journal.listen([Hook.INBOX_OFFLINE])
    _away(journal, True)
    assert _news(journal, wall) == [("/srv/in", "offline")]
    journal.close()
    journal = Journal(tmp_path / "j.db", wall_clock=wall)
    journal.listen([Hook.INBOX_OFFLINE])
    _away(journal, False)
    assert _news(journal, wall) == [("/srv/in", "online")]
    journal.close()


# -- the schema's second version -------------------------------------------------------------------------------------


def _first_version(path: Path) -> None:
    schema = resources.files("ocrwatch.journal").joinpath("schema.sql").read_text(encoding="utf-8")
    old = sqlite3.connect(path)
    old.executescript(f"PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON; {schema}; PRAGMA user_version = 1;")
    old.execute(
        "INSERT INTO job (inbox, path, directory, size, mtime_ns, inode, created, changed)"
        " VALUES ('in', x'61', x'', 1, 1, 0, 1, 1)"
    )
    old.execute("UPDATE job SET state = 'failed', reason = 'why', changed = 2")
    old.execute("INSERT INTO page (job, number, state) VALUES (1, 1, 'failed')")
    old.commit()
    old.close()


def test_journal_of_the_first_version_keeps_all_it_knows(tmp_path: Path, wall: FakeClock) -> None:
    """Jobs, pages and events, the rules between them, and the triggers."""
    _first_version(tmp_path / "j.db")
    journal = Journal(tmp_path / "j.db", wall_clock=wall)
    job = journal.current("in", "a")
    assert job is not None
    assert (job.state, job.reason, job.moved_to, job.to_review) == (JobState.FAILED, "why", None, None)
    assert len(journal.pages(job.id)) == 1
    assert [event.after for event in journal.events(job.id)] == [JobState.QUEUED, JobState.FAILED]
    journal.move(job.id, JobState.QUARANTINED)
    assert [event.after for event in journal.events(job.id)][-1] is JobState.QUARANTINED
    assert journal._db.execute("PRAGMA foreign_key_check").fetchall() == []
    assert journal._db.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    with pytest.raises(sqlite3.IntegrityError):
        journal._db.execute("UPDATE job SET state = 'unheard of'")
    journal.close()


def test_journal_of_the_first_version_is_not_read_until_the_service_was_started(tmp_path: Path, wall: FakeClock) -> None:
    """Asking changes nothing, and says what to do."""
    _first_version(tmp_path / "j.db")
    with pytest.raises(StateUnwritable, match="older ocrwatch; start the service"):
        Journal(tmp_path / "j.db", wall_clock=wall, read_only=True)
