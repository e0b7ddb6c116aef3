"""What the processes of ocrwatch hold: each worker at its worst, and the daemon itself over thousands of pages."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import yaml

_LOOK_S = 0.1
_PATIENCE_S = 120.0  # without another text
_STOP_S = 30.0


class Watch:
    """Looks at the children of a process while it runs. peak_bytes: the most that any worker of a module held at once."""

    def __init__(self, pid: int) -> None:
        self.peak_bytes: dict[str, int] = {}
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_LOOK_S):
            for pid in _children(self._pid):
                module, peak = _module(pid), held_bytes(pid, "VmHWM")
                if module:
                    self.peak_bytes[module] = max(peak, self.peak_bytes.get(module, 0))


def _children(parent: int) -> Iterator[int]:
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(entry.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]) == parent:
                yield int(entry.parent.name)


def _module(pid: int) -> str:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        if "-m" in words:
            return words[words.index("-m") + 1]
    return ""


def held_bytes(pid: int, field: str) -> int:
    """A figure of a process's memory; 0 when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return 0


class RunFailed(Exception):
    """The daemon did not read what it was to read."""


def daemon_over(inbox: Path, folder: Path, *, pages: int) -> list[float]:
    """The daemon's resident bytes while it reads an inbox of one-page scans: the mean over each fifth of the pages."""
    configuration = {
        "state_dir": str(folder / "state"),
        "inboxes": [{"path": str(inbox), "settle": "1s", "output": {"directory": str(folder / "texts")}}],
        "ocr": {"engine": "tesseract"},
        "correction": {"mode": "off"},
    }
    (folder / "texts").mkdir()
    (folder / "long.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    command = [sys.executable, "-m", "ocrwatch", "run", "--config", str(folder / "long.yaml")]
    with (folder / "long.log").open("wb") as log:
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        held = _held_while(daemon, folder / "texts", pages=pages)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(timeout=_STOP_S)
    finally:
        daemon.kill()
        daemon.wait()
    return [statistics.fmean(fifth) for fifth in held if fifth]


def _held_while(daemon: subprocess.Popen[bytes], texts: Path, *, pages: int) -> list[list[int]]:
    held: list[list[int]] = [[] for _ in range(5)]
    done, looks_left = 0, int(_PATIENCE_S)
    pause = threading.Event()
    while done < pages:
        pause.wait(1.0)
        with os.scandir(texts) as entries:
            now = sum(entry.name.endswith(".txt") for entry in entries)
        looks_left = int(_PATIENCE_S) if now > done else looks_left - 1
        done = now
        if daemon.poll() is not None or not looks_left:
            raise RunFailed(f"the daemon had read {done} of {pages} pages and " + ("was gone" if looks_left else "read no more"))
        if done:
            held[min(4, 5 * done // pages)].append(held_bytes(daemon.pid, "VmRSS"))
    return held
