"""Which of the seen files are at rest. Pure: told what was seen and when, it says what to look at next.

All times are monotonic seconds of our own clock. A file's own times are never compared with it: clocks differ.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from enum import StrEnum

from ocrwatch.intake.entries import Identity
from ocrwatch.intake.formats import Completeness

_PAUSE_MIN_S = 0.1  # with `settle: 0` too: a file that is not taken must not be looked at without end
_PAUSE_MAX_S = 30.0


class Look(StrEnum):
    """What to do after a look at a file."""

    WAIT = "wait"  # not at rest yet: `due` names it again
    CHECK = "check"  # at rest: check its format and tell `checked`


class WaitReason(StrEnum):
    """Why a file waits."""

    SETTLING = "settling"  # seen, and not changed since; not for long enough
    GROWING = "growing"  # changed between two looks
    EMPTY = "empty"  # no byte yet; waits for ever, a scanner's placeholder
    TRUNCATED = "truncated"  # at rest, but not whole by its format
    UNREADABLE = "unreadable"  # cannot be opened at present


@dataclass(frozen=True)
class Waiting:
    """A file that waits; `since_s` is when it was first seen."""

    path: str
    reason: WaitReason
    detail: str
    since_s: float


@dataclass
class _File:
    first_seen_s: float
    unchanged_since_s: float
    due_s: float
    reason: WaitReason
    detail: str = ""
    identity: Identity | None = None
    pause_s: float = 0.0
    scheduled_s: float = math.inf  # when the heap names this file next; never later than due_s


class Tracker:
    """The files of one inbox that were seen but are not taken yet."""

    def __init__(self, *, settle_s: float, incomplete_max_s: float) -> None:
        self.settle_s = settle_s
        self._incomplete_max_s = incomplete_max_s
        self._files: dict[str, _File] = {}
        self._heap: list[tuple[float, str]] = []

    def look(self, path: str, identity: Identity, now_s: float) -> Look:
        """Tell of a look at `path`; say what follows from it. A CHECK that nobody acts upon is given again when it is due."""
        file = self._files.get(path)
        if file is None or file.identity is None or not file.identity.matches(identity):
            self._start_over(path, identity, now_s)
            return Look.WAIT
        if identity.size == 0:
            if now_s >= file.due_s:
                self._pause(path, file, now_s)
            return Look.WAIT
        at_rest = now_s >= file.unchanged_since_s + self.settle_s
        backing_off = file.reason in (WaitReason.TRUNCATED, WaitReason.UNREADABLE) and now_s < file.due_s
        return Look.WAIT if not at_rest or backing_off else Look.CHECK

    def checked(self, path: str, completeness: Completeness, now_s: float) -> bool:
        """Tell of a format check that `look` asked for. True: take it now. False: it waits, and is due again later."""
        file = self._files.get(path)
        if file is None:
            return False
        if completeness.whole or now_s >= file.unchanged_since_s + self._incomplete_max_s:
            return True
        file.reason, file.detail = WaitReason.TRUNCATED, completeness.reason
        self._pause(path, file, now_s)
        return False

    def unreadable(self, path: str, detail: str, now_s: float) -> None:
        """Tell that `path` could not be looked at or read; it waits, and is due again later."""
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = _File(now_s, now_s, now_s, WaitReason.UNREADABLE)
        file.reason, file.detail = WaitReason.UNREADABLE, detail
        self._pause(path, file, now_s)

    def gone(self, path: str) -> None:
        """Forget a file that is no longer there."""
        self._files.pop(path, None)

    def taken(self, path: str) -> None:
        """Forget a file that is now a job."""
        self._files.pop(path, None)

    def due(self, now_s: float) -> list[str]:
        """The files to look at now. One that gets no look is due again `settle_s` later, but never at once."""
        found = []
        while self._heap and self._heap[0][0] <= now_s:
            scheduled_s, path = heapq.heappop(self._heap)
            file = self._files.get(path)
            if file is None or file.scheduled_s != scheduled_s:
                continue
            file.scheduled_s = math.inf
            if file.due_s <= now_s:
                found.append(path)
                # Left as due, so that the look which follows is not taken for an early one.
                self._name_again(path, file, now_s + max(self.settle_s, _PAUSE_MIN_S))
            else:
                self._name_again(path, file, file.due_s)
        return found

    def next_due_s(self) -> float | None:
        """When the next file is due; None when none waits."""
        while self._heap:
            scheduled_s, path = self._heap[0]
            file = self._files.get(path)
            if file is not None and file.scheduled_s == scheduled_s >= file.due_s:
                return scheduled_s
            heapq.heappop(self._heap)
            if file is not None and file.scheduled_s == scheduled_s:
                self._name_again(path, file, file.due_s)
        return None

    def waiting(self) -> list[Waiting]:
        """Every file that waits, in the order in which they were first seen."""
        files = list(self._files.items())  # in one go: whoever asks for the status is another thread
        return [Waiting(path, f.reason, f.detail, f.first_seen_s) for path, f in files]

    def _start_over(self, path: str, identity: Identity, now_s: float) -> None:
        file = self._files.get(path)
        seen_before = file is not None and file.identity is not None and file.identity.size > 0
        if file is None:
            file = self._files[path] = _File(now_s, now_s, now_s, WaitReason.SETTLING)
        file.identity, file.unchanged_since_s, file.pause_s, file.detail = identity, now_s, 0.0, ""
        file.reason = WaitReason.GROWING if seen_before else WaitReason.SETTLING
        if identity.size == 0:
            file.reason, file.detail = WaitReason.EMPTY, "it has no content yet"
        self._schedule(path, file, now_s + self.settle_s)

    def _pause(self, path: str, file: _File, now_s: float) -> None:
        file.pause_s = min(max(2 * file.pause_s, self.settle_s, _PAUSE_MIN_S), max(_PAUSE_MAX_S, self.settle_s))
        self._schedule(path, file, now_s + file.pause_s)

    def _schedule(self, path: str, file: _File, due_s: float) -> None:
        file.due_s = due_s
        if due_s < file.scheduled_s:
            self._name_again(path, file, due_s)

    def _name_again(self, path: str, file: _File, at_s: float) -> None:
        # One live heap item a file: a file that grows in ten thousand steps must not leave ten thousand behind.
        file.scheduled_s = at_s
        heapq.heappush(self._heap, (at_s, path))
