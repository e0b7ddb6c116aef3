"""What the intake costs: from an arrival to its journal entry, a reconcile of many files, and doing nothing.

`python -m bench.intake.run [--files N] [--only NAME]` prints one table. No text is recognized: the real inbox, events and journal
run in a process of their own for each figure, and nothing takes the jobs from the journal.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.intake import trees

Figures = dict[str, Any]
Row = tuple[str, str, str, str]

_ROUNDS = 3  # of find and reconcile in turns; the best of each is compared


def main() -> int:
    """Run the benchmarks; 1 when a figure is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.intake.run", description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000, help="known files of reconcile and idle")
    parser.add_argument("--arrivals", type=int, default=5_000, help="files that arrive, one after another")
    parser.add_argument("--idle-s", type=float, default=60.0, help="how long idle is watched; 600 for ten minutes")
    parser.add_argument("--only", choices=("arrival", "reconcile", "idle"))
    parser.add_argument("--folder", type=Path, help="on which disk (default: that of the temporary files)")
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="ocrwatch-bench-", dir=options.folder) as name:
        folder = Path(name)
        if options.only in (None, "arrival"):
            rows += _arrival(folder, options)
        if options.only in (None, "reconcile", "idle"):
            _say(f"making {options.files:,} files and their journal")
            trees.make_tree(folder / "tree", files=options.files)
            seeded = _measure("seed", folder / "tree", folder / "tree.db")
            rows.append(("seed: journal entries in bulk", f"{1e6 * seeded['s'] / options.files:.0f} us a file", "-", ""))
        if options.only in (None, "reconcile"):
            rows += _reconcile(folder, options)
        if options.only in (None, "idle"):
            rows += _idle(folder, options)
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
    _say(f"find and reconcile in turns, {_ROUNDS} times")
    find_s, got = [], []
    for _ in range(_ROUNDS):
        find_s.append(_find_s(folder / "tree"))
        got.append(_measure("reconcile", folder / "tree", folder / "tree.db"))
    best = min(each["s"] for each in got)
    growth = max(each["growth_bytes"] for each in got) / options.files
    return [
        ("reconcile: find -printf, best", f"{min(find_s):.2f} s", "-", ""),
        ("reconcile: full listing, best", f"{best:.2f} s", "-", ""),
        ("reconcile: its CPU", f"{min(each['cpu_s'] for each in got):.2f} s", "-", ""),
        _row("reconcile: listing / find", best / min(find_s), limit=2.0, unit="x"),
        _row("reconcile: growth of memory a file", growth, limit=300.0, unit="bytes"),
    ]


def _idle(folder: Path, options: argparse.Namespace) -> list[Row]:
    _say(f"idle for {options.idle_s:g} s, empty and with {options.files:,} files")
    (folder / "empty").mkdir()
    empty = _measure("idle", folder / "empty", folder / "empty.db", seconds=options.idle_s / 4)
    full = _measure("idle", folder / "tree", folder / "tree.db", seconds=options.idle_s)
    return [
        _row("idle: memory of the intake, empty inbox", empty["rss_mb"], limit=60.0, unit="MB"),
        ("idle: memory with the known files", f"{full['rss_mb']:.1f} MB", "-", ""),
        ("idle: CPU of the first listing and the watches", f"{full['first_cpu_s']:.2f} s", "-", ""),
        (f"idle: CPU in {options.idle_s:g} s, {full['listings']} listings", f"{full['cpu_s']:.2f} s", "-", ""),
        (f"idle: CPU in {options.idle_s / 4:g} s, empty inbox", f"{empty['cpu_s']:.3f} s", "-", ""),
    ]


def _find_s(root: Path) -> float:
    begin = time.perf_counter()
    subprocess.run(["find", root, "-printf", "%i %s %T@\\n"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def _measure(what: str, root: Path, journal: Path, **options: float) -> Figures:
    """The figures of one part, measured in a fresh process."""
    arguments = json.dumps({"what": what, "root": str(root), "journal": str(journal), **options})
    done = subprocess.run([sys.executable, "-m", "bench.intake.parts", arguments], stdout=subprocess.PIPE, check=True)
    figures: Figures = json.loads(done.stdout)
    return figures


# -- the table -------------------------------------------------------------------------------------------------------


def _row(name: str, value: float, *, limit: float, unit: str) -> Row:
    return name, f"{value:.2f} {unit}", f"{limit:g} {unit}", "ok" if value <= limit else "MISSED"


def _print_table(rows: list[Row]) -> None:
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"\n{os.cpu_count()} processors, load {load}; Python {sys.version.split()[0]}")
    for name, value, limit, verdict in [("", "measured", "at most", ""), *rows]:
        print(f"{name:<52}{value:>16}{limit:>12}  {verdict}".rstrip())


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
