"""One run of a program that somebody else wrote: with a message on its standard input, within a time, and without a trace.

Owns the process, its group and the little of its output that is kept. Whom to tell what, and when again, is `hooking`'s matter.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

_GRACE_S = 2.0  # between TERM and KILL, and for the kernel to end what was killed
_LOOK_S = 0.1
_BLOCK_BYTES = 1 << 16
_KEPT_BYTES = 4096
_MOST_LINES = 8
_LINE_CHARACTERS = 200

ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/",
}
"""All that a program gets, but for OCRWATCH_EVENT: the service's own variables may hold credentials."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended. problem: empty when all went well. lines: the first that it wrote."""

    problem: str
    lines: tuple[str, ...] = ()


def run(
    argv: Sequence[str], data: bytes, *, environment: Mapping[str, str], timeout_s: float, is_ending: Callable[[], bool]
) -> Outcome:
    """Run a program in a session of its own and wait for it; whatever it started in that ends with it.

    timeout_s: after which it is ended. is_ending: whether no time is left, because the service ends.
    """
    try:
        process = _started(argv, data, environment)
    except (OSError, ValueError) as error:
        return Outcome(f"cannot be run: {getattr(error, 'strerror', None) or error}")
    limit = time.monotonic() + timeout_s
    problem = ""
    with _Output(process) as output:
        while not _has_ended(process):
            if is_ending() or time.monotonic() > limit:
                problem = "was ended with the service" if is_ending() else f"took longer than {timeout_s:g} s and was ended"
                _ask_to_end(process, output)
                break
            output.listen(_LOOK_S)
        _signal_group(process, signal.SIGKILL)  # before it is reaped: until then its number is nobody else's
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_GRACE_S)
        output.listen(0.0)
    return Outcome(problem or _how(process.returncode), output.lines())


class _Output:
    """What the program says: the beginning is kept, the rest is read and forgotten, so that it is not held up."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._stream = process.stdout
        self._kept = bytearray()
        self._readable = select.poll()
        self._readable.register(self._stream, select.POLLIN)

    def __enter__(self) -> _Output:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def listen(self, timeout_s: float) -> None:
        """Wait so long for something, and read it."""
        if self._readable.poll(timeout_s * 1000):
            data = os.read(self._stream.fileno(), _BLOCK_BYTES)
            self._kept += data[: max(0, _KEPT_BYTES - len(self._kept))]
            if not data:  # it may close its output and go on
                self._readable.unregister(self._stream)

    def lines(self) -> tuple[str, ...]:
        """Its first lines."""
        lines = (line.strip()[:_LINE_CHARACTERS] for line in self._kept.decode("utf-8", "replace").splitlines())
        return tuple(line for line in lines if line)[:_MOST_LINES]


def _started(argv: Sequence[str], data: bytes, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # No pipe: a program that does not read must neither hold us up nor make us a broken pipe.
    with os.fdopen(os.memfd_create("ocrwatch-hook"), "r+b", buffering=0) as message:
        message.write(data)
        message.seek(0)
        return subprocess.Popen(
            list(argv),
            stdin=message,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={**ENVIRONMENT, **environment},
            start_new_session=True,
        )


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has; it stays to be reaped."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _ask_to_end(process: subprocess.Popen[bytes], output: _Output) -> None:
    """TERM to the whole group, and time to obey."""
    _signal_group(process, signal.SIGTERM)
    limit = time.monotonic() + _GRACE_S
    while not _has_ended(process) and time.monotonic() < limit:
        output.listen(_LOOK_S)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    # PermissionError: what is left of the group has become another user's.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _how(status: int | None) -> str:
    if status is None:
        return "was killed and is still there: it waits in the kernel"
    if status < 0:
        return f"was ended by signal {-status}"
    return f"ended with status {status}" if status else ""
