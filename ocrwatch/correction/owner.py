"""The parent's side of correction: the one thread that owns the model's process. Loads no model.

Owns when the model is loaded, asked, unloaded and tried again. How it is found and where it runs is `loading`'s matter, what a
page without correction means the pipeline's. Asking for the status never touches a timer.

The idle time counts from the end of the last lease. A page in the model's hands is a hard lease, which is the state BUSY; pages
that will need the model and are being recognized are soft ones, see `Lease`.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass

from ocrwatch.correction.leases import Lease, Unload
from ocrwatch.correction.loading import Loader, ModelPlan
from ocrwatch.correction.placing import is_shortage
from ocrwatch.correction.protocol import Correction, CorrectionRequest
from ocrwatch.correction.returned import Proof, Returned
from ocrwatch.correction.store import ModelFile
from ocrwatch.correction.verifying import Verifier
from ocrwatch.errors import DeviceFull, Infrastructure, MissingPart, OcrwatchError, WorkerDied, WorkerRefused
from ocrwatch.log_events import LogEvent
from ocrwatch.output.document import Model
from ocrwatch.tally import Counted, Tally
from ocrwatch.worker.fairqueue import FairQueue
from ocrwatch.worker.supervised import Snapshot, Supervised, WorkerState

log = logging.getLogger(__name__)

_MOST_DEADLINES = 3  # of one page: a worker that says without end that it moves is ended then
_LOOK_S = 0.5  # between two looks at the clock while a back-off lasts
_WATCH_S = 1.0  # between two looks whether a process is still there
_SPARE_DEATHS = 1  # a page may have ended one process; after two in a row without an answer it is more than a page


@dataclass(frozen=True)
class ModelStatus:
    """The model at one moment.

    epoch: the number of its process, 0 before the first. degraded: why less of it runs on a GPU than was wanted, or empty.
    fetched: bytes done and of how many, while it is downloaded. idle_left_s, unavailable_since: None where they do not apply, the
    idle time also while something holds the model. leases: how many jobs recognize pages for it. returned: what became of the
    GPU's memory of the last process that had some; None while that is not known. verdicts: how often each came.
    """

    worker: Snapshot
    epoch: int
    file: ModelFile | None
    degraded: str
    fetched: tuple[int, int] | None
    resident_bytes: int
    idle_left_s: float | None
    leases: int
    unavailable_since: float | None
    waiting: int
    returned: Proof | None
    verdicts: Mapping[Returned, int]


@dataclass(frozen=True)
class _Work:
    inbox: str
    job: int
    request: Callable[[], CorrectionRequest]
    answer: Future[Correction]

    def drop(self) -> None:
        """Nobody will correct it; whoever waits is told. Also of a page that was begun and came back to the queue."""
        if not self.answer.cancel() and not self.answer.done():
            self.answer.set_exception(CancelledError())


class ModelOwner:
    """Corrects pages with a model that is loaded when needed and gone when idle.

    on_back: called from the owner's thread when the model is there again after it was not to be had. loader: in place of the
    plan's own. tally: gets the loads and unloads. has_thread: without one, whoever made this calls `step`.
    """

    def __init__(
        self,
        plan: ModelPlan,
        *,
        clock: Callable[[], float],
        on_back: Callable[[], None],
        loader: Loader | None = None,
        tally: Tally | None = None,
        has_thread: bool = True,
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._on_back = on_back
        self._tally = tally or Tally()
        self._loader = loader or Loader(plan, clock=clock, tally=self._tally)
        self._verifier = Verifier(self._loader.returned)
        self._queue: FairQueue[_Work] = FairQueue()
        begin, spare, gone = self._loader.load, _SPARE_DEATHS, self._gone
        self._worker = Supervised(begin, idle_s=plan.idle_s, clock=clock, spare_deaths=spare, gone=gone)
        self._unavailable_since: float | None = None
        self._is_missing = False
        self._leases = 0
        self._leased_until = -math.inf  # when the last soft lease ended
        self._lease_lock = threading.Lock()
        self._wanted = False  # the model should be loaded, though no page waits yet
        self._unwanted = threading.Event()  # a person asked to unload
        self._deaths = 0  # of processes that had the model loaded, as far as they are counted
        self._going = Unload.IDLE  # why the process that is there will go, unless it dies
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True) if has_thread else None
        if self._thread is not None:
            self._thread.start()

    def correct(self, inbox: str, job: int, request: Callable[[], CorrectionRequest]) -> Future[Correction]:
        """The edits of one page. It waits while the model is not to be had; raises WorkerDied when the page cost the worker.

        request: made only when it is the page's turn, so that the pages of a book do not wait in memory.
        """
        answer: Future[Correction] = Future()
        self._put(_Work(inbox, job, request, answer))
        return answer

    def forget(self, inbox: str, job: int) -> None:
        """Drop the pages of a job that wait."""
        for work in self._queue.forget(inbox, job):
            work.drop()

    @contextlib.contextmanager
    def soft_lease(self) -> Iterator[Lease]:
        """A lease to be taken while this lasts; the model is not idle from then on."""
        lease = Lease(self._leased)
        try:
            yield lease
        finally:
            lease.close()
            if lease.is_held:
                with self._lease_lock:
                    self._leases -= 1
                    self._leased_until = self._clock()
                self._queue.nudge()

    def unload(self) -> None:
        """Unload the model now, or as soon as the page in hand is done. A page that waits has it loaded anew.

        A start is given up at once. A download goes on, it holds no memory that could be wanted; the model goes after it.
        """
        self._unwanted.set()
        if self._loader.fetched is None:
            self._worker.abandon()
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
        worker, leases = self._worker.snapshot(), self._leases
        return ModelStatus(
            worker=worker,
            epoch=worker.starts,
            file=self._loader.file,
            degraded=self._loader.placed if worker.hello is not None else "",
            fetched=self._loader.fetched,
            resident_bytes=self._worker.resident_bytes(),
            idle_left_s=None if leases else self._worker.idle_left_s(),
            leases=leases,
            unavailable_since=self._unavailable_since,
            waiting=len(self._queue),
            returned=self._verifier.last,
            verdicts=self._verifier.counts(),
        )

    def stop(self, *, drain_s: float) -> None:
        """Take no more pages, give the one in hand `drain_s` seconds, then kill; no process is left."""
        self._stopping.set()
        for work in self._queue.close():
            work.drop()
        if self._thread is not None:
            self._thread.join(timeout=drain_s)
            self._worker.interrupt()
            self._thread.join()
        else:
            self._worker.stop()
        self._verifier.close()

    def step(self, wait_s: float | None = 0.0) -> None:
        """One turn: at most one page is corrected, or what else there is to do is done. Waits so long for something to do."""
        work = self._next(wait_s)
        if self._worker.look() and self._leases:
            self._wanted = True  # it died, and pages are being recognized for it
        if work is not None:
            self._answer(work)
        if self._unwanted.is_set():
            self._unwanted.clear()
            self._wanted, self._going = False, Unload.ASKED
            self._worker.stop()
        elif work is None and not self._stopping.is_set():
            self._tend()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.step(self._wait_s())
        self._worker.stop()

    def _tend(self) -> None:
        """What there is to do when no page waits."""
        if self._wanted and self._worker.may_start():
            self._load()
            return
        with self._lease_lock:
            leases, until = self._leases, self._leased_until
        if not leases:
            self._worker.hold(until)
            self._worker.end_if_idle()

    def _wait_s(self) -> float | None:
        """How long nothing is to be done unless somebody asks."""
        now = self._worker.snapshot()
        if self._unwanted.is_set():
            return 0.0
        if not self._worker.may_start():
            return _LOOK_S if now.retry_at is None else min(_LOOK_S, max(0.0, now.retry_at - self._clock()))
        if self._wanted:
            return 0.0
        if now.state is WorkerState.COLD:
            return None
        left_s = self._worker.idle_left_s()
        return _WATCH_S if left_s is None or self._leases else min(_WATCH_S, left_s)

    def _next(self, wait_s: float | None) -> _Work | None:
        """The page whose turn it is; None when there is something else to do. Pages wait while no process may be started."""
        if self._worker.may_start():
            return self._queue.take(wait_s)
        self._stopping.wait(wait_s)
        return None

    def _load(self) -> bool:
        try:
            self._worker.ensure()
        except OcrwatchError as error:
            if self._worker.snapshot().state is not WorkerState.COLD:  # else it was given up, not to be had is something else
                self._is_away(error)
            return False
        self._wanted, self._going = False, Unload.IDLE
        if self._unavailable_since is not None:
            self._unavailable_since = None
            log.info("the model is to be had again", extra={"event": LogEvent.MODEL_BACK})
            with contextlib.suppress(Infrastructure):  # a full state disk is told by the jobs, and must not end this thread
                self._on_back()
        return True

    def _is_away(self, error: OcrwatchError) -> None:
        self._wanted = True
        self._is_missing = isinstance(error, MissingPart)
        if self._unavailable_since is None:
            self._unavailable_since = self._clock()
            log.warning("the model is not to be had: %s", error, extra={"event": LogEvent.MODEL_UNAVAILABLE})
        if not isinstance(error, DeviceFull):
            self._loader.forget()  # it may have been moved, or replaced by a right one

    def _answer(self, work: _Work) -> None:
        if self._stopping.is_set():
            work.drop()
        if work.answer.done():
            return
        if not self._load():
            self._put(work)  # it waits; whoever asked gives up in time
            return
        if not work.answer.running() and not work.answer.set_running_or_notify_cancel():
            return
        hello = self._worker.snapshot().hello or {}
        try:
            work.answer.set_result(self._corrected(work))
        except OcrwatchError as error:
            if self._stopping.is_set():  # a worker that we kill to be gone in time is no death that the page is to blame for
                work.drop()
            elif hello.get("layers_on_gpu") and is_shortage(error):
                self._ran_short(error)
                self._put(work)
            else:
                work.answer.set_exception(error)
        except (KeyError, TypeError, ValueError) as error:
            work.answer.set_exception(WorkerDied(f"the correction worker answered nonsense: {error}"))
        except Exception as error:  # one page's trouble, a bug of ours, must not end the thread of all the others
            log.exception("a page was left raw unforeseen")
            work.answer.set_exception(WorkerRefused(f"{type(error).__name__}: {error}"))

    def _corrected(self, work: _Work) -> Correction:
        limit_s = self._plan.page_timeout_s
        reply = self._worker.ask(work.request().to_json(), deadline_s=limit_s, total_s=_MOST_DEADLINES * limit_s)
        return Correction.from_json(reply)

    def _ran_short(self, error: OcrwatchError) -> None:
        """The device had no memory for a page: the page is not to blame, and what comes next may do with less."""
        self._worker.discard(error)  # one that only said so is still there
        if self._loader.died(error):
            self._worker.excuse()
            self._wanted = True
        else:
            self._is_away(error)

    def _put(self, work: _Work) -> None:
        """To the queue; a page that comes back goes behind those of its job, which changes nothing in the text."""
        if not self._queue.put(work.inbox, work.job, work):
            work.drop()

    def _leased(self) -> None:
        with self._lease_lock:
            self._leases += 1
        self._wanted = True
        self._queue.nudge()

    def _gone(self, ended: Snapshot) -> None:
        if self._stopping.is_set():
            return
        died, self._deaths = ended.deaths > self._deaths, ended.deaths
        self._tally.add(Counted.MODEL_UNLOADS, Unload.DIED if died else self._going)
        if (ended.hello or {}).get("layers_on_gpu") and ended.pid is not None:
            self._verifier.add(ended.pid)


def model_of(file: ModelFile | None) -> Model | None:
    """What the sidecar says of the model; None without one."""
    if file is None:
        return None
    return Model(repository=file.repository or "", file=file.file, revision=file.revision or "", sha256=file.sha256)
