"""Operations on a real FUSE mount that hangs or errs, through a process of their own: short limits, no daemon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocrwatch.errors import ForeignFile, OutputUnwritable, ShareOffline
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Identity
from ocrwatch.intake.ignore import NO_PATTERNS
from ocrwatch.intake.surroundings import InboxRules, InboxState, Surroundings
from ocrwatch.intake.territory import Territory
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.states import JobState
from ocrwatch.output.document import Document, Page, PageStatus, Source
from ocrwatch.output.files import Likeness
from ocrwatch.output.sidecar import Names
from ocrwatch.worker.access import RemoteAccess
from ocrwatch.worker.share import Share
from tests.faults.fake_share import FakeEvents
from tests.faults.share import FaultShare
from tests.faults.waiting import FakeClock
from tests.faults.workers import is_running

_PDF = b"%PDF-1.4\n1 0 obj\nendobj\ntrailer\nstartxref\n9\n%%EOF\n"
_NAMES = Names(text="a.pdf.txt", metadata="a.pdf.json")
_ANSWER_S = 2.0


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[FaultShare]:
    """A mounted share with one scan."""
    share = FaultShare(tmp_path / "nas")
    try:
        share.mount()
        (share.backing / "a.pdf").write_bytes(_PDF)
        yield share
    finally:
        share.unmount()


@pytest.fixture
def access() -> Iterator[RemoteAccess]:
    """A process that is given up after two seconds."""
    access = RemoteAccess("nas", clock=time.monotonic, answer_s=_ANSWER_S)
    yield access
    access.close()


@pytest.fixture
def share(access: RemoteAccess, mount: FaultShare) -> Share:
    """The operations by way of that process; it ends before the mount goes."""
    assert mount.is_mounted()
    return Share(access)


class Stage:
    """An inbox on the mount with a real journal and a clock of the test's own."""

    def __init__(self, mount: FaultShare, share: Share, folder: Path) -> None:
        self.mount = mount
        self.clock = FakeClock()
        self.lines: list[str] = []
        self.journal = Journal(folder / "journal.db", wall_clock=FakeClock())
        self.inbox = Territory(
            InboxRules("nas", str(mount.point), True, 5.0, 600.0, NO_PATTERNS, 10.0, 10.0),
            "",
            share=share,
            around=Surroundings(self.journal, FakeEvents(), self.clock, lambda: None, lambda line, _: self.lines.append(line)),
            without=frozenset,
        )

    def go(self, steps: int = 12) -> InboxState:
        """Look around for two seconds of the clock a step; the state afterwards."""
        for _ in range(steps):
            self.inbox.step()
            self.clock.now += 2
        return self.inbox.status().state

    def states(self) -> dict[str, JobState]:
        """What the journal has of the inbox."""
        return {job.path: job.state for job in self.journal.in_state(*set(JobState) - {JobState.SUPERSEDED}, inbox="nas")}


@pytest.fixture
def stage(mount: FaultShare, share: Share, tmp_path: Path) -> Iterator[Stage]:
    """An inbox that has taken the scan."""
    stage = Stage(mount, share, tmp_path)
    assert stage.go() is InboxState.ONLINE
    assert stage.states() == {"a.pdf": JobState.QUEUED}
    yield stage
    stage.journal.close()


def _root(mount: FaultShare, share: Share) -> Root:
    return Root(str(mount.point), share.identify(str(mount.point)))


def _identity(mount: FaultShare, name: str) -> Identity:
    return Identity.of((mount.backing / name).lstat()).without_inode()


def _document(mount: FaultShare) -> Document:
    return Document(
        Source("a.pdf", _identity(mount, "a.pdf"), "0" * 64), (Page("one", PageStatus.OK),), "tesseract", "5", ("en",)
    )


def test_mount_that_hangs_is_given_up_and_answers_again_when_it_can(
    mount: FaultShare, share: Share, access: RemoteAccess
) -> None:
    """The process that hangs is killed within the limit and leaves nothing behind; a new one answers."""
    root = _root(mount, share)
    pid = access._worker.snapshot().pid
    mount.hang()
    begin = time.monotonic()
    with pytest.raises(ShareOffline, match="gives no answer"):
        share.look(root, "a.pdf", closely=True)
    assert time.monotonic() - begin < _ANSWER_S + 5
    assert pid is not None
    assert not is_running(pid)
    mount.go_on()
    assert share.look(root, "a.pdf", closely=True) is not None


def test_inbox_on_a_mount_that_hangs_is_offline_and_comes_back_without_new_work(stage: Stage) -> None:
    """One line when it goes, one when it is back; what was known is what it was."""
    stage.mount.hang()
    stage.clock.now += 20
    stage.inbox.step()
    assert stage.inbox.status().state is InboxState.OFFLINE
    assert stage.states() == {"a.pdf": JobState.QUEUED}
    stage.mount.go_on()
    stage.clock.now += 6
    assert stage.go() is InboxState.ONLINE
    assert stage.states() == {"a.pdf": JobState.QUEUED}
    assert [line.partition(":")[0] for line in stage.lines] == ["inbox nas is offline", "inbox nas is back"]
    assert len(stage.journal.in_state(*JobState)) == 1


