"""A real systemd of the tests' own, with journald and the checkout, on a layer over this machine's root that goes with it.

Owns its boot, its end and commands inside. Knows nothing of ocrwatch.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

_BOOT = Path(__file__).resolve().with_name("boot_systemd.sh")
_INIT = Path("/lib/systemd/systemd")
_BOOT_S, _OFF_S, _PAUSE_S = 60.0, 20.0, 0.1
_TO_PACKAGE_INDEX = ("PIP_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "http_proxy", "https_proxy", "no_proxy")
"""How the variables begin by which pip finds its index from here."""


class CannotBoot(Exception):
    """This machine cannot run a systemd of its own; the message says why and what to do."""


def _control_groups() -> Path | None:
    found = subprocess.run(["findmnt", "-n", "-t", "cgroup2", "-o", "TARGET"], capture_output=True, text=True, check=False)
    return next((Path(line) for line in found.stdout.splitlines()), None)


class SystemdMachine:
    """It runs from its making to `end`. Its network is a loopback device, nothing else."""

    def __init__(self, folder: Path, *, bound: dict[Path, str]) -> None:
        """Boot. bound: folders of this machine, and where they are seen, read-only. Raises CannotBoot."""
        groups = _control_groups()
        lacking = [what for what, there in self._needs(groups) if not there]
        if lacking or groups is None:
            raise CannotBoot(f"no systemd can be booted here: lacking {', '.join(lacking)}")
        self._group = groups / f"ocrwatch-tests-{os.getpid()}"
        self._console = folder / "console"
        root = folder / "machine"
        root.mkdir()
        arguments = [str(root), str(self._group), *(f"{source}:{target}" for source, target in bound.items())]
        with self._console.open("wb") as console:
            self._process = subprocess.Popen(
                # With the test's process it goes too, however that ends.
                ["setpriv", "--pdeathsig", "KILL", str(_BOOT), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                cwd="/",
            )
        self._leader = 0
        try:
            self._wait_for_boot()
        except BaseException:
            self.end()
            raise

    @staticmethod
    def _needs(groups: Path | None) -> list[tuple[str, bool]]:
        return [
            ("the rights of root", os.geteuid() == 0),
            ("systemd (Debian: systemd)", _INIT.exists()),
            ("unshare, nsenter and setpriv (Debian: util-linux)", all(map(shutil.which, ("unshare", "nsenter", "setpriv")))),
            ("control groups of version 2", groups is not None and os.access(groups, os.W_OK)),
        ]

    def _wait_for_boot(self) -> None:
        limit = time.monotonic() + _BOOT_S
        while time.monotonic() < limit:
            if self._process.poll() is not None:
                raise CannotBoot(f"no systemd can be booted here: {self.console()}")
            self._leader = self._leader or self._find_leader()
            if self._leader and self.run("systemctl is-system-running", check=False).strip() in ("running", "degraded"):
                return
            time.sleep(_PAUSE_S)
        raise CannotBoot(f"systemd does not come up within {_BOOT_S:g} s: {self.console()}")

    def _find_leader(self) -> int:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        with contextlib.suppress(OSError, IndexError):
            child = int(children.read_text().split()[0])
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return child
        return 0

    def console(self) -> str:
        """What was said outside of journald."""
        return self._console.read_text(encoding="utf-8", errors="replace")[-2000:].strip()

    def path(self, inside: str) -> Path:
        """A file of the machine, as it is reached from here."""
        return Path(f"/proc/{self._leader}/root{inside}")

    def run(self, script: str, *, timeout_s: float = 60.0, check: bool = True) -> str:
        """What a shell's script prints, as root; it must succeed, unless told otherwise."""
        return self._enter(["--net"], script, {}, timeout_s=timeout_s, check=check)

    def run_outside(self, script: str, *, timeout_s: float) -> str:
        """As `run`, with this machine's network and its ways to a package index: to install things."""
        ours = {name: value for name, value in os.environ.items() if name.startswith(_TO_PACKAGE_INDEX)}
        return self._enter([], script, ours, timeout_s=timeout_s, check=True)

    def _enter(self, spaces: list[str], script: str, more: dict[str, str], *, timeout_s: float, check: bool) -> str:
        entered = ["nsenter", f"--target={self._leader}", "--mount", "--uts", "--ipc", "--pid", "--cgroup", *spaces, "--"]
        done = subprocess.run(
            [*entered, "bash", "-euo", "pipefail", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="backslashreplace",
            env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": "/root",
                "LC_ALL": "C.UTF-8",
                **more,
            },
            timeout=timeout_s,
            check=False,
        )
        assert not check or done.returncode == 0, f"{script!r} ended with {done.returncode}: {done.stdout[-4000:]}"
        return done.stdout

    def end(self) -> None:
        """Power off; what does not go by itself is killed."""
        if self._leader:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._leader, signal.SIGRTMIN + 4)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_OFF_S)
        self._process.kill()
        self._process.wait()
        for folder, _, _ in sorted(os.walk(self._group), key=lambda entry: -len(entry[0])):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
