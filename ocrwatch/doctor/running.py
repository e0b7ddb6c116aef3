"""What runs: the daemon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ocrwatch import __version__
from ocrwatch.doctor.findings import Finding, bad, ok, warn
from ocrwatch.doctor.unit import Unit
from ocrwatch.errors import OcrwatchError
from ocrwatch.service.control import NoDaemon, ask
from ocrwatch.settings import Configuration


def daemon_status(settings: Configuration, unit: Unit | None) -> tuple[Mapping[str, Any] | None, Finding]:
    """What the daemon says of itself; None when it says nothing. And whether that is as it should be."""
    try:
        status = ask(settings.socket_path, {"op": "status"})
    except NoDaemon:
        if unit is not None and unit.is_active:
            return None, bad(f"the service runs, and nobody answers at {settings.socket_path}", "journalctl -u ocrwatch -n 50")
        return None, warn("no daemon runs", "systemctl start ocrwatch" if unit is not None else "ocrwatch run")
    except OcrwatchError as error:
        return None, warn(error.message, error.remedy)
    if status["version"] != __version__:
        remedy = "systemctl restart ocrwatch"
        return status, warn(f"the daemon is ocrwatch {status['version']}, installed is {__version__}", remedy)
    return status, ok(f"ocrwatch {__version__} runs (pid {status['pid']})")
