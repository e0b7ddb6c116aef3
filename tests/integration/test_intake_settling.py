"""Files as writers really write them, from the first byte to `take it now`; the clock is a number."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from ocrwatch.intake.beneath import Root
from ocrwatch.intake.settle import Look, Tracker, WaitReason
from ocrwatch.intake.tree import completeness, look, look_closely, scan
from tests.faults.writers import growing, replace, rewrite_in_place, sized_before_filled

SETTLE_S = 5.0


def pages(count: int, kind: str = "PDF") -> bytes:
    """A valid document of so many pages."""
    images = [Image.frombytes("L", (64, 64), os.urandom(64 * 64)) for _ in range(count)]
    buffer = io.BytesIO()
    more = {"save_all": True, "append_images": images[1:]} if count > 1 else {}
    images[0].save(buffer, kind, **more)
    return buffer.getvalue()


class Intake:
    """What the daemon does with one inbox, at times that the test chooses."""

    def __init__(self, inbox: Path) -> None:
        self._root = Root(str(inbox))
        self.tracker = Tracker(settle_s=SETTLE_S, incomplete_max_s=600.0)
        self.now_s = 1000.0
        self.taken: list[tuple[str, int]] = []

    def reconcile(self) -> None:
        """One scan of the whole inbox."""
        for listing in scan(self._root, recursive=True):
            for entry in listing.entries():
                self._look(entry.path)

    def run(self, seconds: float) -> None:
        """Let time pass, and look at what is due."""
        end = self.now_s + seconds
        while (due := self.tracker.next_due_s()) is not None and due <= end:
            self.now_s = max(self.now_s, due)
            for path in self.tracker.due(self.now_s):
                self._look(path)
        self.now_s = end

    def _look(self, path: str) -> None:
        seen = look_closely(self._root, path)
        if seen is None or seen.identity is None:
            self.tracker.gone(path)
        elif self.tracker.look(path, seen.identity, self.now_s) is Look.CHECK:
            found = completeness(self._root, path, seen.identity)
            if self.tracker.checked(path, found, self.now_s):
                self.tracker.taken(path)
                self.taken.append((path, seen.identity.size))


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def intake(inbox: Path) -> Intake:
    return Intake(inbox)


@pytest.mark.parametrize("pause_s", [0.2, 4.0])
def test_page_at_a_time_scanner_gives_one_file(inbox: Path, intake: Intake, pause_s: float) -> None:
    """NGX PR#43, #494, PR#4626: rewritten with one more page each time, taken once, with all pages."""
    for count in range(1, 6):
        (inbox / "scan.pdf").write_bytes(pages(count))
        intake.reconcile()
        intake.run(pause_s)
    assert intake.taken == []
    intake.run(60.0)
    assert intake.taken == [("scan.pdf", (inbox / "scan.pdf").stat().st_size)]


def test_scanner_that_pauses_longer_gives_a_newer_version(inbox: Path, intake: Intake) -> None:
    """NGX#432, #984: after a pause beyond `settle` the early version is taken, and the later one as well, to supersede it."""
    sizes = []
    for count in (1, 5):
        (inbox / "scan.pdf").write_bytes(pages(count))
        sizes.append((inbox / "scan.pdf").stat().st_size)
        intake.reconcile()
        intake.run(20.0)
    assert intake.taken == [("scan.pdf", sizes[0]), ("scan.pdf", sizes[1])]


def test_placeholder_waits_until_it_is_filled_or_deleted(inbox: Path, intake: Intake) -> None:
    """NGX#12511, #2419, SP#1214: no failure, no restart; a deleted one is forgotten."""
    (inbox / "scan.pdf").touch()
    (inbox / "other.pdf").touch()
    intake.reconcile()
    intake.run(20 * SETTLE_S)
    assert {waiting.reason for waiting in intake.tracker.waiting()} == {WaitReason.EMPTY}
    (inbox / "other.pdf").unlink()
    (inbox / "scan.pdf").write_bytes(pages(1))
    intake.run(60.0)
    assert [path for path, _ in intake.taken] == ["scan.pdf"]
    assert intake.tracker.waiting() == []


@pytest.mark.parametrize("kind", ["PDF", "TIFF", "JPEG"])
def test_upload_that_stalls_is_waited_for(inbox: Path, intake: Intake, kind: str) -> None:
    """NGX#14219, OMP#479: 60 % of a file, at rest far longer than `settle`, is not taken; the whole of it is."""
    data = pages(3 if kind != "JPEG" else 1, kind)
    for size in growing(inbox / "scan.pdf", data, steps=5):
        intake.reconcile()
        intake.run(10 * SETTLE_S)
        assert intake.taken == [] or size == len(data)
    intake.run(60.0)
    assert intake.taken == [("scan.pdf", len(data))]


def test_file_with_its_final_size_is_waited_for_until_it_is_filled(inbox: Path, intake: Intake) -> None:
    """SMB clients give the size first: the size never changes, the time does once."""
    data = pages(3)
    sized_before_filled(inbox / "scan.pdf", data, filled=0.6)
    intake.reconcile()
    intake.run(10 * SETTLE_S)
    assert [waiting.reason for waiting in intake.tracker.waiting()] == [WaitReason.TRUNCATED]
    rewrite_in_place(inbox / "scan.pdf", data)
    intake.run(60.0)
    assert intake.taken == [("scan.pdf", len(data))]


def test_damaged_file_goes_to_the_worker_in_the_end(inbox: Path, intake: Intake) -> None:
    """What never becomes whole is decided on after `incomplete_max`, not before, and not never."""
    (inbox / "scan.pdf").write_bytes(pages(3)[:-500])
    intake.reconcile()
    intake.run(599.0)
    assert intake.taken == []
    intake.run(40.0)
    assert len(intake.taken) == 1


def test_temporary_name_is_taken_after_its_rename(inbox: Path, intake: Intake) -> None:
    """NG#1509, ST#2208: under its upload's name it does not exist; under its final name it settles like any other."""
    (inbox / "scan.pdf.filepart").write_bytes(pages(1))
    intake.reconcile()
    assert intake.tracker.waiting() == []
    (inbox / "scan.pdf.filepart").rename(inbox / "scan.pdf")
    intake.reconcile()
    intake.run(SETTLE_S)
    assert [path for path, _ in intake.taken] == ["scan.pdf"]


def test_start_takes_what_is_there_and_waits_for_what_is_half_written(inbox: Path, intake: Intake) -> None:
    """OMP#485: ten files that came while the daemon was down are taken; the eleventh is still being written."""
    for number in range(10):
        (inbox / f"{number}.pdf").write_bytes(pages(1))
    half = growing(inbox / "half.pdf", pages(3), steps=3)
    next(half)
    intake.reconcile()
    intake.run(30.0)
    assert len(intake.taken) == 10
    next(half), next(half)
    intake.run(60.0)
    assert intake.taken[10][0] == "half.pdf"


def test_touching_without_changing_is_no_new_version(inbox: Path) -> None:
    """NGX#13511, #494: chmod, extended attributes, a virus scanner and a rename to the same name make no new file."""
    path, root = inbox / "scan.pdf", Root(str(inbox))
    path.write_bytes(pages(1))
    before = look(root, "scan.pdf")
    path.chmod(0o600)
    path.read_bytes()
    path.rename(path)
    os.link(path, inbox / "second.pdf")
    assert look(root, "scan.pdf") == before
    replace(path, path.read_bytes())
    assert look(root, "scan.pdf") != before
