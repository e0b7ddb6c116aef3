"""Names, times and inodes that one file has and nobody expects: its neighbours are listed all the same."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from ocrwatch.errors import ShareOffline
from ocrwatch.intake import tree
from ocrwatch.intake.arrivals import Arrivals
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Identity, stored
from ocrwatch.intake.ignore import is_ours
from ocrwatch.intake.mounts import MountTable
from ocrwatch.output import marks
from tests.faults.share import FaultShare


@pytest.mark.parametrize("number", [0, 1, -1, (1 << 63) - 1, -(1 << 63)])
def test_number_that_the_journal_holds_is_stored_as_it_is(number: int) -> None:
    """Nothing known of a file changes."""
    assert stored(number) == number


def test_time_after_2262_and_high_inode_fit_into_the_journal(tmp_path: Path) -> None:
    """They wrap, and stay told apart."""
    scan = tmp_path / "scan.pdf"
    scan.touch()
    os.utime(scan, (16_725_225_600, 16_725_225_600))  # the year 2500
    seen = Identity.of(scan.stat())
    assert -(1 << 63) <= seen.mtime_ns < 1 << 63
    assert stored((1 << 63) + 1) == -(1 << 63) + 1
    assert stored((1 << 63) + 1) != stored((1 << 63) + 2)


@pytest.mark.parametrize("pid", ["²", "٣", "x", ""])
def test_mark_with_a_number_that_is_no_pid_is_nobody_s(pid: str) -> None:
    """A name that anybody can give stops no listing."""
    fields = marks.maker().split("-")
    assert not marks.is_orphan("-".join([*fields[:2], pid, *fields[3:]]))


def test_tree_deeper_than_python_calls_itself_is_watched(tmp_path: Path) -> None:
    """Its folders are watched as far down as a path can name them, and the rest is no error."""
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    with contextlib.closing(MountTable()) as table:
        arrivals = Arrivals(lambda _: None, dropped=is_ours, table=table)
        try:
            arrivals.watch(str(tmp_path), recursive=True)
            assert arrivals.trouble(str(tmp_path)) == ""
        finally:
            arrivals.stop()
    subprocess.run(["rm", "-r", str(tmp_path / "d")], check=True)


def test_only_file_among_folders_whose_status_cannot_be_had_is_no_share_that_is_away(tmp_path: Path) -> None:
    """A bad sector below one name: the folders beside it answer, and what is in them is taken."""
    share = FaultShare(tmp_path).mount()
    try:
        (share.backing / "sub").mkdir()
        for name in ("bad.pdf", "sub/good.pdf"):
            (share.backing / name).touch()
        share.fail({"op": "getattr", "name": "bad.pdf", "error": "EIO"})
        listings = {found.directory: found for found in tree.scan(Root(str(share.point)), recursive=True)}
        assert listings[""].unread == (("bad.pdf", "input/output error"),)
        assert [entry.path for entry in listings["sub"].entries()] == ["sub/good.pdf"]
    finally:
        share.unmount()


def test_only_name_of_a_share_without_a_status_is_a_share_that_is_away(tmp_path: Path) -> None:
    """Nothing there answers: nothing in it counts as gone."""
    share = FaultShare(tmp_path).mount()
    try:
        (share.backing / "bad.pdf").touch()
        share.fail({"op": "getattr", "name": "bad.pdf", "error": "EIO"})
        with pytest.raises(ShareOffline):
            list(tree.scan(Root(str(share.point)), recursive=True))
    finally:
        share.unmount()
