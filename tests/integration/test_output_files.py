"""Files that others read: whole or absent, durable, never over somebody else's."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ocrwatch.errors import ForeignFile, OutputUnwritable, ShareOffline
from ocrwatch.intake import syscalls
from ocrwatch.intake.beneath import Root, root_identity
from ocrwatch.output import files
from ocrwatch.output.files import Likeness, write_durably
from tests.faults.calls import before_call, failing, without_links, without_openat2, without_rename_noreplace
from tests.faults.disks import fill, make_read_only, mounted


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def litter(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".ocrwatch-*")]


@pytest.fixture(params=["rename without clobbering", "links", "neither"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An output folder on file systems that can more, and less."""
    if request.param != "rename without clobbering":
        without_rename_noreplace(monkeypatch)
        without_openat2(monkeypatch)
    if request.param == "neither":
        without_links(monkeypatch)
    return tmp_path


def test_new_file_is_whole_with_the_likeness_of_the_scan(place: Path) -> None:
    """The readers of the scan can read its text; nothing else is left in the directory."""
    written = write_durably(Root(str(place)), "a.txt", b"text", like=Likeness(mode=0o2775, gid=os.getgid()))
    assert (place / "a.txt").read_bytes() == b"text"
    assert stat.S_IMODE((place / "a.txt").stat().st_mode) == 0o664
    assert written.sha256 == sha256(b"text")
    assert written.notes == ()
    assert os.listdir(place) == ["a.txt"]


def _version(path: Path) -> tuple[int, int, int]:
    """By what a file is known to be the same one, unwritten."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def test_foreign_file_is_never_touched(place: Path) -> None:
    """AUTO#23, sjain882: a text that somebody wrote stays as it is, and the error says what to do."""
    (place / "a.txt").write_bytes(b"mine")
    before = _version(place / "a.txt")
    with pytest.raises(ForeignFile, match="was not written by ocrwatch") as caught:
        write_durably(Root(str(place)), "a.txt", b"text", replaces=[sha256(b"ours")])
    assert (place / "a.txt").read_bytes() == b"mine"
    assert _version(place / "a.txt") == before
    assert "retry" in caught.value.remedy
    assert litter(place) == []


def test_own_earlier_version_is_replaced(place: Path) -> None:
    """A corrected text supersedes the raw one, and a text that is there already is left alone."""
    write_durably(Root(str(place)), "a.txt", b"raw")
    write_durably(Root(str(place)), "a.txt", b"corrected", replaces=[sha256(b"older"), sha256(b"raw")])
    assert (place / "a.txt").read_bytes() == b"corrected"
    inode = (place / "a.txt").stat().st_ino
    write_durably(Root(str(place)), "a.txt", b"corrected")
    assert (place / "a.txt").stat().st_ino == inode
    assert litter(place) == []


def test_file_that_appears_at_the_last_moment_is_not_clobbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the check and the rename somebody saves a file of that name: it wins."""
    before_call(monkeypatch, "rename_noreplace", lambda: (tmp_path / "a.txt").write_bytes(b"mine"), module=syscalls)
    with pytest.raises(ForeignFile):
        write_durably(Root(str(tmp_path)), "a.txt", b"text")
    assert (tmp_path / "a.txt").read_bytes() == b"mine"
    assert litter(tmp_path) == []


@pytest.mark.parametrize("kind", ["symlink", "dangling", "fifo", "directory"])
def test_target_that_is_no_regular_file_is_foreign(place: Path, kind: str) -> None:
    """An untrusted drop: a link planted under the sidecar's name must not redirect the text."""
    (place / "victim").write_bytes(b"precious")
    target = place / "a.txt"
    plant: dict[str, Callable[[], object]] = {
        "symlink": lambda: target.symlink_to("victim"),
        "dangling": lambda: target.symlink_to("nowhere"),
        "fifo": lambda: os.mkfifo(target),
        "directory": target.mkdir,
    }
    plant[kind]()
    with pytest.raises(ForeignFile):
        write_durably(Root(str(place)), "a.txt", b"text")
    assert (place / "victim").read_bytes() == b"precious"
    assert not (place / "nowhere").exists()
    assert litter(place) == []


