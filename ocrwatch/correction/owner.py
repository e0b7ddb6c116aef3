"""The parent's side of correction: the one thread that owns the model's process. Loads no model.

Owns when the model is found, loaded, asked, unloaded and tried again. What a page without correction means is the
pipeline's matter. Asking for the status never touches a timer.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from typing import Any

from ocrwatch.correction.protocol import Correction, CorrectionRequest
from ocrwatch.correction.store import Download, ModelFile, ModelWish
from ocrwatch.errors import Infrastructure, MissingPart, OcrwatchError, WorkerDied, WorkerRefused
from ocrwatch.output.document import Model
from ocrwatch.worker.fairqueue import FairQueue
from ocrwatch.worker.process import WorkerProcess, WorkerSpec
from ocrwatch.worker.supervised import Snapshot, Supervised

log = logging.getLogger(__name__)

_MOST_DEADLINES = 3  # of one page: a worker that says without end that it moves is ended then
_STALL_S = 120.0  # without a byte; a download has no total limit
_LOOK_S = 0.5  # between two looks at the clock while a back-off lasts
_HOLD_S = 1.0  # between two looks at a model that is kept for pages in recognition


@dataclass(frozen=True)
class ModelPlan:
    """How to find and load the model.

    fetch: the worker that finds or downloads it. load: the worker for a found file.
    idle_s: None keeps the model loaded. page_timeout_s: without an answer for this long, the worker is replaced.
    """

    wish: ModelWish
    fetch: WorkerSpec
    load: Callable[[ModelFile], WorkerSpec]
    idle_s: float | None
    page_timeout_s: float


@dataclass(frozen=True)
class ModelStatus:
    """The model at one moment. unavailable_since, idle_left_s: None where they do not apply."""

    worker: Snapshot
    file: ModelFile | None
    resident_bytes: int
    idle_left_s: float | None
    unavailable_since: float | None
    waiting: int


@dataclass(frozen=True)
class _Work:
    inbox: str
    job: int
    request: Callable[[], CorrectionRequest]
    answer: Future[Correction]


class ModelOwner:
    """Corrects pages with a model that is loaded when needed and gone when idle.

    on_back: called from the owner's thread when the model is there again after it was not to be had.
    """

    def __init__(self, plan: ModelPlan, *, clock: Callable[[], float], on_back: Callable[[], None]) -> None:
        self._plan = plan
        self._clock = clock
        self._on_back = on_back
        self._queue: FairQueue[_Work] = FairQueue()
        self._worker = Supervised(self._find_and_plan, idle_s=plan.idle_s, clock=clock)
        self._file: ModelFile | None = None
        self._unavailable_since: float | None = None
        self._is_missing = False
        self._leases = 0
        self._lease_lock = threading.Lock()
        self._wanted = False  # the model should be loaded, though no page waits yet
        self._unwanted = threading.Event()  # a person asked to unload
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    def correct(self, inbox: str, job: int, request: Callable[[], CorrectionRequest]) -> Future[Correction]:
        """The edits of one page. It waits while the model is not to be had; raises WorkerDied when the page cost the worker.

        request: made only when it is the page's turn, so that the pages of a book do not wait in memory.
        """
        answer: Future[Correction] = Future()
        if not self._queue.put(inbox, job, _Work(inbox, job, request, answer)):
            answer.cancel()
        return answer

    def forget(self, inbox: str, job: int) -> None:
        """Drop the pages of a job that wait."""
        for work in self._queue.forget(inbox, job):
            work.answer.cancel()

    @contextlib.contextmanager
    def soft_lease(self) -> Iterator[None]:
        """Pages that will need the model are being recognized: it loads meanwhile, and is not idle while this lasts."""
        with self._lease_lock:
            self._leases += 1
        self._wanted = True
        self._queue.nudge()
        try:
            yield
        finally:
            with self._lease_lock:
                self._leases -= 1
            self._queue.nudge()

    def unload(self) -> None:
        """Unload the model now, or as soon as the page in hand is done."""
        self._unwanted.set()
        self._queue.nudge()

    def patience_s(self, wait_s: float, *, since: float) -> float:
        """Seconds that a page which is ready since `since` still waits for correction, at most `wait_s` of an outage."""
        if self._unavailable_since is None:
            return max(0.0, since + wait_s - self._clock())
        if self._is_missing:
            return 0.0  # nothing will come of waiting until a person installs it
        return max(0.0, min(since, self._unavailable_since) + wait_s - self._clock())

    def status(self) -> ModelStatus:
        """The model at this moment; asking changes nothing."""
        return ModelStatus(
            worker=self._worker.snapshot(),
            file=self._file,
            resident_bytes=self._worker.resident_bytes(),
            idle_left_s=self._worker.idle_left_s(),
            unavailable_since=self._unavailable_since,
            waiting=len(self._queue),
        )

    def stop(self, *, drain_s: float) -> None:
        """Take no more pages, give the one in hand `drain_s` seconds, then kill; no process is left."""
        self._stopping.set()
        for work in self._queue.close():
            work.answer.cancel()
        self._thread.join(timeout=drain_s)
        self._worker.interrupt()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            work = self._next()
            if work is not None:
                self._answer(work)
            if self._unwanted.is_set():
                self._unwanted.clear()
                self._wanted = False
                self._worker.stop()
            elif work is None:
                self._tend()
        self._worker.stop()

    def _tend(self) -> None:
        """What there is to do when no page waits."""
        if self._stopping.is_set():
            return
        if self._wanted and self._may_load():
            self._load()
        elif self._leases:
            self._worker.hold()
        else:
            self._worker.end_if_idle()

    def _wait_s(self) -> float | None:
        if self._wanted or self._unwanted.is_set():
            return 0.0
        left_s = self._worker.idle_left_s()
        return left_s if left_s is None or not self._leases else max(left_s, _HOLD_S)

    def _may_load(self) -> bool:
        retry_at = self._worker.snapshot().retry_at
        return retry_at is None or self._clock() >= retry_at

    def _next(self) -> _Work | None:
        """The page whose turn it is; None when there is something else to do. Pages wait while the back-off lasts."""
        retry_at = self._worker.snapshot().retry_at
        if retry_at is None or self._clock() >= retry_at:
            return self._queue.take(self._wait_s())
        self._stopping.wait(min(_LOOK_S, retry_at - self._clock()))
        return None

    def _load(self) -> bool:
        try:
            self._worker.ensure(self._ignore_progress)
        except OcrwatchError as error:
            self._is_missing = isinstance(error, MissingPart)
            if self._unavailable_since is None:
                self._unavailable_since = self._clock()
            self._file = None  # it may have been moved, or replaced by a right one
            return False
        self._wanted = False
        self._worker.hold()
        if self._unavailable_since is not None:
            self._unavailable_since = None
            with contextlib.suppress(Infrastructure):  # a full state disk is told by the jobs, and must not end this thread
                self._on_back()
        return True

    def _answer(self, work: _Work) -> None:
        if self._stopping.is_set():
            work.answer.cancel()
        if work.answer.cancelled():
            return
        if not self._load():
            self._wanted = True
            # It waits; whoever asked gives up in time.
            if work.answer.cancelled() or not self._queue.put(work.inbox, work.job, work):
                work.answer.cancel()
            return
        if not work.answer.set_running_or_notify_cancel():
            return
        try:
            reply = self._worker.call(
                work.request().to_json(),
                deadline_s=self._plan.page_timeout_s,
                total_s=_MOST_DEADLINES * self._plan.page_timeout_s,
                progress=self._ignore_progress,
            )
            work.answer.set_result(Correction.from_json(reply))
        except OcrwatchError as error:
            # A worker that we kill to be gone in time is no death that the page is to blame for.
            work.answer.set_exception(CancelledError() if self._stopping.is_set() else error)
        except (KeyError, TypeError, ValueError) as error:
            work.answer.set_exception(WorkerDied(f"the correction worker answered nonsense: {error}"))
        except Exception as error:  # one page's trouble, a bug of ours, must not end the thread of all the others
            log.exception("a page was left raw unforeseen")
            work.answer.set_exception(WorkerRefused(f"{type(error).__name__}: {error}"))

    def _find_and_plan(self) -> WorkerSpec:
        if self._file is None or not self._file.path.is_file():
            self._file = self._find()
        return self._plan.load(self._file)

    def _find(self) -> ModelFile:
        fetcher = WorkerProcess(replace(self._plan.fetch, ended=self._stopping))  # a download may take hours
        wish = self._plan.wish.to_json()
        try:
            try:
                reply = fetcher.call({"op": "find", "wish": wish}, deadline_s=_STALL_S)
            except MissingPart:
                if self._plan.wish.download is not Download.AUTO:
                    raise
                reply = fetcher.call({"op": "fetch", "wish": wish}, deadline_s=_STALL_S)
            return ModelFile.from_json(reply)
        finally:
            fetcher.stop()

    @staticmethod
    def _ignore_progress(details: dict[str, Any]) -> None:
        """A progress frame restarts the deadline; what it says is for a person at `model pull`."""


def model_of(file: ModelFile | None) -> Model | None:
    """What the sidecar says of the model; None without one."""
    if file is None:
        return None
    return Model(repository=file.repository or "", file=file.file, revision=file.revision or "", sha256=file.sha256)
