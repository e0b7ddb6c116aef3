"""When a scan goes to the archive, and what the inbox may see meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocrwatch.errors import Infrastructure, ShareOffline
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
    """Two finished scans, and an archive that does what the test says."""

    def __init__(self, folder: Path, on_archive: Callable[[Journal, str], None]) -> None:
        self.asked: list[str] = []
        self.clock, self.wall = FakeClock(), FakeClock(1_700_000_000.0)
        self.journal = Journal(folder / "journal.db", wall_clock=self.wall)
        for name in ("a.pdf", "b.pdf"):
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
