"""Where operations on a tree run: in this process, or in one that can be killed.

A dead network mount blocks whoever touches it, in a state that only the mount ends. So the paths of a mount that may hang
are touched by a process of their own; local ones directly.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Protocol

from ocrwatch.errors import OcrwatchError, ShareOffline, WorkerDied, WorkerTimedOut
from ocrwatch.intake.mounts import MountTable
from ocrwatch.worker import frames, operations
from ocrwatch.worker.operations import OPERATIONS, Tell, Values
from ocrwatch.worker.process import WorkerSpec
from ocrwatch.worker.supervised import Supervised, spawning

_ANSWER_S = 60.0  # without an answer or a sign of progress; a mount that is slower than this is not there
_IDLE_S = 900.0


class Access(Protocol):
    """A way to run an operation by name. `tell` gets what the operation reports on the way."""

    def run(self, operation: str, arguments: Values, *, tell: Tell | None = None) -> Values: ...

    def close(self) -> None: ...


class LocalAccess:
    """Runs operations in the calling thread: for file systems that answer from this machine."""

    def run(self, operation: str, arguments: Values, *, tell: Tell | None = None) -> Values:
        """The operation's result. Raises its errors."""
        return OPERATIONS[operation](arguments, tell or (lambda _: None))

    def close(self) -> None:
        """Nothing is held."""


class RemoteAccess:
    """Runs operations in a child process that is killed when the mount hangs: for everything else."""

    def __init__(self, name: str, *, clock: Callable[[], float], answer_s: float = _ANSWER_S) -> None:
        self._name = name
        self._answer_s = answer_s
        self._worker = Supervised(spawning(_spec), idle_s=_IDLE_S, clock=clock)
        self._hangs = 0
        self._is_closed = False
        # The kernel's death signal follows the thread that starts a child, so one thread that stays starts them all.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"share-{name}")

    def run(self, operation: str, arguments: Values, *, tell: Tell | None = None) -> Values:
        """The operation's result. Raises its errors, ShareOffline when the mount gave no answer, CancelledError after `close`."""
        request = {"op": operation, "arguments": arguments}
        try:
            future = self._thread.submit(self._ask, request, tell, self._hangs)
        except RuntimeError as error:
            if self._is_closed:
                raise CancelledError(f"the share of inbox {self._name} was let go") from error
            raise ShareOffline(f"the share of inbox {self._name} cannot be asked: {error}", "see `ocrwatch doctor`") from error
        try:
            return future.result()
        except (WorkerDied, WorkerTimedOut) as error:
            if self._is_closed:
                raise CancelledError(f"the share of inbox {self._name} was let go") from error
            message = f"the share of inbox {self._name} gives no answer: {error.message}"
            raise ShareOffline(message, "check the mount and its server") from error

    def close(self) -> None:
        """End the child; what it is doing is lost."""
        self._is_closed = True
        self._worker.interrupt()
        self._thread.submit(self._worker.stop)
        self._thread.shutdown(wait=True, cancel_futures=False)

    def _ask(self, request: Values, tell: Tell | None, hangs: int) -> Values:
        if hangs != self._hangs:  # the mount hung while this waited for its turn: sixteen jobs must not wait a minute each
            raise WorkerTimedOut("the mount gave no answer to the request before")
        try:
            self._start(tell)
            return self._worker.ask(request, deadline_s=self._answer_s, progress=tell)
        except WorkerTimedOut:
            self._hangs += 1
            raise

    def _start(self, tell: Tell | None) -> None:
        try:
            self._worker.ensure(tell)
        except (WorkerDied, WorkerTimedOut):
            raise
        except OcrwatchError as error:  # no process is to be had, or the mount holds the one before though it was killed
            message = f"the share of inbox {self._name} cannot be asked: {error.message}"
            raise ShareOffline(message, error.remedy or "check the mount and its server") from error


def _spec() -> WorkerSpec:
    # What is read back of a text is as long as what was published.
    return WorkerSpec(module=operations.__name__, answer_bytes=frames.MAX_FRAME_BYTES)


class MountAccess:
    """Runs each operation where it can do no harm: directly, or in a child when a mount that it touches may hang.

    Decided anew each time by the kernel's table, because a share may be mounted over a local folder at any moment.
    """

    def __init__(self, name: str, *, mounts: MountTable, clock: Callable[[], float]) -> None:
        self._mounts = mounts
        self._local = LocalAccess()
        self._remote = RemoteAccess(name, clock=clock)

    def run(self, operation: str, arguments: Values, *, tell: Tell | None = None) -> Values:
        """The operation's result. Raises its errors, and ShareOffline when a mount gave no answer."""
        roots = [arguments[key]["path"] for key in ("root", "destination_root") if key in arguments]
        access = self._remote if any(map(self._mounts.may_hang, roots)) else self._local
        return access.run(operation, arguments, tell=tell)

    def close(self) -> None:
        """End the child, if there is one."""
        self._remote.close()
