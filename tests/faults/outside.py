"""What befalls a whole daemon from outside: it is stopped, held or killed at a system call, and leaves things behind, or not."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.service.control import NoDaemon, ask
from tests.faults import scans
from tests.faults.daemon import Service, wait_until


class AskedService(Service):
    """A service that is asked at its control socket, as the commands do, without the start of a command each time."""

    def _ask(self, **request: str) -> dict[str, Any]:
        return ask(Path(self.settings.get("control_socket") or Path(self.settings["state_dir"]) / "control.sock"), request)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the daemon ended: {self.log.read_text()}"
        with contextlib.suppress(NoDaemon):
            return bool(self._ask(op="status"))
        return False

    def status(self) -> dict[str, Any]:
        """What `ocrwatch status --json` prints."""
        return self._ask(op="status")

    def why(self, name: str) -> dict[str, Any]:
        """What `ocrwatch why --json` prints for a file of the inbox."""
        return self._ask(op="why", path=str(self.inbox / name))

    def files(self, state: str = "") -> int:
        """How many files of the inbox are in this state (`waiting` is one); all that are known when it is empty."""
        inbox = self.status()["inboxes"][0]
        return int({**inbox["counts"], "waiting": inbox["waiting"], "": inbox["files"]}.get(state, 0))


def scan_bytes(folder: Path, name: str, *pages: str) -> bytes:
    """A scan of these pages as bytes, made in a folder beside the inbox."""
    making = folder / "making"
    making.mkdir(exist_ok=True)
    return scans.write(making / name, *pages).read_bytes()


def litter(folder: Path) -> list[str]:
    """Temporary files of ours."""
    return [path.name for path in folder.rglob(".ocrwatch-*")]


def beside(scan: Path) -> set[str]:
    """Whatever else lies in the folder of a scan."""
    return {path.name for path in scan.parent.iterdir()} - {scan.name}


def send(service: Service, number: int) -> None:
    """A signal to the daemon."""
    assert service.process is not None
    service.process.send_signal(number)


@contextlib.contextmanager
def suspended(service: Service) -> Iterator[None]:
    """The daemon stands still meanwhile, as on a machine that is overloaded or asleep."""
    send(service, signal.SIGSTOP)
    try:
        yield
    finally:
        send(service, signal.SIGCONT)


@contextlib.contextmanager
def tampered(service: Service, call: str, what: str, *, nth: int | str = 1, path: Path | None = None) -> Iterator[None]:
    """The running daemon's nth use of a system call (in one thread, on `path`) goes as `what` says, both in strace's words.

    The test is skipped where there is no strace, or where it may not trace.
    """
    if shutil.which("strace") is None:
        pytest.skip("no strace here (apt install strace)")
    assert service.process is not None
    said = service.config.parent / f"strace-{service.process.pid}"
    command = ["strace", "-f", "-p", str(service.process.pid), "-o", "/dev/null", "-e", f"trace={call}"]
    command += ["-e", f"inject={call}:{what}:when={nth}", *(["-P", str(path)] if path is not None else [])]
    with said.open("wb") as errors, subprocess.Popen(command, stderr=errors) as tracer:
        try:
            wait_until(lambda: "attached" in said.read_text() or tracer.poll() is not None, what="the attachment of strace")
            if "attached" not in said.read_text():  # it may have done its work and be gone already
                pytest.skip(f"strace may not trace here: {said.read_text()}")
            yield
        finally:
            if tracer.poll() is None:
                tracer.send_signal(signal.SIGINT)  # it lets go of the daemon, which goes on


def killed_at(service: Service, call: str, scan: Path, data: bytes, *, nth: int = 1, path: Path | None = None) -> None:
    """Put a scan into the inbox, and kill the daemon when it is about to make the nth such call for it."""
    assert service.process is not None
    with tampered(service, call, "signal=SIGKILL", nth=nth, path=path):
        scan.write_bytes(data)
        assert service.process.wait(timeout=60) == -signal.SIGKILL


def make_writable(point: Path) -> None:
    """What an administrator does to a disk that was mounted read-only."""
    subprocess.run(["mount", "-o", "remount,rw", str(point)], capture_output=True, check=True)


def settings_of_inbox(service: Service, **settings: object) -> None:
    """Change what the configuration says of the inbox, before the start."""
    service.settings["inboxes"][0] |= settings
    service.write_config()