def test_huge_file_in_the_place_is_foreign_at_once(tmp_path: Path) -> None:
    """A planted file of a terabyte is not read to see whose it is."""
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ForeignFile, match="too large"):
        write_durably(Root(str(tmp_path)), "a.txt", b"text")


def test_directory_that_is_a_symlink_is_not_entered(place: Path) -> None:
    """Nor may a directory on the way redirect it."""
    (place / "inbox").mkdir()
    (place / "elsewhere").mkdir()
    (place / "inbox" / "sub").symlink_to("../elsewhere")
    with pytest.raises(OutputUnwritable):
        write_durably(Root(str(place / "inbox")), "sub/a.txt", b"text", make_directories=True)
    assert list((place / "elsewhere").iterdir()) == []


def test_mirrored_tree_is_made_as_needed(place: Path) -> None:
    """Output into another tree makes its directories; output beside the scan never does."""
    write_durably(Root(str(place)), "x/y/z/a.txt", b"text", make_directories=True)
    assert (place / "x" / "y" / "z" / "a.txt").read_bytes() == b"text"
    with pytest.raises(OutputUnwritable):
        write_durably(Root(str(place)), "gone/a.txt", b"text")
    assert not (place / "gone").exists()


def test_directories_of_a_mirrored_tree_can_be_entered_by_the_scans_readers(tmp_path: Path) -> None:
    """Under a service's umask of 077 the texts would be there and nobody could reach them."""
    before = os.umask(0o077)
    try:
        write_durably(Root(str(tmp_path)), "x/y/a.txt", b"text", like=Likeness(0o640, os.getgid()), make_directories=True)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("x", "x/y", "x/y/a.txt")] == [0o750, 0o750, 0o640]


def test_rename_that_nfs_repeats_is_not_taken_for_a_foreign_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retransmitted call says that the name is taken: by what it did itself the first time."""

    def repeated(source: str, target: str, **options: int) -> None:
        os.rename(source, target, src_dir_fd=options["source_fd"], dst_dir_fd=options["target_fd"])
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    monkeypatch.setattr(syscalls, "rename_noreplace", repeated)
    write_durably(Root(str(tmp_path)), "a.txt", b"text")
    assert (tmp_path / "a.txt").read_bytes() == b"text"
    assert litter(tmp_path) == []


def test_failed_fsync_discards_the_file_and_writes_it_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After EIO the kernel may call lost pages clean: a second fsync of the same file would lie."""
    made: list[str] = []
    real = files.temporary_name

    def noted() -> str:
        made.append(real())
        return made[-1]

    monkeypatch.setattr(files, "temporary_name", noted)
    failing(monkeypatch, "fsync", errno.EIO, times=1)
    written = write_durably(Root(str(tmp_path)), "a.txt", b"text")
    assert len(set(made)) == 2
    assert (tmp_path / "a.txt").read_bytes() == b"text"
    assert "written anew" in written.notes[0]
    assert litter(tmp_path) == []


def test_fsync_that_keeps_failing_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sick disk is told, not written over."""
    failing(monkeypatch, "fsync", errno.EIO)
    with pytest.raises(OutputUnwritable, match="input/output error"):
        write_durably(Root(str(tmp_path)), "a.txt", b"text")
    assert list(tmp_path.iterdir()) == []


def test_file_system_without_directory_fsync_is_noted_not_fatal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some FUSE file systems refuse to sync a directory; the text is there all the same."""
    is_directory = lambda fd: stat.S_ISDIR(os.fstat(fd).st_mode)  # noqa: E731
    failing(monkeypatch, "fsync", errno.EINVAL, when=is_directory)
    written = write_durably(Root(str(tmp_path)), "a.txt", b"text")
    assert written.notes == ("the file system cannot sync a directory",)
    assert (tmp_path / "a.txt").read_bytes() == b"text"


