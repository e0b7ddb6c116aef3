"""What hooks are still to be told. Which transition concerns which hook, and when to try again, is `hooks`' matter.

Every transition is in the journal as an event; a mark says how far each hook has looked. So nothing is lost between a
transition and the note that a hook is to be told of it, and an event is noted once.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection

from ocrwatch.journal.database import Database
from ocrwatch.journal.records import Delivery, Event
from ocrwatch.journal.states import JobState

_DELIVERY_COLUMNS = (
    "hook.id, hook.hook, hook.at, hook.attempts, hook.inbox, hook.path, hook.state, hook.detail,"
    " event.job, event.at AS event_at, event.before, event.after, event.reason, event.detail AS event_detail"
)
_ONCE = 1000  # events that are looked at in one transaction


class Deliveries(Database):
    """The part of the journal that knows hooks, by their names."""

    def listen(self, hooks: Collection[str]) -> None:
        """These hooks are configured, and no others: a new one is told of what comes from now on."""
        with self._transaction():
            names = ", ".join("?" * len(hooks))
            for table in ("hook", "hook_mark"):
                self._db.execute(f"DELETE FROM {table} WHERE hook NOT IN ({names})", tuple(hooks))
            for hook in hooks:
                self._db.execute(
                    "INSERT OR IGNORE INTO hook_mark (hook, event) VALUES (?, (SELECT coalesce(max(id), 0) FROM event))", (hook,)
                )

    def note_events(self, hook: str, concerns: Callable[[Event, int], bool], *, room: int) -> None:
        """Note what a hook is to be told of the transitions since the last time, as far as there is room for it.

        concerns: is given a transition, and how many pages of the job should be looked at.
        """
        rows = self._rows(
            "SELECT event.id, at, before, after, event.reason, event.detail, job.to_review"
            " FROM event JOIN job ON job.id = event.job"
            " WHERE event.id > (SELECT event FROM hook_mark WHERE hook = ? AND path = x'') ORDER BY event.id LIMIT ?",
            (hook, min(_ONCE, room)),
        )
        if not rows:
            return
        now = self._wall_clock()
        wanted = [(hook, row["id"], row["at"], now) for row in rows if concerns(_event(row), row["to_review"] or 0)]
        with self._transaction():
            self._db.executemany("INSERT INTO hook (hook, event, at, next_try) VALUES (?, ?, ?, ?)", wanted)
            self._db.execute("UPDATE hook_mark SET event = ? WHERE hook = ? AND path = x''", (rows[-1]["id"], hook))

    def note_inbox(self, hook: str, inbox: str, *, path: str, state: str, detail: str, is_away: bool, hold_s: float) -> None:
        """A part of an inbox went, or came back. What was undone before the hook was told is not told; nor is anything twice.

        hold_s: how long it waits before it is told.
        """
        now, place = self._wall_clock(), os.fsencode(path)
        with self._transaction():
            was_away = bool(self._rows("SELECT 1 FROM hook_mark WHERE hook = ? AND path = ?", (hook, place)))
            if was_away == is_away:
                return
            if is_away:
                self._db.execute("INSERT INTO hook_mark (hook, path) VALUES (?, ?)", (hook, place))
            else:
                self._db.execute("DELETE FROM hook_mark WHERE hook = ? AND path = ?", (hook, place))
            untold = self._db.execute("DELETE FROM hook WHERE hook = ? AND path = ? AND attempts = 0", (hook, place)).rowcount
            if not untold:
                self._db.execute(
                    "INSERT INTO hook (hook, inbox, path, state, detail, at, next_try) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (hook, inbox, place, state, detail, now, now + hold_s),
                )

    def waiting_deliveries(self, hook: str) -> int:
        """How much a hook is still to be told."""
        return int(self._rows("SELECT count(*) AS n FROM hook WHERE hook = ?", (hook,))[0]["n"])

    def due_delivery(self, hook: str, *, longest_s: float) -> Delivery | None:
        """What a hook is to be told now, what is due longest first.

        longest_s: nothing waits longer than this from now, so that a clock set back cannot hold it up for ever.
        """
        now = self._wall_clock()
        rows = self._rows(
            f"SELECT {_DELIVERY_COLUMNS} FROM hook LEFT JOIN event ON event.id = hook.event"
            " WHERE hook.hook = ? AND (next_try <= ? OR next_try > ?) ORDER BY next_try, hook.id LIMIT 1",
            (hook, now, now + longest_s),
        )
        return _delivery(rows[0]) if rows else None

    def delivery_begins(self, delivery_id: int, *, next_s: float) -> None:
        """A program is about to be told; unless it is `delivered`, it is told again in `next_s` seconds."""
        with self._transaction():
            self._db.execute(
                "UPDATE hook SET attempts = attempts + 1, next_try = ? WHERE id = ?", (self._wall_clock() + next_s, delivery_id)
            )

    def delivered(self, delivery_id: int) -> None:
        """A program was told, or it is given up."""
        with self._transaction():
            self._db.execute("DELETE FROM hook WHERE id = ?", (delivery_id,))


def _delivery(row: sqlite3.Row) -> Delivery:
    return Delivery(
        id=row["id"],
        hook=row["hook"],
        at=row["at"],
        attempts=row["attempts"],
        job=row["job"],
        event=None if row["job"] is None else _event(row, at="event_at", detail="event_detail"),
        inbox=row["inbox"],
        path=os.fsdecode(row["path"]),
        state=row["state"],
        detail=row["detail"],
    )


def _event(row: sqlite3.Row, *, at: str = "at", detail: str = "detail") -> Event:
    return Event(
        at=row[at],
        before=JobState(row["before"]) if row["before"] else None,
        after=JobState(row["after"]),
        reason=row["reason"],
        detail=row[detail],
    )
