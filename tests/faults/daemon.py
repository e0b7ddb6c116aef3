"""A real daemon in a folder of the test's own: started, asked, killed, and looked into from outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.faults.workers import is_running


def wait_until(true: Callable[[], Any], *, timeout_s: float = 60.0, what: str = "it") -> Any:
    """The first true answer. Fails the test when none came within the bound."""
    limit = time.monotonic() + timeout_s
    while not (answer := true()):
        if time.monotonic() > limit:
            raise AssertionError(f"{what} did not happen within {timeout_s} s")
        time.sleep(0.05)
    return answer


class Service:
    """One `ocrwatch run` after another on the same configuration."""

    module = "ocrwatch"

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.inbox = folder / "inbox"
        self.inbox.mkdir()
        self.config = folder / "config.yaml"
        self.log = folder / "log"
        self.settings: dict[str, Any] = {
            "state_dir": str(folder / "state"),
            "inboxes": [{"path": str(self.inbox), "settle": "300ms"}],
            "correction": {"mode": "off"},
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.write_config()

    def write_config(self) -> None:
        """Write `settings`, as they now are, to the configuration file."""
        self.config.write_text(yaml.safe_dump(self.settings), encoding="utf-8")

    def start(self) -> None:
        """Start the daemon and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module, "run", "--config", str(self.config)], stdout=log, stderr=log
            )
        wait_until(self._answers, what=f"the start of the daemon (log: {self.log})")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the daemon ended: {self.log.read_text()}"
        return self.command("status").returncode == 0

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command against the daemon's configuration."""
        return subprocess.run(
            [sys.executable, "-m", "ocrwatch", *arguments, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        """`ocrwatch status --json`."""
        answer = self.command("status", "--json")
        assert answer.returncode == 0, answer.stderr
        return dict(json.loads(answer.stdout))

    def why(self, name: str) -> dict[str, Any]:
        """`ocrwatch why --json` for a file of the inbox."""
        answer = self.command("why", str(self.inbox / name), "--json")
        assert answer.returncode == 0, answer.stderr
        return dict(json.loads(answer.stdout))

    def wait_for(self, name: str, *states: str, timeout_s: float = 90.0) -> dict[str, Any]:
        """The answer of `why` once the file is in one of these states."""

        def there() -> dict[str, Any] | None:
            answer = self.why(name)
            return answer if answer["state"] in states else None

        try:
            return dict(wait_until(there, timeout_s=timeout_s, what=f"{name} {'/'.join(states)}"))
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.why(name)}; log: {self.log.read_text()[-2000:]}") from error

    def text(self, name: str) -> str:
        """The published text of a scan."""
        return (self.inbox / f"{name}.txt").read_text(encoding="utf-8")

    def metadata(self, name: str) -> dict[str, Any]:
        """The published JSON of a scan."""
        return dict(json.loads((self.inbox / f"{name}.json").read_bytes()))

    def children(self) -> list[int]:
        """Processes that the daemon started and that run."""
        assert self.process is not None
        task = Path(f"/proc/{self.process.pid}/task")
        pids = []
        for each in task.iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended meanwhile
                pids += [int(pid) for pid in (each / "children").read_text(encoding="ascii").split()]
        return [pid for pid in pids if is_running(pid)]

    def mapped(self) -> str:
        """What the daemon's own process has mapped."""
        assert self.process is not None
        return Path(f"/proc/{self.process.pid}/maps").read_text(encoding="utf-8")

    def stop(self, *, timeout_s: float = 30.0) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=timeout_s)

    def kill(self) -> None:
        """SIGKILL, as the kernel does when memory is short."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """Whatever the test left running is gone."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
