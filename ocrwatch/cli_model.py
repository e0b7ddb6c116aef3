"""`ocrwatch model`: fetch, list, check and unload the correction model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ocrwatch import direct, modelling
from ocrwatch.cli_options import ask_daemon, config_option, settings_if_any
from ocrwatch.correction.calibrations import Calibrations
from ocrwatch.correction.store import ModelFile
from ocrwatch.errors import ModelUnavailable
from ocrwatch.service import pulling
from ocrwatch.wording import size
from ocrwatch.worker.process import WorkerProcess


@click.group()
def model() -> None:
    """Fetch, list, check or unload the correction model."""


@model.command()
@config_option
def pull(config_path: Path | None) -> None:
    """Fetch the configured model; the only command that goes online."""
    with pulling.shown() as progress:
        reply = _fetcher(config_path, "fetch", progress=progress)
    file = ModelFile.from_json(reply)
    licence = file.licence or "not named by its card"
    click.echo(f"{file.path}\n  sha256 {file.sha256}\n  licence {licence}: read it before you use the model")


@model.command("list")
@config_option
def list_models(config_path: Path | None) -> None:
    """List the models on this machine."""
    models = _fetcher(config_path, "list")["models"]
    calibrations = _calibrations(config_path)
    for entry in models:
        click.echo(f"{size(entry['size_bytes']):>11}  {entry.get('repository') or '-'}  {entry['path']}")
        try:
            told = calibrations.of(Path(entry["path"])).state
        except ModelUnavailable as error:  # the others are listed all the same
            told = error.message
        click.echo(f"{'':13}{told}")
    if not models:
        click.echo("no model is here; run: ocrwatch model pull", err=True)


@model.command()
@config_option
def verify(config_path: Path | None) -> None:
    """Read the configured model whole and check its sha256."""
    with pulling.shown() as progress:
        file = ModelFile.from_json(_fetcher(config_path, "verify", progress=progress))
    click.echo(f"{file.path}: sha256 {file.sha256}")
    click.echo(f"  {_calibrations(config_path).of(file.path)}")


def _calibrations(config_path: Path | None) -> Calibrations:
    return Calibrations((settings_if_any(config_path) or direct.bare_settings()).state_dir)


_UNLOADED = {"loading": "the load is given up; a download goes on", "busy": "unloading as soon as the page in hand is done"}


@model.command()
@config_option
def unload(config_path: Path | None) -> None:
    """Have the daemon unload the model now."""
    answer = ask_daemon(config_path, {"op": "unload"})
    click.echo(_UNLOADED.get(answer["state"], "unloading" if answer["pid"] else "no model was loaded"))


def _fetcher(
    config_path: Path | None, operation: str, progress: Callable[[dict[str, Any]], None] | None = None
) -> dict[str, Any]:
    settings = settings_if_any(config_path) or direct.bare_settings()
    wish = modelling.wish_of(settings).to_json() | ({"download": "auto"} if operation == "fetch" else {})
    with WorkerProcess(modelling.fetch_spec(settings.state_dir)) as worker:
        return worker.call({"op": operation, "wish": wish}, deadline_s=300.0, progress=progress)
