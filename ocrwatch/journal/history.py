"""What happened in a journal, for whoever looks on: a connection of its own that only reads and waits for nobody.

Readers and the one writer do not wait for each other (WAL), so a long transaction of the service holds up no look, and no look
the service.
"""

from __future__ import annotations

from typing import NamedTuple

from ocrwatch.journal.journal import Journal
from ocrwatch.journal.states import JobState

_TRANSITIONS = """
SELECT e.id, j.inbox, e.before, e.after, e.reason,
       e.at - (SELECT p.at FROM event p WHERE p.job = e.job AND p.id < e.id ORDER BY p.id DESC LIMIT 1),
       CASE WHEN e.after IN ('done', 'partial', 'awaiting_correction') AND e.reason <> 'adopted' AND NOT EXISTS
                (SELECT 1 FROM event p WHERE p.job = e.job AND p.id < e.id AND p.after NOT IN ('queued', 'spooled', 'deferred'))
            THEN e.at - j.created END
FROM event e JOIN job j ON j.id = e.job WHERE e.id > ? ORDER BY e.id LIMIT ?
"""


class Transition(NamedTuple):
    """A job came from one state to another. before: None when it was new. id: grows with every transition of any job.

    in_before_s: how long it was in the state before; None when it was new. to_text_s: how long from whole to its text, where this
    is its first and it was made, not found; else None. Both by the wall clock, so they may be of any size and sign.
    """

    id: int
    inbox: str
    before: JobState | None
    after: JobState
    reason: str
    in_before_s: float | None
    to_text_s: float | None


class History(Journal):
    """A journal that is looked at from beside; to be opened `read_only`."""

    def last(self) -> int:
        """The number of the last transition, 0 before the first."""
        return int(self._plain_rows("SELECT coalesce(max(id), 0) FROM event", ())[0][0])

    def since(self, last: int, *, limit: int) -> list[Transition]:
        """What happened after the transition of that number, oldest first, at most `limit`."""
        return [
            Transition(number, inbox, None if before is None else JobState(before), JobState(after), *others)
            for number, inbox, before, after, *others in self._plain_rows(_TRANSITIONS, (last, limit))
        ]
