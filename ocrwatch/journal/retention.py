"""What the journal forgets: versions that are over, a long time after. What is still expected in an inbox stays for ever."""

from __future__ import annotations

from ocrwatch.journal.database import Database

_OVER = "state IN ('archived', 'orphaned', 'superseded', 'vanished')"
"""Of a job: the condition of the index `job_by_end`, word for word, without which it is not used."""
_LEAST_FREE_BYTES = 16 << 20


class Retention(Database):
    """The part of the journal that keeps it small."""

    def prune(self, *, before: float, limit: int) -> int:
        """Forget what has been over since before that time (seconds since the epoch), oldest first; how many, at most `limit`.

        The last job and the job of the last event stay, or their numbers would be given again.
        """
        over = self._plain_rows(
            f"SELECT id FROM job INDEXED BY job_by_end WHERE {_OVER} AND changed < ? AND id < (SELECT max(id) FROM job)"
            " AND id <> (SELECT job FROM event ORDER BY id DESC LIMIT 1) ORDER BY changed LIMIT ?",
            (before, limit),
        )
        if over:
            with self._transaction():  # unless it changed meanwhile: a scan that comes back is wanted
                old = [(job, before) for (job,) in over]
                self._db.executemany(f"DELETE FROM job WHERE id = ? AND changed < ? AND {_OVER}", old)
        return len(over)

    def compact(self) -> bool:
        """Give the room of what was forgotten back to the disk, where that is much; takes as much again meanwhile."""
        size, total, free = (
            int(self._rows(f"PRAGMA {what}", ())[0][0]) for what in ("page_size", "page_count", "freelist_count")
        )
        is_much = free * size >= _LEAST_FREE_BYTES and 4 * free >= total
        if is_much:
            self._rows("VACUUM", ())
            self._rows("PRAGMA wal_checkpoint(TRUNCATE)", ())  # until then the log has it all
        return is_much
