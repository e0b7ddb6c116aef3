"""`status --watch`: the status again and again until somebody ends it. A screen on a terminal, plain snapshots in a pipe.

Owns the terminal while it lasts, and gives it back as it was. What is shown of a status is `view`'s.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import termios
import textwrap
import threading
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from ocrwatch.errors import OcrwatchError
from ocrwatch.service.control import NoDaemon
from ocrwatch.service.logs import printable
from ocrwatch.service.signals import signals_into
from ocrwatch.service.view import Values, status_lines
from ocrwatch.wording import duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

EVERY_S = 2.0
_OLD_S = 5 * EVERY_S
_LOOK_S = 0.25  # for a key, and whether the window has another size
_ENDS = (b"q", b"Q")
_FOOT = f"every {EVERY_S:.0f} s; q ends"
_SENTENCE = re.compile(r" |model |ocr |hour |no ")
# The groups are named for the styles that they get. Anchored, or a path could colour itself.
_STYLES = tuple(
    re.compile(pattern)
    for pattern in (
        r"^(?P<bold>INBOX +STATE .*)",
        r"^(?P<bold>ocrwatch|model|ocr|hour)\b",
        r"^ *\S+ +((?P<green>online)|(?P<yellow>starting)|(?P<red>offline)) +((?P<cyan>events)|(?P<magenta>polling))\b",
        r"^(?P<yellow>  +(polled: (?!as configured)|cannot be listed: ).*)",
        r"^model    .*?: ((?P<green>loaded on \w+)|(?P<yellow>loading|stopping|being fetched|degraded)|(?P<red>backoff))",
        r"; (?P<red>not to be had since .*)",
        r"; (?P<red>failed for: .*)",
        r"^(?P<yellow>no (daemon|answer) .*)",
    )
)

Ask = Callable[[], Values]


def watch(ask: Ask, *, wall_clock: Callable[[], float]) -> None:
    """Show what `ask` answers until q, Ctrl-C or SIGTERM. ask: raises NoDaemon when there is none now; one may come."""
    # Only this command pays for these.
    from rich.console import Console

    console = Console()
    # Not by an exception, which a library that is at work just then may swallow, or leave the terminal as it is.
    with signals_into(set()) as told:
        if console.is_terminal and not console.is_dumb_terminal:
            _on_screen(ask, console, told)
        else:
            _as_lines(ask, wall_clock, told)


def lines_of(ask: Ask) -> list[str]:
    """The status in lines, or why there is none."""
    try:
        return list(status_lines(ask()))
    except NoDaemon as error:
        return [f"no daemon listens at {printable(str(error))}: waiting for one"]
    except OcrwatchError as error:  # it breaks off when it ends
        return [printable(str(error))]


def fitted(lines: Sequence[str], *, width: int, height: int) -> list[str]:
    """As many lines as there is room for, sentences folded and rows not, and how many more there are."""
    folded = [part for line in lines for part in (_folded(line, width) if _SENTENCE.match(line) else [line])]
    if len(folded) <= height:
        return folded
    kept = max(height - 1, 0)
    return [*folded[:kept], f"... {len(folded) - kept} more lines: make the window higher"]


def _folded(line: str, width: int) -> list[str]:
    indent = line[: len(line) - len(line.lstrip())] + "  " if line.startswith(" ") else " " * 9
    room = max(width, 2 * len(indent))
    return textwrap.wrap(line, room, subsequent_indent=indent, break_on_hyphens=False) or [""]  # a path is to be copied


def styled(line: str) -> Text:
    """A line with its colours, cut off where the screen ends."""
    from rich.text import Text

    text = Text(line, no_wrap=True, overflow="ellipsis")
    for pattern in _STYLES:
        text.highlight_regex(pattern)
    return text


def _as_lines(ask: Ask, wall_clock: Callable[[], float], told: int) -> None:
    latest = Latest(ask, clock=time.monotonic)
    for _ in range(round(_OLD_S / _LOOK_S)):
        if latest.wait(_LOOK_S) or select.select([told], [], [], 0)[0]:
            break
    while True:
        at = datetime.fromtimestamp(wall_clock(), UTC).astimezone()
        for line in (f"-- {at:%Y-%m-%d %H:%M:%S}", *latest.lines(), ""):
            click.echo(line)
        if select.select([told], [], [], EVERY_S)[0]:
            return


def _on_screen(ask: Ask, console: Console, told: int) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    latest, before = Latest(ask, clock=time.monotonic), None
    with _keys(told) as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
        latest.wait(_LOOK_S)
        while True:
            now = (latest.lines(), console.size)
            if now != before:  # nothing is drawn again that stands there already
                before = now
                shown = [styled(line) for line in fitted(now[0], width=now[1].width, height=now[1].height - 2)]
                live.update(Group(*shown, "", Text(_FOOT, style="dim")), refresh=True)
            if pressed(_LOOK_S) in _ENDS:
                return


class Latest:
    """The last answer in lines, asked for again and again by a thread: a daemon that is slow to answer holds no key up.

    Ends with the process: a question cannot be taken back.
    """

    def __init__(self, ask: Ask, *, clock: Callable[[], float]) -> None:
        self._ask = ask
        self._clock = clock
        self._known = threading.Event()
        self._now = (clock(), ["asking the daemon"])
        threading.Thread(target=self._again_and_again, name="status", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Until there is an answer, or so long; whether there is one."""
        return self._known.wait(seconds)

    def lines(self) -> list[str]:
        """The status in lines; the last one tells when it is an old one."""
        at_s, lines = self._now
        age_s = self._clock() - at_s
        return lines if age_s < _OLD_S else [*lines, f"no answer for {duration(age_s)}: what stands here may no longer be so"]

    def _again_and_again(self) -> None:
        pause = threading.Event()
        while True:
            lines = lines_of(self._ask)
            self._now = (self._clock(), lines)
            self._known.set()
            pause.wait(EVERY_S)


@contextlib.contextmanager
def _keys(told: int) -> Iterator[Callable[[float], bytes]]:
    """What waits up to so many seconds for a key, and gives it; a signal is one that ends. Only that without a terminal."""
    descriptor = sys.stdin.fileno()
    has_keys = os.isatty(descriptor)

    def pressed(seconds: float) -> bytes:
        ready, _, _ = select.select([told, descriptor] if has_keys else [told], [], [], seconds)
        return _ENDS[0] if told in ready else os.read(descriptor, 1) if ready else b""

    if not has_keys:
        yield pressed
        return
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        now = termios.tcgetattr(descriptor)
        now[6][termios.VSUSP] = b"\0"  # Ctrl-Z would leave the shell on this screen
        now[6][termios.VMIN] = 0  # Ctrl-C takes back a key that we were told of: reading it must not wait for the next
        termios.tcsetattr(descriptor, termios.TCSANOW, now)
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
