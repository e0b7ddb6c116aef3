"""Files that cannot be processed are set aside and brought back: never lost, never over another, and always to be found."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocrwatch.errors import OutputUnwritable, ShareOffline, SourceVanished
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Entry, Identity
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.records import WHOLE_INBOX, Job
from ocrwatch.journal.states import JobState
from ocrwatch.output import archive as archiving
from ocrwatch.output.quarantine import reason_path, release, reserve, understood
from ocrwatch.output.quarantinist import Quarantinist
from ocrwatch.treatment import Treatment
from ocrwatch.worker.access import LocalAccess
from ocrwatch.worker.share import Reach, Share
from tests.faults.calls import before_call, failing
from tests.faults.disks import fill, mounted
from tests.faults.waiting import FakeClock

DATA = b"no scan at all" * 100
OTHER = b"something else" * 100


class Stage:
    """An inbox `in` with folders, its quarantine, and whoever moves between them. A stage made again is the next start."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.inbox, self.quarantine = folder, folder / "inbox", folder / "quarantine"
        self.inbox.mkdir(exist_ok=True)
        self.quarantine.mkdir(exist_ok=True)
        self.clock, self.wall = FakeClock(), FakeClock(1_700_000_000.0)
        self.journal = Journal(folder / "journal.db", wall_clock=self.wall)
        self.away: ShareOffline | None = None
        share = Share(LocalAccess())
        tree = SimpleNamespace(path=str(self.quarantine), reach=lambda: self._reach(share))
        treatment = SimpleNamespace(
            inbox="in",
            quarantine=SimpleNamespace(tree=tree, after_s=5.0),
            scans=lambda _: Reach(share, Root(str(self.inbox))),
        )
        self.mover = Quarantinist(
            self.journal, cast(Treatment, treatment), scope=lambda: WHOLE_INBOX, clock=self.clock, wall_clock=self.wall
        )

    def _reach(self, share: Share) -> Reach:
        if self.away is not None:
            raise self.away
        return Reach(share, Root(str(self.quarantine)))

    def fail(self, path: str = "a/scan.pdf", data: bytes = DATA, *, state: JobState = JobState.FAILED) -> Job:
        """A file came, was read, and failed."""
        file = self.inbox / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        (job,) = self.journal.add("in", [Entry(path, Identity.of(file.stat()))])
        self.journal.move(job.id, JobState.SPOOLED, sha256=hashlib.sha256(data).hexdigest(), tries=1)
        return self.journal.move(job.id, state, reason="corrupt_file", detail="it cannot be read")

    def pass_by(self, seconds: float = 600.0) -> None:
        """Time passes, and the mover looks whenever it wants to."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            rest_s = self.mover.step()
            self.clock.now += rest_s
            self.wall.now += rest_s

    def job(self, path: str = "a/scan.pdf") -> Job:
        """What is known of a file."""
        job = self.journal.current("in", path)
        assert job is not None
        return job

    def files(self) -> dict[str, bytes]:
        """Everything in the inbox and in the quarantine but the reasons."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for top in (self.inbox, self.quarantine)
            for path in top.rglob("*")
            if path.is_file() and not path.name.endswith(".reason.json")
        }

    def reasons(self) -> dict[str, dict[str, Any]]:
        """The reasons in the quarantine."""
        return {
            str(path.relative_to(self.quarantine)): json.loads(path.read_bytes())
            for path in self.quarantine.rglob("*.reason.json")
        }


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """An empty one."""
    stage = Stage(tmp_path)
    yield stage
    stage.journal.close()


