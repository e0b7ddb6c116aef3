"""Which jobs are in work: a few of each mount of an inbox at a time, oldest first.

Owns the job threads, nothing of the work itself.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence

from ocrwatch.journal.journal import Journal
from ocrwatch.journal.records import Job, Scope
from ocrwatch.journal.states import JobState
from ocrwatch.pipeline import Pipeline
from ocrwatch.treatment import Treatment
from ocrwatch.worker.threads import Thread

log = logging.getLogger(__name__)

_SLOTS = 16  # jobs in work a lane: enough to keep every core busy, few enough to keep the spool small
_AWAITING_SLOTS = 4  # of them, jobs whose raw text is published and that come back for correction
_REST_S = 30.0  # of a job whose run changed nothing

Lane = tuple[str, str]
"""An inbox and where one of its territories begins: a mount that hangs holds its own lane up, and no other."""


class Dispatcher:
    """Runs jobs through the pipeline.

    scopes: the parts of an inbox that are there to read from. may_correct: whether jobs that await correction should be tried.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        journal: Journal,
        treatments: Mapping[str, Treatment],
        clock: Callable[[], float],
        scopes: Callable[[str], Sequence[Scope]],
        may_correct: Callable[[], bool],
    ) -> None:
        self._pipeline = pipeline
        self._journal = journal
        self._treatments = treatments
        self._clock = clock
        self._scopes = scopes
        self._may_correct = may_correct
        self._lock = threading.Lock()
        self._active: dict[int, Lane] = {}
        self._resting: dict[int, float] = {}
        self._rests: dict[int, int] = {}
        self._stopping = threading.Event()
        self._threads: set[Thread] = set()

    def feed_all(self) -> None:
        """Take up what waits in every inbox."""
        for inbox in self._treatments:
            self.feed(inbox)

    def feed(self, inbox: str) -> None:
        """Take up what waits in one inbox, as far as there is room. From any thread."""
        if self._stopping.is_set():
            return
        for scope in self._scopes(inbox):
            with self._lock:
                self._feed_lane((inbox, scope.below), scope)

    def _feed_lane(self, lane: Lane, scope: Scope) -> None:
        self._threads = {thread for thread in self._threads if not thread.is_over}
        for job in self._waiting(lane, scope):
            # One each: a pool that was refused a thread keeps the work, and nobody to do it.
            thread = Thread(functools.partial(self._run, job), "-".join(("job", *filter(None, lane), str(job.id))))
            self._active[job.id] = lane
            self._threads.add(thread)
            try:
                thread.start()
            except OSError as error:
                self._threads.discard(thread)
                del self._active[job.id]
                self._rest(job)
                log.warning("job %d of inbox %s waits: %s", job.id, job.inbox, error.strerror)
                return

    def active(self) -> int:
        """How many jobs are in work. Waits for nobody, not even for a lane that is being fed."""
        return len(self._active)

    def is_active(self, job: int) -> bool:
        """Whether a job is in work."""
        return job in self._active

    def weary(self, rests: int) -> list[int]:
        """The jobs whose last runs, so many at least, changed nothing."""
        with self._lock:
            return [job for job, count in self._rests.items() if count >= rests]

    def begin_stop(self) -> None:
        """Take up no more jobs."""
        self._stopping.set()

    def finish_stop(self) -> None:
        """Wait for the job threads; what they wait for must have been cancelled."""
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def _waiting(self, lane: Lane, scope: Scope) -> list[Job]:
        now, inbox = self._clock(), lane[0]
        self._resting = {job: until for job, until in self._resting.items() if until > now}
        busy = self._active.keys() | self._resting.keys()
        room = _SLOTS - sum(other == lane for other in self._active.values())
        limit = _SLOTS + len(busy)
        jobs = self._journal.in_state(JobState.SPOOLED, JobState.QUEUED, inbox=inbox, scope=scope, limit=limit)
        chosen = [job for job in jobs if job.id not in busy][:room]
        if self._may_correct() and len(chosen) < room:
            awaiting = self._journal.in_state(JobState.AWAITING_CORRECTION, inbox=inbox, scope=scope, limit=limit)
            room = min(_AWAITING_SLOTS, room - len(chosen)) - sum(job.id in self._active for job in awaiting)
            chosen += [job for job in awaiting if job.id not in busy][: max(0, room)]
        return chosen

    def _run(self, job: Job) -> None:
        is_over = False
        try:
            self._pipeline.run(job, self._treatments[job.inbox])
            is_over = self._journal.job(job.id).state is not job.state
        except Exception:  # one job's trouble, a bug or a full state disk, must not end the thread of the others
            log.exception("job %d of inbox %s ended unforeseen and is tried again", job.id, job.inbox)
        with self._lock:
            self._active.pop(job.id, None)
            if is_over:
                self._rests.pop(job.id, None)
            else:
                self._rest(job)
        self.feed(job.inbox)

    def _rest(self, job: Job) -> None:
        self._resting[job.id] = self._clock() + _REST_S
        self._rests[job.id] = self._rests.get(job.id, 0) + 1
