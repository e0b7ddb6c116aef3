"""Kernel events where an inbox is more than one mount, or has more folders than may be watched: the real kernel says so."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocrwatch.intake.arrivals import Arrivals, Hint
from ocrwatch.intake.ignore import is_ours
from ocrwatch.intake.mounts import MountTable
from tests.faults.disks import mounted
from tests.faults.share import FaultShare

_WAIT_S = 10.0
_PROJECT = Path(__file__).resolve().parents[2]


class Stage:
    """Watched roots, and what was hinted."""

    def __init__(self) -> None:
        self.seen: list[Hint] = []
        self.hints: queue.Queue[Hint] = queue.Queue()
        self.table = MountTable()
        self.arrivals = Arrivals(self.hints.put, dropped=is_ours, table=self.table)

    def until(self, root: Path, path: str) -> list[Hint]:
        """Every hint so far, with the one about this path of this root."""
        while (str(root), path) not in [(hint.root, hint.path) for hint in self.seen]:
            self.seen.append(self.hints.get(timeout=_WAIT_S))
        return self.seen

    def watched(self) -> set[str]:
        """The folders that the kernel was asked to watch."""
        assert self.arrivals._threads is not None
        return {os.fsdecode(path) for path in self.arrivals._threads.descriptor._paths.values()}


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.arrivals.stop()
    made.table.close()


def test_watches_of_a_root_end_where_another_mount_begins(tmp_path: Path, stage: Stage) -> None:
    """Row 6: what is mounted in an inbox is not walked, the folders around it tell of their files, it is watched by itself."""
    inbox = tmp_path / "inbox"
    (inbox / "sub" / "disk").mkdir(parents=True)
    (inbox / "sub" / "beside").mkdir()
    with mounted(inbox / "sub" / "disk") as disk:
        (disk / "deep").mkdir()
        stage.arrivals.watch(str(inbox), recursive=True)
        assert stage.arrivals.trouble(str(inbox)) == ""
        assert stage.watched() == {str(inbox), str(inbox / "sub"), str(inbox / "sub" / "beside")}
        (disk / "deep" / "a.pdf").touch()
        (inbox / "sub" / "beside" / "b.pdf").touch()
        assert {hint.path for hint in stage.until(inbox, "sub/beside/b.pdf")} == {"sub/beside/b.pdf"}
        stage.arrivals.watch(str(disk), recursive=True)
        (disk / "deep" / "c.pdf").touch()
        (inbox / "d.pdf").touch()
        stage.until(disk, "deep/c.pdf")
        assert {hint.path for hint in stage.until(inbox, "d.pdf") if hint.root == str(inbox)} == {"sub/beside/b.pdf", "d.pdf"}
        assert stage.arrivals.trouble(str(disk)) == stage.arrivals.trouble(str(inbox)) == ""


def test_tree_with_a_mount_in_it_that_is_reached_by_a_link_is_not_walked_either(tmp_path: Path, stage: Stage) -> None:
    """The kernel's table knows the mount under its true name only."""
    (tmp_path / "true" / "disk").mkdir(parents=True)
    inbox = tmp_path / "inbox"
    inbox.symlink_to("true")
    with mounted(tmp_path / "true" / "disk"):
        stage.arrivals.watch(str(inbox), recursive=True)
        assert stage.watched() == {str(tmp_path / "true")}
        (inbox / "a.pdf").touch()
        stage.until(inbox, "a.pdf")


def test_share_in_an_inbox_that_hangs_holds_up_no_watch(tmp_path: Path, stage: Stage) -> None:
    """Nobody goes there, not even to ask what it is; a root on it is refused by the kernel's table alone."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    share = FaultShare(tmp_path, point=inbox / "nas")
    try:
        share.mount()
        share.hang()
        for root in (inbox, inbox / "nas"):
            thread = threading.Thread(target=stage.arrivals.watch, args=(str(root),), kwargs={"recursive": True}, daemon=True)
            thread.start()
            thread.join(_WAIT_S)
            assert not thread.is_alive(), f"the watch of {root} hangs"
        assert stage.watched() == {str(inbox)}
        assert stage.arrivals.trouble(str(inbox)) == ""
        assert "may hang" in stage.arrivals.trouble(str(inbox / "nas"))
        (inbox / "a.pdf").touch()
        stage.until(inbox, "a.pdf")
    finally:
        share.unmount()


def test_inbox_of_more_folders_than_may_be_watched_is_polled_until_the_limit_is_raised(tmp_path: Path) -> None:
    """Row 10 (NGX#5036, #4953, NG#1171): told with the setting to raise, taken by polling, and by events when it is raised."""
    try:
        done = subprocess.run(
            ["unshare", "-U", "-r", sys.executable, "-m", "tests.faults.few_watches", str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=_PROJECT,
        )
    except FileNotFoundError:
        pytest.skip("no unshare here (apt install util-linux)")
    if done.returncode == 2 or done.stderr.startswith("unshare:"):
        pytest.skip(f"no user namespace with limits of its own here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert "fs.inotify.max_user_watches" in seen["short"]
    assert seen["by polling"] == ["49/a.pdf"]
    assert seen["steps"] < 60, "it does not loop"
    assert seen["raised"] == ""
    assert seen["hinted"] is True
    assert seen["by events"] == ["48/b.pdf", "49/a.pdf"]
    assert not [line for line in seen["lines"] if "offline" in line]
