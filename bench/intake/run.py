"""What the intake costs: from an arrival to its journal entry, a reconcile of many files, and doing nothing.

`python -m bench.intake.run [--files N] [--only NAME]` prints one table. No text is recognized: the real inbox, events and journal
run in a process of their own for each figure, and nothing takes the jobs from the journal.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.intake import trees

Figures = dict[str, Any]
Row = tuple[str, str, str, str]


def main() -> int:
    """Run the benchmarks; 1 when a figure is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.intake.run", description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000, help="known files of reconcile")
    parser.add_argument("--folder-files", type=int, default=1_000, help="how many of them in one folder")
    parser.add_argument("--rounds", type=int, default=5, help="of find and reconcile in turns; the best of each is compared")
    parser.add_argument("--arrivals", type=int, default=5_000, help="files that arrive, one after another")
    parser.add_argument("--idle-files", type=int, default=100_000, help="known files of idle")
    parser.add_argument("--idle-s", type=float, default=600.0, help="how long idle is watched, with two listings")
    parser.add_argument("--only", choices=("arrival", "reconcile", "idle"))
    parser.add_argument("--folder", type=Path, help="on which disk (default: that of the temporary files)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # not without removing what was made
    rows: list[Row] = []
    for part in (_arrival, _reconcile, _idle):
        if options.only in (None, part.__name__.removeprefix("_")):
            with tempfile.TemporaryDirectory(prefix="ocrwatch-bench-", dir=options.folder) as name:
                rows += part(Path(name), options)
    _print_table(rows)
    return int(any(row[3] == "MISSED" for row in rows))


# -- the figures -----------------------------------------------------------------------------------------------------


def _arrival(folder: Path, options: argparse.Namespace) -> list[Row]:
    _say(f"{options.arrivals:,} files arrive one after another")
    (folder / "inbox").mkdir()
    (folder / "outside").mkdir()
    got = _measure("arrival", folder / "inbox", folder / "arrival.db", files=options.arrivals)
    return [
        _row("arrival: move to journal entry, median", got["median_ms"], limit=10.0, unit="ms"),
        _row("arrival: the same, p99", got["p99_ms"], limit=50.0, unit="ms"),
        ("arrival: the longest", f"{got['longest_ms']:.1f} ms", "-", ""),
        ("arrival: one fsync of 4 KiB on that disk, median", f"{got['fsync_ms']:.2f} ms", "-", ""),
    ]


def _reconcile(folder: Path, options: argparse.Namespace) -> list[Row]:
    seeded_us = _make(folder, files=options.files, folder_files=options.folder_files)
    _say(f"find and reconcile in turns, {options.rounds} times")
    finds, listings = [], []
    for _ in range(options.rounds):
        finds.append(_find(folder / "tree"))
        listings.append(_measure("reconcile", folder / "tree", folder / "tree.db"))
    find, listing = _best(finds), _best(listings)
    growth = max(each["growth_bytes"] for each in listings) / options.files
    what = f"reconcile, {options.files:,} files, {options.folder_files:,} a folder"
    return [
        (f"{what}: made known", f"{seeded_us:.0f} us a file", "-", ""),
        (f"{what}: find -printf", f"{find['s']:.2f} s, CPU {find['cpu_s']:.2f} s", "-", ""),
        (f"{what}: full listing", f"{listing['s']:.2f} s, CPU {listing['cpu_s']:.2f} s", "-", ""),
        (f"{what}: watches and listing at the start", f"{listing['start_s']:.2f} s", "-", ""),
        _row(f"{what}: listing / find", listing["s"] / find["s"], limit=2.0, unit="x"),
        (
            f"{what}: the same in CPU time, which other work on the machine sways less",
            f"{listing['cpu_s'] / find['cpu_s']:.2f} x",
            "-",
            "",
        ),
        _row(f"{what}: growth of memory", growth, limit=300.0, unit="bytes a file"),
    ]


def _idle(folder: Path, options: argparse.Namespace) -> list[Row]:
    _make(folder, files=options.idle_files, folder_files=options.folder_files)
    _say(f"idle for {options.idle_s:g} s with {options.idle_files:,} files, then the daemon without any")
    full = _measure("idle", folder / "tree", folder / "tree.db", seconds=options.idle_s)
    (folder / "empty").mkdir()
    empty_s = options.idle_s / 10
    empty = _measure("daemon", folder / "empty", folder / "state", seconds=empty_s)
    what = f"idle, {options.idle_files:,} files"
    return [
        _row(
            f"{what}: CPU, {full['listings']} listings in {options.idle_s:g} s",
            100 * full["cpu_s"] / options.idle_s,
            limit=0.5,
            unit="%",
        ),
        (f"{what}: CPU of watches and listing at the start", f"{full['first_cpu_s']:.2f} s", "-", ""),
        (f"{what}: memory", f"{full['rss_mb']:.1f} MB", "-", ""),
        _row("idle, daemon without files: memory of its parent", empty["rss_mb"], limit=60.0, unit="MB"),
        (f"idle, daemon without files: CPU in {empty_s:g} s", f"{100 * empty['cpu_s'] / empty_s:.2f} %", "-", ""),
    ]


def _make(folder: Path, *, files: int, folder_files: int) -> float:
    """A tree and its journal; microseconds that a file took to become known."""
    _say(f"making {files:,} files and their journal")
    trees.make_tree(folder / "tree", files=files, folder_files=folder_files)
    return float(1e6 * _measure("seed", folder / "tree", folder / "tree.db")["s"] / files)


def _best(rounds: list[Figures]) -> Figures:
    return {name: min(each[name] for each in rounds) for name in rounds[0]}


def _find(root: Path) -> Figures:
    begin, begin_cpu = time.perf_counter(), _children_cpu_s()
    subprocess.run(["find", root, "-printf", "%i %s %T@\\n"], stdout=subprocess.DEVNULL, check=True)
    return {"s": time.perf_counter() - begin, "cpu_s": _children_cpu_s() - begin_cpu}


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _measure(what: str, root: Path, journal: Path, **options: float) -> Figures:
    """The figures of one part, measured in a fresh process."""
    arguments = json.dumps({"what": what, "root": str(root), "journal": str(journal), **options})
    done = subprocess.run([sys.executable, "-m", "bench.intake.parts", arguments], stdout=subprocess.PIPE, check=True)
    figures: Figures = json.loads(done.stdout)
    return figures


# -- the table -------------------------------------------------------------------------------------------------------


def _row(name: str, value: float, *, limit: float, unit: str) -> Row:
    return name, f"{value:.2f} {unit}", f"{limit:g} {unit}", "met" if value <= limit else "MISSED"


def _print_table(rows: list[Row]) -> None:
    print(f"\n{_machine()}\n\n| figure | measured | at most | |\n|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def _machine() -> str:
    """On what was measured, and what else it had to do."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return f"{os.cpu_count()} x {model}, Linux {platform.release()}, load {load}; Python {platform.python_version()}"


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
