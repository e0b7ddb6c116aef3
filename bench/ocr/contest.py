"""Commands run in turns on the same pages, so that a busy machine is busy for all of them. Owns the stopwatch."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Contestant:
    """A command that writes a text for each of its files into the folder that it is given. pages: how many it reads in all."""

    command: Callable[[Path], list[str]]
    pages: int
    files: int


@dataclass(frozen=True)
class Lap:
    """One run of a contestant. cpu_s: of the command with all its processes."""

    pages: int
    wall_s: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Pages a second."""
        return self.pages / self.wall_s

    @property
    def cpu_rate(self) -> float:
        """Pages a second of processor time."""
        return self.pages / self.cpu_s


class ContestFailed(Exception):
    """A contestant did not write the texts that it was to write."""


Laps = Mapping[str, Sequence[Lap]]


def race(contestants: Mapping[str, Contestant], *, rounds: int, scratch: Path) -> Laps:
    """Every contestant once a round, in turns: the next round goes the other way round."""
    laps: dict[str, list[Lap]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name in list(contestants)[:: -1 if number % 2 else 1]:
            laps[name].append(run(contestants[name], scratch / "texts"))
    return laps


def run(contestant: Contestant, output: Path) -> Lap:
    """One lap; its texts are counted and gone afterwards."""
    output.mkdir()
    command = contestant.command(output)
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    with process:
        said = process.stderr.read() if process.stderr else ""
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
    written = sum(path.suffix == ".txt" and path.stat().st_size > 0 for path in output.iterdir())
    shutil.rmtree(output)
    if process.returncode or written != contestant.files:
        raise ContestFailed(f"{command[0]} ended with {process.returncode} and {written} texts: {said[-500:]}")
    return Lap(contestant.pages, wall_s, usage.ru_utime + usage.ru_stime)


def rate(laps: Sequence[Lap]) -> float:
    """Pages a second, the median of the laps."""
    return statistics.median(lap.rate for lap in laps)


def cpu_s(laps: Sequence[Lap]) -> float:
    """Processor seconds a page, the median of the laps."""
    return statistics.median(lap.cpu_s / lap.pages for lap in laps)


def ratio(ours: Sequence[Lap], theirs: Sequence[Lap], of: Callable[[Lap], float] = lambda lap: lap.rate) -> float:
    """How many times as fast ours is, round by round; the median."""
    return statistics.median(of(our) / of(their) for our, their in zip(ours, theirs, strict=True))
