"""When a scan goes to the archive: in its final state, unchanged for long enough. How it goes safely is `archive`'s matter."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ocrwatch.errors import Infrastructure, OcrwatchError, ShareOffline, SourceChanged, SourceVanished
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.records import Job, Scope
from ocrwatch.journal.states import IllegalTransition, JobState
from ocrwatch.log_events import LogEvent, of_file
from ocrwatch.output.refusals import Refusals
from ocrwatch.treatment import MovePlan, Treatment

log = logging.getLogger(__name__)

_LOOK_S = 60.0
_REST_S = 120.0  # of a scan that could not go, at first: more than a look, or it would be the first one again
_BATCH = 200
NEWER = "it is read again when its size or its time is another: if it does not come by itself, `touch` it"
"""What becomes of a scan whose content is another than that which was read."""


def shown(place: str) -> str:
    """A path as text that can be stored: what is no UTF-8 in it as escapes."""
    return place.encode("utf-8", "backslashreplace").decode("utf-8")


class Archivist:
    """Archives the finished scans of one territory. wall_clock: the journal's; clock: monotonic seconds."""

    def __init__(
        self,
        journal: Journal,
        treatment: Treatment,
        *,
        scope: Callable[[], Scope],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._treatment = treatment
        self._scope = scope
        self._clock = clock
        self._wall_clock = wall_clock
        self._refusals = Refusals(first_s=_REST_S, clock=clock)
        self._next_s = clock()

    @property
    def is_wanted(self) -> bool:
        """Whether scans of this inbox are archived."""
        return self._treatment.archive is not None

    def step(self) -> float:
        """Archive what is due; seconds until the next look. A scan that cannot go now goes later."""
        plan = self._treatment.archive
        assert plan is not None
        if self._clock() < self._next_s:
            return self._next_s - self._clock()
        self._next_s = self._clock() + min(_LOOK_S, max(1.0, plan.after_s))
        before = self._wall_clock() - plan.after_s
        limit = _BATCH + self._refusals.resting()
        for job in self._journal.in_state(JobState.DONE, inbox=self._treatment.inbox, scope=self._scope(), limit=limit):
            if job.changed <= before and not self._refusals.rests(job) and not self._archive(job, plan):
                break  # a mount is away: the next scan would only wait for it as well
        return self._next_s - self._clock()

    def _archive(self, job: Job, plan: MovePlan) -> bool:
        """Whether it is worth while to try the next one."""
        assert job.sha256 is not None
        try:
            scan = self._treatment.scans(job.path)
            place = scan.share.archive(
                scan.root,
                job.path,
                expected=job.identity,
                sha256=job.sha256,
                destination_root=plan.tree.reach().root,
                destination=job.path,
            )
        except SourceVanished:
            self._journal.gone(job.inbox, job.path)
        except SourceChanged:
            if self._refusals.refused(job):
                log.info("%s is no longer what was read and is not archived; %s", job.path, NEWER)
        except ShareOffline as error:
            self._cannot(job, error)
            self._refusals.held_up(job)
            return False
        except Infrastructure as error:
            self._cannot(job, error)
            self._refusals.refused(job)
        else:
            self._archived(job, f"{plan.tree.path}/{place}")
        return True

    def _cannot(self, job: Job, error: OcrwatchError) -> None:
        log.warning("%s cannot be archived now: %s", job.path, error)
        self._journal.remark(job, f"it cannot be archived now: {error}")

    def _archived(self, job: Job, place: str) -> None:
        try:
            self._journal.move(job.id, JobState.ARCHIVED, reason="archived", detail=shown(place), moved_to=place)
        except IllegalTransition:  # a newer version came to the name meanwhile
            log.debug("%s was archived under an older state", job.path)
        about = of_file(LogEvent.FILE_ARCHIVED, inbox=job.inbox, file=job.path, job=job.id)
        log.info("%s/%s was archived as %s", job.inbox, job.path, shown(place), extra=about)
