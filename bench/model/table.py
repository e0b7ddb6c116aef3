"""The table of a benchmark of the model's life: rows of name, figure, target and verdict."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

Row = tuple[str, str, str, str]

NO_TARGET = ("-", "")


def verdict(is_met: bool) -> str:
    """The last word of a row that has a target."""
    return "ok" if is_met else "MISSED"


def print_table(rows: Iterable[Row]) -> None:
    """The table, and what it was measured on."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"\n{len(os.sched_getaffinity(0))} processors, load {load}; Python {sys.version.split()[0]}")
    for name, value, target, told in [("", "measured", "target", ""), *rows]:
        print(f"{name:<66}{value:>16}{target:>12}  {told}".rstrip())
