"""What several commands have in common: their options, the configuration they take, and how they ask the daemon."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from ocrwatch import config
from ocrwatch.errors import OcrwatchError, UsageError
from ocrwatch.service.control import NoDaemon, ask
from ocrwatch.settings import Configuration

config_option = click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="Configuration file (default: /etc/ocrwatch/config.yaml)."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
START = "start it: systemctl start ocrwatch, or ocrwatch run"
language_option = click.option("--language", "languages", multiple=True, help="ISO 639 code; may be repeated.")


def ask_daemon(config_path: Path | None, request: dict[str, Any]) -> dict[str, Any]:
    """The daemon's answer. Raises OcrwatchError when none runs, or with what it says against the request."""
    socket = socket_path(config_path)
    try:
        return ask(socket, request)
    except NoDaemon as error:
        raise OcrwatchError(f"no daemon listens at {socket}", START) from error


def absolute(path: str) -> str:
    """The path as the shell shows it: no symlink is resolved, nor one that `cd` went through, since a daemon knows names alone.

    Raises UsageError for a relative one where the working directory is no more.
    """
    if os.path.isabs(path):
        return os.path.normpath(path)
    try:
        here, shown = os.getcwd(), os.environ.get("PWD", "")
        if shown != here and os.path.isabs(shown) and os.path.samefile(shown, here):
            here = shown
    except OSError as error:
        raise UsageError(f"there is no telling what {path!r} is: the working directory is gone", "name the whole path") from error
    return os.path.normpath(os.path.join(here, path))


def socket_path(config_path: Path | None) -> Path:
    """Where the daemon of this configuration listens."""
    return config.socket_of(config_path or config.default_path())


def settings_if_any(config_path: Path | None) -> Configuration | None:
    """The named configuration, the default one where there is one, else None: some commands work without."""
    if config_path is not None:
        return config.load(config_path)
    path = config.default_path()
    return config.load(path) if os.path.exists(path) else None


@contextlib.contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """What is told how much is done, of how much: shown as a bar on standard error, in a pipe as a line for every tenth."""
    if not sys.stderr.isatty():
        yield Tenths(what, tell=lambda line: click.echo(line, err=True))
        return
    # Only a terminal pays for these.
    from rich import progress
    from rich.console import Console

    shown = [progress.MofNCompleteColumn(), progress.TimeRemainingColumn()]
    console = Console(stderr=True)
    with progress.Progress(progress.TextColumn(what), progress.BarColumn(), *shown, console=console) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class Tenths:
    """A line for each tenth that is done: `files: 20 of 50`. Few things, of which each is a tenth or more, have a line each."""

    def __init__(self, what: str, *, tell: Callable[[str], None]) -> None:
        self._what = what
        self._tell = tell
        self._told = 0

    def __call__(self, done: int, total: int) -> None:
        """Tell of it, if it is another tenth."""
        tenth = 10 * done // max(total, 1)
        if tenth > self._told:
            self._told = tenth
            self._tell(f"{self._what}: {done} of {total}")
