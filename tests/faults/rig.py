"""Intake, journal, pipeline and publication of one inbox, all real, on real folders and a clock that the test moves.

Only recognition is none: the text of a scan is what its bytes say, so that every sidecar can be judged by its scan.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Collection
from concurrent.futures import Future
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import pytest

from ocrwatch.errors import CorruptFile, OcrwatchError
from ocrwatch.intake.ignore import NO_PATTERNS
from ocrwatch.intake.inbox import Inbox
from ocrwatch.intake.mounts import MountTable
from ocrwatch.intake.surroundings import InboxRules, Surroundings
from ocrwatch.journal.checkpoints import Checkpoints
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.records import Job
from ocrwatch.journal.states import JobState
from ocrwatch.ocr.engine import EngineName, PageResult, PageSource
from ocrwatch.ocr.pool import Inspection, PageTask, RecognitionPool
from ocrwatch.output import files, sidecar
from ocrwatch.output.sidecar import Naming
from ocrwatch.output.tree import OutputTree
from ocrwatch.pipeline import Parts, Pipeline
from ocrwatch.service.why import Surroundings as WhyAround
from ocrwatch.service.why import explain
from ocrwatch.treatment import MovePlan, Treatment
from ocrwatch.worker.access import LocalAccess
from ocrwatch.worker.share import Reach, Share
from tests.faults.calls import after_call, before_call
from tests.faults.fake_share import FakeEvents
from tests.faults.mounting import Mounting
from tests.faults.waiting import FakeClock

SETTLE_S = 5.0
INCOMPLETE_MAX_S = 600.0
INTERVAL_S = 300.0
_BEGIN, _END = b"%PDF-1.4\n1 0 obj\n", b"\ntrailer\nstartxref\n9\n%%EOF\n"
_PAGE = re.compile(rb"\(([^)]*)\)")
_CRASHED = 77  # exit status
_Answer = TypeVar("_Answer")


def scan_of(*pages: str, whole: bool = True) -> bytes:
    """A scan of these pages; one whose text is `?` cannot be read."""
    return _BEGIN + b"".join(b"(%s)" % page.encode() for page in pages) + (_END if whole else b"")


def other_of(scan: bytes) -> bytes:
    """Another scan of the same size."""
    return _PAGE.sub(lambda page: page[0].swapcase(), scan)


def more_of(scan: bytes) -> bytes:
    """What a scanner appends: another page and, every other time, the end."""
    return b"\n2 0 obj\n(more)" if is_whole(scan) or not scan else _END


def is_whole(scan: bytes) -> bool:
    """Whether its end is there."""
    return scan.startswith(_BEGIN) and scan.endswith(_END)


def pages_of(scan: bytes) -> list[str]:
    """The text of each page, as the engine would read it."""
    return [page.decode() for page in _PAGE.findall(scan)]


def text_of(scan: bytes) -> str:
    """The text of its sidecar."""
    return "\f".join("" if page == "?" else page for page in pages_of(scan))


class PlainPool:
    """What `RecognitionPool` offers, at once and in this process. meanwhile: called before each page is read."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self._meanwhile = meanwhile

    def inspect(self, inbox: str, job: int, task: PageTask) -> Future[Inspection]:
        """As `RecognitionPool.inspect`."""
        return _answered(lambda: Inspection("pdf", len(self._pages(task))))

    def recognize(self, inbox: str, job: int, task: PageTask) -> Future[PageResult]:
        """As `RecognitionPool.recognize`."""
        self._meanwhile()
        return _answered(lambda: self._read(task))

    def forget(self, inbox: str, job: int) -> None:
        """As `RecognitionPool.forget`."""

    def _read(self, task: PageTask) -> PageResult:
        task.begins()
        text = self._pages(task)[task.page - 1]
        if text == "?":
            raise CorruptFile("the page is damaged")
        return PageResult(text, "tesseract", "plain", PageSource.OCR, 100, 100, 300.0)

    @staticmethod
    def _pages(task: PageTask) -> list[str]:
        scan = Path(task.path).read_bytes()
        if not is_whole(scan):
            raise CorruptFile("its end is missing")
        return pages_of(scan)


def _answered(answer: Callable[[], _Answer]) -> Future[_Answer]:
    future: Future[_Answer] = Future()
    try:
        future.set_result(answer())
    except OcrwatchError as error:
        future.set_exception(error)
    return future


