"""Moving a finished scan away: never a byte lost."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ocrwatch.errors import OutputUnwritable, SourceChanged, SourceVanished
from ocrwatch.intake import syscalls
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Identity
from ocrwatch.output import archive as module
from ocrwatch.output.archive import archive, recover
from tests.faults.calls import before_call, failing, without_links, without_rename_noreplace
from tests.faults.disks import fill, mounted
from tests.faults.writers import replace, rewrite_in_place

DATA = b"a finished scan" * 1000
OTHER = b"another scan!!!" * 1000


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "inbox" / "a" / "scan.pdf"
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    return path


@pytest.fixture(params=["rename without clobbering", "neither rename nor links"])
def clobbering(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "rename without clobbering":
        without_rename_noreplace(monkeypatch)
        without_links(monkeypatch)


def move(scan: Path, target: Path, expected: Identity | None = None, destination: str = "2026/scan.pdf") -> str:
    target.mkdir(exist_ok=True)
    return archive(
        Root(str(scan.parent.parent)),
        "a/scan.pdf",
        expected=expected or Identity.of(scan.stat()),
        sha256=hashlib.sha256(DATA).hexdigest(),
        destination_root=Root(str(target)),
        destination=destination,
    )


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("clobbering")
def test_scan_is_moved_as_it_is(scan: Path, tmp_path: Path) -> None:
    """On one file system the very file moves, and nothing private remains."""
    inode = scan.stat().st_ino
    assert move(scan, tmp_path / "done") == "2026/scan.pdf"
    assert (tmp_path / "done" / "2026" / "scan.pdf").stat().st_ino == inode
    assert list(scan.parent.iterdir()) == []


@pytest.mark.usefixtures("clobbering")
def test_archived_scan_of_the_same_name_is_kept(scan: Path, tmp_path: Path) -> None:
    """scan0001.pdf comes every day: the archive numbers, it never overwrites."""
    for expected in ("2026/scan.pdf", "2026/scan.1.pdf", "2026/scan.2.pdf"):
        scan.write_bytes(DATA)
        assert move(scan, tmp_path / "done") == expected
    assert set(everything(tmp_path / "done").values()) == {DATA}
    assert len(everything(tmp_path / "done")) == 3


@pytest.mark.parametrize("name", ["x" * 251 + ".pdf", "ü" * 125 + ".tif", "y" * 255])
def test_long_name_that_is_taken_has_another_that_fits(tmp_path: Path, name: str) -> None:
    """A name of 255 bytes has no room for a number."""
    inbox, done = tmp_path / "inbox", tmp_path / "done"
    for folder, data in ((inbox, DATA), (done, b"another")):
        folder.mkdir()
        (folder / name).write_bytes(data)
    moved = archive(
        Root(str(inbox)),
        name,
        expected=Identity.of((inbox / name).stat()),
        sha256=hashlib.sha256(DATA).hexdigest(),
        destination_root=Root(str(done)),
        destination=name,
    )
    assert (done / moved).read_bytes() == DATA
    assert (done / name).read_bytes() == b"another"
    assert Path(moved).suffix == Path(name).suffix or ".1" in moved


@pytest.mark.parametrize("change", [rewrite_in_place, replace])
def test_scan_that_is_another_is_put_back(scan: Path, tmp_path: Path, change: object) -> None:
    """NGX#3077, AUTO#23: a newer scan under the name of a finished one is never archived in its place."""
    identity = Identity.of(scan.stat())
    change(scan, OTHER)  # type: ignore[operator]
    with pytest.raises(SourceChanged):
        move(scan, tmp_path / "done", identity)
    assert everything(tmp_path) == {"inbox/a/scan.pdf": OTHER}
    assert os.listdir(scan.parent) == ["scan.pdf"]


