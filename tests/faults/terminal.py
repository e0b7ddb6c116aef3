"""A terminal of the test's own, with a command in it: what it shows, keys, another size, and how it is left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence

from tests.faults.waiting import wait_until

_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_OF_ANOTHER = ("COLUMNS", "LINES")
"""What pytest says of its own terminal, where several processes of it run."""

_HOME = "\x1b[H"


class Terminal:
    """Runs `ocrwatch` with these arguments in a terminal of so many columns and rows, as its session's own."""

    def __init__(self, arguments: Sequence[str], *, columns: int = 100, rows: int = 30) -> None:
        self._ours, self._theirs = pty.openpty()
        self.written = ""
        self.attributes = termios.tcgetattr(self._theirs)
        self.resize(columns, rows)
        self.process = subprocess.Popen(
            ["setsid", "--ctty", sys.executable, "-m", "ocrwatch", *arguments],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env={name: value for name, value in os.environ.items() if name not in _OF_ANOTHER} | {"TERM": "xterm-256color"},
        )

    def resize(self, columns: int, rows: int) -> None:
        """Another size; the kernel tells the command."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, key: bytes) -> None:
        """A key, or what a key sends."""
        os.write(self._ours, key)

    def screen(self) -> str:
        """What was drawn last, without colours."""
        while select.select([self._ours], [], [], 0)[0]:
            self.written += os.read(self._ours, 1 << 16).decode("utf-8", "replace")
        return _SEQUENCE.sub("", self.written.rpartition(_HOME)[2]).replace("\r", "")

    def end(self, *, timeout_s: float = 10.0) -> int:
        """Wait for the end of the command; its exit status."""
        wait_until(lambda: self.screen() is not None and self.process.poll() is not None, timeout_s=timeout_s)
        self.screen()
        return self.process.wait()

    def is_left_as_found(self) -> bool:
        """Whether its settings are what they were, the cursor is shown, and the former screen is back."""
        shown, back = self.written.rpartition("\x1b[?25h"), self.written.rpartition("\x1b[?1049l")
        entered = "\x1b[?1049h" in self.written
        is_shown = "\x1b[?25l" not in shown[2] and "\x1b[?1049h" not in back[2]
        return entered and is_shown and termios.tcgetattr(self._theirs) == self.attributes

    def close(self) -> None:
        """Whatever the test left running is gone."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)
