"""How log records look: for journald, for a person, as JSON."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.log_events import LogEvent, of_file
from ocrwatch.service import logs, systemd
from ocrwatch.service.logs import JsonFormatter, LogFormat, TextFormatter

DOCUMENTATION = Path(__file__).resolve().parents[2] / "docs" / "service.md"
CATALOG = Path(__file__).resolve().parents[2] / "systemd" / "ocrwatch.catalog"


def record(message: str, level: int = logging.INFO, **extra: Any) -> logging.LogRecord:
    """A record as a logger makes it."""
    return logging.getLogger("test").makeRecord("ocrwatch", level, __file__, 1, message, (), None, extra=extra)


class TestText:
    def test_a_line_tells_seconds_pages_and_why(self) -> None:
        line = TextFormatter(colour=False).format(
            record("in/a.pdf: partial", seconds=1.25, pages=3, detail="page 2 is unreadable")
        )
        assert line.endswith("INFO in/a.pdf: partial (1.2 s, 3 pages): page 2 is unreadable")

    def test_a_file_name_forges_no_line_and_no_colour(self) -> None:
        line = TextFormatter(colour=True).format(record("a\n2026 INFO b \x1b[31m \udcff", logging.ERROR))
        assert line.startswith("\x1b[31m")
        assert line.endswith("\x1b[0m")
        body = line[len("\x1b[31m") : -len("\x1b[0m")]
        assert body.isprintable()
        assert "\\n2026" in body

    @pytest.mark.parametrize(("level", "has_colour"), [(logging.INFO, False), (logging.WARNING, True), (logging.ERROR, True)])
    def test_only_what_needs_eyes_has_colour_on_a_terminal(self, level: int, has_colour: bool) -> None:
        assert ("\x1b" in TextFormatter(colour=True).format(record("x", level))) == has_colour
        assert "\x1b" not in TextFormatter(colour=False).format(record("x", level))


class TestJson:
    def test_one_object_a_line_with_the_fields(self) -> None:
        about = of_file(LogEvent.FILE_ARCHIVED, inbox="in", file="a\n\udcff.pdf", job=7)
        line = JsonFormatter().format(record("moved", logging.WARNING, **about))
        assert "\n" not in line
        told = json.loads(line)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told.pop("time"))
        assert told == {
            "level": "warning",
            "logger": "ocrwatch",
            "message": "moved",
            "event": "file_archived",
            "inbox": "in",
            "file": "a\n\\udcff.pdf",
            "job": 7,
        }

    def test_an_exception_is_told_in_the_same_line(self) -> None:
        try:
            raise ValueError("no")
        except ValueError:
            found = logging.getLogger("test").makeRecord("x", logging.ERROR, "f", 1, "m", (), sys.exc_info())
        line = JsonFormatter().format(found)
        assert "\n" not in line
        assert "ValueError: no" in json.loads(line)["exception"]


class TestWhereItGoes:
    def test_to_journald_only_when_that_reads_standard_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """JOURNAL_STREAM is inherited by everything that the service starts, also where its output goes to a file."""
        with (tmp_path / "log").open("w") as stream:
            status = os.fstat(stream.fileno())
            monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
            pytest.importorskip("systemd.journal", reason="systemd-python is absent: nothing goes to journald")
            assert not isinstance(logs.handler(None, stream=stream), logging.StreamHandler)
            assert isinstance(logs.handler(LogFormat.TEXT, stream=stream), logging.StreamHandler)
            monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino + 1}")
            assert isinstance(logs.handler(None, stream=stream), logging.StreamHandler)

    def test_to_a_stream_without_a_descriptor(self) -> None:
        stream = io.StringIO()
        handler = logs.handler(LogFormat.JSON, stream=stream)
        handler.emit(record("hello"))
        assert json.loads(stream.getvalue())["message"] == "hello"

    def test_to_journald_with_fields_and_kind(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        sent: dict[str, Any] = {}

        class Journal:
            @staticmethod
            def send(message: str, **fields: Any) -> None:
                sent.update(fields, MESSAGE=message)

        monkeypatch.setattr(logs, "_journal", Journal, raising=False)
        with (tmp_path / "log").open("w") as stream:
            status = os.fstat(stream.fileno())
            monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
            about = of_file(LogEvent.JOB_STATE, inbox="in", file="a.pdf", job=7)
            logs.handler(None, stream=stream).emit(record("in/a.pdf: failed", logging.ERROR, **about, detail="no pages"))
        assert sent == {
            "MESSAGE": "in/a.pdf: failed: no pages",
            "PRIORITY": 3,
            "SYSLOG_IDENTIFIER": "ocrwatch",
            "MESSAGE_ID": LogEvent.JOB_STATE.message_id,
            "OCRWATCH_EVENT": "job_state",
            "OCRWATCH_INBOX": "in",
            "OCRWATCH_FILE": "a.pdf",
            "OCRWATCH_JOB": "7",
            "OCRWATCH_DETAIL": "no pages",
        }

    def test_line_that_journald_does_not_take_is_no_error_of_whoever_logs(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Its buffer is full, or it is being restarted: the main loop logs too, and must go on."""

        class Journal:
            @staticmethod
            def send(message: str, **_: Any) -> None:
                raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

        monkeypatch.setattr(logs, "_journal", Journal, raising=False)
        handler = logs._JournalHandler()
        handler.handle(record("hello"))
        assert "No buffer space available" in capsys.readouterr().err  # which is journald's as well, where it reads again


class TestServiceManager:
    def test_that_does_not_take_a_message_is_no_error_of_the_main_loop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is told again: a service that is never said to be ready is ended."""
        taken: list[str] = []

        class Manager:
            is_full = True

            def notify(self, message: str) -> None:
                if self.is_full:
                    raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
                taken.append(message)

        manager = Manager()
        monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
        monkeypatch.setattr(systemd, "_daemon", manager, raising=False)
        assert not systemd.notify(READY=1)
        manager.is_full = False
        assert systemd.notify(READY=1, STATUS="well")
        assert taken == ["READY=1\nSTATUS=well"]


class TestCatalog:
    def test_each_kind_of_event_is_explained(self) -> None:
        """`journalctl -x` prints what is meant and what to do."""
        entries = dict(
            re.findall(
                r"^-- ([0-9a-f]{32})\nSubject: .*\nDefined-By: ocrwatch\n\n((?:(?!-- ).+\n?|\n)+)", CATALOG.read_text(), re.M
            )
        )
        assert set(entries) == {event.message_id for event in LogEvent}

    def test_each_kind_of_event_is_in_the_documentation(self) -> None:
        rows = re.findall(r"^\| `(\w+)` \| ([0-9a-f]{32}) \|$", DOCUMENTATION.read_text(), re.M)
        assert rows == [(str(event), event.message_id) for event in LogEvent]

    def test_ids_never_change(self) -> None:
        assert LogEvent.JOB_STATE.message_id == "c6e67b66e4a350288f399ef61ddf728b"
        assert len({event.message_id for event in LogEvent}) == len(LogEvent)
