"""Files on their way between an inbox and the folder for those that failed.

A move is noted before it is made: a file that a crash left on either side is found again.
"""

from __future__ import annotations

import os

from ocrwatch.journal.database import Database
from ocrwatch.journal.records import Job
from ocrwatch.journal.rows import JOB_COLUMNS, job_of


class Moves(Database):
    """The part of the journal that knows them."""

    def moves_to(self, job_id: int, place: str | None, *, detail: str | None = None) -> bool:
        """A file that failed is about to be moved there; None for not after all. False when it is no longer one that failed.

        detail: replaces what is said of the job.
        """
        with self._transaction():
            done = self._db.execute(
                "UPDATE job SET moved_to = ?, not_before = NULL, detail = coalesce(?, detail)"
                " WHERE id = ? AND state IN ('failed', 'poison', 'quarantined')",
                (None if place is None else os.fsencode(place), detail, job_id),
            )
            return done.rowcount > 0

    def stay_in(self, inbox: str) -> None:
        """Nothing is moved out of an inbox any more; a move that was cut off is forgotten."""
        with self._transaction():
            self._db.execute("UPDATE job SET moved_to = NULL WHERE inbox = ? AND state IN ('failed', 'poison')", (inbox,))

    def on_the_way(self, inbox: str) -> list[Job]:
        """Files that are being moved out of an inbox, or that are wanted back in it."""
        rows = self._rows(
            f"SELECT {JOB_COLUMNS} FROM job WHERE inbox = ? AND moved_to IS NOT NULL"
            " AND (state IN ('failed', 'poison') OR state = 'quarantined' AND not_before IS NOT NULL) ORDER BY id",
            (inbox,),
        )
        return [job_of(r) for r in rows]
