"""A network share for one test: a FUSE mount that hangs, errs, dies and comes back when the test says so.

A test looks at `backing`, the folder behind the mount, and never at `point`: whoever touches a mount that hangs, hangs with it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.intake.mounts import read_mounts
from tests.faults.waiting import wait_until
from tests.faults.workers import is_running

_PROJECT = Path(__file__).resolve().parent.parent.parent


class FaultShare:
    """A share of its own below `folder`, not mounted yet. point: where it is to be mounted; made when missing."""

    def __init__(self, folder: Path, *, point: Path | None = None) -> None:
        self.backing = folder / "server"
        self.point = point or folder / "mount"
        self._rules = folder / "rules.json"
        self._log = folder / "fuse.log"
        self._source = f"server:/{folder.name}"
        self._server: subprocess.Popen[bytes] | None = None
        for made in (self.backing, self.point):
            made.mkdir(parents=True, exist_ok=True)

    def mount(self) -> FaultShare:
        """Mount it; the test is skipped where that cannot be."""
        _skip_without_fuse()
        with self._log.open("ab") as log:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.faultfs", self.backing, self.point, self._rules, self._source],
                stdout=log,
                stderr=log,
                cwd=_PROJECT,
            )
        wait_until(lambda: self.is_mounted() or not is_running(self._pid), timeout_s=30)
        if not self.is_mounted():
            pytest.skip(f"FUSE cannot be mounted here: {self._log.read_text().strip()[-200:]}")
        return self

    def is_mounted(self) -> bool:
        """By the kernel's table, which no mount can hang."""
        return any(mount.mount_point == str(self.point) for mount in read_mounts())

    def fail(self, *rules: dict[str, Any]) -> None:
        """From now on these operations fail, and no others; without rules, none."""
        fresh = self._rules.with_suffix(".new")
        fresh.write_text(json.dumps(rules), encoding="utf-8")
        fresh.rename(self._rules)

    def hang(self) -> None:
        """Nothing that touches the mount returns until `go_on`, but whoever waits there can be killed.

        A request that the server had begun would hold its process even against SIGKILL; so no thread of it may still run.
        """
        os.kill(self._pid, signal.SIGSTOP)
        threads = Path(f"/proc/{self._pid}/task")
        wait_until(lambda: all(_is_stopped(thread) for thread in threads.iterdir()))

    def go_on(self) -> None:
        """Answer everything that waits."""
        os.kill(self._pid, signal.SIGCONT)

    def die(self) -> None:
        """The server is gone and its mount stays: "transport endpoint is not connected"."""
        assert self._server is not None
        self._server.kill()
        self._server.wait()

    def unmount(self) -> None:
        """Take the mount away, whoever uses it, and leave the folder on which it lay; ends the server."""
        subprocess.run(["fusermount3", "-uz", str(self.point)], capture_output=True, check=False)
        if self._server is not None:
            if self._server.poll() is None:
                self._server.send_signal(signal.SIGCONT)
                self._server.kill()
            self._server.wait()
            self._server = None

    @property
    def _pid(self) -> int:
        assert self._server is not None
        return self._server.pid


def _is_stopped(thread: Path) -> bool:
    try:
        return (thread / "stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T"
    except FileNotFoundError:  # it ended
        return True


def _skip_without_fuse() -> None:
    if not Path("/dev/fuse").exists():
        pytest.skip("no /dev/fuse here")
    if shutil.which("fusermount3") is None:
        pytest.skip("no fusermount3 here (apt install fuse3)")
    pytest.importorskip("mfusepy", reason="no mfusepy here (pip install mfusepy)", exc_type=ImportError)
