"""What the journal says of files: one current version a path, budgets, and every move recorded."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ocrwatch.intake.beneath import RootIdentity
from ocrwatch.intake.entries import Entry, Identity
from ocrwatch.journal.journal import Journal, directory_of
from ocrwatch.journal.records import Job
from ocrwatch.journal.states import ALLOWED, IllegalTransition, JobState, PageState
from tests.faults.waiting import FakeClock

_FIRST = Identity(size=10, mtime_ns=1, inode=5)
_LATER = Identity(size=11, mtime_ns=2, inode=5)


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


def _add(journal: Journal, path: str = "a.pdf", identity: Identity = _FIRST) -> Job:
    (job,) = journal.add("in", [Entry(path, identity)])
    return job


def _way_to(state: JobState) -> list[JobState]:
    """The shortest way from a fresh job to a state."""
    ways: dict[JobState, list[JobState]] = {JobState.QUEUED: []}
    waiting = [JobState.QUEUED]
    for here in waiting:
        for following in sorted(ALLOWED[here]):
            if following not in ways:
                ways[following] = [*ways[here], following]
                waiting.append(following)
    return ways[state]


def _in(journal: Journal, state: JobState) -> Job:
    job = _add(journal)
    for step in _way_to(state):
        job = journal.move(job.id, step, reason="told", detail="by the test")
    return job


def test_file_becomes_a_job_once(journal: Journal) -> None:
    """Seen a hundred times, it is one job."""
    job = _add(journal)
    assert (job.state, job.path, job.identity) == (JobState.QUEUED, "a.pdf", _FIRST)
    assert journal.add("in", [Entry("a.pdf", _FIRST)] * 3) == []
    assert journal.counts() == {("in", JobState.QUEUED): 1}


def test_same_path_in_two_inboxes_is_two_files(journal: Journal) -> None:
    """Inboxes do not know of each other."""
    _add(journal)
    assert len(journal.add("other", [Entry("a.pdf", _FIRST)])) == 1


@pytest.mark.parametrize("state", [s for s in JobState if s not in (JobState.SUPERSEDED, JobState.VANISHED)])
def test_newer_version_takes_the_place_of_the_older(journal: Journal, state: JobState) -> None:
    """Whatever became of the older."""
    old = _in(journal, state)
    new = _add(journal, identity=_LATER)
    assert journal.job(old.id).state is JobState.SUPERSEDED
    assert journal.current("in", "a.pdf") == new
    assert journal.expected_in("in", "") == {"a.pdf": _LATER}


def test_identity_without_inode_is_the_same_version(journal: Journal) -> None:
    """On a file system that makes inodes up, a remount must not have every file read again."""
    _add(journal)
    assert journal.add("in", [Entry("a.pdf", _FIRST._replace(inode=0))]) == []


@pytest.mark.parametrize("state", [JobState.DONE, JobState.PARTIAL, JobState.AWAITING_CORRECTION])
def test_scan_that_went_and_comes_back_is_what_it_was(journal: Journal, state: JobState) -> None:
    """Its sidecar stayed; a partial text must not come back as a whole one, nor a raw one as corrected."""
    before = _in(journal, state)
    gone = journal.gone("in", "a.pdf")
    assert gone is not None
    assert gone.state is JobState.ORPHANED
    assert journal.gone("in", "a.pdf") is None
    (back,) = journal.add("in", [Entry("a.pdf", _FIRST)])
    assert (back.id, back.state, back.reason, back.detail) == (before.id, state, "told", "by the test")


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.SPOOLED, JobState.DEFERRED, JobState.FAILED, JobState.POISON])
def test_scan_that_goes_before_its_text_vanishes_and_may_come_again(journal: Journal, state: JobState) -> None:
    """Then it is a new file."""
    old = _in(journal, state)
    gone = journal.gone("in", "a.pdf")
    assert gone is not None
    assert gone.state is JobState.VANISHED
    assert journal.expected_in("in", "") == {}
    assert journal.current("in", "a.pdf") == gone
    assert _add(journal).id != old.id


def test_scan_that_goes_while_it_is_tried_again_leaves_its_sidecar(journal: Journal) -> None:
    """A partial text was published; a retry does not make that unsaid."""
    job = _add(journal)
    journal.move(job.id, JobState.SPOOLED)
    journal.move(job.id, JobState.PARTIAL, text_name="a.pdf.txt", text_sha256="t", json_sha256="j")
    journal.retry(job.id)
    journal.gone("in", "a.pdf")
    assert journal.published_hashes("in", "a.pdf") == {"t", "j"}


_TRIED_AGAIN = {
    JobState.QUEUED: (),
    JobState.SPOOLED: (JobState.SPOOLED,),
    JobState.DEFERRED: (JobState.SPOOLED, JobState.DEFERRED),
    JobState.FAILED: (JobState.SPOOLED, JobState.FAILED),
    JobState.POISON: (JobState.SPOOLED, JobState.POISON),
}


@pytest.mark.parametrize("state", _TRIED_AGAIN)
def test_partial_scan_that_goes_while_it_is_tried_again_is_orphaned(journal: Journal, state: JobState) -> None:
    """Its text is there still; when the scan is back, the retry goes on, unless it had come to nothing."""
    job = _add(journal)
    journal.move(job.id, JobState.SPOOLED)
    journal.move(job.id, JobState.PARTIAL, text_name="a.pdf.txt", text_sha256="t", json_sha256="j")
    journal.retry(job.id)
    for step in _TRIED_AGAIN[state]:
        journal.move(job.id, step)
    gone = journal.gone("in", "a.pdf")
    assert gone is not None
    assert gone.state is JobState.ORPHANED
    (back,) = journal.add("in", [Entry("a.pdf", _FIRST)])
    assert (back.id, back.state) == (job.id, state if state in (JobState.FAILED, JobState.POISON) else JobState.QUEUED)


def test_gone_of_a_path_that_nobody_knows_is_nothing(journal: Journal) -> None:
    """Events tell of all sorts of files."""
    assert journal.gone("in", "x.pdf") is None


def test_every_move_is_recorded_by_the_database(journal: Journal, wall: FakeClock) -> None:
    """The history cannot be forgotten by a caller."""
    job = _add(journal)
    wall.now += 5
    journal.move(job.id, JobState.SPOOLED)
    journal.move(job.id, JobState.FAILED, reason="corrupt_file", detail="it is damaged")
    events = journal.events(job.id)
    assert [(e.before, e.after, e.reason) for e in events] == [
        (None, JobState.QUEUED, ""),
        (JobState.QUEUED, JobState.SPOOLED, ""),
        (JobState.SPOOLED, JobState.FAILED, "corrupt_file"),
    ]
    assert [e.at for e in events] == [1_700_000_000.0, 1_700_000_005.0, 1_700_000_005.0]
    assert journal.finished_since(1_700_000_001.0) == {JobState.FAILED: 1}


def test_illegal_move_leaves_everything_as_it_was(journal: Journal) -> None:
    """The transaction around it is undone too."""
    job = _add(journal)
    with pytest.raises(IllegalTransition):
        journal.move(job.id, JobState.ARCHIVED, sha256="x")
    assert journal.job(job.id) == job
    with pytest.raises(LookupError):
        journal.move(99, JobState.SPOOLED)


def test_database_refuses_two_current_versions(journal: Journal) -> None:
    """Even a bug of ours cannot make them."""
    _add(journal)
    with pytest.raises(sqlite3.IntegrityError):
        journal._db.execute(
            "INSERT INTO job (inbox, path, directory, size, mtime_ns, inode, created, changed)"
            " VALUES ('in', ?, '', 1, 1, 1, 0, 0)",
            (b"a.pdf",),
        )


def test_deferred_job_is_woken_when_its_time_has_come(journal: Journal, wall: FakeClock) -> None:
    """And not before; the delays are counted in a row."""
    job = _add(journal)
    deferred = journal.defer(job.id, delay_s=60, reason="share_offline", detail="no answer")
    assert (deferred.state, deferred.deferrals, deferred.reason) == (JobState.DEFERRED, 1, "share_offline")
    wall.now += 59
    assert journal.wake(longest_s=3600) == []
    wall.now += 1
    (woken,) = journal.wake(longest_s=3600)
    assert (woken.id, woken.state) == (job.id, JobState.QUEUED)
    assert journal.defer(job.id, delay_s=60, reason="x", detail="").deferrals == 2


def test_clock_set_back_a_day_does_not_hold_a_job_up(journal: Journal, wall: FakeClock) -> None:
    """The time to wake would come in a day."""
    job = _add(journal)
    journal.defer(job.id, delay_s=60, reason="x", detail="")
    wall.now -= 86_400
    assert [woken.id for woken in journal.wake(longest_s=3600)] == [job.id]


def test_deferral_is_not_held_against_the_pages(journal: Journal) -> None:
    """An engine that is missing for an hour is no crash of the service at that page."""
    job = _add(journal)
    journal.move(job.id, JobState.SPOOLED)
    for _ in range(3):
        journal.page_begins(job.id, 1)
    journal.page_killed_worker(job.id, 1, reason="worker_died", detail="SIGSEGV")
    journal.defer(job.id, delay_s=1, reason="missing_part", detail="")
    (page,) = journal.pages(job.id)
    assert (page.tries, page.deaths) == (1, 1)


def test_page_that_took_the_service_down_is_told_from_one_that_cost_a_worker(journal: Journal) -> None:
    """Only what was begun and neither ended nor killed its worker counts against the page."""
    job = _add(journal)
    assert [journal.page_begins(job.id, 1) for _ in range(3)] == [1, 2, 3]
    assert journal.page_killed_worker(job.id, 1, reason="worker_died", detail="SIGSEGV") == 1
    assert journal.page_begins(job.id, 1) == 3
    assert journal.page_begins(job.id, 2) == 1
    assert journal.page_killed_worker(job.id, 2, reason="worker_died", detail="SIGSEGV") == 2


def test_retry_starts_budgets_anew_and_keeps_what_is_done(journal: Journal) -> None:
    """Of every page: a worker that died at a page which was read later counts no more."""
    job = _add(journal)
    journal.move(job.id, JobState.SPOOLED)
    journal.set_pages(job.id, 3)
    for number in (1, 2, 3):
        journal.page_begins(job.id, number)
    journal.page_killed_worker(job.id, 1, reason="worker_died", detail="SIGSEGV")
    journal.page_is(job.id, 1, PageState.RECOGNIZED)
    journal.page_is(job.id, 2, PageState.FAILED, reason="corrupt_file", detail="damaged")
    assert journal.page_killed_worker(job.id, 3, reason="worker_died", detail="SIGSEGV") == 2
    journal.move(job.id, JobState.POISON, reason="poison_file", detail="twice")
    again = journal.retry(job.id)
    assert (again.state, again.deferrals, again.not_before) == (JobState.QUEUED, 0, None)
    pages = journal.pages(job.id)
    assert [p.state for p in pages] == [PageState.RECOGNIZED, PageState.WAITING, PageState.WAITING]
    assert [(p.tries, p.deaths, p.reason) for p in pages] == [(0, 0, "")] * 3


@pytest.mark.parametrize(
    "path", [b"\xff\xfe.pdf", b"a\nb.pdf", b"dir\n\xc3/\xe9.pdf", "größe/ü.pdf".encode(), b" .pdf", b"a'\";--.pdf"]
)
def test_any_name_survives(journal: Journal, path: bytes) -> None:
    """Names are bytes; a scanner writes what it likes."""
    name = path.decode("utf-8", "surrogateescape")
    job = _add(journal, name)
    assert journal.job(job.id).path == name
    assert journal.expected_in("in", directory_of(name)) == {name: _FIRST}
    assert journal.known_of("in", [name, "x.pdf"]) == {name: (_FIRST, JobState.QUEUED)}
    assert directory_of(name) in journal.directories("in")
    journal.move(job.id, JobState.SPOOLED)
    assert journal.move(job.id, JobState.DONE, text_name=f"{name}.txt").text_name == f"{name}.txt"


def test_folders_are_told_apart(journal: Journal) -> None:
    """What is gone from one folder says nothing of another whose name begins the same."""
    journal.add("in", [Entry("a/x.pdf", _FIRST), Entry("ab/x.pdf", _FIRST), Entry("a/b/x.pdf", _FIRST)])
    assert set(journal.expected_in("in", "a")) == {"a/x.pdf"}
    assert journal.directories("in") == {"a", "ab", "a/b"}


def test_pages_known_already_keep_their_state(journal: Journal) -> None:
    """A resumed job does not start at page one; pages beyond the end go."""
    job = _add(journal)
    journal.set_pages(job.id, 3)
    journal.page_is(job.id, 2, PageState.RECOGNIZED)
    assert [p.state for p in journal.set_pages(job.id, 3)] == [PageState.WAITING, PageState.RECOGNIZED, PageState.WAITING]
    assert [p.number for p in journal.set_pages(job.id, 2)] == [1, 2]
    assert journal.job(job.id).pages == 2


def test_oldest_unfinished_is_the_first_that_waits(journal: Journal, wall: FakeClock) -> None:
    """For `status`."""
    assert journal.oldest_unfinished("in") is None
    first = _add(journal)
    wall.now += 10
    _add(journal, "b.pdf")
    assert journal.oldest_unfinished("in") == 1_700_000_000.0
    journal.gone("in", first.path)
    assert journal.oldest_unfinished("in") == 1_700_000_010.0


def test_mount_of_an_inbox_is_remembered(journal: Journal) -> None:
    """The last one."""
    assert journal.root_of("in", "/srv/ü") is None
    first = RootIdentity(inode=2, fs_type="nfs4", mount_point="/mnt/ü", mount_root="/", source="nas:/scans")
    journal.set_root("in", "/srv/ü", replace(first, inode=1))
    journal.set_root("in", "/srv/ü", first)
    assert journal.root_of("in", "/srv/ü") == first
    assert journal.root_of("", "/srv/ü") is None
    assert journal.places("in") == ["/srv/ü"]
    journal.forget_root("in", "/srv/ü")
    assert journal.places("in") == []


def test_question_about_one_file_does_not_read_the_whole_table(journal: Journal) -> None:
    """A million known files must not make each arrival and each job slower."""
    asked: list[str] = []
    journal._db.set_trace_callback(asked.append)
    journal.current("in", "a.pdf")
    journal.known("in", "a.pdf")
    journal.published_hashes("in", "a.pdf")
    journal.is_as_known("in", "folder", ())
    journal.add("in", [Entry("a.pdf", _FIRST)])
    journal.in_state(JobState.SPOOLED, JobState.QUEUED, inbox="in", limit=16)
    journal._db.set_trace_callback(None)
    plans = [
        row["detail"] for query in asked if query.startswith("SELECT") for row in journal._rows(f"EXPLAIN QUERY PLAN {query}", ())
    ]
    assert plans
    assert not [step for step in plans if step.startswith("SCAN job")]


def test_folder_is_as_known_when_a_listing_shows_just_what_is_expected(journal: Journal) -> None:
    """By name, of whatever bytes, and identity; files that are known to be away are not expected."""
    there = [Entry(os.fsdecode(b"in/\xff\n.pdf"), _FIRST), Entry("in/b.pdf", _FIRST)]
    journal.add("in", [*there, Entry("in/gone.pdf", _FIRST), Entry("elsewhere.pdf", _FIRST)])
    journal.gone("in", "in/gone.pdf")
    rows = tuple((e.path.removeprefix("in/"), *e.identity) for e in there)
    assert journal.is_as_known("in", "in", rows)
    assert journal.is_as_known("in", "empty", ())
    assert journal.is_as_known("in", "", (("elsewhere.pdf", *_FIRST),))
    assert not journal.is_as_known("in", "in", rows[:1])
    assert not journal.is_as_known("in", "in", (*rows, ("gone.pdf", *_FIRST)))
    for changed in (_FIRST._replace(size=99), _FIRST._replace(mtime_ns=99), _FIRST._replace(inode=99)):
        assert not journal.is_as_known("in", "in", (rows[0], ("b.pdf", *changed)))


def test_large_folder_is_compared_page_by_page(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """What differs in any page is found, and so is a file too many."""
    monkeypatch.setattr("ocrwatch.journal.files._PAGE_ROWS", 3)
    rows = tuple((f"{number}.pdf", *_FIRST) for number in range(7))
    journal.add("in", [Entry(name, _FIRST) for name, *_ in rows])
    assert journal.is_as_known("in", "", rows)
    for number in range(7):
        changed = (f"{number}.pdf", *_FIRST._replace(size=99))
        assert not journal.is_as_known("in", "", (*rows[:number], changed, *rows[number + 1 :]))
        assert not journal.is_as_known("in", "", (*rows[:number], *rows[number + 1 :]))
    assert not journal.is_as_known("in", "", (*rows, ("new.pdf", *_FIRST)))


def test_folder_that_agreed_is_compared_again_after_any_write(journal: Journal) -> None:
    """A file that a job found gone, and that is there all the same, is seen by the next listing, unchanged as it is."""
    (job,) = journal.add("in", [Entry("a/b.pdf", _FIRST)])
    rows = (("b.pdf", *_FIRST),)
    asked: list[str] = []
    journal._db.set_trace_callback(asked.append)
    assert journal.is_as_known("in", "a", rows)
    assert asked
    asked.clear()
    assert journal.is_as_known("in", "a", rows)
    assert asked == [], "nothing was written since"
    assert not journal.is_as_known("in", "a", ())
    assert not journal.is_as_known("in", "a", (("b.pdf", *_FIRST._replace(size=11)),))
    assert not journal.is_as_known("other", "a", rows)
    journal.move(job.id, JobState.VANISHED)
    assert not journal.is_as_known("in", "a", rows)
    journal.add("in", [Entry("a/b.pdf", _FIRST)])
    assert journal.is_as_known("in", "a", rows)
    journal._db.set_trace_callback(None)
