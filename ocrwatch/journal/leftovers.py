"""What is left of jobs that are over, and when it goes: their folders at the start, and as soon as a version is superseded or its
file is gone while nobody is at work on it, as one that was put off; what the journal knows of them a year later."""

from __future__ import annotations

from collections.abc import Callable

from ocrwatch.journal.checkpoints import Checkpoints
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.states import UNFINISHED, JobState

_REMEMBERED_S = 365 * 86400.0
_BATCH = 1000
_WANTED = UNFINISHED | {JobState.PARTIAL}


class Leftovers:
    """What is in the state directory for nobody. Made before any work begins. wall_clock: the journal's."""

    def __init__(self, journal: Journal, checkpoints: Checkpoints, *, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._journal = journal
        self._checkpoints = checkpoints
        self._seen, _ = journal.over_since(0)
        self._over = set[int]()
        kept = {job.id for job in journal.in_state(*_WANTED)}
        for job in checkpoints.jobs():
            if job not in kept:  # a crash came between the journal's word and its removal
                checkpoints.drop(job)

    def drop(self, *, is_active: Callable[[int], bool]) -> None:
        """Remove the folders of what was over since the last time and still is; of a job in work, once nobody works on it."""
        self._seen, over = self._journal.over_since(self._seen)
        self._over.update(over)
        for job in [job for job in self._over if not is_active(job)]:
            if self._journal.job(job).state not in _WANTED:  # its scan is back
                self._checkpoints.drop(job)
            self._over.discard(job)
        self._journal.prune(before=self._wall_clock() - _REMEMBERED_S, limit=_BATCH)
