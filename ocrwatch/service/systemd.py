"""The service manager: readiness, status, watchdog and the journal's fields. Where systemd is absent, nothing happens."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from typing import Any

with contextlib.suppress(ImportError):  # the service must also run where systemd is not
    from systemd import daemon as _daemon
    from systemd import journal as _journal  # type: ignore[attr-defined] # the checkout's folder systemd/ hides the package

_FIELDS = {"event", "inbox", "file", "job", "state", "reason", "detail", "pages", "seconds"}


def notify(**values: object) -> None:
    """Tell the service manager, for instance `notify(READY=1, STATUS="...")`."""
    if "NOTIFY_SOCKET" in os.environ and "_daemon" in globals():
        _daemon.notify("\n".join(f"{name}={value}" for name, value in values.items()))


def monotonic_usec() -> int:
    """The time that RELOADING=1 wants beside it."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def watchdog_s() -> float | None:
    """How often WATCHDOG=1 is to be sent: half of what the service manager allows; None when it does not watch."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    return int(usec) / 2e6 if usec.isdigit() and pid == str(os.getpid()) else None


def log_handler() -> logging.Handler:
    """Where log lines go: journald with their fields when it listens on standard error, else standard error itself."""
    if "JOURNAL_STREAM" in os.environ and "_journal" in globals():
        return _JournalHandler()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PlainFormatter("%(asctime)s %(levelname)s %(message)s"))
    return handler


class _PlainFormatter(logging.Formatter):
    """One line a record; what a person needs of the fields stands behind the message."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        seconds, detail = getattr(record, "seconds", None), getattr(record, "detail", "")
        if seconds is not None:
            line += f" ({seconds:.1f} s, {getattr(record, 'pages', 0)} pages)"
        return printable(line + (f": {detail}" if detail else ""))


class _JournalHandler(logging.Handler):
    """Sends records to journald with their fields as OCRWATCH_*."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {
            f"OCRWATCH_{name.upper()}": str(getattr(record, name)) for name in _FIELDS if getattr(record, name, None) is not None
        }
        priority = 3 if record.levelno >= logging.ERROR else 4 if record.levelno >= logging.WARNING else 6
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        detail = getattr(record, "detail", "")
        message = printable(text + (f": {detail}" if detail else ""))
        safe = {name: value.encode("utf-8", "backslashreplace").decode() for name, value in fields.items()}
        _journal.send(message, SYSLOG_IDENTIFIER="ocrwatch", PRIORITY=priority, **safe)


def printable(text: str) -> str:
    """The text with names that are not UTF-8, and control characters, as escapes: a file name must not forge a log line."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text).replace("\n", "\\n")