@pytest.mark.parametrize("error", ["EIO", "ESTALE", "EHOSTDOWN", "ENOENT", "ENOTCONN", "ETIMEDOUT"])
@pytest.mark.parametrize("operation", ["readdir", "*"])
def test_inbox_that_cannot_be_listed_is_offline_and_loses_nothing(stage: Stage, error: str, operation: str) -> None:
    """Whatever the mount says: no file counts as deleted, and none as new afterwards."""
    stage.mount.fail({"op": operation, "error": error})
    assert stage.go() is InboxState.OFFLINE
    assert stage.states() == {"a.pdf": JobState.QUEUED}
    stage.mount.fail()
    assert stage.go() is InboxState.ONLINE
    assert stage.states() == {"a.pdf": JobState.QUEUED}
    assert len(stage.journal.in_state(*JobState)) == 1


@pytest.mark.parametrize(
    "operation",
    ["open", "read", "getattr"],
)
@pytest.mark.parametrize("error", ["EIO", "ESTALE", "EACCES"])
def test_file_that_cannot_be_read_holds_up_no_other(stage: Stage, operation: str, error: str) -> None:
    """A bad sector, a stale handle: that file waits, the share is not offline, and the file is taken when it can be read."""
    for name in ("b.pdf", "c.pdf"):
        (stage.mount.backing / name).write_bytes(_PDF + name.encode())
    stage.mount.fail({"op": operation, "error": error, "name": "b.pdf"})
    stage.go(20)
    assert stage.states() == {"a.pdf": JobState.QUEUED, "c.pdf": JobState.QUEUED}
    stage.mount.fail()
    assert stage.go(60) is InboxState.ONLINE
    assert stage.states() == dict.fromkeys(("a.pdf", "b.pdf", "c.pdf"), JobState.QUEUED)


@pytest.mark.parametrize("error", ["EIO", "ESTALE", "EHOSTDOWN"])
def test_copy_that_breaks_off_in_the_middle_leaves_nothing(mount: FaultShare, share: Share, tmp_path: Path, error: str) -> None:
    """Half a scan is no scan; the whole one is copied when it can be read."""
    (mount.backing / "large.pdf").write_bytes(_PDF + b"%" * 5_000_000)
    root, expected = _root(mount, share), _identity(mount, "large.pdf")
    mount.fail({"op": "read", "error": error, "bytes": [3_000_000, 3_100_000]})
    with pytest.raises(ShareOffline, match=r"'large\.pdf' cannot be read"):
        share.spool(root, "large.pdf", expected=expected, destination=tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    mount.fail()
    assert share.spool(root, "large.pdf", expected=expected, destination=tmp_path / "copy").size == expected.size


@pytest.mark.parametrize(("operation", "error"), [("write", "ENOSPC"), ("fsync", "EIO"), ("create", "EACCES"), ("rename", "EIO")])
def test_output_that_fails_leaves_nothing(mount: FaultShare, share: Share, operation: str, error: str) -> None:
    """The text is whole or absent: neither file is there, nor a temporary one."""
    root, like = _root(mount, share), Likeness(mode=0o640, gid=0)
    mount.fail({"op": operation, "error": error})
    with pytest.raises(OutputUnwritable):
        share.publish(root, _NAMES, _document(mount), like=like, known=(), make_directories=False)
    assert [p.name for p in mount.backing.iterdir()] == ["a.pdf"]
    mount.fail()
    share.publish(root, _NAMES, _document(mount), like=like, known=(), make_directories=False)
    assert (mount.backing / "a.pdf.txt").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(("operation", "note"), [("chmod", "mode could not be set"), ("chown", "group could not be set")])
def test_output_without_modes_is_published_and_noted(mount: FaultShare, share: Share, operation: str, note: str) -> None:
    """A mount that keeps neither is common; the text matters more."""
    mount.fail({"op": operation, "error": "EPERM"})
    published = share.publish(
        _root(mount, share), _NAMES, _document(mount), like=Likeness(mode=0o640, gid=0), known=(), make_directories=False
    )
    assert note in " ".join(published.notes)
    assert (mount.backing / "a.pdf.txt").read_text(encoding="utf-8") == "one"


def test_name_that_was_taken_meanwhile_is_not_written_over(mount: FaultShare, share: Share) -> None:
    """Also where the mount cannot rename without clobbering."""
    root = _root(mount, share)
    (mount.backing / "a.pdf.txt").write_text("by hand", encoding="utf-8")
    with pytest.raises(ForeignFile, match="was not written by ocrwatch"):
        share.publish(root, _NAMES, _document(mount), like=None, known=(), make_directories=False)
    assert sorted(p.name for p in mount.backing.iterdir()) == ["a.pdf", "a.pdf.txt"]
