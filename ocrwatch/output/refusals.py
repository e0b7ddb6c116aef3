"""Files that could not be moved and are left alone for a while, so that they hold up no others. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ocrwatch.journal.records import Job

_LONGEST_S = 6 * 3600.0


class _Rest(NamedTuple):
    length_s: float
    until_s: float


class Refusals:
    """Which jobs rest. first_s: how long at first; each refusal in a row doubles it. clock: monotonic seconds."""

    def __init__(self, *, first_s: float, clock: Callable[[], float]) -> None:
        self._first_s = first_s
        self._clock = clock
        self._rests: dict[tuple[int, float], _Rest] = {}

    def resting(self) -> int:
        """How many rest now. What was not tried for long after its rest is no longer there, and forgotten."""
        now = self._clock()
        self._rests = {key: rest for key, rest in self._rests.items() if rest.until_s + _LONGEST_S > now}
        return sum(rest.until_s > now for rest in self._rests.values())

    def rests(self, job: Job) -> bool:
        """Whether it is to be left alone now. One whose state has changed since is not."""
        rest = self._rests.get(_key(job))
        return rest is not None and rest.until_s > self._clock()

    def refused(self, job: Job) -> bool:
        """It could not be moved for its own sake; whether that is the first time."""
        before = self._rests.get(_key(job))
        self._rest(job, self._first_s if before is None else min(_LONGEST_S, 2 * before.length_s))
        return before is None

    def held_up(self, job: Job) -> None:
        """It could not be moved, and is tried again as soon as the first time: its mount gave no answer, or somebody waits."""
        self._rest(job, self._first_s)

    def _rest(self, job: Job, length_s: float) -> None:
        self._rests[_key(job)] = _Rest(length_s, self._clock() + length_s)


def _key(job: Job) -> tuple[int, float]:
    return job.id, job.changed
