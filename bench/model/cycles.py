"""Load, correct a page, unload when idle, again and again; what the parent holds after each time. A process of its own.

Started by `bench.model.run`; prints JSON. Nothing but the owner and its children is in it, so what grows is theirs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from bench.model import life


@dataclass(frozen=True, slots=True)  # a thousand of them must not look like a leak
class Held:
    """What a process holds at one moment. children: processes, zombies among them."""

    descriptors: int
    threads: int
    children: int
    resident_bytes: int


@dataclass(frozen=True)
class Course:
    """What became of it: each figure in the first tenth of the cycles and in the last."""

    cycles: int
    descriptors: tuple[float, float]
    threads: tuple[float, float]
    children: tuple[float, float]
    resident_bytes: tuple[float, float]

    @property
    def counts_are_flat(self) -> bool:
        """Whether there are no more descriptors, threads and children than in the beginning."""
        return all(last <= first for first, last in (self.descriptors, self.threads, self.children))

    @property
    def growth_bytes(self) -> float:
        """Resident memory more than in the beginning."""
        return self.resident_bytes[1] - self.resident_bytes[0]


def course(held: Sequence[Held]) -> Course:
    """The course of what was held after each cycle. Counts are means, which no single one too many escapes."""
    tenth = max(1, len(held) // 10)
    first, last = held[:tenth], held[-tenth:]
    return Course(
        cycles=len(held),
        descriptors=(fmean(h.descriptors for h in first), fmean(h.descriptors for h in last)),
        threads=(fmean(h.threads for h in first), fmean(h.threads for h in last)),
        children=(fmean(h.children for h in first), fmean(h.children for h in last)),
        resident_bytes=(median(h.resident_bytes for h in first), median(h.resident_bytes for h in last)),
    )


def run(cycles: int, *, model: Path | None) -> Course:
    """So many cycles in a process of their own. model: None for the scripted one. Raises LifeFailed when one goes wrong."""
    options = {"cycles": cycles, "model": None if model is None else str(model)}
    command = [sys.executable, "-m", "bench.model.cycles", json.dumps(options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise life.LifeFailed(f"a cycle of loading and unloading failed (status {done.returncode})")
    return course([Held(**each) for each in json.loads(done.stdout)])


def holds() -> Held:
    """What this process holds now; the descriptor that looks is among it."""
    tasks = os.listdir("/proc/self/task")
    children = 0
    for task in tasks:
        try:
            children += len(Path(f"/proc/self/task/{task}/children").read_text(encoding="ascii").split())
        except OSError:  # the thread has just ended
            continue
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return Held(len(os.listdir("/proc/self/fd")), len(tasks), children, pages * os.sysconf("SC_PAGESIZE"))


def main() -> int:
    """Go through the cycles that the options name."""
    options: dict[str, Any] = json.loads(sys.argv[1])
    held: list[Held] = []
    with tempfile.TemporaryDirectory(prefix="ocrwatch-cycles-") as name:
        folder, model = Path(name), options["model"]
        plan = life.scripted_plan(folder) if model is None else life.real_plan(Path(model), folder, idle=0)
        text = life.SHORT_PAGE if model is None else life.PAGE
        with life.owned(plan) as owner:
            for number in range(1, options["cycles"] + 1):
                with owner.soft_lease() as lease:
                    lease.take()
                    if not life.corrected(owner, text).edits:
                        raise life.LifeFailed("the page was not corrected")
                life.wait_until_cold(owner)
                if owner.status().epoch != number:
                    raise life.LifeFailed(f"process {owner.status().epoch} in cycle {number}")
                held.append(holds())
    print(json.dumps([asdict(each) for each in held]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
