"""Kernel events as hints, on real inotify."""

from __future__ import annotations

import ctypes
import errno
import os
import queue
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from watchdog.observers import inotify_c

from ocrwatch.intake.arrivals import Arrivals, Hint
from ocrwatch.intake.ignore import is_ours
from ocrwatch.intake.mounts import MountTable
from tests.faults.disks import mounted, unmount

_WAIT_S = 60.0


class Hints:
    """What was hinted, waited for with a limit."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Hint] = queue.Queue()
        self.seen: list[Hint] = []
        self.put = self._queue.put

    def until(self, wanted: Callable[[Hint], bool]) -> Hint:
        """The first hint of that kind; fails when none comes."""
        while True:
            hint = self._queue.get(timeout=_WAIT_S)
            self.seen.append(hint)
            if wanted(hint):
                return hint

    def until_path(self, path: str) -> Hint:
        """The first hint about this path."""
        return self.until(lambda hint: hint.path == path)


@pytest.fixture
def hints() -> Hints:
    return Hints()


@pytest.fixture
def arrivals(hints: Hints) -> Iterator[Arrivals]:
    table = MountTable()
    subject = Arrivals(hints.put, dropped=is_ours, table=table)
    yield subject
    subject.stop()
    table.close()


def test_new_moved_and_deleted_files_are_hinted_and_our_own_reads_are_not(
    tmp_path: Path, arrivals: Arrivals, hints: Hints
) -> None:
    """WD: 50 reads made 100 events; here reading, and writing our outputs, makes none."""
    arrivals.watch(str(tmp_path), recursive=True)
    assert arrivals.trouble(str(tmp_path)) == ""
    scan = tmp_path / "scan.pdf"
    scan.write_bytes(b"x")
    assert hints.until_path("scan.pdf") == Hint(str(tmp_path), "scan.pdf", is_directory=False)
    scan.read_bytes()
    list(tmp_path.iterdir())
    (tmp_path / "scan.pdf.txt").write_text("text")
    (tmp_path / ".ocrwatch-1.tmp").write_text("text")
    scan.rename(tmp_path / "other.pdf")
    hints.until_path("other.pdf")
    (tmp_path / "other.pdf").unlink()
    hints.until_path("other.pdf")
    assert {hint.path for hint in hints.seen} == {"scan.pdf", "other.pdf"}
    assert len(hints.seen) <= 6


def test_name_that_is_not_utf8_is_hinted(tmp_path: Path, arrivals: Arrivals, hints: Hints) -> None:
    """WF: such a name ends another library's loop."""
    arrivals.watch(str(tmp_path), recursive=False)
    name = os.fsdecode(b"scan\xe4\n.pdf")
    (tmp_path / name).touch()
    hints.until_path(name)


def test_tree_that_is_moved_in_and_later_writes_below_are_hinted(tmp_path: Path, arrivals: Arrivals, hints: Hints) -> None:
    """NGX#5881: three levels by one rename; the directory is hinted, and what comes into it later."""
    inbox, stage = tmp_path / "inbox", tmp_path / "stage"
    inbox.mkdir()
    (stage / "1" / "2").mkdir(parents=True)
    (stage / "1" / "2" / "a.pdf").touch()
    arrivals.watch(str(inbox), recursive=True)
    stage.rename(inbox / "sub")
    assert hints.until_path("sub").is_directory
    hints.until_path("sub/1/2/a.pdf")
    (inbox / "sub" / "1" / "2" / "b.pdf").touch()
    hints.until_path("sub/1/2/b.pdf")
    (inbox / "new" / "deep").mkdir(parents=True)
    (inbox / "new" / "deep" / "c.pdf").touch()
    hints.until(lambda hint: hint.path.startswith("new"))