# -- out of the inbox ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.POISON])
def test_failed_file_is_set_aside_with_its_reason(stage: Stage, state: JobState) -> None:
    """Under its inbox and its folders, as it was; the journal says where."""
    job = stage.fail(state=state)
    stage.pass_by()
    assert stage.files() == {"quarantine/in/a/scan.pdf": DATA}
    reason = stage.reasons()["in/a/scan.pdf.reason.json"]
    assert (reason["inbox"], reason["path"], reason["job"]) == ("in", "a/scan.pdf", job.id)
    assert (reason["state"], reason["reason"], reason["detail"]) == (state, "corrupt_file", "it cannot be read")
    assert (reason["attempts"], reason["sha256"]) == (1, hashlib.sha256(DATA).hexdigest())
    assert reason["failed_at"] == "2023-11-14T22:13:20Z"
    assert [failure["state"] for failure in reason["failures"]] == [state]
    known = stage.job()
    assert (known.state, known.reason) == (JobState.QUARANTINED, "corrupt_file")
    assert known.moved_to == str(stage.quarantine / "in/a/scan.pdf")
    assert known.detail == f"it cannot be read; it was moved to {known.moved_to}"


def test_reason_is_understood_or_is_none_of_ours(stage: Stage) -> None:
    """Whoever may write there may write anything."""
    stage.fail()
    stage.pass_by()
    (written,) = stage.reasons().values()
    told = understood(json.dumps(written).encode())
    assert (told["inbox"], told["path"], told["reason"]) == ("in", "a/scan.pdf", "corrupt_file")
    assert [(event["at"], event["after"]) for event in told["failures"]] == [(1_700_000_000.0, "failed")]
    (failure,) = written["failures"]
    for changed in (
        {"path": 1},
        {"detail": None},
        {"failures": None},
        {"failures": [failure | {"at": "yesterday"}]},
        {"failures": [failure | {"state": []}]},
        {"failures": ["failed"]},
    ):
        assert understood(json.dumps(written | changed).encode()) == {}
    for nonsense in (b"", b"[", b'"text"', b"{}", b"\xff", b"[" * 60_000):
        assert understood(nonsense) == {}


def test_file_stays_a_moment_before_it_is_set_aside(stage: Stage) -> None:
    """Whoever is at the scanner sees it fail where it lies."""
    stage.fail()
    stage.mover.step()
    assert stage.files() == {"inbox/a/scan.pdf": DATA}


def test_name_that_is_taken_gets_a_number(stage: Stage) -> None:
    """scan0001.pdf fails every day; nobody's file is overwritten, nor anybody's reason."""
    (stage.quarantine / "in/a").mkdir(parents=True)
    (stage.quarantine / "in/a/scan.1.pdf").write_bytes(OTHER)
    (stage.quarantine / "in/a/scan.2.pdf.reason.json").write_text("somebody's notes")
    for _ in range(2):
        stage.fail()
        stage.pass_by()
    notes = (stage.quarantine / "in/a/scan.2.pdf.reason.json").read_text()
    (stage.quarantine / "in/a/scan.2.pdf.reason.json").unlink()
    assert notes == "somebody's notes"
    assert stage.files() == {
        "quarantine/in/a/scan.pdf": DATA,
        "quarantine/in/a/scan.1.pdf": OTHER,
        "quarantine/in/a/scan.3.pdf": DATA,
    }
    assert set(stage.reasons()) == {"in/a/scan.pdf.reason.json", "in/a/scan.3.pdf.reason.json"}


def test_file_that_changed_since_it_failed_stays(stage: Stage) -> None:
    """The hash decides, not the times: what is there now was never looked at."""
    stage.fail()
    file = stage.inbox / "a/scan.pdf"
    before = file.stat()
    with file.open("r+b") as opened:
        opened.write(OTHER)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    stage.pass_by()
    assert stage.files() == {"inbox/a/scan.pdf": OTHER}
    assert stage.reasons() == {}
    assert stage.job().state is JobState.FAILED


