"""The one copy of a scan: one version of it, whole, or none."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

import pytest

from ocrwatch.errors import Infrastructure, OcrwatchError, ShareOffline, SourceChanged, SourceVanished, StateUnwritable
from ocrwatch.intake import spool, syscalls
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Identity
from ocrwatch.intake.spool import Spooled
from tests.faults.calls import after_call, failing, without_reflinks
from tests.faults.disks import mounted
from tests.faults.writers import replace, rewrite_in_place

DATA = os.urandom(3_000_000)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A settled scan."""
    path = tmp_path / "inbox" / "a" / "scan.pdf"
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    path.chmod(0o640)
    return path


def copy(scan: Path, destination: Path, expected: Identity | None = None) -> Spooled:
    root = Root(str(scan.parent.parent))
    return spool.copy(root, "a/scan.pdf", expected=expected or Identity.of(scan.stat()), destination=destination)


@pytest.mark.parametrize("shared", [True, False])
def test_copy_is_exact_private_and_hashed(scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool) -> None:
    """What recognition reads is the scan, bit by bit, and nobody else reads it."""
    if not shared:
        without_reflinks(monkeypatch)
    destination = tmp_path / "spool"
    spooled = copy(scan, destination)
    assert spooled == Spooled(hashlib.sha256(DATA).hexdigest(), len(DATA), mode=0o640, gid=os.getgid())
    assert destination.read_bytes() == DATA
    assert stat.S_IMODE(destination.stat().st_mode) == 0o600
    assert scan.read_bytes() == DATA
    assert Spooled.from_json(spooled.to_json()) == spooled


@pytest.mark.parametrize("change", [rewrite_in_place, replace])
@pytest.mark.parametrize("moment", ["before", "during"])
def test_file_replaced_while_it_is_copied_is_not_spooled(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: object, moment: str
) -> None:
    """R0Wi-DEV/workflow_ocr#36, NAPS#823: pages of two versions are never mixed; the copy is gone."""
    without_reflinks(monkeypatch)
    identity, other = Identity.of(scan.stat()), os.urandom(len(DATA))
    if moment == "before":
        change(scan, other)  # type: ignore[operator]
    else:
        after_call(monkeypatch, "pread", lambda: change(scan, other), nth=2)  # type: ignore[operator]
    with pytest.raises(SourceChanged):
        copy(scan, tmp_path / "spool", identity)
    assert not (tmp_path / "spool").exists()
    assert scan.read_bytes() == other


