"""Scanning a real tree, and looking at single files."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocrwatch.errors import Infrastructure, ShareOffline, SourceChanged, SourceVanished
from ocrwatch.intake import syscalls
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Identity, Kind
from ocrwatch.intake.ignore import NO_PATTERNS, Patterns
from ocrwatch.intake.tree import DirectoryListing, Seen, completeness, look, look_closely, scan
from tests.faults.calls import after_call, failing
from tests.faults.writers import replace, rewrite_in_place

PDF = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\nxref\n0 1\n0000000000 65535 f \ntrailer\n<</Size 1>>\nstartxref\n29\n%%EOF\n"


def paths(root: Path, *, recursive: bool = True, patterns: Patterns = NO_PATTERNS) -> list[str]:
    listings = scan(Root(str(root)), recursive=recursive, patterns=patterns)
    return sorted(entry.path for listing in listings for entry in listing.entries())


def write(path: Path, data: bytes = PDF) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_scan_takes_regular_files_only(tmp_path: Path) -> None:
    """OMP#1715, PL#341: links, FIFOs, sockets and directories with a scan's name never get in."""
    write(tmp_path / "good.pdf")
    write(tmp_path / "dir.pdf" / "inside.pdf")
    os.mkfifo(tmp_path / "fifo.pdf")
    (tmp_path / "link.pdf").symlink_to("good.pdf")
    (tmp_path / "loop.pdf").symlink_to("loop.pdf")
    (tmp_path / "linked").symlink_to(tmp_path / "dir.pdf")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.pdf"))
        assert paths(tmp_path) == ["dir.pdf/inside.pdf", "good.pdf"]
    assert paths(tmp_path, recursive=False) == ["good.pdf"]


def test_scan_leaves_out_junk_and_our_own_files_and_reports_leftovers(tmp_path: Path) -> None:
    """OMP#484: outputs in the inbox are never taken in; litter of a crash is named where it lies."""
    write(tmp_path / "a" / "scan.pdf")
    for name in ("scan.pdf.txt", "scan.pdf.json", "scan.pdf.part", "._scan.pdf", "Thumbs.db", ".ocrwatch-1.tmp"):
        write(tmp_path / "a" / name)
    write(tmp_path / "a" / ".ocrwatch-moving-1" / "other.pdf")
    write(tmp_path / "@eaDir" / "scan.pdf")
    write(tmp_path / "archive" / "scan.pdf")
    listings = {
        found.directory: found for found in scan(Root(str(tmp_path)), recursive=True, patterns=Patterns(ignore=("archive",)))
    }
    assert sorted(listings) == ["", "a"]
    assert [entry.path for entry in listings["a"].entries()] == ["a/scan.pdf"]
    assert listings["a"].leftovers == (".ocrwatch-1.tmp", ".ocrwatch-moving-1")


def test_scan_keeps_names_of_any_bytes(tmp_path: Path) -> None:
    """WF: one odd name ends another watcher's loop; here it is an entry that survives a frame."""
    names = sorted(os.fsdecode(name) for name in (b"scan\xe4.pdf", b"-x.pdf", b"a\nb.pdf", b"n" * 251 + b".pdf"))
    for name in names:
        write(tmp_path / name)
    (listing,) = scan(Root(str(tmp_path)), recursive=True)
    assert [entry.path for entry in listing.entries()] == names
    assert DirectoryListing.from_json(listing.to_json()) == listing


def test_scan_from_a_subdirectory_and_of_a_deep_tree(tmp_path: Path) -> None:
    """NGX#5881: a tree that was moved in is found as a whole, from where the hint points."""
    write(tmp_path / "sub" / "1" / "2" / "3" / "scan.pdf")
    write(tmp_path / "top.pdf")
    found = scan(Root(str(tmp_path)), "sub", recursive=True)
    assert [entry.path for listing in found for entry in listing.entries()] == ["sub/1/2/3/scan.pdf"]
    assert list(scan(Root(str(tmp_path)), "gone", recursive=True)) == []


def test_file_that_vanishes_during_the_scan_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that goes away between its listing and its turn is no error."""
    write(tmp_path / "a" / "x.pdf")
    write(tmp_path / "b" / "y.pdf")
    listings = scan(Root(str(tmp_path)), recursive=True)
    next(listings)
    (tmp_path / "a" / "x.pdf").unlink()
    (tmp_path / "a").rmdir()
    assert [listing.directory for listing in listings] == ["b"]


@pytest.mark.parametrize("number", [errno.ENOTCONN, errno.EHOSTDOWN, errno.ETIMEDOUT])
def test_share_that_drops_during_the_scan_is_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """WD#452, home-assistant/supervisor#4985: the scan ends in one error, not in an empty listing that reads as 'all gone'."""
    write(tmp_path / "a" / "x.pdf")
    failing(monkeypatch, "scandir", number, first=2)
    listings = scan(Root(str(tmp_path)), recursive=True)
    assert next(listings).directory == ""
    with pytest.raises(ShareOffline):
        next(listings)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_directory_that_cannot_be_read_is_reported_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """One private or damaged folder in an inbox does not stop the inbox; its listing claims nothing."""
    write(tmp_path / "a" / "x.pdf")
    write(tmp_path / "b" / "y.pdf")
    failing(monkeypatch, "scandir", number, first=2, times=1)
    listings = list(scan(Root(str(tmp_path)), recursive=True))
    assert [(found.directory, found.error) for found in listings] == [("", ""), ("a", os.strerror(number).lower()), ("b", "")]