def test_file_whose_content_changed_behind_its_time_is_told_once_and_rests(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The inbox sees no newer version of it: it is not to be taken aside and put back for ever, nor a newer one promised."""
    stage.fail()
    file = stage.inbox / "a/scan.pdf"
    before = file.stat()
    file.write_bytes(OTHER)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    tries = failing(monkeypatch, "_verify", 0, times=0, module=archiving)  # only counted
    caplog.set_level(logging.INFO)
    stage.pass_by(24 * 3600)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "a/scan.pdf is no longer what was read and is not set aside" in line
    assert "`touch` it" in line
    assert 2 <= len(tries) <= 20
    file.write_bytes(DATA)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    stage.pass_by(7 * 3600)
    assert stage.files() == {"quarantine/in/a/scan.pdf": DATA}


def test_file_that_was_never_read_is_set_aside_as_it_is(stage: Stage) -> None:
    """Refused before it could be hashed."""
    file = stage.inbox / "scan.pdf"
    file.write_bytes(DATA)
    (job,) = stage.journal.add("in", [Entry("scan.pdf", Identity.of(file.stat()))])
    stage.journal.move(job.id, JobState.FAILED, reason="corrupt_file", detail="no scan")
    stage.pass_by()
    assert stage.files() == {"quarantine/in/scan.pdf": DATA}
    assert stage.reasons()["in/scan.pdf.reason.json"]["sha256"] is None


def test_file_that_is_gone_leaves_no_reason(stage: Stage) -> None:
    """Somebody took it away first."""
    stage.fail()
    (stage.inbox / "a/scan.pdf").unlink()
    stage.pass_by()
    assert stage.reasons() == {}
    assert stage.job().state is JobState.FAILED
    assert stage.journal.gone("in", "a/scan.pdf") is not None  # said by the inbox


def test_newer_version_that_comes_meanwhile_is_left_alone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scanner uses the name again at once: the older file is aside, the newer one is work."""
    stage.fail()

    def come() -> None:
        (stage.inbox / "a/scan.pdf").write_bytes(OTHER)
        stage.journal.add("in", [Entry("a/scan.pdf", Identity.of((stage.inbox / "a/scan.pdf").stat()))])

    before_call(monkeypatch, "_rename", come, module=archiving)
    stage.pass_by()
    assert stage.files() == {"quarantine/in/a/scan.pdf": DATA, "inbox/a/scan.pdf": OTHER}
    assert stage.job().state is JobState.QUEUED


def test_odd_names_are_set_aside_too(stage: Stage) -> None:
    """Bytes that are no text, and a name as long as a name can be."""
    names = ["\udcff\n.pdf", f"{'ü' * 125}.pdf", f"{'x' * 251}.pdf"]
    for name in names:
        stage.fail(name)
    stage.pass_by()
    assert stage.files() == {f"quarantine/in/{name}": DATA for name in names}
    assert {reason["path"] for reason in stage.reasons().values()} == set(names)
    assert {stage.job(name).state for name in names} == {JobState.QUARANTINED}
    for name in names:
        stage.journal.retry(stage.job(name).id)
    stage.pass_by()
    assert stage.files() == {f"inbox/{name}": DATA for name in names}
    assert stage.reasons() == {}


def test_file_goes_to_another_file_system(stage: Stage) -> None:
    """Copied, synced, read back, and only then removed; and back again."""
    with mounted(stage.quarantine):
        stage.fail()
        stage.pass_by()
        assert stage.files() == {"quarantine/in/a/scan.pdf": DATA}
        assert stage.job().state is JobState.QUARANTINED
        stage.journal.retry(stage.job().id)
        stage.pass_by()
        assert stage.files() == {"inbox/a/scan.pdf": DATA}
        assert stage.reasons() == {}


def test_full_quarantine_is_tried_again(stage: Stage) -> None:
    """The file is where it was until there is room."""
    with mounted(stage.quarantine, options="size=64k"):
        job = stage.fail(data=DATA * 20)
        hog = fill(stage.quarantine, leave_bytes=12288)
        stage.pass_by()
        assert (stage.inbox / "a/scan.pdf").read_bytes() == DATA * 20
        assert stage.journal.job(job.id).state is JobState.FAILED
        hog.unlink()
        stage.pass_by()
        assert stage.files() == {"quarantine/in/a/scan.pdf": DATA * 20}
        assert stage.journal.job(job.id).state is JobState.QUARANTINED


def test_quarantine_that_is_away_is_waited_for(stage: Stage) -> None:
    """Its mount, not the file, is at fault."""
    stage.fail()
    stage.away = ShareOffline("away", "")
    stage.pass_by()
    assert stage.files() == {"inbox/a/scan.pdf": DATA}
    stage.away = None
    stage.pass_by()
    assert stage.files() == {"quarantine/in/a/scan.pdf": DATA}


def test_disk_error_after_the_move_forgets_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there already when the disk says that it may not be: found at the next look."""
    stage.fail()
    with monkeypatch.context() as patch:
        failing(patch, "sync_directory", errno.EIO, first=2, times=1, module=archiving.files)
        stage.pass_by(20)
    assert stage.files() == {"quarantine/in/a/scan.pdf": DATA}
    assert stage.journal.gone("in", "a/scan.pdf") is None  # what the inbox says meanwhile
    stage.pass_by()
    assert stage.job().state is JobState.QUARANTINED
    assert set(stage.reasons()) == {"in/a/scan.pdf.reason.json"}


# -- back into the inbox ---------------------------------------------------------------------------------------------


def _see(stage: Stage, path: str = "a/scan.pdf") -> None:
    """What the inbox does when it sees the file."""
    stage.journal.add("in", [Entry(path, Identity.of((stage.inbox / path).stat()))])


def test_retry_brings_the_file_back_to_be_tried_again(stage: Stage) -> None:
    """Under its old name; with its attempts counted anew."""
    job = stage.fail()
    stage.pass_by()
    assert stage.journal.retry(job.id).state is JobState.QUARANTINED
    stage.pass_by(10)
    assert stage.files() == {"inbox/a/scan.pdf": DATA}
    assert stage.reasons() == {}
    _see(stage)
    again = stage.job()
    assert (again.id, again.state, again.moved_to, again.not_before) == (job.id, JobState.QUEUED, None, None)


def test_file_that_a_person_puts_back_is_tried_again(stage: Stage) -> None:
    """After the language was installed, say: nothing else has to be told."""
    job = stage.fail()
    stage.pass_by()
    (stage.quarantine / "in/a/scan.pdf").rename(stage.inbox / "a/scan.pdf")
    _see(stage)
    assert (stage.job().id, stage.job().state) == (job.id, JobState.QUEUED)


def test_file_that_a_person_mended_in_the_quarantine_comes_back_as_it_is(stage: Stage) -> None:
    """Its password was taken off: that is another version, and new work."""
    job = stage.fail()
    stage.pass_by()
    (stage.quarantine / "in/a/scan.pdf").write_bytes(OTHER + b"mended")
    stage.journal.retry(job.id)
    stage.pass_by(10)
    assert stage.files() == {"inbox/a/scan.pdf": OTHER + b"mended"}
    _see(stage)
    assert (stage.job().id, stage.job().state) != (job.id, JobState.QUEUED)
    assert stage.journal.job(job.id).state is JobState.SUPERSEDED


def test_name_that_is_taken_is_told_and_nothing_is_overwritten(stage: Stage) -> None:
    """And retry works once the name is free."""
    job = stage.fail()
    stage.pass_by()
    (stage.inbox / "a/scan.pdf").write_bytes(OTHER)
    stage.journal.retry(job.id)
    stage.pass_by(60)
    assert stage.files() == {"inbox/a/scan.pdf": OTHER, "quarantine/in/a/scan.pdf": DATA}
    assert "another file has its name now: move that away" in stage.job().detail
    (stage.inbox / "a/scan.pdf").unlink()
    stage.pass_by(60)
    assert stage.files() == {"quarantine/in/a/scan.pdf": DATA}
    stage.journal.retry(job.id)
    stage.pass_by(60)
    assert stage.files() == {"inbox/a/scan.pdf": DATA}


def test_file_that_is_no_longer_in_the_quarantine_is_told(stage: Stage) -> None:
    """Somebody took it out of there."""
    job = stage.fail()
    stage.pass_by()
    (stage.quarantine / "in/a/scan.pdf").unlink()
    stage.journal.retry(job.id)
    stage.pass_by(60)
    assert "no longer in the quarantine" in stage.job().detail


def test_file_of_another_quarantine_is_told(stage: Stage) -> None:
    """`quarantine_to` was changed since."""
    job = stage.fail()
    stage.pass_by()
    stage.journal.moves_to(job.id, "/srv/elsewhere/in/a/scan.pdf")
    stage.journal.retry(job.id)
    stage.pass_by(60)
    assert "it lies in /srv/elsewhere/in/a/scan.pdf" in stage.job().detail


def test_retry_in_mid_move_is_obeyed_after_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for between the note and the move: the file goes, and comes back."""
    job = stage.fail()
    with monkeypatch.context() as patch:
        before_call(patch, "_verify", lambda: stage.journal.retry(job.id), module=archiving)
        stage.mover.step()
        stage.pass_by(30)
    assert stage.files() == {"inbox/a/scan.pdf": DATA}
    _see(stage)
    assert stage.job().state is JobState.QUEUED


# -- crashes ---------------------------------------------------------------------------------------------------------

_KILLED = """
import os, signal, sys
from pathlib import Path
from ocrwatch.journal.journal import Journal
from ocrwatch.output import archive, files, quarantine
from ocrwatch.worker.share import Share
from tests.integration.test_quarantine import Stage

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

stage = Stage(Path(sys.argv[1]))
where, call, nth = sys.argv[2].split()
owner = {"Share": Share, "Journal": Journal, "archive": archive, "files": files, "os": os}[where]
job = stage.fail()
if sys.argv[3] == "back":
    stage.pass_by(20)
    stage.journal.retry(job.id)
real, uses = getattr(owner, call), []

def instead(*arguments, **options):
    uses.append(call)
    return kill() if len(uses) == int(nth) else real(*arguments, **options)

setattr(owner, call, instead)
stage.pass_by(20)
sys.exit(0)
"""


def _killed(folder: Path, point: str, way: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(folder), point, way],
        check=False,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


_OUT = (
    *("Share reserve 1", "files _place 1", "Journal moves_to 1", "Share archive 1", "os mkdir 3"),
    *("archive _verify 1", "archive _rename 1", "files sync_directory 2", "Journal move 1"),
)
_ACROSS = ("archive _verify_copy 1", "archive _name_copy 1", "archive _remove_original 1", "archive _verify 2", "Journal move 1")


@pytest.mark.parametrize(("point", "is_mounted"), [*((point, False) for point in _OUT), *((point, True) for point in _ACROSS)])
def test_file_is_aside_after_a_kill_and_the_next_start(tmp_path: Path, point: str, is_mounted: bool) -> None:
    """kill -9 at each step, on one file system and across two: the file is there, once, and known; so is its reason."""
    stage = Stage(tmp_path)
    stage.journal.close()
    mount = mounted(stage.quarantine) if is_mounted else None
    if mount is not None:
        mount.__enter__()
    try:
        _killed(tmp_path, point, "out")
        assert DATA in stage.files().values()
        stage = Stage(tmp_path)
        if not (stage.inbox / "a/scan.pdf").exists():
            stage.journal.gone("in", "a/scan.pdf")  # what the first listing says, before anything else is looked at
        stage.pass_by()
        assert stage.job().state is JobState.QUARANTINED
        found = stage.files()
        # A copy that was named but not yet told apart from its original stays: better twice than never.
        assert set(found.values()) == {DATA}
        assert len(found) == 1 + (point in ("archive _remove_original 1", "archive _verify 2"))
        assert stage.job().moved_to in {str(tmp_path / place) for place in found}
        assert {f"quarantine/{reason.removesuffix('.reason.json')}" for reason in stage.reasons()} == set(found)
        stage.journal.close()
    finally:
        if mount is not None:
            mount.__exit__(None, None, None)


_BACK = (
    *("Share look 1", "archive _verify 1", "archive _rename 1", "files sync_directory 1", "Share release 1"),
    *("os unlink 1",),
)


@pytest.mark.parametrize("point", _BACK)
def test_file_is_back_after_a_kill_and_the_next_start(tmp_path: Path, point: str) -> None:
    """The wish outlasts the crash."""
    _killed(tmp_path, point, "back")
    stage = Stage(tmp_path)
    assert list(stage.files().values()) == [DATA]
    stage.pass_by()
    assert stage.files() == {"inbox/a/scan.pdf": DATA}
    _see(stage)
    assert stage.job().state is JobState.QUEUED
    stage.journal.close()


def test_move_that_was_cut_off_is_forgotten_where_nothing_is_set_aside_any_more(stage: Stage) -> None:
    """`quarantine_to` was taken out of the configuration: then the inbox says what is there."""
    job = stage.fail()
    stage.journal.moves_to(job.id, "/srv/quarantine/in/a/scan.pdf")
    assert stage.journal.gone("in", "a/scan.pdf") is None
    stage.journal.stay_in("in")
    gone = stage.journal.gone("in", "a/scan.pdf")
    assert gone is not None
    assert gone.state is JobState.VANISHED


# -- reasons ---------------------------------------------------------------------------------------------------------

_REASON = {"inbox": "in", "path": "scan.pdf", "size": 1, "mtime_ns": 1}


def _reserve(folder: Path, reason: dict[str, Any] = _REASON) -> str:
    (folder / "scan.pdf").write_bytes(DATA)
    (folder / "q").mkdir(exist_ok=True)
    return reserve(
        Root(str(folder)), "scan.pdf", reason=reason, destination_root=Root(str(folder / "q")), destination="in/scan.pdf"
    )


def test_place_that_was_reserved_before_is_used(tmp_path: Path) -> None:
    """A try that was cut off litters nothing; the reason is the newest."""
    assert _reserve(tmp_path) == "in/scan.pdf"
    assert _reserve(tmp_path, {**_REASON, "detail": "newer"}) == "in/scan.pdf"
    assert json.loads((tmp_path / "q/in/scan.pdf.reason.json").read_bytes())["detail"] == "newer"
    assert _reserve(tmp_path, {**_REASON, "size": 2}) == "in/scan.1.pdf"


@pytest.mark.parametrize("content", [b"", b"[" * 60_000, b"{}", b'{"inbox": 1}', b"\xff", b"[1]"])
def test_reason_of_somebody_else_is_neither_replaced_nor_removed(tmp_path: Path, content: bytes) -> None:
    """Whatever it holds."""
    beside = tmp_path / "q/in/scan.pdf.reason.json"
    beside.parent.mkdir(parents=True)
    beside.write_bytes(content)
    assert _reserve(tmp_path) == "in/scan.1.pdf"
    release(Root(str(tmp_path / "q")), "in/scan.pdf", reason=_REASON)
    assert beside.read_bytes() == content


def test_reason_stays_while_its_file_is_there(tmp_path: Path) -> None:
    """Only a place that was not used is given back."""
    root = Root(str(tmp_path / "q"))
    place = _reserve(tmp_path)
    (tmp_path / "q/in/scan.pdf").write_bytes(DATA)
    release(root, place, reason=_REASON)
    assert (tmp_path / "q/in/scan.pdf.reason.json").exists()
    (tmp_path / "q/in/scan.pdf").unlink()
    release(root, place, reason=_REASON)
    assert list((tmp_path / "q/in").iterdir()) == []


def test_place_for_a_file_that_is_gone_is_not_reserved(tmp_path: Path) -> None:
    """There is nothing to give a reason for."""
    (tmp_path / "q").mkdir()
    root = Root(str(tmp_path))
    with pytest.raises(SourceVanished):
        reserve(root, "scan.pdf", reason=_REASON, destination_root=Root(str(tmp_path / "q")), destination="in/scan.pdf")
    assert list((tmp_path / "q").iterdir()) == []


def test_folder_that_leads_out_of_the_quarantine_is_not_followed(tmp_path: Path) -> None:
    """A link in the place of a folder is an error, not a way."""
    (tmp_path / "q").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "q/in").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputUnwritable):
        _reserve(tmp_path)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_reasons_of_long_names_differ() -> None:
    """And are no longer than a name may be."""
    names = [f"a/{'x' * 250}{end}" for end in ("1.pdf", "2.pdf")]
    paths = {reason_path(name) for name in names}
    assert len(paths) == 2
    assert all(len(path.encode().removeprefix(b"a/")) <= 255 and path.endswith(".reason.json") for path in paths)
