"""The parent's side of recognition: a thread for each core, each with at most one page in hand. Loads no engine.

Owns which worker does which page. What a failure means for the file is the pipeline's matter.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ocrwatch.errors import Infrastructure, OcrwatchError, WorkerDied, WorkerFailed, WorkerRefused
from ocrwatch.ocr.engine import READING, EngineName, PageResult
from ocrwatch.worker.fairqueue import FairQueue
from ocrwatch.worker.process import WorkerSpec
from ocrwatch.worker.supervised import Snapshot, Supervised, WorkerState, spawning

log = logging.getLogger(__name__)

_IDLE_S = 60.0  # a recognition worker starts in a tenth of a second and holds 40 to 150 MB


@dataclass(frozen=True)
class PageTask:
    """What to recognize, and how.

    path: the spooled file. page: from 1. timeout_s: the page's budget, in all. psm: see `Engine.recognize`.
    begins: called when a worker takes it, before anything is done; what it raises is the answer. reads: called when the engine is
    about to read its image, which a page with a text of its own never comes to; from the worker's thread, maybe more than once.
    """

    path: str
    page: int
    engine: EngineName
    languages: tuple[str, ...]
    pdf_text: str
    timeout_s: float
    psm: int | None = None
    begins: Callable[[], None] = lambda: None
    reads: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Inspection:
    """What a file is, by its content."""

    format: str
    pages: int


@dataclass(frozen=True)
class _Work:
    task: PageTask
    request: Mapping[str, Any]
    answer: Future[dict[str, Any]]

    def tell(self, details: dict[str, Any]) -> None:
        """What the worker says on the way; it may have fallen to a hostile file, and say anything."""
        if isinstance(details, dict) and details.get("stage") == READING:
            self.task.reads()


class RecognitionPool:
    """Recognizes pages on `workers` processes.

    specs: how to start a worker of each engine. Results come as futures; they raise FileRejected for the page's own
    fault, WorkerDied or WorkerTimedOut when it cost a worker, MissingPart or Infrastructure when the engine cannot run here.
    """

    def __init__(
        self,
        specs: Mapping[EngineName, Callable[[], WorkerSpec]],
        *,
        workers: int,
        clock: Callable[[], float],
        idle_s: float = _IDLE_S,
    ) -> None:
        self._queue: FairQueue[_Work] = FairQueue()
        self._stopping = threading.Event()
        self._slots = [
            {engine: Supervised(spawning(spec), idle_s=idle_s, clock=clock) for engine, spec in specs.items()}
            for _ in range(workers)
        ]
        self._threads = [
            threading.Thread(target=self._run, args=(slot,), name=f"ocr-{number}", daemon=True)
            for number, slot in enumerate(self._slots)
        ]
        for thread in self._threads:
            thread.start()

    def inspect(self, inbox: str, job: int, task: PageTask) -> Future[Inspection]:
        """What the file of a task is and how many pages it has."""
        future = self._put(inbox, job, task, {"op": "inspect"})
        return _then(future, lambda reply: Inspection(format=str(reply["format"]), pages=int(reply["pages"])))

    def recognize(self, inbox: str, job: int, task: PageTask) -> Future[PageResult]:
        """The text of one page."""
        request = {
            "op": "recognize",
            "page": task.page,
            "languages": list(task.languages),
            "psm": task.psm,
            "pdf_text": task.pdf_text,
        }
        return _then(self._put(inbox, job, task, request), PageResult.from_json)

    def forget(self, inbox: str, job: int) -> None:
        """Drop what still waits of a job."""
        for work in self._queue.forget(inbox, job):
            work.answer.cancel()

    def waiting(self) -> int:
        """Pages that no worker has taken yet."""
        return len(self._queue)

    def snapshots(self) -> list[tuple[EngineName, Snapshot, int]]:
        """Engine, state and resident bytes of each worker that has a process."""
        return [
            (engine, worker.snapshot(), worker.resident_bytes())
            for slot in self._slots
            for engine, worker in slot.items()
            if worker.snapshot().state is not WorkerState.COLD
        ]

    def lives(self) -> list[tuple[EngineName, Snapshot]]:
        """Engine and state of every worker, also of those that have no process."""
        return [(engine, worker.snapshot()) for slot in self._slots for engine, worker in slot.items()]

    def stop(self, *, drain_s: float) -> None:
        """Take no more pages, give the ones in hand `drain_s` seconds, then kill; no process is left."""
        self._stopping.set()
        for work in self._queue.close():
            work.answer.cancel()
        limit = time.monotonic() + drain_s  # of all together
        for thread in self._threads:
            thread.join(timeout=max(0.0, limit - time.monotonic()))
        for slot in self._slots:
            for worker in slot.values():
                worker.interrupt()
        for thread in self._threads:
            thread.join()

    def _put(self, inbox: str, job: int, task: PageTask, request: Mapping[str, Any]) -> Future[dict[str, Any]]:
        answer: Future[dict[str, Any]] = Future()
        if not self._queue.put(inbox, job, _Work(task, request, answer)):
            answer.cancel()
        return answer

    def _run(self, slot: Mapping[EngineName, Supervised]) -> None:
        while not self._stopping.is_set():
            waits = [left for worker in slot.values() if (left := worker.idle_left_s()) is not None]
            work = self._queue.take(min(waits, default=None))
            if work is None:
                for worker in slot.values():
                    worker.end_if_idle()
            elif work.answer.set_running_or_notify_cancel():
                self._answer(slot[work.task.engine], work)
        for worker in slot.values():
            worker.stop()

    def _answer(self, worker: Supervised, work: _Work) -> None:
        try:
            _have_ready(worker)
            work.task.begins()
            with _opened(work.task.path) as file:
                limit_s = work.task.timeout_s
                reply = worker.call(
                    work.request, deadline_s=limit_s, total_s=limit_s, progress=work.tell, descriptor=file.fileno()
                )
            work.answer.set_result(reply)
        except OcrwatchError as error:
            # A worker that we kill to be gone in time is no death that the page is to blame for.
            work.answer.set_exception(CancelledError() if self._stopping.is_set() else error)
        except Exception as error:  # one page's trouble, a bug of ours, must not end the thread of all the others
            log.exception("a page was given up unforeseen")
            work.answer.set_exception(WorkerRefused(f"{type(error).__name__}: {error}"))


def _opened(path: str) -> BinaryIO:
    """The one file that the worker gets to read: by a descriptor, for it may open none of its own, a neighbour's least of all."""
    try:
        return Path(path).open("rb")
    except OSError as error:  # our copy, in the spool: its disk or its rights are at fault, never what it holds
        message = f"the copy of the scan, {path}, cannot be read: {error.strerror}"
        raise Infrastructure(message, "check the disk of `state_dir`, and that the service's user may read it") from error


def _have_ready(worker: Supervised) -> None:
    """An engine that does not start is no fault of the page that wants it."""
    try:
        worker.ensure()
    except WorkerFailed as error:
        raise Infrastructure(f"the recognition worker does not start: {error.message}", "run `ocrwatch doctor`") from error


def _then(source: Future[dict[str, Any]], convert: Callable[[dict[str, Any]], Any]) -> Future[Any]:
    """A future of what `convert` makes of another's result; an answer that it cannot read is the worker's failure."""
    target: Future[Any] = Future()

    def finish(done: Future[dict[str, Any]]) -> None:
        if done.cancelled():
            target.cancel()
            target.set_running_or_notify_cancel()
            return
        try:
            target.set_result(convert(done.result()))
        except (OcrwatchError, CancelledError) as error:
            target.set_exception(error)
        except Exception as error:  # noqa: BLE001 - whatever it is: a future without a result is waited for without end
            target.set_exception(WorkerDied(f"a recognition worker answered nonsense: {type(error).__name__}: {error}"))

    source.add_done_callback(finish)
    return target
