"""From a file in the folder to its text: ocrwatch beside OCRmyPDF's way of watching and a loop around inotifywait.

`python -m bench.watch.run [--documents N] [--only at-once one-a-second] [--plot FILE]` prints one table. Each watches a folder of
its own, one at a time, and gets the same documents: all at once, and one a second.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from bench.ocr.peers import Lacking
from bench.watch import contestants, documents
from bench.watch.contestants import Contestant

_PACES = {"at-once": 0.0, "one-a-second": 1.0}
_QUIET_S = 45.0
"""As long without a new text, and what has none by then is missed."""
_LOOK_S = 0.2
_START_S = 3.0
_END_S = 30


@dataclass(frozen=True)
class Run:
    """What came of the documents.

    delays_s: from the end of its writing to its text, of each that got one. arrived_s, texts_s: when each was there, counted from
    the first document.
    """

    delays_s: tuple[float, ...]
    arrived_s: tuple[float, ...]
    texts_s: tuple[float, ...]
    missed: int
    took_s: float
    cpu_s: float


def main() -> int:
    """Run the benchmark; 1 when ocrwatch missed a document or was slower than another."""
    options = _arguments()
    with tempfile.TemporaryDirectory(prefix="ocrwatch-bench-", dir=options.folder) as name:
        folder = Path(name)
        print(f"drawing {options.documents} documents", file=sys.stderr)
        drawn = documents.draw(folder / "documents", count=options.documents, seed=options.seed)
        runs = {pace: _runs(drawn, folder / pace, pause_s=_PACES[pace], install=not options.no_install) for pace in options.only}
    for pace, results in runs.items():
        _print_table(pace, results, pages=documents.pages(drawn))
    if options.plot is not None:
        from bench.watch.plot import plot  # only this wants matplotlib

        plot({pace: _lines(results) for pace, results in runs.items()}, options.plot)
    ours = [results["ocrwatch"] for results in runs.values()]
    return int(any(isinstance(run, Lacking) or run.missed for run in ours))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.watch.run", description=__doc__)
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--only", choices=list(_PACES), nargs="+", default=list(_PACES))
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--no-install", action="store_true", help="leave out what is not here yet")
    parser.add_argument("--plot", type=Path, help="where to draw how the texts came, as SVG (wants matplotlib)")
    parser.add_argument("--folder", type=Path, help="on which disk (default: that of the temporary files)")
    return parser.parse_args()


def _runs(drawn: Sequence[Path], folder: Path, *, pause_s: float, install: bool) -> dict[str, Run | Lacking]:
    folder.mkdir()
    results: dict[str, Run | Lacking] = {}
    inbox, output, scratch = folder / "inbox", folder / "output", folder / "scratch"
    for name in contestants.all_of_them(inbox, output, folder, install=install):
        for each in (inbox, output, scratch):
            shutil.rmtree(each, ignore_errors=True)
            each.mkdir()
        contestant = contestants.all_of_them(inbox, output, scratch, install=install)[name]
        print(f"{folder.name}: {name}", file=sys.stderr)
        results[name] = contestant if isinstance(contestant, Lacking) else _run(contestant, drawn, inbox, output, pause_s=pause_s)
    return results


def _run(contestant: Contestant, drawn: Sequence[Path], inbox: Path, output: Path, *, pause_s: float) -> Run:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile() as log:
        watcher = subprocess.Popen(contestant.command, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait_for_start(contestant, log.fileno())
            begun_s = time.monotonic()
            arrived_ns = _drop(drawn, inbox, pause_s=pause_s)
            texts = _texts(output, len(drawn))
            ended_s = time.monotonic()
        finally:
            os.killpg(watcher.pid, signal.SIGINT)
            try:
                watcher.wait(timeout=_END_S)
            except subprocess.TimeoutExpired:
                os.killpg(watcher.pid, signal.SIGKILL)
                watcher.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    delays_s = tuple((texts[name] - at_ns) / 1e9 for name, at_ns in arrived_ns.items() if name in texts)
    first_ns = min(arrived_ns.values())
    arrived_s, texts_s = (tuple((at_ns - first_ns) / 1e9 for at_ns in each.values()) for each in (arrived_ns, texts))
    missed = len(drawn) - len(texts)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(delays_s, arrived_s, texts_s, missed, ended_s - begun_s - (_QUIET_S if missed else 0), cpu_s)


def _lines(results: Mapping[str, Run | Lacking]) -> dict[str, Sequence[float]]:
    """When texts came, by contestant, and when the first one's documents did."""
    ran = {name: run for name, run in results.items() if isinstance(run, Run)}
    lines: dict[str, Sequence[float]] = {"documents": next(iter(ran.values())).arrived_s} if ran else {}
    return lines | {name: run.texts_s for name, run in ran.items()}


def _wait_for_start(contestant: Contestant, log: int) -> None:
    limit_s = time.monotonic() + 60
    while contestant.ready is not None and contestant.ready.encode() not in os.pread(log, 100_000, 0):
        if time.monotonic() > limit_s:
            raise RuntimeError(f"{contestant.command[0]} does not start: {os.pread(log, 2000, 0)!r}")
        time.sleep(_LOOK_S)
    time.sleep(_START_S)  # the others say nothing


def _drop(drawn: Sequence[Path], inbox: Path, *, pause_s: float) -> dict[str, int]:
    """Copy them in; when each was whole, by the clock that also stamps files."""
    arrived_ns = {}
    for document in drawn:
        shutil.copyfile(document, inbox / document.name)
        arrived_ns[document.name] = (inbox / document.name).stat().st_ctime_ns
        time.sleep(pause_s)
    return arrived_ns


def _texts(output: Path, count: int) -> dict[str, int]:
    """When each text was written last, once all are there or none has come for long."""
    known: dict[str, int] = {}
    last_s = time.monotonic()
    while len(known) < count and time.monotonic() - last_s < _QUIET_S:
        time.sleep(_LOOK_S)
        found = {text.name.removesuffix(".txt"): text.stat() for text in output.glob("scan-*.txt")}
        whole = {name: status.st_ctime_ns for name, status in found.items() if status.st_size}
        if whole != known:
            known, last_s = whole, time.monotonic()
    return known


def _print_table(pace: str, results: dict[str, Run | Lacking], *, pages: int) -> None:
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"\n{pace}: {pages} pages; {len(os.sched_getaffinity(0))} processors, load {load}")
    print(f"{'':<20}{'pages/s':>9}{'median':>10}{'p99':>10}{'missed':>8}{'CPU s a page':>14}")
    for name, run in results.items():
        if isinstance(run, Lacking):
            print(f"{name:<20}not run: {run.why}")
            continue
        p99_s = quantiles(run.delays_s, n=100)[98] if len(run.delays_s) > 1 else float("nan")
        middle_s = median(run.delays_s) if run.delays_s else float("nan")
        read = pages * len(run.delays_s) / (len(run.delays_s) + run.missed)
        delays = f"{middle_s:>8.1f} s{p99_s:>8.1f} s{run.missed:>8}"
        print(f"{name:<20}{read / run.took_s:>9.2f}{delays}{run.cpu_s / max(read, 1):>14.2f}")


if __name__ == "__main__":
    sys.exit(main())
