"""What several commands have in common: their options, the configuration they take, and how they ask the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ocrwatch import config
from ocrwatch.errors import OcrwatchError
from ocrwatch.service.control import NoDaemon, ask
from ocrwatch.settings import Configuration

config_option = click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="Configuration file (default: /etc/ocrwatch/config.yaml)."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
language_option = click.option("--language", "languages", multiple=True, help="ISO 639 code; may be repeated.")


def ask_daemon(config_path: Path | None, request: dict[str, Any]) -> dict[str, Any]:
    """The daemon's answer. Raises OcrwatchError when none runs, or with what it says against the request."""
    socket = socket_path(config_path)
    try:
        return ask(socket, request)
    except NoDaemon as error:
        raise OcrwatchError(f"no daemon listens at {socket}", "start it: systemctl start ocrwatch, or ocrwatch run") from error


def socket_path(config_path: Path | None) -> Path:
    """Where the daemon of this configuration listens."""
    return config.socket_of(config_path or config.default_path())


def settings_if_any(config_path: Path | None) -> Configuration | None:
    """The named configuration, the default one where there is one, else None: some commands work without."""
    if config_path is not None:
        return config.load(config_path)
    return config.load(config.default_path()) if config.default_path().exists() else None
