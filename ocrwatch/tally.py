"""What was done since the process began: counts and times that only grow. Says nothing to anybody; `service.metrics` does.

Whoever does something counts it here, once, where it passes; a label is a name of the configuration or a member of an
enumeration, never a path or a text.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

Labels = tuple[str, ...]


class Counted(StrEnum):
    """What is counted, and in brackets by what."""

    PAGES = "pages"  # recognized (inbox, engine, source of the text)
    PAGE_FAILURES = "page_failures"  # pages that could not be read (inbox, kind of error)
    FINISHED = "finished"  # files that came to an end (inbox, state)
    FAILURES = "failures"  # of them, those that failed or were set aside (inbox, kind of error)
    DEFERRALS = "deferrals"  # tries that were put off (inbox, kind of error)
    CORRECTED = "corrected"  # pages that the model has judged (inbox)
    EDITS = "edits"  # proposed changes (inbox, applied or refused)
    TO_REVIEW = "to_review"  # pages of final texts that a person should look at (inbox)
    MODEL_UNLOADS = "model_unloads"  # (why)


class Timed(StrEnum):
    """What is timed, and in brackets by what."""

    WAIT = "wait"  # a file, from whole to taken up (inbox)
    TO_TEXT = "to_text"  # a file, from whole to its first text (inbox)
    RECOGNITION = "recognition"  # a page, rendering included (engine)
    CORRECTION = "correction"  # a page (nothing)
    MODEL_LOAD = "model_load"  # from the start of the model's process to its readiness (nothing)


_FILE_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
_PAGE_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
BOUNDS_S = {
    Timed.WAIT: _FILE_S,
    Timed.TO_TEXT: _FILE_S,
    Timed.RECOGNITION: _PAGE_S,
    Timed.CORRECTION: _PAGE_S,
    Timed.MODEL_LOAD: (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
}
"""Upper bounds of the classes that times are sorted into; a last one takes what is longer."""


@dataclass(frozen=True)
class Spread:
    """Times of one kind. counts: how many fell into each class, the last for what is above all bounds."""

    counts: tuple[int, ...]
    sum_s: float


class Tally:
    """The counts and times of one process. From any thread; nobody waits longer than for a few additions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: defaultdict[Counted, Counter[Labels]] = defaultdict(Counter)
        self._spreads: defaultdict[Timed, dict[Labels, Spread]] = defaultdict(dict)

    def add(self, what: Counted, *labels: str, by: int = 1) -> None:
        """Count; 0 lets it be known that there is such a thing, so that its first is seen to be one more than none."""
        with self._lock:
            self._counts[what][labels] += by

    def took(self, what: Timed, *labels: str, seconds: float) -> None:
        """Add a time. One that cannot be (a clock was set, a worker talks nonsense) counts as none at all, or as a day."""
        bounds = BOUNDS_S[what]
        sane_s = min(seconds, 86_400.0 * 365) if seconds > 0 else 0.0  # not a number too is 0
        with self._lock:
            old = self._spreads[what].get(labels) or Spread((0,) * (len(bounds) + 1), 0.0)
            place = bisect_left(bounds, sane_s)
            counts = (*old.counts[:place], old.counts[place] + 1, *old.counts[place + 1 :])
            self._spreads[what][labels] = Spread(counts, old.sum_s + sane_s)

    def counts(self, what: Counted) -> Mapping[Labels, int]:
        """How often, by labels."""
        with self._lock:
            return dict(self._counts[what])

    def spreads(self, what: Timed) -> Mapping[Labels, Spread]:
        """How long, by labels."""
        with self._lock:
            return dict(self._spreads[what])