def test_lost_events_ask_for_a_full_scan_of_every_root(tmp_path: Path, arrivals: Arrivals, hints: Hints) -> None:
    """WD#654, WF#348: when the kernel's queue runs over, nobody knows what happened anywhere."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        arrivals.watch(str(tmp_path / name), recursive=True)
    assert arrivals._threads is not None
    descriptor = arrivals._threads.descriptor
    overflow = inotify_c.InotifyEvent(inotify_c.WatchDescriptor(-1), inotify_c.InotifyConstants.IN_Q_OVERFLOW, 0, b"")
    descriptor.handle_event(overflow)
    hints.until(lambda hint: hint == Hint(str(tmp_path / "a"), "", is_directory=True))
    hints.until(lambda hint: hint == Hint(str(tmp_path / "b"), "", is_directory=True))
    assert arrivals.trouble(str(tmp_path / "a")) == ""
    (tmp_path / "a" / "x.pdf").touch()
    hints.until_path("x.pdf")


@pytest.mark.parametrize("which", ["descriptor", "observer"])
def test_thread_that_ended_is_begun_anew_and_every_root_watched_again(
    tmp_path: Path, arrivals: Arrivals, hints: Hints, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """Whatever watchdog falls over once: no root is without events until the next start."""
    roots = [str(tmp_path / name) for name in ("a", "b")]
    for root in roots:
        Path(root).mkdir()
        arrivals.watch(root, recursive=True)
    assert arrivals._threads is not None
    thread = getattr(arrivals._threads, which)
    ended = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: ended.set())

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(thread, {"descriptor": "handle_event", "observer": "dispatch_events"}[which], fail)
    (tmp_path / "a" / "1.pdf").touch()
    (tmp_path / "a" / "2.pdf").touch()
    assert ended.wait(_WAIT_S)
    thread.join(_WAIT_S)
    assert all(arrivals.trouble(root) == f"the watch on {root!r} has ended" for root in roots)
    before = len(os.listdir("/proc/self/fd"))
    for root in roots:
        arrivals.watch(root, recursive=True)
    assert [arrivals.trouble(root) for root in roots] == ["", ""]
    assert len(os.listdir("/proc/self/fd")) == before
    (tmp_path / "b" / "3.pdf").touch()
    hints.until_path("3.pdf")


def test_refused_thread_leaves_an_inbox_that_is_listed(
    tmp_path: Path, arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread to be had is no reason not to look; events are asked for again."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        arrivals.watch(str(tmp_path), recursive=True)
    assert "can't start new thread" in arrivals.trouble(str(tmp_path))
    assert len(os.listdir("/proc/self/fd")) == before
    arrivals.watch(str(tmp_path), recursive=True)
    assert arrivals.trouble(str(tmp_path)) == ""


@pytest.mark.slow
def test_real_overflow_is_noticed_and_watching_goes_on(
    tmp_path: Path, arrivals: Arrivals, hints: Hints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """9,000 files made while the process was stopped: about half are reported, and nobody is told; here everything is scanned."""
    arrivals.watch(str(tmp_path), recursive=True)
    assert arrivals._threads is not None
    descriptor = arrivals._threads.descriptor
    released, real = threading.Event(), descriptor.handle_event

    def held(event: inotify_c.InotifyEvent) -> None:
        released.wait(_WAIT_S)
        real(event)

    monkeypatch.setattr(descriptor, "handle_event", held)
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text(encoding="ascii"))
    (tmp_path / "first.pdf").touch()
    for number in range(limit // 2 + 4_000):
        (tmp_path / f"{number}.pdf").touch()
    released.set()
    hints.until_path("")
    (tmp_path / "late.pdf").touch()
    hints.until_path("late.pdf")


def test_watch_limit_is_told_with_the_setting_to_raise(
    tmp_path: Path, arrivals: Arrivals, hints: Hints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NGX#5036, #4953: watchdog says nothing when a subdirectory gets no watch; the inbox must be scanned instead."""
    (tmp_path / "deep").mkdir()
    real = inotify_c.inotify_add_watch

    def limited(descriptor: int, path: bytes, mask: int) -> int:
        if path.endswith((b"/deep", b"/late")):
            ctypes.set_errno(errno.ENOSPC)
            return -1
        return real(descriptor, path, mask)

    monkeypatch.setattr(inotify_c, "inotify_add_watch", limited)
    arrivals.watch(str(tmp_path), recursive=True)
    assert "fs.inotify.max_user_watches" in arrivals.trouble(str(tmp_path))
    (tmp_path / "deep").rmdir()
    arrivals.watch(str(tmp_path), recursive=True)
    assert arrivals.trouble(str(tmp_path)) == ""
    (tmp_path / "late").mkdir()
    hints.until(lambda hint: hint.path == "" and "late" in arrivals.trouble(str(tmp_path)))


