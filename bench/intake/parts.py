"""One figure in one process: the real inbox, events and journal, with nothing that takes the jobs. Prints JSON.

Started by `bench.intake.run`, so that memory and CPU are of this part alone.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.intake.trees import INBOX, rules, seed
from ocrwatch.intake.arrivals import Arrivals, Hint
from ocrwatch.intake.ignore import is_ours
from ocrwatch.intake.mounts import MountTable
from ocrwatch.intake.surroundings import InboxState, Surroundings
from ocrwatch.intake.territory import Territory
from ocrwatch.journal.journal import Journal
from ocrwatch.worker.access import MountAccess
from ocrwatch.worker.share import Share

Figures = dict[str, Any]

_NEVER_S = 1e9
_PATIENCE_S = 10.0
_SETTLED_S = 5.0  # what a start leaves to do is done by then


class _CountingShare(Share):
    """A share that knows how often it was listed."""

    listings = 0

    def scan(self, *arguments: Any, **options: Any) -> None:
        super().scan(*arguments, **options)
        self.listings += 1


class Intake:
    """An inbox as the daemon has it: its own thread, kernel events, the journal."""

    def __init__(self, root: Path, journal: Journal, *, interval_s: float) -> None:
        self.entered = threading.Event()
        self._stopping = False
        self._table = MountTable()
        self._share = _CountingShare(MountAccess("bench", mounts=self._table, clock=time.monotonic))
        self._arrivals = Arrivals(self._on_hint, dropped=is_ours, table=self._table)
        self.inbox = Territory(
            rules(root, rescan_s=interval_s),
            "",
            share=self._share,
            around=Surroundings(
                journal, self._arrivals, time.monotonic, self.entered.set, lambda line: print(line, file=sys.stderr)
            ),
            without=frozenset,
        )
        self._thread = threading.Thread(target=self._look_after, daemon=True)

    def _on_hint(self, hint: Hint) -> None:
        self.inbox.hint(hint.path, is_directory=hint.is_directory)

    @property
    def listings(self) -> int:
        """How many listings are through."""
        return self._share.listings

    def start(self) -> None:
        """Watch, and wait for the first listing."""
        self._thread.start()
        _wait(lambda: self.inbox.status().state is InboxState.ONLINE and self.listings > 0)

    def stop(self) -> None:
        """End events and thread."""
        self._stopping = True
        self.inbox.wake.set()
        self._thread.join()
        self._arrivals.stop()

    def _look_after(self) -> None:
        while not self._stopping:
            rest_s = self.inbox.step()
            self.inbox.wake.wait(timeout=min(rest_s, 30.0))
            self.inbox.wake.clear()


def arrival(root: Path, journal: Journal, *, files: int) -> Figures:
    """The time from the rename into the inbox until the job's transaction is on the disk, for one file after another."""
    outside = root.parent / "outside"
    picture = _picture()
    took_ms = []
    with _running(root, journal, interval_s=_NEVER_S) as intake:
        for number in range(files):
            file = outside / f"scan-{number:05d}.png"
            file.write_bytes(picture)
            intake.entered.clear()
            begin = time.perf_counter()
            file.rename(root / file.name)
            if not intake.entered.wait(timeout=_PATIENCE_S):
                raise SystemExit(f"{file.name} did not get into the journal")
            took_ms.append(1e3 * (time.perf_counter() - begin))
    known = len(journal.expected_in(INBOX, ""))
    if known != files:
        raise SystemExit(f"{files} files arrived, {known} are in the journal")
    took_ms.sort()
    return {
        "median_ms": statistics.median(took_ms),
        "p99_ms": took_ms[int(0.99 * len(took_ms))],
        "longest_ms": took_ms[-1],
        "fsync_ms": _fsync_ms(outside),
    }