class CrashPoint(StrEnum):
    """Where the process ends: at the nth time that it comes by."""

    COPIED = "copied"  # the scan is in the spool, and nobody has noted it
    SPOOLED = "spooled"  # noted on the disk, but not in the journal
    READ = "read"  # a page is in its checkpoint, and the journal does not know it
    JSON_WRITTEN = "json written"  # under its temporary name
    TEXT_WRITTEN = "text written"  # under its temporary name; the JSON is in place
    PUBLISHED = "published"  # both files are in place, and the journal does not know it
    DONE = "done"  # the journal knows it, and the spool still holds the copy

    def arm(self, patch: pytest.MonkeyPatch, *, nth: int, crash: Callable[[], object]) -> None:
        """Let it happen in this process."""
        match self:
            case CrashPoint.COPIED:
                before_call(patch, "save_spooled", crash, nth=nth, module=Checkpoints)
            case CrashPoint.SPOOLED:
                after_call(patch, "save_spooled", crash, nth=nth, module=Checkpoints)
            case CrashPoint.READ:
                after_call(patch, "save_page", crash, nth=nth, module=Checkpoints)
            case CrashPoint.JSON_WRITTEN:
                before_call(patch, "_place", crash, nth=2 * nth - 1, module=files)
            case CrashPoint.TEXT_WRITTEN:
                before_call(patch, "_place", crash, nth=2 * nth, module=files)
            case CrashPoint.PUBLISHED:
                after_call(patch, "publish", crash, nth=nth, module=sidecar)
            case CrashPoint.DONE:
                before_call(patch, "drop", crash, nth=nth, module=Checkpoints)


