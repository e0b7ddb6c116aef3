"""When a child process runs: started on demand, replaced after a death with back-off, ended when idle.

Owns the states of one worker. Exactly one thread owns a `Supervised` and makes every call but `snapshot` and `interrupt`,
so a request, a timer and an exit can never meet half-way: they happen one after another in that thread.

    COLD -> LOADING -> READY <-> BUSY
              |          |         |
              v          v         v
           BACKOFF    STOPPING -> COLD        BACKOFF -> LOADING | COLD
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from ocrwatch.errors import Infrastructure, OcrwatchError, WorkerDied, WorkerTimedOut, from_wire
from ocrwatch.worker.process import Progress, WorkerProcess, WorkerSpec


class WorkerState(StrEnum):
    """Where a worker stands in its life."""

    COLD = "cold"  # no process
    LOADING = "loading"  # started, has not said hello
    READY = "ready"  # waits for a request; the idle time counts
    BUSY = "busy"  # answers one
    STOPPING = "stopping"  # told to go, not yet reaped
    BACKOFF = "backoff"  # could not start; waits before the next try


_ALLOWED = {
    WorkerState.COLD: {WorkerState.LOADING},
    WorkerState.LOADING: {WorkerState.READY, WorkerState.BACKOFF},
    WorkerState.READY: {WorkerState.BUSY, WorkerState.STOPPING},
    WorkerState.BUSY: {WorkerState.READY, WorkerState.STOPPING},
    WorkerState.STOPPING: {WorkerState.COLD},
    WorkerState.BACKOFF: {WorkerState.LOADING, WorkerState.COLD},
}


class IllegalTransition(Exception):
    """A worker was moved between states that are not neighbours: a bug of ours."""


@dataclass(frozen=True)
class Snapshot:
    """What is known of a worker at one moment; taking one changes nothing.

    idle_since, retry_at: monotonic seconds, None where they do not apply.
    """

    state: WorkerState = WorkerState.COLD
    pid: int | None = None
    hello: Mapping[str, Any] | None = None
    idle_since: float | None = None
    retry_at: float | None = None
    starts: int = 0
    deaths: int = 0
    problem: str = ""


def backoff_s(failures: int) -> float:
    """Seconds to wait after that many failed starts in a row: 1, 2, 4, ... at most 300."""
    return float(min(300, 2 ** max(0, failures - 1)))


class Supervised:
    """One worker, there when it is needed.

    idle_s: time without a request after which the process ends; None keeps it. clock: monotonic seconds.
    """

    def __init__(
        self,
        spec: Callable[[], WorkerSpec],
        *,
        idle_s: float | None,
        clock: Callable[[], float],
        start: Callable[..., WorkerProcess] = WorkerProcess,
    ) -> None:
        self._spec = spec
        self._idle_s = idle_s
        self._clock = clock
        self._start = start
        self._process: WorkerProcess | None = None
        self._failed_starts = 0
        self._start_error: dict[str, str] = {}
        self._interrupted = threading.Event()
        self._snapshot = Snapshot()

    def snapshot(self) -> Snapshot:
        """The state, for anybody at any time."""
        return self._snapshot

    def ensure(self, progress: Progress | None = None) -> Mapping[str, Any]:
        """Start the process unless it runs; its hello. Raises what the start raised, during back-off too."""
        if self._process is not None and not self._process.alive:
            self._discard("it ended while it had nothing to do")
        if self._process is not None:
            return self._process.hello
        retry_at = self._snapshot.retry_at
        if retry_at is not None and self._clock() < retry_at:
            raise from_wire(self._start_error)
        self._move(WorkerState.LOADING, problem="", retry_at=None, starts=self._snapshot.starts + 1)
        try:
            process = self._begin(progress)
        except OcrwatchError as error:
            self._failed_starts += 1
            self._start_error = error.to_wire()
            retry = self._clock() + backoff_s(self._failed_starts)
            self._move(WorkerState.BACKOFF, problem=str(error), retry_at=retry)
            raise
        self._failed_starts = 0
        self._process = process
        self._move(WorkerState.READY, pid=process.pid, hello=process.hello, idle_since=self._clock())
        return process.hello

    def _begin(self, progress: Progress | None) -> WorkerProcess:
        try:
            return self._start(replace(self._spec(), ended=self._interrupted), progress=progress)
        except OSError as error:  # no more processes or descriptors, no folder for it: the machine, not the worker
            raise Infrastructure(
                f"a worker cannot be started: {error}", "check memory, disk and limits of the service"
            ) from error

    def call(
        self,
        request: Mapping[str, Any],
        *,
        deadline_s: float,
        total_s: float = math.inf,
        progress: Progress | None = None,
        descriptor: int | None = None,
    ) -> dict[str, Any]:
        """The reply to one request, starting the process when there is none. See `WorkerProcess.call`.

        Raises what the child answered; after WorkerDied or WorkerTimedOut the process is gone and reaped.
        """
        self.ensure(progress)
        process = self._process
        assert process is not None
        self._move(WorkerState.BUSY, idle_since=None)
        try:
            if self._interrupted.is_set():
                process.kill()
            reply = process.call(request, deadline_s=deadline_s, total_s=total_s, progress=progress, descriptor=descriptor)
        except (WorkerDied, WorkerTimedOut) as error:
            self._discard(str(error))
            raise
        except OcrwatchError:
            self._move(WorkerState.READY, idle_since=self._clock())
            raise
        self._move(WorkerState.READY, idle_since=self._clock())
        return reply

    def idle_left_s(self) -> float | None:
        """Seconds until the process should end for want of work; None while that is not to happen."""
        since = self._snapshot.idle_since
        if self._snapshot.state is not WorkerState.READY or since is None or self._idle_s is None:
            return None
        return max(0.0, since + self._idle_s - self._clock())

    def end_if_idle(self) -> bool:
        """End the process when its idle time is over; whether it was ended."""
        left = self.idle_left_s()
        if left is None or left > 0:
            return False
        self.stop()
        return True

    def hold(self) -> None:
        """Count the idle time from now: work that will need this process is under way elsewhere."""
        if self._snapshot.state is WorkerState.READY:
            self._snapshot = replace(self._snapshot, idle_since=self._clock())

    def stop(self) -> None:
        """End the process if there is one; reaped when this returns."""
        if self._process is not None:
            self._move(WorkerState.STOPPING, idle_since=None)
            self._process.stop()
            self._process = None
            self._move(WorkerState.COLD, pid=None, hello=None)
        elif self._snapshot.state is WorkerState.BACKOFF:
            self._move(WorkerState.COLD, retry_at=None)

    def interrupt(self) -> None:
        """From another thread: kill the process under the request that it answers, now and ever after."""
        self._interrupted.set()
        process = self._process
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()

    def resident_bytes(self) -> int:
        """Memory of the process; 0 when there is none."""
        process = self._process
        return process.resident_bytes() if process is not None else 0

    def _discard(self, problem: str) -> None:
        assert self._process is not None
        self._move(WorkerState.STOPPING, idle_since=None, problem=problem, deaths=self._snapshot.deaths + 1)
        self._process.kill()
        self._process.release()
        self._process = None
        self._move(WorkerState.COLD, pid=None, hello=None)

    def _move(self, state: WorkerState, **changes: Any) -> None:
        if state not in _ALLOWED[self._snapshot.state]:
            raise IllegalTransition(f"{self._snapshot.state} -> {state}")
        self._snapshot = replace(self._snapshot, state=state, **changes)