def test_file_that_vanishes_while_it_is_copied_is_not_spooled(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan that somebody takes back is forgotten."""
    after_call(monkeypatch, "pread", scan.unlink)
    with pytest.raises(SourceVanished):
        copy(scan, tmp_path / "spool")
    assert not (tmp_path / "spool").exists()
    with pytest.raises(SourceVanished):
        copy(scan, tmp_path / "spool", Identity(1, 1))


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN])
def test_share_that_drops_while_it_is_read_is_offline(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """WD#452, AUTO#21: the share's fault, never the file's."""
    without_reflinks(monkeypatch)
    failing(monkeypatch, "pread", number, first=2)
    with pytest.raises(ShareOffline):
        copy(scan, tmp_path / "spool")
    assert not (tmp_path / "spool").exists()


def test_state_directory_that_is_full_is_told_and_left_clean(scan: Path, tmp_path: Path) -> None:
    """NGX#8329: a full disk defers the file; no half copy uses up what is left."""
    with mounted(tmp_path / "state", options="size=1m") as state:
        with pytest.raises(StateUnwritable, match="no space left") as caught:
            copy(scan, state / "spool")
        assert list(state.iterdir()) == []
    assert isinstance(caught.value, Infrastructure)
    assert "free some space" in caught.value.remedy


def test_scan_that_does_not_fit_writes_nothing(scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan of a terabyte, or one of holes alone: the other scans still have the room that there is."""
    without_reflinks(monkeypatch)
    os.truncate(scan, 1 << 43)
    written = failing(monkeypatch, "write", 0, times=0)
    with pytest.raises(StateUnwritable, match=r"no space left on device for a scan of 8796\.1 GB"):
        copy(scan, tmp_path / "spool")
    assert written == []
    assert not (tmp_path / "spool").exists()


def test_scan_that_grows_while_it_is_copied_is_copied_no_further(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its writer makes of it, the state directory takes what was expected."""
    without_reflinks(monkeypatch)
    told: list[int] = []

    def tell(done: int) -> None:
        told.append(done)
        os.truncate(scan, 1 << 30)

    expected = Identity.of(scan.stat())
    with pytest.raises(SourceChanged, match="changed while it was copied"):
        spool.copy(Root(str(scan.parent.parent)), "a/scan.pdf", expected=expected, destination=tmp_path / "spool", tell=tell)
    assert max(told) <= len(DATA)
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_status_that_cannot_be_had_is_the_share_s_and_leaves_no_descriptor(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    """ESTALE of a server that restarted, at whichever look."""
    expected, before = Identity.of(scan.stat()), len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        failing(patch, "fstat", errno.ESTALE, first=nth)
        with pytest.raises(ShareOffline):
            copy(scan, tmp_path / "spool", expected)
    assert len(os.listdir("/proc/self/fd")) == before


def test_failed_fsync_of_the_copy_is_not_taken_for_success(scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that may not be on the disk is no copy."""
    failing(monkeypatch, "fsync", errno.EIO)
    with pytest.raises(StateUnwritable):
        copy(scan, tmp_path / "spool")
    assert not (tmp_path / "spool").exists()


def test_scan_that_may_not_be_read_is_deferred(scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A root-owned scan is told as such, and is not quarantined as corrupt."""
    identity = Identity.of(scan.stat())
    failing(monkeypatch, "open_beneath", errno.EACCES, module=syscalls)
    with pytest.raises(Infrastructure, match="permission denied") as caught:
        copy(scan, tmp_path / "spool", identity)
    assert "right to read" in caught.value.remedy


def test_symlink_in_the_place_of_the_scan_is_not_followed(scan: Path, tmp_path: Path) -> None:
    """A name that turns into a link between look and copy leads nowhere."""
    identity = Identity.of(scan.stat())
    scan.unlink()
    scan.symlink_to("/etc/passwd")
    with pytest.raises(OcrwatchError) as caught:
        copy(scan, tmp_path / "spool", identity)
    assert isinstance(caught.value, SourceVanished)


def test_copy_leaves_no_descriptor_open(scan: Path, tmp_path: Path) -> None:
    """A thousand scans a day must not run out of descriptors."""
    before = len(os.listdir("/proc/self/fd"))
    copy(scan, tmp_path / "spool")
    with pytest.raises(SourceChanged):
        copy(scan, tmp_path / "other", Identity(1, 1))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("shared", [True, False])
def test_copy_has_its_name_only_when_it_is_whole(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    """Whoever is killed in the middle leaves nothing that could be taken for the scan, and nothing in the way of the next."""
    if not shared:
        without_reflinks(monkeypatch)
    destination = tmp_path / "spool"
    seen = []

    def look(_: int) -> None:
        seen.append(destination.exists())
        (tmp_path / "left").write_bytes(next(tmp_path.glob(".spool*")).read_bytes())

    arguments = {"expected": Identity.of(scan.stat()), "destination": destination}
    spool.copy(Root(str(scan.parent.parent)), "a/scan.pdf", **arguments, tell=look)  # type: ignore[arg-type]
    assert seen == [False] * 3
    assert destination.read_bytes() == DATA
    destination.unlink()
    (tmp_path / "left").rename(tmp_path / ".spool")
    copy(scan, destination)
    assert destination.read_bytes() == DATA
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inbox", "spool"]
