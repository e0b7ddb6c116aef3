"""The parent's side of one child process: spawn, ask within a deadline, watch its memory, end it and reap it.

Owns the life of a single process. When to start and stop one is `supervised`'s matter; what to ask is its owner's.
A process is asked by one thread; `kill` may come from any.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ocrwatch.errors import OcrwatchError, WorkerDied, WorkerRefused, WorkerTimedOut, from_wire
from ocrwatch.wording import size
from ocrwatch.worker import frames
from ocrwatch.worker.lifeline import Lifeline
from ocrwatch.worker.memory import resident_bytes

_POLL_MS = 50
# What a worker may reserve, as a multiple of what it may hold. Far above: engines that get no memory return an empty page in
# place of an error. Address space itself is not bounded, .NET and CUDA reserve it by the gigabyte.
_RESERVED_PER_HELD = 4


@dataclass(frozen=True)
class WorkerSpec:
    """How to start a worker.

    module: run with `python -m`; it calls `ocrwatch.worker.child.serve`. options: its first frame.
    environment: added to a small base, the daemon's own variables do not pass (credentials stay here).
    start_s: limit for its hello. memory_bytes: resident memory beyond which it is killed; None for no limit.
    answer_bytes: the longest frame that is taken from it; in the parent, as values, it may be thirty times as much.
    grace_s: what it gets to end at each step of `stop`, and after a KILL.
    ended: once set, the process is killed under whatever it is doing, its start included.
    """

    module: str
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)  # a token may be among it
    start_s: float = 30.0
    memory_bytes: int | None = None
    answer_bytes: int = frames.USUAL_FRAME_BYTES
    grace_s: float = 2.0
    ended: threading.Event = field(default_factory=threading.Event, compare=False)


Progress = Callable[[dict[str, Any]], None]


class WorkerProcess:
    """A started child that has said hello.

    Raises on start what the child raised (an OcrwatchError), WorkerDied or WorkerTimedOut, with `left_behind` where not even KILL
    has ended it; OSError when this machine cannot start another process now.
    """

    def __init__(self, spec: WorkerSpec, *, progress: Progress | None = None) -> None:
        self._spec = spec
        ours, theirs = socket.socketpair()
        self._channel = ours
        self._reader = frames.FrameReader(spec.answer_bytes)
        try:
            self._lifeline = Lifeline(lambda: _spawn(spec, theirs))
        except (OSError, ValueError):
            ours.close()
            theirs.close()
            raise
        self._process = self._lifeline.process
        self.pid = self._process.pid
        try:
            self.hello = self._exchange(dict(spec.options), deadline_s=spec.start_s, progress=progress)
        except BaseException as error:
            self.kill()
            self.release()
            if isinstance(error, OcrwatchError) and self.alive:
                error.left_behind = self
            raise

    def __enter__(self) -> WorkerProcess:
        """For whoever asks it something and is done with it: it is stopped at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def call(
        self,
        request: Mapping[str, Any],
        *,
        deadline_s: float,
        total_s: float = math.inf,
        progress: Progress | None = None,
        descriptor: int | None = None,
    ) -> dict[str, Any]:
        """The reply to one request.

        deadline_s: time without an answer or a progress frame after which the child is killed. total_s: time after which it is
        killed whatever its progress. descriptor: of an open file that the child gets, whether or not it could open it itself.
        Raises the OcrwatchError that the child answered; WorkerDied and WorkerTimedOut when it is gone afterwards.
        """
        return self._exchange(dict(request), deadline_s=deadline_s, total_s=total_s, progress=progress, descriptor=descriptor)

    @property
    def alive(self) -> bool:
        """Whether the process is there, be it killed and waiting in the kernel."""
        return not self.is_gone()

    def is_gone(self) -> bool:
        """Whether the process has ended and is reaped. Never blocks, for any thread."""
        return self._process.poll() is not None

    def resident_bytes(self) -> int:
        """Memory that the process holds now; 0 when it is gone."""
        return resident_bytes(self.pid)

    def stop(self) -> None:
        """End the process: close its channel, then TERM, then KILL, each with its time of grace.

        Reaped when this returns; but one that waits in the kernel, for a dead mount or a driver, outlasts KILL: see `is_gone`.
        """
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        for signal_number in (None, signal.SIGTERM, signal.SIGKILL):
            if signal_number is not None:
                self._process.send_signal(signal_number)
            try:
                self._process.wait(timeout=self._spec.grace_s)
                break
            except subprocess.TimeoutExpired:
                continue
        self.release()

    def kill(self) -> None:
        """End the process at once; whoever waits for its answer gets WorkerDied. Reaped when this returns, or as with `stop`."""
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=self._spec.grace_s)
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)

    def _exchange(
        self,
        message: dict[str, Any],
        *,
        deadline_s: float,
        total_s: float = math.inf,
        progress: Progress | None,
        descriptor: int | None = None,
    ) -> dict[str, Any]:
        try:
            self._channel.settimeout(deadline_s)
            frames.send(self._channel, message, descriptor=descriptor)
            reply = self._await_reply(deadline_s, total_s, progress)
        except frames.FrameTooLarge as error:
            raise WorkerRefused(f"{self._spec.module} cannot be told: {error}") from error
        except frames.FrameError as error:
            self.kill()
            raise self._death(f"was killed: {error}") from error
        except OSError as error:
            self.kill()
            raise self._death(self._how_it_died(str(error))) from error
        except BaseException:
            self.kill()  # `progress` raised: what is still to come must not be the answer to the next request
            raise
        if isinstance(reply.get("error"), dict):
            raise from_wire(reply["error"])
        answer = reply.get("ok")
        if not isinstance(answer, dict):
            self.kill()
            raise self._death("sent a frame that is no answer and was killed")
        return answer

    def _await_reply(self, deadline_s: float, total_s: float, progress: Progress | None) -> dict[str, Any]:
        end = time.monotonic() + total_s
        limit = min(time.monotonic() + deadline_s, end)
        readable = select.poll()
        readable.register(self._channel, select.POLLIN)
        while True:
            if readable.poll(_POLL_MS):
                data = self._channel.recv(1 << 20)
                if not data:
                    raise ConnectionResetError("it closed its channel")
                for message in self._reader.feed(data):
                    if "progress" not in message:
                        return message
                    limit = min(time.monotonic() + deadline_s, end)
                    if progress is not None:
                        progress(message["progress"])
            self._enforce_limits(limit, total_s if limit == end else deadline_s)

    def _enforce_limits(self, limit: float, given_s: float) -> None:
        if self._spec.ended.is_set():
            self.kill()
            raise self._death("was ended before it had answered")
        if time.monotonic() > limit:
            self.kill()
            raise WorkerTimedOut(f"{self._spec.module} gave no answer within {given_s:g} s and was killed")
        allowed = self._spec.memory_bytes
        if allowed is not None and (held := self.resident_bytes()) > allowed:
            self.kill()
            raise self._death(f"held {size(held)}, more than the limit of {size(allowed)}, and was killed")

    def _how_it_died(self, detail: str) -> str:
        status = self._process.poll()
        if status is None:
            return f"broke off ({detail})"
        if status < 0:
            return f"was ended by {_signal_name(-status)}"
        return f"ended with status {status}"

    def _death(self, how: str) -> WorkerDied:
        self._lifeline.join(self._spec.grace_s)
        words = self._lifeline.last_words()
        last = next((line for line in reversed(words) if line.strip()), "")
        message = f"{self._spec.module} {how}" + (f"; its last words: {last[:200]}" if last else "")
        return WorkerDied(message, last_words=words)

    def release(self) -> None:
        """Give back the descriptors of a process that was killed; what it still writes is read until it is gone."""
        self._channel.close()
        self._lifeline.join(self._spec.grace_s)