def test_root_that_is_gone_is_offline(tmp_path: Path) -> None:
    """An inbox without a directory is offline, not empty."""
    with pytest.raises(ShareOffline):
        list(scan(Root(str(tmp_path / "none")), recursive=True))


def test_look_tells_what_stands_there(tmp_path: Path) -> None:
    """A hint's path is looked at by lstat."""
    root, path = Root(str(tmp_path)), write(tmp_path / "a" / "scan.pdf")
    identity = Identity.of(path.stat())
    assert look(root, "a/scan.pdf") == look_closely(root, "a/scan.pdf") == Seen(Kind.REGULAR, identity)
    assert look(root, "a") == Seen(Kind.DIRECTORY, None)
    (tmp_path / "l.pdf").symlink_to("a/scan.pdf")
    assert look(root, "l.pdf") == look_closely(root, "l.pdf") == Seen(Kind.SYMLINK, None)
    os.mkfifo(tmp_path / "f.pdf")
    assert look(root, "f.pdf") == look_closely(root, "f.pdf") == Seen(Kind.SPECIAL, None)
    assert look(root, "none.pdf") is None
    assert look(root, "none/none.pdf") is None
    assert look(root, "a/scan.pdf/below.pdf") is None


def test_look_closely_takes_the_newer_of_two_views(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured on NFS 4.2: stat shows a growing file as unchanged for seconds, open and fstat do not; SMB the other way."""
    path = write(tmp_path / "scan.pdf")
    stale = path.stat()
    rewrite_in_place(path, PDF * 2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", lambda *_, **__: stale)
        by_open = look_closely(Root(str(tmp_path)), "scan.pdf")
    with monkeypatch.context() as patch:
        real = os.fstat
        patch.setattr(os, "fstat", lambda fd: stale if real(fd).st_ino == stale.st_ino else real(fd))
        by_stat = look_closely(Root(str(tmp_path)), "scan.pdf")
    assert by_open is not None
    assert by_open == by_stat == Seen(Kind.REGULAR, Identity.of(path.stat()))


def test_file_that_may_not_be_read_is_not_called_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SP#7720: a file locked by its writer, or of another user, is tried again; it is nobody's fault."""
    path = write(tmp_path / "scan.pdf")
    failing(monkeypatch, "open_beneath", errno.EACCES, module=syscalls)
    with pytest.raises(Infrastructure, match="permission denied") as caught:
        look_closely(Root(str(tmp_path)), "scan.pdf")
    assert type(caught.value) is Infrastructure
    with pytest.raises(Infrastructure, match="permission denied"):
        completeness(Root(str(tmp_path)), "scan.pdf", Identity.of(path.stat()))


def test_completeness_is_of_the_version_that_was_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changes during the check is not settled."""
    path, root = write(tmp_path / "scan.pdf"), Root(str(tmp_path))
    identity = Identity.of(path.stat())
    assert completeness(root, "scan.pdf", identity).whole
    rewrite_in_place(path, PDF[:-20])
    with pytest.raises(SourceChanged):
        completeness(root, "scan.pdf", identity)
    assert not completeness(root, "scan.pdf", Identity.of(path.stat())).whole
    replace(path, PDF)
    with pytest.raises(SourceChanged):
        completeness(root, "scan.pdf", identity)
    path.unlink()
    with pytest.raises(SourceVanished):
        completeness(root, "scan.pdf", identity)


def test_scan_lists_one_directory_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full inbox is listed one directory at a time; files that come during it are found in directories not yet listed."""
    for number in range(2_000):
        (tmp_path / f"{number:05}.pdf").touch()
    (tmp_path / "z").mkdir()
    after_call(monkeypatch, "scandir", lambda: write(tmp_path / "z" / "late.pdf"))
    first, second = scan(Root(str(tmp_path)), recursive=True)
    assert len(first.files) == 2_000
    assert [entry.path for entry in second.entries()] == ["z/late.pdf"]


def test_large_folder_that_breaks_off_is_no_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that came before say nothing: what follows them would read as gone."""
    for name in "abcde":
        write(tmp_path / "sub" / f"{name}.pdf")
    real, inode = os.scandir, (tmp_path / "sub").stat().st_ino

    def unfinished(items: Iterator[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
        yield from items
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    @contextlib.contextmanager
    def scandir(descriptor: int) -> Iterator[Iterator[os.DirEntry[str]]]:
        with real(descriptor) as items:
            yield unfinished(items) if os.fstat(descriptor).st_ino == inode else items

    monkeypatch.setattr("ocrwatch.intake.tree._PART_FILES", 2)
    monkeypatch.setattr(os, "scandir", scandir)
    _, *parts = scan(Root(str(tmp_path)), recursive=True)
    assert [(part.directory, part.more, bool(part.error)) for part in parts] == [
        *[("sub", True, False)] * 2,
        ("sub", False, True),
    ]
    assert DirectoryListing.joined(parts).error
