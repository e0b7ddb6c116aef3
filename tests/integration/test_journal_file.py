"""The journal's file: what it survives, and what it refuses in words."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from ocrwatch.errors import StateDamaged, StateUnwritable
from ocrwatch.intake.entries import Entry, Identity
from ocrwatch.intake.spool import Spooled
from ocrwatch.journal.checkpoints import Checkpoints
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.opening import damaged, opened
from ocrwatch.journal.states import JobState
from ocrwatch.ocr.engine import PageResult, PageSource
from tests.faults.disks import fill, make_read_only, mounted
from tests.faults.waiting import FakeClock

_WALL = FakeClock(1_700_000_000.0)
_ENTRY = Entry("a.pdf", Identity(size=1, mtime_ns=1))


def _open(path: Path, *, read_only: bool = False) -> Journal:
    return Journal(path, wall_clock=_WALL, read_only=read_only)


def test_what_was_said_survives_a_crash(tmp_path: Path) -> None:
    """The first connection is abandoned in the middle of a transaction; the second finds all that was finished before."""
    first = _open(tmp_path / "journal.db")
    (job,) = first.add("in", [_ENTRY])
    first.move(job.id, JobState.SPOOLED, sha256="s")
    first._db.execute("BEGIN IMMEDIATE")
    first._db.execute("UPDATE job SET state = 'done'")
    copy = tmp_path / "copy"
    copy.mkdir()
    for suffix in ("", "-wal"):  # what a power cut leaves on the disk
        (copy / f"journal.db{suffix}").write_bytes((tmp_path / f"journal.db{suffix}").read_bytes())
    second = _open(copy / "journal.db")
    found = second.job(job.id)
    assert (found.state, found.sha256) == (JobState.SPOOLED, "s")
    second.close()
    first._db.rollback()
    first.close()


def test_journal_is_synchronous_and_ahead(tmp_path: Path) -> None:
    """WAL, and every commit on the disk before the call returns."""
    journal = _open(tmp_path / "journal.db")
    assert journal._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert journal._db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert journal._db.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    journal.close()


def test_reader_sees_what_a_running_daemon_writes_and_changes_nothing(tmp_path: Path) -> None:
    """`ocrwatch why` beside the daemon."""
    writer = _open(tmp_path / "journal.db")
    (job,) = writer.add("in", [_ENTRY])
    reader = _open(tmp_path / "journal.db", read_only=True)
    assert reader.job(job.id).state is JobState.QUEUED
    with pytest.raises(StateUnwritable):
        reader.move(job.id, JobState.SPOOLED)
    writer.move(job.id, JobState.SPOOLED)
    assert reader.job(job.id).state is JobState.SPOOLED
    reader.close()
    writer.close()


def test_reading_does_not_make_a_journal(tmp_path: Path) -> None:
    """Asking is no beginning."""
    with pytest.raises(StateUnwritable):
        _open(tmp_path / "journal.db", read_only=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read_only", [False, True])
def test_journal_of_a_newer_version_is_refused(tmp_path: Path, read_only: bool) -> None:
    """An older program would misread it."""
    _open(tmp_path / "journal.db").close()
    database = sqlite3.connect(tmp_path / "journal.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StateUnwritable, match="newer ocrwatch"):
        _open(tmp_path / "journal.db", read_only=read_only)


@pytest.mark.parametrize(
    "content", [b"this is no database at all, but long enough to be one" * 100, b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_file_that_is_no_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    """In words, and it stays as it is."""
    (tmp_path / "journal.db").write_bytes(content)
    with pytest.raises(StateUnwritable, match=r"journal\.db"):
        _open(tmp_path / "journal.db")
    assert (tmp_path / "journal.db").read_bytes() == content


def _damage(path: Path) -> None:
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for offset in range(4096, size, 4096):
            file.seek(offset)
            file.write(os.urandom(512))


def _fill(journal: Journal, count: int = 500) -> None:
    journal.add("in", [Entry(f"{n}.pdf", Identity(size=1, mtime_ns=n)) for n in range(count)])


def test_damaged_page_is_told_and_not_trusted(tmp_path: Path) -> None:
    """A disk that lies; whoever only reads leaves the file as it is."""
    path = tmp_path / "journal.db"
    with contextlib.closing(_open(path)) as journal:
        _fill(journal)
    _damage(path)
    before = path.read_bytes()
    with pytest.raises(StateDamaged), contextlib.closing(_open(path, read_only=True)) as broken:
        broken.in_state(JobState.QUEUED)
    assert path.read_bytes() == before


@pytest.mark.parametrize("is_left", [True, False])
def test_damaged_journal_is_kept_aside_and_another_begun(tmp_path: Path, is_left: bool) -> None:
    """At once where the last service did not close it; else when a statement meets the place."""
    path = tmp_path / "journal.db"
    with contextlib.closing(_open(path)) as journal:
        _fill(journal)
    _damage(path)
    before = path.read_bytes()
    if is_left:
        (tmp_path / "journal.db-wal").write_bytes(bytes(100))
    with contextlib.suppress(StateDamaged), opened(path, wall_clock=_WALL) as broken:
        assert broken.in_state(JobState.QUEUED) == []
    (kept,) = damaged(tmp_path)
    assert kept.name == "journal.db.damaged-20231114T221320Z"
    assert kept.read_bytes() == before
    with opened(path, wall_clock=_WALL) as another:
        assert another.counts() == {}
        assert another.trouble() is None
    assert damaged(tmp_path) == [kept]


def test_journal_that_is_taken_away_is_noticed(tmp_path: Path) -> None:
    """SQLite would go on in a file that has no name."""
    path = tmp_path / "journal.db"
    with contextlib.closing(_open(path)) as journal:
        assert journal.trouble() is None
        path.unlink()
        assert "was taken away" in str(journal.trouble())
        path.write_bytes(b"another")
        assert "was taken away" in str(journal.trouble())
        assert not journal.is_damaged


def test_full_disk_is_told_and_the_journal_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """Nothing half-said stays."""
    with mounted(tmp_path / "small", options="size=1m") as small:
        journal = _open(small / "journal.db")
        (job,) = journal.add("in", [_ENTRY])
        hog = fill(small)
        with pytest.raises(StateUnwritable, match="full"):
            journal.add("in", [Entry(f"{'x' * 200}{n}.pdf", Identity(size=1, mtime_ns=n)) for n in range(3000)])
        assert journal.counts() == {("in", JobState.QUEUED): 1}
        hog.unlink()
        assert journal.move(job.id, JobState.SPOOLED).state is JobState.SPOOLED
        journal.close()


def test_disk_full_from_the_start_is_told(tmp_path: Path) -> None:
    """No half-made schema is left behind to trip over."""
    with mounted(tmp_path / "small", options="size=1m") as small:
        hog = fill(small)
        with pytest.raises(StateUnwritable):
            _open(small / "journal.db")
        hog.unlink()
        _open(small / "journal.db").close()


def test_threads_do_not_meet_in_the_middle(tmp_path: Path) -> None:
    """One connection, one lock: every add of every thread is there."""
    journal = _open(tmp_path / "journal.db")

    def work(name: int) -> None:
        for n in range(20):
            (job,) = journal.add("in", [Entry(f"{name}-{n}.pdf", Identity(size=1, mtime_ns=1))])
            journal.move(job.id, JobState.SPOOLED)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert journal.counts() == {("in", JobState.SPOOLED): 80}
    journal.close()


# -- checkpoints ---------------------------------------------------------------------------------------------------

_PAGE = PageResult(text="Hello \udcff", engine="e", engine_version="1", source=PageSource.OCR, width_px=1, height_px=1, dpi=300.0)


def test_checkpoint_is_whole_or_absent(tmp_path: Path) -> None:
    """What cannot be read back was never there."""
    checkpoints = Checkpoints(tmp_path / "jobs")
    assert checkpoints.page(7, 1) is None
    checkpoints.source(7)
    checkpoints.save_page(7, 1, _PAGE)
    assert checkpoints.page(7, 1) == _PAGE
    (file,) = (tmp_path / "jobs" / "7").glob("page-*.json")
    file.write_bytes(file.read_bytes()[:-5])
    assert checkpoints.page(7, 1) is None
    for nonsense in (b"[]", b"{}", b"null", b'{"words": 1}', b"\xff"):
        file.write_bytes(nonsense)
        assert checkpoints.page(7, 1) is None
    for wrong in ({"dpi": "300"}, {"width_px": None}, {"words": [[0, 5, ["1", 2, 3, 4], None, []]]}, {"confidence": 10**400}):
        file.write_text(json.dumps(_PAGE.to_json() | wrong))
        assert checkpoints.page(7, 1) is None


def test_checkpoints_belong_to_the_service_alone(tmp_path: Path) -> None:
    """Scans are confidential."""
    folder = Checkpoints(tmp_path / "jobs").source(7).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_spooled_copy_counts_for_its_settings_only(tmp_path: Path) -> None:
    """Another language is another text."""
    checkpoints = Checkpoints(tmp_path / "jobs")
    checkpoints.source(7)
    spooled = Spooled(sha256="s", size=1, mode=0o640, gid=1)
    checkpoints.save_spooled(7, spooled, "old")
    assert checkpoints.spooled(7, "old") == spooled
    assert checkpoints.spooled(7, "new") is None
    assert checkpoints.jobs() == [7]
    checkpoints.drop(7)
    assert checkpoints.jobs() == []


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_checkpoint_that_cannot_be_written_is_told(tmp_path: Path, trouble: str) -> None:
    """As the state directory's trouble, whatever is wrong with it, and the file before it stays."""
    with mounted(tmp_path / "small", options="size=64k") as small:
        checkpoints = Checkpoints(small / "jobs")
        checkpoints.source(7)
        checkpoints.save_page(7, 1, _PAGE)
        if trouble == "full":
            fill(small)
        else:
            make_read_only(small)
        with pytest.raises(StateUnwritable):
            checkpoints.save_page(7, 1, PageResult(**(vars(_PAGE) | {"text": "x" * 50_000})))
        with pytest.raises(StateUnwritable):
            checkpoints.source(8) if trouble == "read-only" else checkpoints.save_page(7, 2, _PAGE)
        assert checkpoints.page(7, 1) == _PAGE