def _spawn(spec: WorkerSpec, channel: socket.socket) -> subprocess.Popen[bytes]:
    with channel:
        process = subprocess.Popen(
            [sys.executable, "-m", spec.module, str(channel.fileno()), str(os.getpid())],
            pass_fds=[channel.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_environment(spec),
        )
    if spec.memory_bytes is not None:
        _bound_reserved(process.pid, spec.memory_bytes * _RESERVED_PER_HELD)
    return process


def _bound_reserved(pid: int, value: int) -> None:
    """The backstop of the look at the resident memory, which comes every 50 ms: one huge reservation is refused at once."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        hard = resource.prlimit(pid, resource.RLIMIT_DATA)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.prlimit(pid, resource.RLIMIT_DATA, (bound, bound))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most of the real-time signals have no name
        return f"signal {number}"


def _environment(spec: WorkerSpec) -> dict[str, str]:
    kept = (
        "PATH",
        "LANG",
        "LC_ALL",
        "TZ",
        "TMPDIR",
        "VIRTUAL_ENV",
        "CUDA_VISIBLE_DEVICES",
        "CUDA_CACHE_PATH",
        "LD_LIBRARY_PATH",
        "OCRWATCH_OPENSSL11",
    )
    base = {name: os.environ[name] for name in kept if name in os.environ}
    return {**base, "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1", **spec.environment}