def test_same_times_and_size_with_other_bytes_are_another_scan(scan: Path, tmp_path: Path) -> None:
    """The hash decides, not the times."""
    before = scan.stat()
    with scan.open("r+b") as file:
        file.write(OTHER)
    os.utime(scan, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(SourceChanged):
        move(scan, tmp_path / "done", Identity.of(before))
    assert everything(tmp_path) == {"inbox/a/scan.pdf": OTHER}


def test_new_scan_that_comes_while_a_changed_one_is_put_back_is_kept_too(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both versions survive: the one that was aside gets a number."""
    identity = Identity.of(scan.stat())
    rewrite_in_place(scan, OTHER)
    before_call(monkeypatch, "_verify", lambda: scan.write_bytes(b"third"), module=module)
    with pytest.raises(SourceChanged):
        move(scan, tmp_path / "done", identity)
    assert everything(tmp_path) == {"inbox/a/scan.pdf": b"third", "inbox/a/scan.1.pdf": OTHER}


def test_scan_that_is_gone_is_told(scan: Path, tmp_path: Path) -> None:
    """Somebody took it away: nothing to archive."""
    identity = Identity.of(scan.stat())
    scan.unlink()
    with pytest.raises(SourceVanished):
        move(scan, tmp_path / "done", identity)
    assert list(scan.parent.iterdir()) == []


def test_directory_or_link_in_the_place_of_the_scan_is_put_back(scan: Path, tmp_path: Path) -> None:
    """What is no regular file is not archived, and not lost."""
    identity = Identity.of(scan.stat())
    scan.unlink()
    scan.symlink_to("/etc/passwd")
    with pytest.raises(SourceChanged):
        move(scan, tmp_path / "done", identity)
    assert scan.is_symlink()


def test_scan_is_moved_across_file_systems(scan: Path, tmp_path: Path) -> None:
    """Copied, synced, verified, and only then removed; its times are kept."""
    mtime_ns = scan.stat().st_mtime_ns
    with mounted(tmp_path / "done") as done:
        assert move(scan, done) == "2026/scan.pdf"
        assert everything(done) == {"2026/scan.pdf": DATA}
        assert (done / "2026" / "scan.pdf").stat().st_mtime_ns == mtime_ns
    assert list(scan.parent.iterdir()) == []


def test_full_archive_leaves_the_scan_where_it_was(scan: Path, tmp_path: Path) -> None:
    """No space: the scan is back under its name, and nothing of it is left in the archive."""
    with mounted(tmp_path / "done") as done:
        fill(done, leave_bytes=4096)
        with pytest.raises(OutputUnwritable, match="no space left"):
            move(scan, done)
        assert set(everything(done)) == {".hog"}
    assert everything(tmp_path) == {"inbox/a/scan.pdf": DATA}
    assert os.listdir(scan.parent) == ["scan.pdf"]


@pytest.mark.parametrize("copied", ["wrong bytes", "changed behind"])
def test_copy_that_is_not_the_scan_is_discarded(scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copied: str) -> None:
    """A disk that stores other bytes, or a writer that still has the scan open, must not cost the original."""
    with mounted(tmp_path / "done") as done:
        writer = os.open(scan, os.O_WRONLY)
        if copied == "wrong bytes":
            real = os.write
            monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(len(data))))
        else:
            before_call(monkeypatch, "_verify_copy", lambda: os.pwrite(writer, b"more", len(DATA)), module=module)
        with pytest.raises((OutputUnwritable, SourceChanged)):
            move(scan, done)
        os.close(writer)
        assert everything(done) == {}
    assert scan.read_bytes().startswith(DATA)


def test_failed_rename_puts_the_scan_back(scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal by the archive's file system is told; the scan is where it was."""
    failing(monkeypatch, "rename_noreplace", errno.EACCES, times=1, module=syscalls)
    with pytest.raises(OutputUnwritable, match="permission denied"):
        move(scan, tmp_path / "done")
    assert everything(tmp_path) == {"inbox/a/scan.pdf": DATA}


_KILLED = """
import os, signal, sys
from pathlib import Path
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Identity
from ocrwatch.output import archive
setattr(archive, sys.argv[1], lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL))
scan, done = Path(sys.argv[2]), sys.argv[3]
archive.archive(Root(str(scan.parent)), scan.name, expected=Identity.of(scan.stat()), sha256=sys.argv[4],
    destination_root=Root(done), destination=scan.name)
"""


@pytest.mark.parametrize("step", ["_verify", "_rename"])
def test_scan_is_put_back_after_a_kill(scan: Path, tmp_path: Path, step: str) -> None:
    """kill -9 while the scan is aside: the next start puts it back under its name, without clobbering a newer one."""
    (tmp_path / "done").mkdir()
    arguments = [step, str(scan), str(tmp_path / "done"), hashlib.sha256(DATA).hexdigest()]
    done = subprocess.run([sys.executable, "-c", _KILLED, *arguments], check=False, capture_output=True)
    assert done.returncode == -9, done.stderr
    assert not scan.exists()
    if step == "_rename":
        scan.write_bytes(OTHER)
    expected = "a/scan.1.pdf" if step == "_rename" else "a/scan.pdf"
    assert recover(Root(str(scan.parent.parent)), "a") == [expected]
    assert everything(tmp_path)[f"inbox/{expected}"] == DATA
    assert recover(Root(str(scan.parent.parent)), "a") == []
    assert not [path for path in scan.parent.iterdir() if path.name.startswith(".")]


def test_recover_leaves_a_move_in_progress_alone(scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scan of another thread's archiving is not litter."""
    found: list[list[str]] = []
    root = Root(str(scan.parent.parent))
    before_call(monkeypatch, "_verify", lambda: found.append(recover(root, "a")), module=module)
    move(scan, tmp_path / "done")
    assert found == [[]]
    assert everything(tmp_path) == {"done/2026/scan.pdf": DATA}


def test_scan_that_could_not_be_put_back_is_by_the_next_look(scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails twice in a row hides no scan until the next start."""
    with monkeypatch.context() as patch:
        failing(patch, "rename_noreplace", errno.EIO, module=syscalls)
        with pytest.raises(OutputUnwritable):
            move(scan, tmp_path / "done")
    assert not scan.exists()
    assert recover(Root(str(scan.parent.parent)), "a") == ["a/scan.pdf"]
    assert everything(tmp_path) == {"inbox/a/scan.pdf": DATA}


def test_what_anybody_may_name_like_a_move_stops_none(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, a link to nowhere, and a directory with what cannot be moved: the rest is put back."""
    code = "from ocrwatch.output import marks; print(*(marks.maker() for _ in range(4)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    file, link, stuck, left = (scan.parent / f".ocrwatch-moving-{mark}" for mark in sorted(printed))
    file.touch()
    link.symlink_to("nowhere")
    for folder in (stuck, left):
        folder.mkdir()
        (folder / f"{folder.name[-8:]}.pdf").write_bytes(DATA)
    failing(monkeypatch, "rename_noreplace", errno.EACCES, times=1, module=syscalls)
    assert recover(Root(str(scan.parent.parent)), "a") == [f"a/{left.name[-8:]}.pdf"]
    assert sorted(os.listdir(scan.parent)) == sorted([file.name, link.name, stuck.name, "scan.pdf", f"{left.name[-8:]}.pdf"])
