"""When a child process runs: started on demand, replaced after a death with back-off, ended when idle.

Owns the states of one worker. Exactly one thread owns a `Supervised` and makes every call but `snapshot`, `interrupt` and
`abandon`, so a request, a timer and an exit can never meet half-way: they happen one after another in that thread.

    COLD     -> LOADING
    LOADING  -> READY | STOPPING
    READY    -> BUSY | STOPPING
    BUSY     -> READY | STOPPING
    STOPPING -> COLD | BACKOFF
    BACKOFF  -> COLD

Each process is an epoch, numbered by `Snapshot.starts`. What is timed (the idle time, the back-off) is part of the snapshot and
goes with its process, so nothing of an earlier one can touch a later one. A process that is told to go and does not, not even
by KILL, stays in STOPPING, also one that has not said hello: no second one is started beside it.
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
    BACKOFF = "backoff"  # could not start, or died again and again; waits before the next try


ALLOWED = {
    WorkerState.COLD: {WorkerState.LOADING},
    WorkerState.LOADING: {WorkerState.READY, WorkerState.STOPPING},
    WorkerState.READY: {WorkerState.BUSY, WorkerState.STOPPING},
    WorkerState.BUSY: {WorkerState.READY, WorkerState.STOPPING},
    WorkerState.STOPPING: {WorkerState.COLD, WorkerState.BACKOFF},
    WorkerState.BACKOFF: {WorkerState.COLD},
}
"""Every move there is; another raises."""


class IllegalTransition(Exception):
    """A worker was moved between states that are not neighbours: a bug of ours."""


@dataclass(frozen=True)
class Snapshot:
    """What is known of a worker at one moment; taking one changes nothing.

    idle_since, retry_at: monotonic seconds, None where they do not apply. starts: how many processes there were, and with that
    the epoch of the last one. problem: how the last start or process failed, until one says hello; a try does not end it.
    """

    state: WorkerState = WorkerState.COLD
    pid: int | None = None
    hello: Mapping[str, Any] | None = None
    idle_since: float | None = None
    retry_at: float | None = None
    starts: int = 0
    deaths: int = 0
    problem: str = ""


Begin = Callable[[threading.Event, Progress | None], WorkerProcess]
"""Starts a process that has said hello. Raises OcrwatchError or OSError; once the event is set, what it started is killed."""


def spawning(spec: Callable[[], WorkerSpec], start: Callable[..., WorkerProcess] = WorkerProcess) -> Begin:
    """The start of one process as its specification says."""

    def begin(ended: threading.Event, progress: Progress | None) -> WorkerProcess:
        return start(replace(spec(), ended=ended), progress=progress)

    return begin


def backoff_s(failures: int) -> float:
    """Seconds to wait after that many failed starts in a row: 1, 2, 4, ... at most 300."""
    return float(min(300, 2 ** min(9, max(0, failures - 1))))


class Supervised:
    """One worker, there when it is needed.

    idle_s: time without a request after which the process ends; None keeps it. clock: monotonic seconds.
    spare_deaths: how many processes in a row may die without one good answer before the next start waits, as after failed
    starts; None where whoever asks has a budget of its own. gone: told of each process that had been loaded once it is reaped.
    """

    def __init__(
        self,
        begin: Begin,
        *,
        idle_s: float | None,
        clock: Callable[[], float],
        spare_deaths: int | None = None,
        gone: Callable[[Snapshot], None] = lambda _: None,
    ) -> None:
        self._begin = begin
        self._idle_s = idle_s
        self._clock = clock
        self._spare_deaths = math.inf if spare_deaths is None else spare_deaths
        self._gone = gone
        self._process: WorkerProcess | None = None
        self._failed_starts = 0
        self._deaths_in_a_row = 0
        self._death: OcrwatchError | None = None  # how the process in STOPPING ended or failed to start, if not by `stop`
        self._refusal: dict[str, str] = {}  # what a request gets while the back-off lasts
        self._lock = threading.Lock()  # between the end of a load and whoever gives it up
        self._ended = threading.Event()  # of the present epoch
        self._interrupted = False
        self._snapshot = Snapshot()

    def snapshot(self) -> Snapshot:
        """The state, for anybody at any time."""
        return self._snapshot

    def may_start(self) -> bool:
        """Whether a start would be tried now, or the process is there."""
        retry_at = self._snapshot.retry_at
        return self._snapshot.state is not WorkerState.STOPPING and (retry_at is None or self._clock() >= retry_at)

    def ensure(self, progress: Progress | None = None) -> Mapping[str, Any]:
        """Start the process unless it runs; its hello. Raises what the start raised, during back-off too.

        Raises WorkerDied, and is COLD, after `abandon`; Infrastructure while an earlier process cannot be ended.
        """
        self.look()
        if self._snapshot.state is WorkerState.STOPPING:
            raise Infrastructure(self._snapshot.problem)
        if self._process is not None:
            return self._process.hello
        if not self.may_start():
            raise from_wire(self._refusal)
        with self._lock:
            self._ended = threading.Event()
            if self._interrupted:
                self._ended.set()
            self._move(WorkerState.LOADING, retry_at=None, starts=self._snapshot.starts + 1)
        try:
            self._process = self._started(progress)
        except OcrwatchError as error:
            self._start_failed(error)
            raise
        return self._loaded(self._process)

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
        return self.ask(request, deadline_s=deadline_s, total_s=total_s, progress=progress, descriptor=descriptor)

    def ask(
        self,
        request: Mapping[str, Any],
        *,
        deadline_s: float,
        total_s: float = math.inf,
        progress: Progress | None = None,
        descriptor: int | None = None,
    ) -> dict[str, Any]:
        """As `call`, of the process that `ensure` saw."""
        process = self._process
        assert process is not None
        self._move(WorkerState.BUSY, idle_since=None)
        try:
            if self._interrupted:
                process.kill()
            reply = process.call(request, deadline_s=deadline_s, total_s=total_s, progress=progress, descriptor=descriptor)
        except (WorkerDied, WorkerTimedOut) as error:
            self.discard(error)
            raise
        except OcrwatchError:
            self._move(WorkerState.READY, idle_since=self._clock())
            raise
        self._deaths_in_a_row = 0
        self._move(WorkerState.READY, idle_since=self._clock())
        return reply

    def look(self) -> bool:
        """Notice what happens by itself: a process that dies or is gone at last, a back-off that is over. Whether one died."""
        if self._snapshot.state is WorkerState.STOPPING:
            self._reap()
        elif self._snapshot.state is WorkerState.BACKOFF:
            if self.may_start():
                self._move(WorkerState.COLD, retry_at=None)
        elif self._process is not None and not self._process.alive:
            self.discard(WorkerDied("it ended while it had nothing to do"))
            return True
        return False

    def discard(self, error: OcrwatchError) -> None:
        """The process, if there still is one, is of no use after this error; it counts as dead of it."""
        process = self._process
        if process is None or self._snapshot.state is WorkerState.STOPPING:
            return
        self._deaths_in_a_row += 1
        self._death = error
        self._move(WorkerState.STOPPING, idle_since=None, problem=error.message, deaths=self._snapshot.deaths + 1)
        process.kill()
        process.release()
        self._reap()

    def excuse(self) -> None:
        """The last death is nobody's fault and does not count: the next start need not wait for it."""
        self._deaths_in_a_row = max(0, self._deaths_in_a_row - 1)
        if self._snapshot.state is WorkerState.BACKOFF:
            self._move(WorkerState.COLD, retry_at=None)

    def idle_left_s(self) -> float | None:
        """Seconds until the process should end for want of work; None while that is not to happen."""
        now = self._snapshot
        if now.state is not WorkerState.READY or now.idle_since is None or self._idle_s is None:
            return None
        return max(0.0, now.idle_since + self._idle_s - self._clock())

    def end_if_idle(self) -> bool:
        """End the process when its idle time is over; whether it was ended."""
        left = self.idle_left_s()
        if left is None or left > 0:
            return False
        self.stop()
        return True

    def hold(self, until: float) -> None:
        """Count the idle time from that moment, if it would count from an earlier one: the process was needed till then."""
        now = self._snapshot
        if now.state is WorkerState.READY and now.idle_since is not None:
            self._snapshot = replace(now, idle_since=max(now.idle_since, until))

    def stop(self) -> None:
        """End the process if there is one; reaped when this returns, unless not even KILL ends it."""
        state = self._snapshot.state
        if state is WorkerState.STOPPING:
            self._reap()
        elif self._process is not None:
            self._move(WorkerState.STOPPING, idle_since=None)
            self._end(self._process)
        elif state is WorkerState.BACKOFF:
            self._move(WorkerState.COLD, retry_at=None)

    def abandon(self) -> bool:
        """From another thread: give up a start that is under way; whether there was one. It does not count as failed."""
        with self._lock:
            if self._snapshot.state is not WorkerState.LOADING:
                return False
            self._ended.set()
            return True

    def interrupt(self) -> None:
        """From another thread: kill the process under the request that it answers, now and ever after."""
        with self._lock:
            self._interrupted = True
            self._ended.set()
            process = self._process
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()

    def resident_bytes(self) -> int:
        """Memory of the process; 0 when there is none."""
        process = self._process
        return process.resident_bytes() if process is not None else 0

    def _started(self, progress: Progress | None) -> WorkerProcess:
        try:
            return self._begin(self._ended, progress)
        except OSError as error:  # no more processes or descriptors, no folder for it: the machine, not the worker
            raise Infrastructure(
                f"a worker cannot be started: {error}", "check memory, disk and limits of the service"
            ) from error

    def _start_failed(self, error: OcrwatchError) -> None:
        left: WorkerProcess | None = error.left_behind
        with self._lock:
            is_failure = not self._ended.is_set()  # but for `abandon` and `interrupt`
            self._failed_starts += is_failure
            self._process, self._death = left, error if is_failure else None
            self._move(WorkerState.STOPPING, pid=None if left is None else left.pid)
        self._reap()

    def _loaded(self, process: WorkerProcess) -> Mapping[str, Any]:
        self._failed_starts = 0
        values = {"pid": process.pid, "hello": process.hello}
        with self._lock:
            is_wanted = not self._ended.is_set()
            if is_wanted:
                self._move(WorkerState.READY, problem="", idle_since=self._clock(), **values)
            else:
                self._move(WorkerState.STOPPING, **values)
        if not is_wanted:
            self._end(process)
            raise WorkerDied("it was told to go while it started")
        return process.hello

    def _end(self, process: WorkerProcess) -> None:
        self._death = None
        process.stop()
        self._reap()

    def _reap(self) -> None:
        """Leave STOPPING, if the process is gone."""
        process, ended, death = self._process, self._snapshot, self._death
        if process is not None and process.alive:
            stuck = f"process {process.pid} was killed and does not end: a device or a mount that hangs holds it"
            self._snapshot = replace(ended, problem=stuck)
            return
        self._process = None
        failures = self._failed_starts or self._deaths_in_a_row - self._spare_deaths
        if death is not None and failures > 0:
            self._rest(death, int(failures))
        else:
            said = death.message if death is not None else ""
            problem = said if process is not None else ended.problem  # a try that was given up answers nothing
            self._move(WorkerState.COLD, pid=None, hello=None, problem=problem)
        if ended.hello is not None:
            self._gone(ended)

    def _rest(self, error: OcrwatchError, times: int) -> None:
        self._refusal = error.to_wire()
        retry_at = self._clock() + backoff_s(times)
        self._move(WorkerState.BACKOFF, pid=None, hello=None, problem=str(error), retry_at=retry_at)

    def _move(self, state: WorkerState, **changes: Any) -> None:
        if state not in ALLOWED[self._snapshot.state]:
            raise IllegalTransition(f"{self._snapshot.state} -> {state}")
        self._snapshot = replace(self._snapshot, state=state, **changes)
