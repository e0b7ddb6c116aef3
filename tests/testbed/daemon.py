"""The daemon inside the guest: configured, started, asked and stopped through the guest's agent."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tests.testbed.machine import Machine

_STATE = "/run/state"
_SOCKET = f"{_STATE}/control.sock"
_PAUSE_S = 0.3  # the guest has one slow core, which each question costs something

T = TypeVar("T")


def wait_until(true: Callable[[], T], *, timeout_s: float, what: Callable[[], str]) -> T:
    """The first true answer. Fails the test when none came within the bound; `what` then says what was waited for."""
    limit = time.monotonic() + timeout_s
    while not (answer := true()):
        assert time.monotonic() < limit, f"not within {timeout_s:g} s: {what()}"
        time.sleep(_PAUSE_S)
    return answer


class GuestDaemon:
    """One `ocrwatch run` after another on the same configuration."""

    def __init__(self, machine: Machine, folder: Path, inboxes: list[dict[str, Any]]) -> None:
        self._machine = machine
        self._log = folder / "ocrwatch.log"
        self.pid = 0
        settings = {
            "state_dir": _STATE,
            "inboxes": inboxes,
            "correction": {"mode": "off"},
            "ocr": {"engine": "tesseract", "workers": 1},
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")

    def start(self) -> None:
        """Start it and wait until it answers."""
        script = "setsid $PYTHON -m ocrwatch run --config /run/common/config.yaml >>/run/common/ocrwatch.log 2>&1 & echo $!"
        self.pid = int(self._machine.shell(f"cd /; {script}"))
        wait_until(self.answers, timeout_s=90, what=lambda: f"the start of the daemon: {self.log()}")

    def answers(self) -> bool:
        """Whether it answers."""
        return self._machine.ask(_SOCKET, op="status")[0] is not None

    def processes(self) -> dict[int, str]:
        """Every process of ocrwatch, the daemon's own and its children, with the kernel's letter for what it is at."""
        return {pid: letters[0] for pid, letters in self._threads().items() if letters[0] not in "ZX"}

    def stuck(self) -> set[int]:
        """The processes of ocrwatch that wait, in one thread at least, for something that only the kernel can end."""
        return {pid for pid, letters in self._threads().items() if "D" in letters}

    def _threads(self) -> dict[int, str]:
        """Process to one letter a thread, that of the first thread at the front."""
        threads = "$(cut -d')' -f2 /proc/$pid/task/*/stat 2>/dev/null | cut -c2)"
        script = f"for pid in $(pgrep -f '[p]ython.*-m ocrwatch'); do echo $pid {threads}; done"
        lines = self._machine.shell(script, check=False).splitlines()
        return {int(pid): "".join(letters) for pid, *letters in map(str.split, lines) if letters}

    @contextlib.contextmanager
    def recognizing_nothing(self) -> Iterator[None]:
        """Its recognition stands still meanwhile: what is taken stays in work."""
        self._machine.shell("pkill -STOP -f '[o]crwatch.ocr.worker'")
        try:
            yield
        finally:
            self._machine.shell("pkill -CONT -f '[o]crwatch.ocr.worker'")

    def stop(self, *, timeout_s: float) -> float:
        """SIGTERM; how many seconds it took to end."""
        begin = time.monotonic()
        self._machine.shell(f"kill {self.pid}")

        def ended() -> bool:
            return self.pid not in self.processes()

        wait_until(ended, timeout_s=timeout_s, what=lambda: f"the end of the daemon: {self.log()}")
        return time.monotonic() - begin

    def log(self) -> str:
        """The end of what it logged."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-3000:]

    def status(self) -> tuple[dict[str, Any], float]:
        """What `ocrwatch status --json` prints, and the seconds that the answer took."""
        answer, seconds = self._machine.ask(_SOCKET, op="status")
        assert answer is not None, self.log()
        return answer, seconds

    def inbox(self, name: str) -> dict[str, Any]:
        """One inbox of the status."""
        return next(dict(inbox) for inbox in self.status()[0]["inboxes"] if inbox["name"] == name)

    def why(self, path: str) -> dict[str, Any]:
        """What `ocrwatch why --json` prints for a file."""
        answer, _ = self._machine.ask(_SOCKET, op="why", path=path)
        assert answer is not None, self.log()
        return answer

    def wait_for_file(self, path: str, *states: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """The answer of `why` once the file is in one of these states."""

        def there() -> dict[str, Any] | None:
            answer = self.why(path)
            return answer if answer["state"] in states else None

        found = wait_until(there, timeout_s=timeout_s, what=lambda: f"{path} {'/'.join(states)}: {self.why(path)}; {self.log()}")
        assert found is not None
        return found

    def wait_for_inbox(self, name: str, state: str, *, problem: str = "", timeout_s: float = 40.0) -> None:
        """Until the inbox is in this state, for a reason that has these words."""

        def there() -> bool:
            inbox = self.inbox(name)
            return inbox["state"] == state and problem in inbox["problem"]

        wait_until(there, timeout_s=timeout_s, what=lambda: f"{name} {state} {problem}: {self.inbox(name)}; {self.log()}")