class Rig:
    """A service and what it works on. Trees: '' is the inbox, NAS a mount in it, TEXTS where sidecars go when they are mirrored.

    Paths are those of the inbox; a sidecar's path is that of its scan and a suffix.
    """

    NAS = "nas"
    TEXTS = "texts"

    def __init__(
        self, folder: Path, mounting: Mounting, *, trees: Collection[str], mirrored: bool = False, archives: bool = False
    ) -> None:
        self.clock, self.wall = FakeClock(), FakeClock(1_700_000_000.0)
        self.meanwhile: Callable[[], None] = lambda: None
        self.on_run: Callable[[Job], None] = lambda _: None
        self.mirrored, self.archives = mirrored, archives
        self.pages_read = 0
        self._folder = folder
        self._mounting = mounting
        self._points = {"": folder / "inbox", self.NAS: folder / "inbox" / self.NAS, self.TEXTS: folder / self.TEXTS}
        self._homes = dict(self._points)
        self._trees: dict[str, Path] = {}
        self.mounted: dict[str, bool] = {}
        """What can be mounted, and whether it is to be."""
        for point in (self._points[""], self._points[self.TEXTS]):
            point.mkdir()
        for name in ("", self.NAS, self.TEXTS):
            if name in trees:
                self._trees[name] = folder / f"tree-{name}"
                self._trees[name].mkdir()
                self.mounted[name] = False
                self.mount(name)
            self._homes[""].joinpath(self.NAS).mkdir(exist_ok=True)
        self.start()

    # -- what the test does ------------------------------------------------------------------------------------------

    def at(self, path: str) -> Path:
        """Where a scan is in truth, whatever is mounted."""
        below = path.startswith(f"{self.NAS}/") and self.NAS in self._trees
        return self._homes[self.NAS] / path.removeprefix(f"{self.NAS}/") if below else self._homes[""] / path

    def sidecar(self, path: str) -> Path:
        """Where a file of a sidecar is in truth."""
        return self._homes[self.TEXTS] / path if self.mirrored else self.at(path)

    def homes(self) -> dict[str, Path]:
        """Every folder in which scans or sidecars are, in truth."""
        return {name: home for name, home in self._homes.items() if name != self.NAS or name in self._trees}

    def bare_points(self) -> list[Path]:
        """Mount points without their mount, as far as they can be reached."""
        away = [self._points[name] for name, is_mounted in self.mounted.items() if not is_mounted]
        return [point for point in away if point.is_dir()]

    def mount(self, name: str) -> None:
        """Bring a tree back; with the inbox comes what is mounted in it."""
        if self.mounted[name]:
            return
        self.mounted[name] = True
        if name != self.NAS or self.mounted.get("", True):
            self._homes[name] = self._mounting.mount(self._trees[name], self._points[name])
        if name == "" and self.mounted.get(self.NAS):
            self._mounting.mount(self._trees[self.NAS], self._points[self.NAS])

    def unmount(self, name: str) -> None:
        """Take a tree away; with the inbox goes what is mounted in it."""
        if not self.mounted[name]:
            return
        self.mounted[name] = False
        if name == "" and self.mounted.get(self.NAS):
            self._mounting.unmount(self._trees[self.NAS], self._points[self.NAS])
        if name != self.NAS or self.mounted.get("", True):
            self._homes[name] = self._mounting.unmount(self._trees[name], self._points[name])

    def close(self) -> None:
        """Nothing is left, mounted or open."""
        self.stop()
        for name in (self.NAS, "", self.TEXTS):
            if name in self.mounted:
                self.unmount(name)

    def why(self, path: str) -> dict[str, Any]:
        """What `ocrwatch why` tells of a scan."""
        around = WhyAround("in", NO_PATTERNS, text_base="/", waiting=self.inbox.status().waiting)
        return explain(path, around, journal=self.journal, monotonic_s=self.clock.now, wall_s=self.wall.now)

    # -- the service -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """A service that starts on the state directory as it is."""
        state = self._folder / "state"
        is_new = not state.exists()
        state.mkdir(exist_ok=True)
        self.journal = Journal(state / "journal.db", wall_clock=self.wall)
        self.journal._db.execute("PRAGMA synchronous = OFF")  # processes crash here, machines do not
        checkpoints = Checkpoints(state / "jobs")
        rules = InboxRules(
            "in", str(self._points[""]), True, SETTLE_S, INCOMPLETE_MAX_S, NO_PATTERNS, rescan_s=INTERVAL_S, poll_s=INTERVAL_S
        )
        self.table = MountTable()  # its own: processes that share the descriptor take the news of a mount from each other
        around = Surroundings(self.journal, FakeEvents(), self.clock, lambda: None, lambda *_: None)
        self.inbox = Inbox(
            rules,
            share=lambda below: Share(LocalAccess(), below=below),
            around=around,
            table=self.table,
            on_territory=lambda _: None,
        )
        pool = cast(RecognitionPool, PlainPool(self._page_begins))
        self._pipeline = Pipeline(Parts(self.journal, checkpoints, pool, None, self.clock))
        self.treatment = self._make_treatment()
        if is_new:  # what is seen first is remembered
            self.look()
            self.treatment.texts("")
            if self.treatment.archive is not None:
                self.treatment.archive.tree.reach()

    def _page_begins(self) -> None:
        self.pages_read += 1
        self.meanwhile()

    def _make_treatment(self) -> Treatment:
        def scans(path: str) -> Reach:
            return self.inbox.territory_of(path).reach()

        beside = OutputTree(str(self._points[self.TEXTS]), share=Share(LocalAccess()), remembered=self.journal, clock=self.clock)
        return Treatment(
            inbox="in",
            scans=scans,
            texts=(lambda _: beside.reach()) if self.mirrored else scans,
            text_base=str(self._points[self.TEXTS if self.mirrored else ""]),
            mirrored=self.mirrored,
            naming=Naming.APPEND,
            engine=EngineName.TESSERACT,
            languages=("en",),
            pdf_text="auto",
            page_timeout_s=20.0,
            settings="digest",
            archive=MovePlan(beside, after_s=60.0) if self.archives else None,
        )

    def lose_journal(self) -> None:
        """Nothing is left of the state directory."""
        shutil.rmtree(self._folder / "state")

    def stop(self) -> None:
        """The end of the service; what it held in memory is gone."""
        self.inbox.close()
        self.table.close()
        self.journal.close()

    def hint(self, path: str) -> None:
        """An event of a file, if it can be had."""
        territory = self.inbox.territory_of(path)
        self.inbox.hint(territory.path, path.removeprefix(f"{territory.below}/") if territory.below else path, is_directory=False)

    def look(self) -> float:
        """What the inbox does when it is due; seconds until something is due again."""
        self.inbox.follow_mounts()
        return min(territory.step() for territory in self.inbox.territories())

    def after(self, seconds: float) -> None:
        """Let time pass, and do whatever is due."""
        end_s = self.clock.now + seconds
        for _ in range(10_000):
            rest_s = min(self.look(), self._work())
            if self.clock.now + rest_s > end_s:
                self._pass(end_s - self.clock.now)
                return
            self._pass(max(rest_s, 0.01))
        pytest.fail("there is something to do all the time")

    def _pass(self, seconds: float) -> None:
        self.clock.now += seconds
        self.wall.now += seconds

    def _work(self) -> float:
        """Run what waits; seconds until something deferred is due."""
        self.journal.wake(longest_s=3600)
        for scope in self.inbox.open_scopes():
            for job in self.journal.in_state(JobState.SPOOLED, JobState.QUEUED, inbox="in", scope=scope):
                self._pipeline.run(job, self.treatment)
                self.on_run(self.journal.job(job.id))
        deferred = self.journal.in_state(JobState.DEFERRED)
        return min((job.not_before - self.wall.now for job in deferred if job.not_before is not None), default=INTERVAL_S)

    def crash(self, point: CrashPoint, *, nth: int, after_s: float) -> bool:
        """A service starts, works, and is gone at that point, if it comes there within that time; whether it did."""
        self.stop()
        child = os.fork()  # noqa: TID251 - what dies is a process, without a word; there is no thread and no GPU here
        if child == 0:
            self._live_and_die(point, nth, after_s)
        _, status = os.waitpid(child, 0)
        self._pass(after_s)
        self.start()
        outcome = os.waitstatus_to_exitcode(status)
        assert outcome in (0, _CRASHED), "the service ended otherwise than at the crash; what it said is above"
        return outcome == _CRASHED

    def _live_and_die(self, point: CrashPoint, nth: int, after_s: float) -> NoReturn:
        status = 1
        try:
            self.meanwhile = lambda: None
            point.arm(pytest.MonkeyPatch(), nth=nth, crash=lambda: os._exit(_CRASHED))
            self.start()
            self.after(after_s)
            status = 0
        finally:
            traceback.print_exc(file=sys.stderr) if status else None
            sys.stderr.flush()
            os._exit(status)
