"""What is written to, or read before, on mounts that go and come back: the whole way of a scan, with real parts and folders."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocrwatch.journal.journal import Journal
from ocrwatch.journal.records import WHOLE_INBOX
from ocrwatch.journal.states import JobState
from ocrwatch.output.archivist import Archivist
from tests.faults.mounting import BindMounts, Mounting, SwappedFolders, may_mount
from tests.faults.rig import CrashPoint, Rig, scan_of, text_of

_SCAN = scan_of("one", "two")

Make = Callable[..., Rig]


@pytest.fixture(params=["mounted", "swapped"])
def make(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """A rig of the test's choice, on mounts of either kind."""
    if request.param == "mounted" and not may_mount():
        pytest.skip("file systems cannot be mounted here")
    mounting: Mounting = BindMounts() if request.param == "mounted" else SwappedFolders(monkeypatch)
    made: list[Rig] = []

    def make(*trees: str, **options: bool) -> Rig:
        made.append(Rig(tmp_path, mounting, trees=trees, **options))
        return made[0]

    yield make
    made[0].close()


def _put(rig: Rig, path: str, data: bytes = _SCAN) -> Path:
    scan = rig.at(path)
    scan.parent.mkdir(parents=True, exist_ok=True)
    scan.write_bytes(data)
    rig.hint(path)
    return scan


def _state(rig: Rig, path: str) -> JobState:
    job = rig.journal.current("in", path)
    assert job is not None
    return job.state


@pytest.mark.parametrize("restarts", [False, True])
def test_texts_whose_mount_is_away_wait_for_it(make: Make, restarts: bool) -> None:
    """Row 8: the job says why, nothing lands below the bare mount point, and it goes on by itself; no page is read twice."""
    rig = make(Rig.TEXTS, mirrored=True)
    rig.unmount(Rig.TEXTS)
    _put(rig, "s/a.pdf")
    rig.after(30)
    if restarts:
        rig.stop()
        rig.start()
    rig.after(600)
    told = rig.why("s/a.pdf")
    assert (told["state"], told["reason"]) == (JobState.DEFERRED, "share_offline")
    assert "another mount than the known one stands at" in told["detail"]
    assert rig.bare_points() != []
    assert [list(point.iterdir()) for point in rig.bare_points()] == [[]]
    rig.mount(Rig.TEXTS)
    rig.after(3600)
    assert _state(rig, "s/a.pdf") is JobState.DONE
    assert rig.sidecar("s/a.pdf.txt").read_text(encoding="utf-8") == text_of(_SCAN)
    assert rig.pages_read == 2


def test_archive_whose_mount_is_away_gets_its_scans_when_it_is_back(make: Make) -> None:
    """Row 8: the scan stays where it is meanwhile, its text beside it."""
    rig = make(Rig.TEXTS, archives=True)
    scan = _put(rig, "s/a.pdf")
    rig.after(30)
    assert _state(rig, "s/a.pdf") is JobState.DONE
    archivist = _archivist(rig)
    rig.unmount(Rig.TEXTS)
    rig.after(120)
    archivist.step()
    assert _state(rig, "s/a.pdf") is JobState.DONE
    assert scan.read_bytes() == _SCAN
    assert [list(point.iterdir()) for point in rig.bare_points()] == [[]]
    rig.mount(Rig.TEXTS)
    rig.after(120)
    archivist.step()
    assert _state(rig, "s/a.pdf") is JobState.ARCHIVED
    assert not scan.exists()
    assert (rig.homes()[Rig.TEXTS] / "s" / "a.pdf").read_bytes() == _SCAN


def _archivist(rig: Rig) -> Archivist:
    journal: Journal = rig.journal
    return Archivist(journal, rig.treatment, scope=lambda: WHOLE_INBOX, clock=rig.clock, wall_clock=rig.wall)


def test_scan_that_is_only_touched_is_not_read_again(make: Make) -> None:
    """Row 13: the same bytes with another time are another version, with the text that was read before."""
    rig = make("")
    scan = _put(rig, "a.pdf")
    rig.after(30)
    for number in (1, 2):
        os.utime(scan, ns=(number, number))
        rig.after(400)
        assert _state(rig, "a.pdf") is JobState.DONE
        assert json.loads(rig.sidecar("a.pdf.json").read_bytes())["source"]["mtime_ns"] == number
    assert rig.sidecar("a.pdf.txt").read_text(encoding="utf-8") == text_of(_SCAN)
    assert rig.pages_read == 2


def test_copy_of_a_scan_is_not_held_up_by_a_mount_that_is_away(tmp_path: Path) -> None:
    """The text that was read before lies on a share that is gone: the copy is read by itself, at once."""
    if not may_mount():
        pytest.skip("file systems cannot be mounted here")
    rig = Rig(tmp_path, BindMounts(), trees=(Rig.NAS,))
    try:
        _put(rig, "nas/a.pdf")
        rig.after(30)
        assert _state(rig, "nas/a.pdf") is JobState.DONE
        rig.unmount(Rig.NAS)
        _put(rig, "b.pdf")
        rig.after(30)
        assert [_state(rig, path) for path in ("nas/a.pdf", "b.pdf")] == [JobState.DONE, JobState.DONE]
        assert rig.sidecar("b.pdf.txt").read_text(encoding="utf-8") == text_of(_SCAN)
        assert rig.pages_read == 4
    finally:
        rig.close()


@pytest.mark.parametrize("crashes", [False, True])
def test_mount_that_came_back_is_found_by_the_next_service(tmp_path: Path, crashes: bool) -> None:
    """Whether or not another one was there between, and without a journal that remembers it."""
    if not may_mount():
        pytest.skip("file systems cannot be mounted here")
    rig = Rig(tmp_path, BindMounts(), trees=("", Rig.NAS))
    try:
        rig.unmount(Rig.NAS)
        rig.look()
        rig.mount(Rig.NAS)
        _put(rig, "nas/a.pdf")
        if crashes:
            assert rig.crash(CrashPoint.DONE, nth=1, after_s=12.0)
        rig.stop()
        rig.lose_journal()
        rig.start()
        rig.after(600)
        assert _state(rig, "nas/a.pdf") is JobState.DONE
        assert rig.sidecar("nas/a.pdf.txt").read_text(encoding="utf-8") == text_of(_SCAN)
    finally:
        rig.close()
