"""The mount table, and what a kind of file system is trusted with."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import select
from pathlib import Path

import pytest

from ocrwatch.errors import ShareOffline
from ocrwatch.intake.mounts import (
    MountTable,
    events_trusted,
    is_network,
    keeps_inodes,
    may_hang,
    mount_of,
    parse,
    points_below,
    read_mounts,
    resolve,
)

TABLE = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 27 0:50 / /srv/scans rw - nfs4 nas:/export/scans rw,vers=4.2
41 40 0:51 / /srv/scans/local rw - tmpfs tmpfs rw
42 27 8:1 / /srv/my\040scans\134a\011b rw - xfs /dev/sda1 rw
43 27 0:60 / /hidden/below rw - cifs //nas/below rw
44 27 8:2 / /hidden rw - ext4 /dev/sdb1 rw
45 44 0:61 / /hidden rw - tmpfs over rw
this is no mount
"""


@pytest.mark.parametrize(
    ("path", "fs_type"),
    [
        ("/", "ext4"),
        ("/home/x", "ext4"),
        ("/srv/scans", "nfs4"),
        ("/srv/scans/a/b.pdf", "nfs4"),
        ("/srv/scansion", "ext4"),
        ("/srv/scans/local/x", "tmpfs"),
        ("/srv/my scans\\a\tb/x", "xfs"),
        ("/hidden/below/x", "tmpfs"),
        ("/hidden", "tmpfs"),
    ],
)
def test_mount_of_walks_as_the_kernel_does(path: str, fs_type: str) -> None:
    """Mounts below mounts, names with blanks, and mounts that a later one hides."""
    assert mount_of(path, parse(TABLE)).fs_type == fs_type


def test_mount_of_raises_without_a_mount() -> None:
    """An empty table is an error, not a guess."""
    with pytest.raises(LookupError):
        mount_of("/x", ())


def test_parse_keeps_names_that_are_not_utf8() -> None:
    """A mount point of any bytes is found again."""
    name = os.fsdecode(b"/mnt/\xe4")
    assert mount_of(name, parse(f"1 0 0:1 / {name} rw - nfs4 nas:/{name} rw")).mount_point == name


def test_trust_is_given_to_known_file_systems_only() -> None:
    """NGX#1975, #7969, WD#504: remote writes give no events; what is unknown is treated as if it could hang."""
    for local in ("ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "overlay"):
        assert events_trusted(local)
        assert not is_network(local)
        assert keeps_inodes(local)
    for remote in ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "virtiofs", "lustre", "fuse.sshfs", "fuseblk", "autofs", "newfs"):
        assert not events_trusted(remote)
        assert is_network(remote)
    assert not keeps_inodes("cifs")
    assert not keeps_inodes("fuse.sshfs")
    assert not events_trusted("vfat")


def test_read_mounts_finds_this_very_file() -> None:
    """The kernel's own table can be read and holds the root."""
    assert mount_of(os.path.realpath(__file__), read_mounts()).mount_point


def test_resolve_follows_links_but_does_not_touch_a_network_mount(tmp_path: Path) -> None:
    """A dead share blocks whoever touches it: what lies on it is taken as it is written."""
    real = Path(os.path.realpath(tmp_path))
    (real / "inbox").symlink_to(real / "share")
    (real / "share").mkdir()
    (real / "share" / "deep").symlink_to("/nowhere")
    root = "1 0 254:0 / / rw - ext4 /dev/vda rw\n"
    assert resolve(f"{real}/inbox/../inbox/deep/x", parse(root)) == "/nowhere/x"
    table = parse(root + f"2 1 0:9 / {real}/share rw - nfs4 nas:/x rw")
    assert resolve(f"{real}/inbox/deep/x", table) == f"{real}/share/deep/x"


def test_only_what_lies_on_a_network_mount_may_hang(tmp_path: Path) -> None:
    """NGX#13146: a network mount below a local inbox, and one behind a link; the inbox around it does not."""
    real = Path(os.path.realpath(tmp_path))
    (real / "inbox").mkdir()
    (real / "link").symlink_to(real / "share")
    table = parse(
        "1 0 254:0 / / rw - ext4 /dev/vda rw\n"
        f"2 1 0:9 / {real}/share rw - nfs4 nas:/x rw\n"
        f"3 1 0:10 / {real}/inbox/remote rw - fuse.sshfs host: rw\n"
        f"4 1 0:11 / {real}/inbox/fast rw - tmpfs tmpfs rw"
    )
    assert not may_hang(f"{real}/inbox", table)
    assert not may_hang(f"{real}/inbox/fast", table)
    assert may_hang(f"{real}/inbox/remote/sub", table)
    assert may_hang(f"{real}/link/sub", table)
    assert may_hang(f"{real}/share", table)
    assert points_below(f"{real}/inbox", table) == ["fast", "remote"]
    assert points_below(f"{real}/share", table) == []


def test_links_in_circles_are_told_in_words(tmp_path: Path) -> None:
    """Two links that name each other lead nowhere: an error of ours, whoever asks, or it would end the service."""
    real = Path(os.path.realpath(tmp_path))
    (real / "a").symlink_to(real / "b")
    (real / "b").symlink_to(real / "a")
    with pytest.raises(ShareOffline, match=f"{real}/a/x' cannot be entered: too many levels of symbolic links"):
        resolve(f"{real}/a/x", parse("1 0 254:0 / / rw - ext4 /dev/vda rw"))
    table = MountTable()
    with contextlib.closing(table), pytest.raises(ShareOffline, match="symbolic links"):
        table.may_hang(f"{real}/a")


class _Told:
    """Of one change, once."""

    def __init__(self) -> None:
        self._events = [(0, select.POLLPRI)]

    def poll(self, _: int) -> list[tuple[int, int]]:
        events, self._events = self._events, []
        return events


class _NoMemory:
    def seek(self, _: int) -> None:
        raise OSError(errno.ENOMEM, "cannot allocate memory")


def test_change_of_the_table_is_not_lost_while_nothing_can_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells of it once. Without a descriptor to be had it is read all the same, and without memory later."""
    with contextlib.closing(MountTable()) as table:
        before = table.current()
        monkeypatch.setattr(table, "_changes", _Told())
        monkeypatch.setattr(table, "_mounts", ())
        with monkeypatch.context() as patch:
            patch.setattr(table, "_file", _NoMemory())
            assert table.current() == ()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            assert table.current() == before
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