def test_mode_and_group_that_may_not_be_set_are_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NGX#3649, #3787: CIFS refuses chmod and chown; the text is published."""
    failing(monkeypatch, "fchmod", errno.EPERM)
    failing(monkeypatch, "fchown", errno.EPERM)
    written = write_durably(Root(str(tmp_path)), "a.txt", b"text", like=Likeness(0o644, 4711))
    assert len(written.notes) == 2
    assert (tmp_path / "a.txt").read_bytes() == b"text"


def test_full_disk_shows_no_part_of_the_file_and_heals(tmp_path: Path) -> None:
    """NGX#8329: never a truncated sidecar; once there is space, the same call works."""
    with mounted(tmp_path / "out", options="size=1m") as out:
        hog = fill(out)
        with pytest.raises(OutputUnwritable, match="no space left") as caught:
            write_durably(Root(str(out)), "a.txt", b"t" * 100_000)
        assert [path.name for path in out.iterdir()] == [hog.name]
        assert "free some space" in caught.value.remedy
        hog.unlink()
        write_durably(Root(str(out)), "a.txt", b"t" * 100_000)
        assert (out / "a.txt").stat().st_size == 100_000


def test_disk_without_inodes_is_told(tmp_path: Path) -> None:
    """A disk can be full of files and have space."""
    with mounted(tmp_path / "out", options="size=1m,nr_inodes=2") as out:
        (out / "one").touch()
        with pytest.raises(OutputUnwritable, match="no space left"):
            write_durably(Root(str(out)), "a.txt", b"text")


def test_read_only_disk_is_told(tmp_path: Path) -> None:
    """PM#594: a read-only inbox is the surroundings' fault, with what to do."""
    with mounted(tmp_path / "out") as out:
        make_read_only(out)
        with pytest.raises(OutputUnwritable, match="read-only") as caught:
            write_durably(Root(str(out)), "a.txt", b"text")
        assert caught.value.remedy == "mount it writable"


