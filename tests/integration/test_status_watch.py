"""`ocrwatch status --watch` in a real terminal, in a pipe, and with a daemon that comes, goes or gives no answer."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from ocrwatch.service import watching
from tests.faults.daemon import wait_until
from tests.faults.outside import AskedService, suspended
from tests.faults.terminal import Terminal

Opened = Callable[..., Terminal]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[AskedService]:
    """A daemon, not started yet."""
    service = AskedService(tmp_path, ocr={"engine": "tesseract"})
    yield service
    service.end()


@pytest.fixture
def watched(service: AskedService) -> Iterator[Opened]:
    """Opens terminals with the command in them."""
    opened: list[Terminal] = []

    def watch(**size: int) -> Terminal:
        opened.append(Terminal(["status", "--watch", "--config", str(service.config)], **size))
        return opened[-1]

    yield watch
    for terminal in opened:
        terminal.close()


def _shows(terminal: Terminal, *words: str) -> None:
    def is_shown() -> bool:
        screen = terminal.screen()
        assert terminal.process.poll() is None, f"the command has ended: {screen}"
        return all(word in screen for word in words)

    wait_until(is_shown, timeout_s=20.0, what=f"{words} on the screen")


@pytest.mark.parametrize("end", [b"q", b"Q", b"\x03", signal.SIGTERM], ids=["q", "Q", "ctrl-c", "sigterm"])
def test_watch_is_ended_and_leaves_the_terminal_as_it_was(watched: Opened, end: bytes | signal.Signals) -> None:
    """By any of these at once; other keys do nothing, and Ctrl-Z does not leave the shell on this screen."""
    terminal = watched(columns=200)
    _shows(terminal, "waiting for one", "q ends")
    terminal.press(b"x\x1a\x1b[A\n")
    terminal.press(end) if isinstance(end, bytes) else terminal.process.send_signal(end)
    assert terminal.end() == 0
    assert terminal.is_left_as_found()


@pytest.mark.timeout(20)
def test_key_that_ctrl_c_took_back_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal forgets what was typed when Ctrl-C is; the command may have been told of a key by then."""
    ours, theirs = pty.openpty()
    told, tells = os.pipe()

    def told_too_early(*waited: object) -> tuple[list[int], list[int], list[int]]:
        ready = select.select(*waited)  # type: ignore[call-overload] # as it was called
        termios.tcflush(theirs, termios.TCIFLUSH)
        return ready  # type: ignore[no-any-return]

    with open(theirs) as terminal, open(ours, "wb", buffering=0) as keyboard, open(tells, "wb", buffering=0) as ends, open(told):
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr(watching, "select", SimpleNamespace(select=told_too_early))
        with watching._keys(told) as pressed:
            keyboard.write(b"x")
            assert pressed(10.0) == b""
            ends.write(b"\0")
            assert pressed(10.0) == b"q"


def test_watch_follows_a_daemon_that_comes_and_goes(service: AskedService, watched: Opened) -> None:
    """It waits for one, shows it, and waits for the next."""
    terminal = watched(columns=200)
    _shows(terminal, "no daemon listens at", "waiting for one")
    service.start()
    _shows(terminal, "INBOX", str(service.inbox), "online", "events")
    (service.inbox / "notes.pdf").touch()
    wait_until(lambda: service.status()["inboxes"][0]["waiting"] == 1, what="a look at the file")
    wait_until(lambda: _row(terminal)[3:5] == ["1", "1"], what="the file on the screen")
    service.stop()
    _shows(terminal, "waiting for one")
    assert "INBOX" not in terminal.screen()


def _row(terminal: Terminal) -> list[str]:
    return next((line.split() for line in terminal.screen().splitlines() if line.startswith("inbox ")), [])


def test_watch_takes_the_size_of_the_window(service: AskedService, watched: Opened) -> None:
    """At once; nothing is broken into a second line, and what has no room is counted."""
    service.start()
    terminal = watched()
    _shows(terminal, "hour     nothing finished")
    terminal.resize(50, 6)
    _shows(terminal, "more lines: make the window higher")
    lines = terminal.screen().split("\n")
    assert len(lines) <= 6
    assert all(len(line) <= 50 for line in lines)
    terminal.resize(100, 30)
    _shows(terminal, "hour     nothing finished")


def test_watch_is_ended_while_the_daemon_gives_no_answer(service: AskedService, watched: Opened) -> None:
    """A question that hangs holds no key up."""
    service.start()
    with suspended(service):
        terminal = watched()
        _shows(terminal, "asking the daemon")
        terminal.press(b"q")
        assert terminal.end() == 0
    assert terminal.is_left_as_found()


def test_watch_in_a_pipe_is_plain_blocks(service: AskedService) -> None:
    """One after another with its time, without colours, until it is told to end or nobody reads."""
    command = [sys.executable, "-m", "ocrwatch", "status", "--watch", "--config", str(service.config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        first = [watching.stdout.readline() for _ in range(3)]
        assert first[0].startswith("-- 2")
        assert "no daemon listens at" in first[1]
        service.start()
        later = list(iter(watching.stdout.readline, "hour     nothing finished\n"))
        assert any(line.startswith("INBOX") for line in later)
        watching.terminate()
        assert watching.wait(timeout=10) == 0
        rest = watching.stdout.read()
        assert "\x1b" not in "".join((*first, *later, rest))
        assert watching.stderr is not None
        assert watching.stderr.read() == ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as unread:
        assert unread.stdout is not None
        assert unread.stderr is not None
        unread.stdout.readline()
        unread.stdout.close()
        unread.wait(timeout=10)
        assert unread.stderr.read() == b""


def test_watch_takes_no_json(service: AskedService) -> None:
    """It is for people."""
    refused = service.command("status", "--watch", "--json")
    assert refused.returncode == 2
    assert "leave one of them out" in refused.stderr
