"""When a scan goes to the archive, and what the inbox may see meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocrwatch.errors import Infrastructure, OcrwatchError, OutputUnwritable, ShareOffline, SourceChanged
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Entry, Identity
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.records import WHOLE_INBOX
from ocrwatch.journal.states import JobState
from ocrwatch.output.archivist import Archivist
from ocrwatch.treatment import Treatment
from ocrwatch.worker.share import Reach, Share
from tests.faults.waiting import FakeClock


class Stage:
    """Finished scans, and an archive that does what the test says."""

    def __init__(
        self, folder: Path, on_archive: Callable[[Journal, str], None], *, names: Iterable[str] = ("a.pdf", "b.pdf")
    ) -> None:
        self.asked: list[str] = []
        self.clock, self.wall = FakeClock(), FakeClock(1_700_000_000.0)
        self.journal = Journal(folder / "journal.db", wall_clock=self.wall)
        self.journal._db.execute("PRAGMA synchronous = OFF")  # durability is tested elsewhere
        for name in names:
            (job,) = self.journal.add("in", [Entry(name, Identity(size=1, mtime_ns=1))])
            self.journal.move(job.id, JobState.SPOOLED, sha256="0" * 64)
            self.journal.move(job.id, JobState.DONE)
        self.wall.now += 100

        def archive(_: Root, path: str, **__: Any) -> str:
            self.asked.append(path)
            on_archive(self.journal, path)
            return path

        reach = Reach(cast(Share, SimpleNamespace(archive=archive)), Root("/srv/in"))
        plan = SimpleNamespace(after_s=10.0, tree=SimpleNamespace(path="/srv/old", reach=lambda: reach))
        treatment = cast(Treatment, SimpleNamespace(inbox="in", archive=plan, scans=lambda _: reach))
        self.archivist = Archivist(self.journal, treatment, scope=lambda: WHOLE_INBOX, clock=self.clock, wall_clock=self.wall)

    def pass_by(self, seconds: float) -> None:
        """Time passes, and the archivist looks whenever it wants to."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            rest_s = self.archivist.step()
            self.clock.now += rest_s
            self.wall.now += rest_s

    def states(self) -> list[JobState]:
        """Of both scans."""
        return [self.journal.job(number).state for number in (1, 2)]


def test_archived_scan_is_archived_also_when_the_inbox_saw_it_go_first(tmp_path: Path) -> None:
    """The event of the move comes before the archive has said that it is through."""
    stage = Stage(tmp_path, lambda journal, path: journal.gone("in", path) and None)
    stage.archivist.step()
    assert stage.states() == [JobState.ARCHIVED, JobState.ARCHIVED]
    assert [event.after for event in stage.journal.events(1)][-2:] == [JobState.ORPHANED, JobState.ARCHIVED]


def test_newer_version_that_came_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """A scanner uses the name again at once: the older job is history, the newer one is work."""
    stage = Stage(tmp_path, lambda journal, path: journal.add("in", [Entry(path, Identity(size=2, mtime_ns=2))]) and None)
    stage.archivist.step()
    assert stage.states() == [JobState.SUPERSEDED, JobState.SUPERSEDED]
    assert [job.path for job in stage.journal.in_state(JobState.QUEUED)] == ["a.pdf", "b.pdf"]


@pytest.mark.parametrize(("error", "asked"), [(ShareOffline("away", ""), 1), (Infrastructure("taken", ""), 2)])
def test_archive_that_is_away_is_not_asked_for_each_scan(tmp_path: Path, error: Infrastructure, asked: int) -> None:
    """Every question may take a minute; one scan's own trouble keeps no other back."""

    def refuse(_: Journal, __: str) -> None:
        raise error

    stage = Stage(tmp_path, refuse)
    stage.archivist.step()
    assert len(stage.asked) == asked
    assert stage.states() == [JobState.DONE, JobState.DONE]


def test_scan_whose_name_is_no_text_is_archived_and_found_again(tmp_path: Path) -> None:
    """Names are bytes; what is told of them is text."""
    stage = Stage(tmp_path, lambda *_: None)
    (job,) = stage.journal.add("in", [Entry("\udcff.pdf", Identity(size=1, mtime_ns=1))])
    stage.journal.move(job.id, JobState.SPOOLED, sha256="0" * 64)
    stage.journal.move(job.id, JobState.DONE)
    stage.wall.now += 100
    stage.archivist.step()
    archived = stage.journal.job(job.id)
    assert (archived.state, archived.detail) == (JobState.ARCHIVED, "/srv/old/\\udcff.pdf")
    assert archived.moved_to == "/srv/old/\udcff.pdf"


@pytest.mark.parametrize("error", [OutputUnwritable("no right", ""), SourceChanged("another"), ShareOffline("bad sector", "")])
def test_scans_that_cannot_go_keep_no_later_one_back(tmp_path: Path, error: OcrwatchError) -> None:
    """A folder in which the service may not remove anything, however many scans it has; or one bad sector."""
    locked = 1 if isinstance(error, ShareOffline) else 450

    def refuse(_: Journal, path: str) -> None:
        if path.startswith("locked/"):
            raise error

    stage = Stage(tmp_path, refuse, names=[*(f"locked/{n}.pdf" for n in range(locked)), "open/a.pdf"])
    stage.pass_by(600)
    assert {job.path for job in stage.journal.in_state(JobState.ARCHIVED)} == {"open/a.pdf"}


def test_scan_that_cannot_go_is_tried_ever_more_rarely_and_goes_when_it_can(tmp_path: Path) -> None:
    """Each try may take a minute, and moves the scan aside and back."""
    is_open = False

    def refuse(_: Journal, path: str) -> None:
        if path == "a.pdf" and not is_open:
            raise OutputUnwritable("no right", "")

    stage = Stage(tmp_path, refuse)
    stage.pass_by(24 * 3600)
    assert 5 <= stage.asked.count("a.pdf") <= 20
    is_open = True
    stage.pass_by(7 * 3600)
    assert stage.states() == [JobState.ARCHIVED, JobState.ARCHIVED]


def test_scan_whose_content_changed_behind_its_time_is_told_once_and_truly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The inbox sees no newer version of it where size and time are the same, so none is promised."""

    def refuse(_: Journal, path: str) -> None:
        raise SourceChanged(path)

    stage = Stage(tmp_path, refuse, names=["a.pdf"])
    caplog.set_level(logging.INFO)
    stage.pass_by(24 * 3600)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "a.pdf is no longer what was read and is not archived" in line
    assert "`touch` it" in line


@pytest.mark.parametrize("error", [OutputUnwritable("the archive is full", ""), ShareOffline("away", "")])
def test_why_a_scan_is_not_archived_is_in_the_journal_until_it_is(tmp_path: Path, error: Infrastructure) -> None:
    """`why` answers from there, and a log line of last week answers nobody."""
    refused = [error]

    def archive(_: Journal, path: str) -> None:
        if refused:
            raise refused[0]

    stage = Stage(tmp_path, archive, names=["a.pdf"])
    before = stage.journal.current("in", "a.pdf")
    stage.pass_by(30.0)
    waiting = stage.journal.current("in", "a.pdf")
    assert before is not None
    assert waiting is not None
    assert (waiting.state, waiting.changed) == (JobState.DONE, before.changed)
    assert waiting.detail == f"it cannot be archived now: {error}"
    refused.clear()
    stage.pass_by(20_000.0)
    gone = stage.journal.current("in", "a.pdf")
    assert gone is not None
    assert (gone.state, gone.detail) == (JobState.ARCHIVED, "/srv/old/a.pdf")
