"""The service manager: readiness, status and watchdog. Where systemd is absent, nothing happens."""

from __future__ import annotations

import contextlib
import os
import time

with contextlib.suppress(ImportError):  # the service must also run where systemd is not
    from systemd import daemon as _daemon


def notify(**values: object) -> bool:
    """Tell the service manager, for instance `notify(READY=1, STATUS="...")`. False when it could not be told: never an error."""
    if "NOTIFY_SOCKET" in os.environ and "_daemon" in globals():
        try:
            _daemon.notify("\n".join(f"{name}={value}" for name, value in values.items()))
        except OSError:
            return False
    return True


def monotonic_usec() -> int:
    """The time that RELOADING=1 wants beside it."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def watchdog_s() -> float | None:
    """How often WATCHDOG=1 is to be sent: half of what the service manager allows; None when it does not watch."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    return int(usec) / 2e6 if usec.isdigit() and pid == str(os.getpid()) else None
