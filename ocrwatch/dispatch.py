"""Which jobs are in work: a few of each inbox at a time, oldest first. Owns the job threads, nothing of the work itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from ocrwatch.journal.journal import Journal
from ocrwatch.journal.records import Job
from ocrwatch.journal.states import JobState
from ocrwatch.pipeline import Pipeline
from ocrwatch.treatment import Treatment

log = logging.getLogger(__name__)

_SLOTS = 16  # jobs in work an inbox: enough to keep every core busy, few enough to keep the spool small
_AWAITING_SLOTS = 4  # of them, jobs whose raw text is published and that come back for correction
_REST_S = 30.0  # of a job whose run changed nothing


class Dispatcher:
    """Runs jobs through the pipeline.

    is_open: whether an inbox is there to read from. may_correct: whether jobs that await correction should be tried.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        journal: Journal,
        treatments: Mapping[str, Treatment],
        clock: Callable[[], float],
        is_open: Callable[[str], bool],
        may_correct: Callable[[], bool],
    ) -> None:
        self._pipeline = pipeline
        self._journal = journal
        self._treatments = treatments
        self._clock = clock
        self._is_open = is_open
        self._may_correct = may_correct
        self._lock = threading.Lock()
        self._active: dict[str, set[int]] = {name: set() for name in treatments}
        self._resting: dict[int, float] = {}
        self._stopping = threading.Event()
        self._threads = {name: ThreadPoolExecutor(max_workers=_SLOTS, thread_name_prefix=f"job-{name}") for name in treatments}

    def feed_all(self) -> None:
        """Take up what waits in every inbox."""
        for inbox in self._treatments:
            self.feed(inbox)

    def feed(self, inbox: str) -> None:
        """Take up what waits in one inbox, as far as there is room. From any thread."""
        if self._stopping.is_set() or not self._is_open(inbox):
            return
        with self._lock:
            for job in self._waiting(inbox):
                self._active[inbox].add(job.id)
                self._threads[inbox].submit(self._run, job)

    def active(self) -> int:
        """How many jobs are in work."""
        with self._lock:
            return sum(len(jobs) for jobs in self._active.values())

    def begin_stop(self) -> None:
        """Take up no more jobs."""
        self._stopping.set()

    def finish_stop(self) -> None:
        """Wait for the job threads; what they wait for must have been cancelled."""
        for threads in self._threads.values():
            threads.shutdown(wait=True, cancel_futures=True)

    def _waiting(self, inbox: str) -> list[Job]:
        active, now = self._active[inbox], self._clock()
        self._resting = {job: until for job, until in self._resting.items() if until > now}
        busy = active | self._resting.keys()
        room = _SLOTS - len(active)
        limit = _SLOTS + len(busy)
        jobs = self._journal.in_state(JobState.SPOOLED, JobState.QUEUED, inbox=inbox, limit=limit)
        chosen = [job for job in jobs if job.id not in busy][:room]
        if self._may_correct() and len(chosen) < room:
            awaiting = self._journal.in_state(JobState.AWAITING_CORRECTION, inbox=inbox, limit=limit)
            room = min(_AWAITING_SLOTS, room - len(chosen)) - sum(job.id in active for job in awaiting)
            chosen += [job for job in awaiting if job.id not in busy][: max(0, room)]
        return chosen

    def _run(self, job: Job) -> None:
        try:
            self._pipeline.run(job, self._treatments[job.inbox])
        except Exception:  # one job's trouble, a bug or a full state disk, must not end the thread of the others
            log.exception("job %d of inbox %s ended unforeseen and is tried again", job.id, job.inbox)
            self._rest(job)
        else:
            if self._journal.job(job.id).state is job.state:
                self._rest(job)
        finally:
            with self._lock:
                self._active[job.inbox].discard(job.id)
        self.feed(job.inbox)

    def _rest(self, job: Job) -> None:
        with self._lock:
            self._resting[job.id] = self._clock() + _REST_S