@pytest.mark.parametrize("call", ["open", "write", "fsync", "rename_noreplace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE])
def test_no_failure_leaves_anything_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    """Whatever call fails, the directory is as it was."""
    is_ours = lambda path, *_, **__: ".ocrwatch-" in str(path)  # noqa: E731
    if call == "rename_noreplace":
        failing(monkeypatch, call, number, module=syscalls)
    elif call == "open":
        failing(monkeypatch, call, number, when=is_ours)
    else:
        failing(monkeypatch, call, number)
    with pytest.raises(OutputUnwritable):
        write_durably(Root(str(tmp_path)), "a.txt", b"text")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that takes fewer bytes than offered is not the end."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:7])))
    write_durably(Root(str(tmp_path)), "a.txt", b"0123456789" * 10)
    assert (tmp_path / "a.txt").read_bytes() == b"0123456789" * 10


def test_unmounted_output_is_never_written_beneath_the_mount_point(tmp_path: Path) -> None:
    """ST#833: sidecars must not end up in the directory that the mount covered."""
    point = tmp_path / "share"
    with mounted(point):
        identity = root_identity(str(point))
    with pytest.raises(ShareOffline):
        write_durably(Root(str(point), identity), "a.txt", b"text")
    assert list(point.iterdir()) == []


def test_sweep_removes_the_litter_of_dead_processes_only(tmp_path: Path) -> None:
    """A crash leaves no trace for long; the work of a neighbour that lives, or of another machine, is left alone."""
    code = "from ocrwatch.output import files; print(files.temporary_name())"
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    alive = files.temporary_name()
    mark = alive.removeprefix(".ocrwatch-").split("-")
    elsewhere = ".ocrwatch-" + "-".join(["0" * 8, *mark[1:]])
    earlier_boot = ".ocrwatch-" + "-".join([mark[0], "0" * 8, *mark[2:]])
    for name in (dead, alive, elsewhere, earlier_boot, ".ocrwatch-x.tmp", "scan.pdf", "dead.tmp"):
        (tmp_path / name).touch()
    assert sorted(files.sweep(Root(str(tmp_path)), "")) == sorted([dead, earlier_boot])
    assert files.sweep(Root(str(tmp_path)), "gone/since") == []
    assert sorted(os.listdir(tmp_path)) == sorted([alive, elsewhere, ".ocrwatch-x.tmp", "scan.pdf", "dead.tmp"])


def test_sweep_goes_on_past_what_cannot_be_removed(tmp_path: Path) -> None:
    """Anybody may give a directory such a name; it stops no scan."""
    code = "from ocrwatch.output import files; print(files.temporary_name(), files.temporary_name())"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    directory, file = sorted(names)
    (tmp_path / directory).mkdir()
    (tmp_path / file).touch()
    assert files.sweep(Root(str(tmp_path)), "") == [file]
    assert os.listdir(tmp_path) == [directory]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_write_that_a_file_system_refuses_in_the_middle_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Only of fsync may a file system say that it has none: what could not be written whole is not published."""
    monkeypatch.setattr(os, "write", lambda fd, data, real=os.write: real(fd, data[:3]))
    failing(monkeypatch, "write", number, first=2)
    with pytest.raises(OutputUnwritable):
        write_durably(Root(str(tmp_path)), "a.txt", b"Total: 1234.56")
    assert os.listdir(tmp_path) == []


def test_text_is_open_to_no_group_that_may_not_read_the_scan(tmp_path: Path) -> None:
    """Where a scan has an access list, the bits of the group are the list's mask, and more than its group may."""
    scan = tmp_path / "a.pdf"
    scan.touch(mode=0o600)
    entries = [(0x01, 6, 2**32 - 1), (0x02, 6, 65534), (0x04, 0, 2**32 - 1), (0x10, 6, 2**32 - 1), (0x20, 0, 2**32 - 1)]
    packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(scan, "system.posix_acl_access", packed)
    except OSError as error:
        pytest.skip(f"no access lists here: {error}")
    assert stat.S_IMODE(scan.stat().st_mode) == 0o660
    with scan.open("rb") as file:
        like = files.likeness_of(file.fileno())
    write_durably(Root(str(tmp_path)), "a.pdf.txt", b"text", like=like)
    assert stat.S_IMODE((tmp_path / "a.pdf.txt").stat().st_mode) == 0o600


def test_remove_takes_only_what_is_ours(tmp_path: Path) -> None:
    """A file that changed since is somebody's."""
    (tmp_path / "a.json").write_bytes(b"edited")
    assert not files.remove(Root(str(tmp_path)), "a.json", sha256=sha256(b"ours"))
    assert not files.remove(Root(str(tmp_path)), "none.json", sha256=sha256(b"ours"))
    assert files.remove(Root(str(tmp_path)), "a.json", sha256=sha256(b"edited"))
    assert list(tmp_path.iterdir()) == []


_KILLED = """
import os, signal, sys
from ocrwatch.intake import syscalls
from ocrwatch.intake.beneath import Root, root_identity
from ocrwatch.output.files import write_durably
call, module = sys.argv[2], syscalls if sys.argv[2] == "rename_noreplace" else os
def die(*arguments, **options):
    if call != "open" or ".ocrwatch-" in str(arguments[0]):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)
real = getattr(module, call)
setattr(module, call, die)
write_durably(Root(sys.argv[1]), "a.txt", b"text" * 1000)
"""


@pytest.mark.parametrize("call", ["open", "write", "fchmod", "fsync", "rename_noreplace"])
def test_kill_at_any_step_leaves_no_part_of_the_file(tmp_path: Path, call: str) -> None:
    """NGX#872, SP#4169: after kill -9 the name holds nothing or everything, and the next start cleans up."""
    done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path), call], check=False, capture_output=True)
    assert done.returncode in (0, -9), done.stderr
    assert not (tmp_path / "a.txt").exists() or (tmp_path / "a.txt").read_bytes() == b"text" * 1000
    files.sweep(Root(str(tmp_path)), "")
    assert litter(tmp_path) == []
    write_durably(Root(str(tmp_path)), "a.txt", b"text" * 1000)
    assert (tmp_path / "a.txt").read_bytes() == b"text" * 1000