def test_removed_root_is_told_and_can_be_watched_again(tmp_path: Path, arrivals: Arrivals, hints: Hints) -> None:
    """WD: the emitter is dead and the observer says it is alive."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    arrivals.watch(str(inbox), recursive=True)
    shutil.rmtree(inbox)
    hints.until_path("")
    assert "removed" in arrivals.trouble(str(inbox))
    arrivals.watch(str(inbox), recursive=True)
    assert "cannot be watched" in arrivals.trouble(str(inbox))
    inbox.mkdir()
    arrivals.watch(str(inbox), recursive=True)
    assert arrivals.trouble(str(inbox)) == ""
    (inbox / "x.pdf").touch()
    hints.until_path("x.pdf")


def test_unmounted_root_is_told(tmp_path: Path, arrivals: Arrivals, hints: Hints) -> None:
    """WD: blind, and says it is alive."""
    with mounted(tmp_path / "share") as share:
        arrivals.watch(str(share), recursive=True)
        assert arrivals.trouble(str(share)) == ""
        unmount(share)
        hints.until_path("")
        assert "unmounted" in arrivals.trouble(str(share))


def test_root_that_was_replaced_is_told(tmp_path: Path, arrivals: Arrivals, hints: Hints) -> None:
    """WD: the watch goes on with the directory that was moved away, and says it is alive."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    arrivals.watch(str(inbox), recursive=True)
    inbox.rename(tmp_path / "old")
    inbox.mkdir()
    assert "replaced" in arrivals.trouble(str(inbox))
    arrivals.watch(str(inbox), recursive=True)
    assert arrivals.trouble(str(inbox)) == ""
    (inbox / "x.pdf").touch()
    hints.until_path("x.pdf")


def test_mount_over_the_root_is_told(tmp_path: Path, arrivals: Arrivals, hints: Hints) -> None:
    """WD, WF: both are blind for what is mounted over a watched inbox; watched again, it is seen, and also after the unmount."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    arrivals.watch(str(inbox), recursive=True)
    with mounted(inbox):
        assert "mounted" in arrivals.trouble(str(inbox))
        arrivals.watch(str(inbox), recursive=True)
        assert arrivals.trouble(str(inbox)) == ""
        (inbox / "x.pdf").touch()
        hints.until_path("x.pdf")
    assert arrivals.trouble(str(inbox)) != ""


def test_unwatched_root_is_not_trusted(tmp_path: Path, arrivals: Arrivals) -> None:
    """Nothing is trusted that was never, or is no longer, watched; ending twice is harmless."""
    assert "not watched" in arrivals.trouble(str(tmp_path))
    arrivals.watch(str(tmp_path), recursive=False)
    arrivals.unwatch(str(tmp_path))
    assert "not watched" in arrivals.trouble(str(tmp_path))
    arrivals.stop()


def test_one_root_in_trouble_leaves_the_others_alone(tmp_path: Path, arrivals: Arrivals, hints: Hints) -> None:
    """A dead inbox harms only itself."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()
    arrivals.watch(str(good), recursive=True)
    arrivals.watch(str(bad), recursive=True)
    bad.rmdir()
    hints.until(lambda hint: hint.root == str(bad))
    assert arrivals.trouble(str(good)) == ""
    (good / "x.pdf").touch()
    hints.until(lambda hint: hint == Hint(str(good), "x.pdf", is_directory=False))
