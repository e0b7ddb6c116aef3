"""Whether a territory may live by kernel events. Owns when they are asked for again where they cannot be had."""

from __future__ import annotations

from collections.abc import Callable

from ocrwatch.intake import mounts
from ocrwatch.intake.surroundings import Events, InboxRules

_RENEW_S = 30.0  # before the first new try; doubles, because a try walks the whole tree
_RENEW_MAX_S = 600.0


class EventTrust:
    """The events of the tree at `path`. fs_type: the kind of its file system, None as long as it was not found."""

    def __init__(self, events: Events, path: str, *, rules: InboxRules, clock: Callable[[], float]) -> None:
        self._events = events
        self._path = path
        self._rules = rules
        self._clock = clock
        self._pause_s = _RENEW_S
        self._next_s = 0.0

    def begin(self, fs_type: str | None) -> None:
        """Watch the tree, again if it was; or no more, where its events say too little."""
        self._next_s = self._clock() + self._pause_s
        if self._is_wanted(fs_type):
            self._events.watch(self._path, recursive=self._rules.recursive)
        else:
            self._events.unwatch(self._path)

    def end(self) -> None:
        """Watch it no more."""
        self._events.unwatch(self._path)

    def why_not(self, fs_type: str | None) -> str:
        """Why events are not trusted at this moment; '' when they are."""
        if not self._rules.by_events:
            return "as configured"
        if fs_type is None:
            return "not found yet"
        return self._events.trouble(self._path) if self._is_wanted(fs_type) else f"{fs_type}: no events of all changes"

    def is_due(self, fs_type: str | None) -> bool:
        """Whether to begin anew: something was mounted over it, a thread ended, or the limit of watches may have been raised."""
        if self._clock() < self._next_s:
            return False
        if self._is_wanted(fs_type) and self._events.trouble(self._path):
            self._pause_s = min(2 * self._pause_s, _RENEW_MAX_S)
            return True
        self._pause_s = _RENEW_S
        self._next_s = self._clock() + _RENEW_S
        return False

    def _is_wanted(self, fs_type: str | None) -> bool:
        return self._rules.by_events and mounts.events_trusted(fs_type or "")
