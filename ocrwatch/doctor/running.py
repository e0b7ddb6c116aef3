"""What runs, and what it calls: the daemon, the port of the metrics, the programs of the hooks."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from typing import Any

from ocrwatch import __version__
from ocrwatch.doctor.findings import Finding, bad, ok, quoted, warn
from ocrwatch.doctor.unit import Unit
from ocrwatch.errors import OcrwatchError, ShareOffline
from ocrwatch.intake.entries import Kind
from ocrwatch.service.control import NoDaemon, ask
from ocrwatch.settings import Configuration, HookSettings
from ocrwatch.worker.lookout import Lookout

_CONNECT_S = 2.0


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


def metrics_port(settings: Configuration, *, is_running: bool) -> Iterator[Finding]:
    """Whether figures are to be had where they are configured, or could be."""
    address = settings.metrics.address
    if address is None:
        return
    where = settings.metrics.listen
    if is_running:
        try:
            socket.create_connection(address, timeout=_CONNECT_S).close()
        except OSError as error:
            yield bad(f"the daemon tells no metrics at {where}: {error.strerror or error}", "systemctl restart ocrwatch")
        else:
            yield ok(f"metrics are told at {where}")
        return
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            yield bad(
                f"metrics cannot be told at {where}: {error.strerror}",
                f"ss -ltnp sport = :{address[1]}; or another `metrics.listen`",
            )
        else:
            yield ok(f"{where} is free for metrics")


def hook_programs(hooks: HookSettings, lookout: Lookout) -> Iterator[Finding]:
    """Whether the service may run the programs that are to be told of events."""
    for name in ("done", "failed", "review", "inbox_offline"):
        argv = getattr(hooks, name)
        if argv:
            try:
                yield _program(f"hooks.{name}", argv[0], lookout)
            except ShareOffline as error:
                yield bad(f"hooks.{name}: {error.message}", error.remedy)


def _program(key: str, path: str, lookout: Lookout) -> Finding:
    sight = lookout.look(path)
    if sight.is_absent:
        return bad(f"{key}: there is no program {path}", "put it there, or take it out of the configuration")
    if sight.kind is not Kind.REGULAR:
        return bad(f"{key}: {path} is no program{f': {sight.problem}' if sight.problem else ''}", f"ls -ld {quoted(path)}")
    if not sight.enterable:
        return bad(f"{key}: {lookout.user} may not run {path} ({sight.belongs})", f"chmod a+rx {quoted(path)}")
    if sight.mode & 0o002:
        return warn(
            f"{key}: everybody may change {path} (mode {sight.mode:o}), and the service runs it", f"chmod o-w {quoted(path)}"
        )
    return ok(f"{key}: {path} can be run")