def reconcile(root: Path, journal: Journal) -> Figures:
    """Full listings of files that are all known: the one at the start, which sets watches too, and one while running.

    Memory grows from before the first to its peak.
    """
    intake = Intake(root, journal, interval_s=1.0)
    before_bytes = _memory("VmRSS")
    start, rest_s = _step(intake)
    time.sleep(rest_s)
    running, _ = _step(intake)
    growth_bytes = max(0, _memory("VmHWM") - before_bytes)
    if intake.listings != 2 or intake.inbox.status().waiting:
        raise SystemExit("the listings did not find every file known")
    return {"start_s": start["s"], **running, "growth_bytes": growth_bytes}


def _step(intake: Intake) -> tuple[Figures, float]:
    """What one step of the inbox took, and how long it may rest."""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    rest_s = intake.inbox.step()
    return {"s": time.perf_counter() - begin, "cpu_s": time.process_time() - begin_cpu}, rest_s


def idle(root: Path, journal: Journal, *, seconds: float) -> Figures:
    """CPU and memory while nothing happens but two listings."""
    with _running(root, journal, interval_s=seconds / 2.5) as intake:
        time.sleep(1.0)
        first_cpu_s, first = time.process_time(), intake.listings
        time.sleep(seconds)
        return {
            "first_cpu_s": first_cpu_s,
            "cpu_s": time.process_time() - first_cpu_s,
            "listings": intake.listings - first,
            "rss_mb": _memory("VmRSS") / 1e6,
        }


def daemon(root: Path, state: Path, *, seconds: float) -> Figures:
    """The real daemon on an inbox without a file: memory and CPU of its own process once it is ready, and some time later."""
    config = root.parent / "config.yaml"
    settings = {"state_dir": str(state), "inboxes": [{"path": str(root)}], "correction": {"mode": "off"}}
    config.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    command = [sys.executable, "-m", "ocrwatch"]
    with subprocess.Popen([*command, "run", "--config", str(config)], stdout=subprocess.DEVNULL) as process:
        try:
            asked = [*command, "status", "--config", str(config)]
            _wait(lambda: subprocess.run(asked, capture_output=True, check=False).returncode == 0)
            time.sleep(_SETTLED_S)
            first_s = _cpu_s(process.pid)
            time.sleep(seconds)
            return {"rss_mb": _memory("VmRSS", process.pid) / 1e6, "cpu_s": _cpu_s(process.pid) - first_s}
        finally:
            process.terminate()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def seeding(root: Path, journal: Journal) -> Figures:
    """How long it takes to make every file known."""
    begin = time.perf_counter()
    seed(journal, root)
    return {"s": time.perf_counter() - begin}


@contextmanager
def _running(root: Path, journal: Journal, *, interval_s: float) -> Iterator[Intake]:
    intake = Intake(root, journal, interval_s=interval_s)
    intake.start()
    try:
        yield intake
    finally:
        intake.stop()


def _wait(done: Callable[[], bool]) -> None:
    limit_s = time.monotonic() + 10 * _PATIENCE_S
    while not done():
        if time.monotonic() > limit_s:
            raise SystemExit("the first listing did not end")
        time.sleep(0.01)


def _memory(field: str, pid: int | str = "self") -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def _fsync_ms(folder: Path) -> float:
    took_ms = []
    with (folder / "probe").open("wb") as file:
        for _ in range(100):
            file.write(bytes(4096))
            file.flush()
            begin = time.perf_counter()
            os.fsync(file.fileno())
            took_ms.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(took_ms)


def _picture() -> bytes:
    """The smallest PNG that is whole: an image of one black pixel."""
    return bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000020001e221bc33"
        "0000000049454e44ae426082"
    )


PARTS: Mapping[str, Callable[..., Figures]] = {"arrival": arrival, "reconcile": reconcile, "idle": idle, "seed": seeding}


def main() -> None:
    """Measure what the first argument asks for."""
    options = json.loads(sys.argv[1])
    what, root, path = options.pop("what"), Path(options.pop("root")), Path(options.pop("journal"))
    if what == "daemon":
        print(json.dumps(daemon(root, path, **options)))
        return
    journal = Journal(path, wall_clock=time.time)  # noqa: TID251 - the composition root of this process
    try:
        print(json.dumps(PARTS[what](root, journal, **options)))
    finally:
        journal.close()


if __name__ == "__main__":
    main()
