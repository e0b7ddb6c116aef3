"""`ocrwatch why`: asks the daemon; where none runs, the journal, which is opened for reading only."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from ocrwatch import composition, config
from ocrwatch.cli_options import START, absolute, config_option, json_option, socket_path
from ocrwatch.errors import OcrwatchError
from ocrwatch.intake import mounts
from ocrwatch.journal.journal import Journal
from ocrwatch.service import view
from ocrwatch.service.control import NoDaemon, ask
from ocrwatch.service.onlook import pdf_of, reason_of, sight_of
from ocrwatch.service.whereabouts import Spot, locate
from ocrwatch.service.why import Surroundings, tell
from ocrwatch.settings import Configuration


@click.command()
@click.argument("file")  # no click.Path: it would touch the file, and the share may be the one that hangs
@config_option
@json_option
def why(file: str, config_path: Path | None, as_json: bool) -> None:
    """Say what has become of a file, and what comes next."""
    path = absolute(file)
    try:
        answer = ask(socket_path(config_path), {"op": "why", "path": path})
    except NoDaemon:
        answer = _from_journal(config.load(config_path or config.default_path()), path)
    for line in [json.dumps(answer, indent=1)] if as_json else view.why_lines(answer):
        click.echo(line)


def _from_journal(settings: Configuration, path: str) -> dict[str, Any]:
    spot = locate(path, composition.places(settings))
    path_of_journal = _journal(settings)
    click.echo("ocrwatch: no daemon runs, so nothing goes on; this is from its journal", err=True)
    wall_clock = time.time  # noqa: TID251 - the command line hands it out
    journal = Journal(path_of_journal, wall_clock=wall_clock, read_only=True)
    try:
        told = tell(
            spot,
            lambda spot: _around(settings, spot),
            journal=journal,
            monotonic_s=time.monotonic(),
            wall_s=wall_clock(),
        )
        return told | {"daemon": False}
    finally:
        journal.close()


def _journal(settings: Configuration) -> Path:
    path = settings.state_dir / "journal.db"
    try:
        path.stat()
    except FileNotFoundError as error:
        raise OcrwatchError(f"no daemon runs, and none ever ran: there is no journal at {path}", START) from error
    except OSError as error:
        raise OcrwatchError(
            f"no daemon runs, and you cannot get at its journal {path}: {error.strerror}", "ask as root"
        ) from error
    return path


def _around(settings: Configuration, spot: Spot) -> Surroundings:
    inbox = next(inbox for inbox in settings.inboxes if inbox.name == spot.place.inbox)
    table = mounts.read_mounts()
    return Surroundings(
        inbox=inbox.name,
        patterns=composition.patterns(inbox),
        text_base=str(inbox.output.directory or inbox.path),
        recursive=inbox.recursive,
        look=lambda relative: sight_of(str(inbox.path), relative, table=table),
        reason=lambda place: reason_of(place, table=table),
        pdf=(lambda names: pdf_of(names, table=table)) if inbox.output.pdf else None,
    )
