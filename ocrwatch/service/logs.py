"""Where log lines go and how they look: journald with fields, lines for a person, or JSON. Never the text of a document."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TextIO

from ocrwatch.log_events import LogEvent

with contextlib.suppress(ImportError):  # the service must also run where systemd is not
    from systemd import journal as _journal  # type: ignore[attr-defined] # the checkout's folder systemd/ hides the package

FIELDS = ("event", "inbox", "file", "job", "state", "reason", "detail", "pages", "seconds", "hook")
"""What a record may carry in its `extra`; OCRWATCH_* in journald."""

_COLOURS = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[31m"}
_PLAIN = "\x1b[0m"


class LogFormat(StrEnum):
    """How lines on standard error look."""

    TEXT = "text"
    JSON = "json"


def set_up(wanted: LogFormat | None, *, verbose: bool) -> None:
    """Send the log to where it belongs. wanted: None for journald where it listens, else for text."""
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=level, handlers=[handler(wanted, stream=sys.stderr)], force=True)
    logging.getLogger("watchdog").setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)  # of libraries, to their developers: in the log only when one asks for it
    logging.getLogger("py.warnings").setLevel(logging.WARNING if verbose else logging.ERROR)


def handler(wanted: LogFormat | None, *, stream: TextIO) -> logging.Handler:
    """What writes records to `stream`, or to journald when that is behind it and nothing else is wanted."""
    if wanted is None and _is_journal(stream, os.environ) and "_journal" in globals():
        return _JournalHandler()
    written = logging.StreamHandler(stream)
    written.setFormatter(JsonFormatter() if wanted is LogFormat.JSON else TextFormatter(colour=stream.isatty()))
    return written


def _is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether journald reads it: JOURNAL_STREAM is inherited also by what writes elsewhere (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """What the record carries, without what is empty."""
    carried = {name: getattr(record, name, None) for name in FIELDS}
    return {name: value for name, value in carried.items() if value not in (None, "")}


class TextFormatter(logging.Formatter):
    """One line a record; what a person needs of the fields stands behind the message."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._has_colour = colour

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        seconds, detail = getattr(record, "seconds", None), getattr(record, "detail", "")
        if seconds is not None:
            line += f" ({seconds:.1f} s, {getattr(record, 'pages', 0)} pages)"
        line = printable(line + (f": {detail}" if detail else ""))
        colour = _COLOURS.get(record.levelno) if self._has_colour else None
        return f"{colour}{line}{_PLAIN}" if colour else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (ISO 8601, UTC), level, logger, message, and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields(record),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps({key: _readable(value) for key, value in told.items()}, ensure_ascii=False)


class _JournalHandler(logging.Handler):
    """Sends records to journald with their fields as OCRWATCH_*, and the kind of event as MESSAGE_ID."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._send(record)
        except (OSError, ValueError, TypeError):  # as all handlers do: whoever logs has other things to do
            self.handleError(record)

    @staticmethod
    def _send(record: logging.LogRecord) -> None:
        priority = 3 if record.levelno >= logging.ERROR else 4 if record.levelno >= logging.WARNING else 6
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        detail = getattr(record, "detail", "")
        sent = {f"OCRWATCH_{name.upper()}": str(_readable(value)) for name, value in fields(record).items()}
        event = getattr(record, "event", None)
        if isinstance(event, LogEvent):
            sent["MESSAGE_ID"] = event.message_id
        message = printable(text + (f": {detail}" if detail else ""))
        _journal.send(message, SYSLOG_IDENTIFIER="ocrwatch", PRIORITY=priority, **sent)


def _readable(value: Any) -> Any:
    """A name that is not UTF-8 with its bytes as escapes."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def printable(text: str) -> str:
    """The text with names that are not UTF-8, and control characters, as escapes: a file name must not forge a log line."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text).replace("\n", "\\n")
