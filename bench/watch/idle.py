"""Nothing to do: what does watching cost, with an empty folder and with a full one?

`python -m bench.watch.idle [--minutes 10] [--files 100000]` lets all contestants watch at the same time, each a tree of its own
whose files it knows, and prints the processor time and the memory of each with its children.
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.intake import trees
from bench.ocr.peers import Lacking
from bench.watch import contestants
from bench.watch.contestants import Contestant
from ocrwatch.journal.journal import Journal

_START_S = 20.0  # watches are made and the first listing is over
_FOLDER_FILES = 1000
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Of a process with all below it. cpu_s: what it has used so far. bytes: proportional set size, shared pages in parts."""

    cpu_s: float
    held_bytes: int


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench.watch.idle", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--no-install", action="store_true", help="leave out what is not here yet")
    options = parser.parse_args()
    for count in (0, options.files):
        with tempfile.TemporaryDirectory(prefix="ocrwatch-bench-") as folder:
            _measure(Path(folder), files=count, seconds=60 * options.minutes, install=not options.no_install)
    return 0


def _measure(folder: Path, *, files: int, seconds: float, install: bool) -> None:
    with ExitStack() as running:
        pids = {}
        for name, contestant in _all(folder, files=files, install=install).items():
            if isinstance(contestant, Lacking):
                print(f"{name}: not run: {contestant.why}", file=sys.stderr)
            else:
                pids[name] = running.enter_context(_watching(contestant))
        time.sleep(_START_S)
        begun_s, before = time.monotonic(), {name: _cost(pid) for name, pid in pids.items()}
        time.sleep(seconds)
        took_s, after = time.monotonic() - begun_s, {name: _cost(pid) for name, pid in pids.items()}
    print(f"\n{files:,} files, {took_s:.0f} s; {len(os.sched_getaffinity(0))} processors")
    print(f"{'':<20}{'% of a core':>12}{'memory':>12}{'CPU at the start':>18}")
    for name in pids:
        used = 100 * (after[name].cpu_s - before[name].cpu_s) / took_s
        print(f"{name:<20}{used:>12.3f}{after[name].held_bytes / 1e6:>9.1f} MB{before[name].cpu_s:>16.2f} s")


def _all(folder: Path, *, files: int, install: bool) -> Mapping[str, Contestant | Lacking]:
    """Each with an inbox of its own; the journal of ocrwatch has all files of it as done."""
    found: dict[str, Contestant | Lacking] = {}
    for number, name in enumerate(contestants.NAMES):
        own = folder / str(number)
        own.mkdir()
        inbox, output, scratch = own / "inbox", own / "output", own / "scratch"
        trees.make_tree(inbox, files=files, folder_files=_FOLDER_FILES)
        for each in (output, scratch):
            each.mkdir()
        found[name] = contestants.all_of_them(inbox, output, scratch, install=install)[name]
        if name == contestants.OURS and files:
            _know(inbox, scratch / "state")
    return found


def _know(inbox: Path, state: Path) -> None:
    """As if each had been recognized: its name, size and time are in the journal, and there is nothing left to do."""
    state.mkdir()
    journal = Journal(state / "journal.db", wall_clock=lambda: 1.0)
    trees.seed(journal, inbox, name=inbox.name)
    journal.close()
    with sqlite3.connect(state / "journal.db") as database:
        for after in ("spooled", "done"):
            database.execute("UPDATE job SET state = ?, text_name = path, sha256 = 'x'", (after,))


@contextmanager
def _watching(contestant: Contestant) -> Iterator[int]:
    process = subprocess.Popen(contestant.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _cost(pid: int) -> Cost:
    """Of the session that a process leads. Those of its children that have ended are counted with their parents."""
    cpu_s, held_bytes = 0.0, 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            if int(fields[3]) != pid:
                continue
            cpu_s += sum(map(int, fields[11:15])) / _TICKS
            held_bytes += _proportional_bytes(process)
        except OSError:
            continue  # it ended
    return Cost(cpu_s, held_bytes)


def _proportional_bytes(process: Path) -> int:
    lines = (process / "smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    sys.exit(main())
