"""Whose turn it is: work waits here by inbox and job until a worker takes it. Owns fairness, nothing else.

Inboxes take turns. Within one, the job that was served least comes first, so a letter does not wait behind the
thousand pages of a book, and every worker may work on the book when nothing else is there.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass
class _Job(Generic[Item]):
    served: int = 0
    items: deque[Item] = field(default_factory=deque)


class FairQueue(Generic[Item]):
    """Items in turns. `put` and `take` may be called by any thread."""

    def __init__(self) -> None:
        self._inboxes: dict[str, dict[int, _Job[Item]]] = {}  # in the order of their turns
        self._served: dict[tuple[str, int], int] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._nudged = False

    def put(self, inbox: str, job: int, item: Item) -> bool:
        """Add an item of a job; items of one job keep their order. False, and it is not taken, once closed."""
        with self._changed:
            if self._closed:
                return False
            jobs = self._inboxes.setdefault(inbox, {})
            if job not in jobs:
                jobs[job] = _Job(served=self._served.get((inbox, job), 0))
            jobs[job].items.append(item)
            self._changed.notify()
            return True

    def take(self, timeout_s: float | None = None) -> Item | None:
        """The next item; None when there was none within the time, after a nudge, and once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._nudged or self._inboxes, timeout_s)
            self._nudged = False
            return self._pop() if self._inboxes and not self._closed else None

    def forget(self, inbox: str, job: int) -> list[Item]:
        """Remove a job with what waits of it, and how often it was served."""
        with self._changed:
            self._served.pop((inbox, job), None)
            jobs = self._inboxes.get(inbox, {})
            dropped = jobs.pop(job, None)
            if not jobs:
                self._inboxes.pop(inbox, None)
            return list(dropped.items) if dropped else []

    def close(self) -> list[Item]:
        """No more turns; what still waits."""
        with self._changed:
            self._closed = True
            left = [item for jobs in self._inboxes.values() for job in jobs.values() for item in job.items]
            self._inboxes.clear()
            self._changed.notify_all()
            return left

    def nudge(self) -> None:
        """Let a `take` that waits return now, so that its caller looks at what else there is to do."""
        with self._changed:
            self._nudged = True
            self._changed.notify()

    def __len__(self) -> int:
        with self._changed:
            return sum(len(job.items) for jobs in self._inboxes.values() for job in jobs.values())

    def _pop(self) -> Item:
        inbox, jobs = next(iter(self._inboxes.items()))
        number, job = min(jobs.items(), key=lambda pair: (pair[1].served, pair[0]))
        item = job.items.popleft()
        job.served += 1
        self._served[inbox, number] = job.served
        if not job.items:
            del jobs[number]
        del self._inboxes[inbox]  # to the end of the turns
        if jobs:
            self._inboxes[inbox] = jobs
        return item
