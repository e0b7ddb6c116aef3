"""A tree entered by descriptor: nothing outside it, no symlink, no FIFO."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ocrwatch.errors import ShareOffline
from ocrwatch.intake import beneath
from ocrwatch.intake.beneath import Root, root_identity
from tests.faults.calls import without_openat2
from tests.faults.disks import mounted, unmount

_REFUSED = (errno.ELOOP, errno.ENOTDIR, errno.EXDEV, errno.EINVAL, errno.ENOENT)


@pytest.fixture(params=["openat2", "by hand"])
def inbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A tree with a scan in it and one outside, seen by either way of opening."""
    if request.param == "by hand":
        without_openat2(monkeypatch)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.pdf").write_bytes(b"secret")
    root = tmp_path / "inbox"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "scan.pdf").write_bytes(b"scan")
    return root


def read(inbox: Path, path: str) -> bytes:
    with beneath.opened(Root(str(inbox))) as root_fd:
        descriptor = beneath.open_file(root_fd, path)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def refusal(inbox: Path, path: str) -> int | None:
    try:
        read(inbox, path)
    except OSError as error:
        return error.errno
    return None


def test_file_beneath_the_root_is_read(inbox: Path) -> None:
    """A plain path leads to the file, without blocking and without a right to write."""
    assert read(inbox, "a/b/scan.pdf") == b"scan"
    (inbox / "a" / "b" / "scan.pdf").chmod(0o400)
    assert read(inbox, "a/b/scan.pdf") == b"scan"


@pytest.mark.parametrize("target", ["../outside", "/etc", "b", "loop"])
def test_symlink_on_the_way_is_refused(inbox: Path, target: str) -> None:
    """A link in an untrusted drop leads nowhere, wherever it points."""
    (inbox / "a" / "loop").symlink_to("loop")
    (inbox / "a" / "link").symlink_to(target)
    for path in ("a/link/secret.pdf", "a/link/scan.pdf", "a/link/passwd", "a/link"):
        assert refusal(inbox, path) in _REFUSED


def test_symlink_as_the_file_is_refused(inbox: Path) -> None:
    """Neither a link to a scan nor one to a secret is a scan."""
    (inbox / "link.pdf").symlink_to("a/b/scan.pdf")
    (inbox / "dangling.pdf").symlink_to("nowhere")
    for path in ("link.pdf", "dangling.pdf"):
        assert refusal(inbox, path) in _REFUSED


def test_fifo_socket_and_directory_are_refused_at_once(inbox: Path) -> None:
    """Opening a FIFO for reading would wait for a writer for ever."""
    os.mkfifo(inbox / "x.pdf")
    (inbox / "y.pdf").mkdir()
    for path in ("x.pdf", "y.pdf"):
        assert refusal(inbox, path) in _REFUSED


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../outside/secret.pdf", "a/../../outside/secret.pdf", "a//b", "./a", "a/"])
def test_path_that_is_not_beneath_is_a_mistake(inbox: Path, path: str) -> None:
    """Such a path never comes from a scan, so it is an error of ours."""
    with pytest.raises(ValueError, match="not a path beneath"):
        read(inbox, path)


def test_name_of_any_bytes_is_opened(inbox: Path) -> None:
    """Names that are not UTF-8, begin with a dash or hold a newline are names like any other."""
    for name in (b"scan\xe4.pdf", b"-x.pdf", b"a\nb.pdf", b"n" * 251 + b".pdf"):
        (inbox / os.fsdecode(name)).write_bytes(name)
        assert read(inbox, os.fsdecode(name)) == name


def test_root_may_itself_be_a_link(inbox: Path) -> None:
    """The administrator may configure a path through a link; only what lies beneath is not trusted."""
    link = inbox.parent / "configured"
    link.symlink_to(inbox)
    assert read(link, "a/b/scan.pdf") == b"scan"


def test_root_that_is_missing_is_offline(tmp_path: Path) -> None:
    """A boot before the mounts are there waits and says so."""
    with pytest.raises(ShareOffline, match="cannot be entered"):
        root_identity(str(tmp_path / "missing"))


def test_descriptors_are_all_closed(inbox: Path) -> None:
    """Neither a good nor a refused open leaves a descriptor behind."""
    before = len(os.listdir("/proc/self/fd"))
    for path in ("a/b/scan.pdf", "a/b/none.pdf", "a/none/x.pdf", "a"):
        try:
            read(inbox, path)
        except OSError:
            continue
    assert len(os.listdir("/proc/self/fd")) == before


def test_unmounted_root_is_noticed(tmp_path: Path) -> None:
    """ST#1496, #4345: an unmounted mount point looks like an empty directory; it is another root, and refused."""
    point = tmp_path / "share"
    with mounted(point):
        identity = root_identity(str(point))
        with beneath.opened(Root(str(point), identity)):
            pass
        unmount(point)
        with pytest.raises(ShareOffline, match="not the directory it was"), beneath.opened(Root(str(point), identity)):
            pass
    assert not root_identity(str(point)).same_mount(identity)


def test_mount_over_the_root_is_noticed_and_a_new_directory_is_the_same_place(tmp_path: Path) -> None:
    """A file system mounted over an inbox is another place; the inbox removed and made anew is not."""
    point = tmp_path / "inbox"
    point.mkdir()
    identity = root_identity(str(point))
    point.rename(tmp_path / "old")
    point.mkdir()
    anew = root_identity(str(point))
    assert anew.same_mount(identity)
    assert anew.inode != identity.inode
    with mounted(point):
        assert not root_identity(str(point)).same_mount(identity)
    assert Root.from_json(Root(str(point), identity).to_json()) == Root(str(point), identity)
