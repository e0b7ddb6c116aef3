"""How far the worker is that fetches and checks models, as a person sees it: bars on a terminal, few lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from ocrwatch.correction.store import Doing
from ocrwatch.wording import size

Show = Callable[[Mapping[str, Any]], None]

_LABELS = {Doing.DOWNLOADING: "downloading", Doing.CHECKING: "checking sha256"}


@contextlib.contextmanager
def shown() -> Iterator[Show]:
    """What shows a progress frame on standard error, while the block lasts."""
    if not sys.stderr.isatty():
        yield Lines(lambda line: click.echo(line, err=True))
        return
    # Only a terminal pays for these.
    from rich import progress
    from rich.console import Console

    columns = [progress.DownloadColumn(), progress.TransferSpeedColumn(), progress.TimeRemainingColumn()]
    label = progress.TextColumn("{task.description:<15}")
    with progress.Progress(label, progress.BarColumn(), *columns, console=Console(stderr=True)) as bars:
        tasks: dict[Doing, progress.TaskID] = {}

        def show(frame: Mapping[str, Any]) -> None:
            doing, done_bytes, total_bytes = _read(frame)
            if doing not in tasks:
                tasks[doing] = bars.add_task(_LABELS[doing], total=None)
            bars.update(tasks[doing], completed=done_bytes, total=total_bytes)

        yield show


class Lines:
    """A line at the beginning, and one for every tenth of a download: for a log, or a person behind a pipe."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._told: set[str] = set()

    def __call__(self, frame: Mapping[str, Any]) -> None:
        """Tell of a frame, if it says something new."""
        doing, done_bytes, total_bytes = _read(frame)
        how_far = f"{10 * (10 * done_bytes // max(total_bytes, 1))} % of " if doing is Doing.DOWNLOADING else ""
        line = f"{_LABELS[doing]}: {how_far}{size(total_bytes)}"
        if line not in self._told:
            self._told.add(line)
            self._tell(line)


def _read(frame: Mapping[str, Any]) -> tuple[Doing, int, int]:
    return Doing(frame["doing"]), int(frame["done_bytes"]), int(frame["total_bytes"])
