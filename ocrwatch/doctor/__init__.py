"""What this machine lacks, and the command that mends it.

Owns the order in which things are looked at, and as whom: as the user of the installed service when root asks, else as oneself.
Changes nothing, but for one small file on each share that it can write to, which is gone again at once: its time tells the
share's clock. No path of the configuration is touched by the process that asks, because a share may hang.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path

from ocrwatch.correction.driver import has_driver
from ocrwatch.doctor import unit as units
from ocrwatch.doctor.engines import examine_engines, wants_aspose
from ocrwatch.doctor.findings import Finding, Verdict, about, bad, ok, warn
from ocrwatch.doctor.machine import examine_machine, examine_watches
from ocrwatch.doctor.model import examine_model
from ocrwatch.doctor.places import Places
from ocrwatch.doctor.running import daemon_status, hook_programs, metrics_port
from ocrwatch.doctor.unit import Unit
from ocrwatch.errors import MissingPart
from ocrwatch.intake import mounts
from ocrwatch.settings import Configuration
from ocrwatch.worker.lookout import Lookout, looking_out

__all__ = ["Finding", "Verdict", "examine"]


def examine(settings: Configuration | None, *, today: date | None = None) -> list[Finding]:
    """Everything that makes installations fail. Without a configuration, the parts alone.

    today: by which licences are judged; None for not at all.
    """
    unit = units.installed()
    with tempfile.TemporaryDirectory(prefix="ocrwatch-") as folder:
        findings = [
            *about("engines", examine_engines(settings, today)),
            *about("model", examine_model(settings, unit, Path(folder))),
            *about("machine", examine_machine()),
        ]
    if settings is None:
        nothing = warn("no configuration", "name one with --config to have inboxes looked at")
        return [*findings, *about("configuration", [nothing])]
    return [*findings, *_configured(settings, unit)]


def _configured(settings: Configuration, unit: Unit | None) -> Iterator[Finding]:
    table = mounts.read_mounts()
    with ExitStack() as parts:
        lookout, found = _lookout(unit, table, parts)
        status, told = daemon_status(settings, unit)
        found += [told, *metrics_port(settings, is_running=status is not None), *hook_programs(settings.hooks, lookout)]
        if unit is not None:
            found += units.unit_findings(unit, settings, aspose=wants_aspose(settings), driver=has_driver())
        yield from about("service", found)
        places = Places(lookout, table, service=(unit.user if unit is not None else None) or lookout.user)
        yield from about("state", places.state(settings))
        for inbox in settings.inboxes:
            yield from about(f"inbox {inbox.name}", places.inbox(inbox))
        pid = int(status["pid"]) if status is not None else None
        watches = examine_watches(settings.inboxes, lookout=lookout, table=table, daemon=pid)
        yield from about("inotify", watches)


def _lookout(unit: Unit | None, table: tuple[mounts.Mount, ...], parts: ExitStack) -> tuple[Lookout, list[Finding]]:
    """Who looks at paths, and what is to be said of that."""
    found: list[Finding] = []
    if unit is not None and unit.user is None:
        found.append(
            warn("the service's user exists only while it runs", f"give {units.UNIT} a User= to have permissions looked at")
        )
    elif unit is not None and os.geteuid() == 0:
        try:
            lookout = parts.enter_context(looking_out(table=table, user=unit.user, groups=unit.groups))
        except MissingPart as error:
            found.append(bad(error.message, error.remedy))
        else:
            return lookout, [ok(f"permissions are looked at as {lookout.user}, the user of {units.UNIT}")]
    lookout = parts.enter_context(looking_out(table=table))
    if unit is not None and unit.user not in (None, lookout.user):
        found.append(warn(f"permissions are looked at as {lookout.user}, the service is {unit.user}", "sudo ocrwatch doctor"))
    return lookout, found
