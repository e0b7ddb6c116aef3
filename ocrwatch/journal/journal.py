"""The journal: what is known of every file. All SQL of the project is in this folder.

One transaction a call: when a call has returned, what it said is on the disk. Paths are `str` as of os.fsdecode outside and
bytes inside; times are the wall clock's, which the constructor is given.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from ocrwatch.intake.entries import Entry
from ocrwatch.journal.deliveries import Deliveries
from ocrwatch.journal.files import CURRENT as _CURRENT
from ocrwatch.journal.files import Files
from ocrwatch.journal.moves import Moves
from ocrwatch.journal.records import WHOLE_INBOX, Event, Job, Page, Scope
from ocrwatch.journal.retention import Retention
from ocrwatch.journal.rows import JOB_COLUMNS, job_of, within
from ocrwatch.journal.states import ALLOWED, AWAY, PUBLISHED, RETRYABLE, JobState, PageState, check

_FIELDS = frozenset(
    {"sha256", "settings", "pages", "tries", "deferrals", "not_before", "text_name", "text_sha256", "json_sha256"}
    | {"moved_to", "to_review", "edits"}
)
_PATHS = ("text_name", "moved_to")
_END = "after IN ('done', 'partial', 'failed', 'poison', 'awaiting_correction')"
"""Of an event: the condition of the index `event_by_end`, word for word, without which it is not used."""


class Journal(Files, Moves, Deliveries, Retention):
    """The journal in a file; creates it, or brings it up to date. Raises StateUnwritable when that cannot be."""

    # -- files ---------------------------------------------------------------------------------------------------

    def add(self, inbox: str, entries: Iterable[Entry]) -> list[Job]:
        """Settled files become jobs; an older version of the same path is superseded. Files known as they are give none."""
        with self._transaction():
            return [job for entry in entries if (job := self._add_one(inbox, entry)) is not None]

    def current(self, inbox: str, path: str) -> Job | None:
        """The job of a path's current version; the last that vanished when there is none."""
        rows = self._rows(
            f"SELECT {JOB_COLUMNS} FROM job WHERE inbox = ? AND path = ? ORDER BY {_CURRENT} DESC, id DESC LIMIT 1",
            (inbox, os.fsencode(path)),
        )
        return job_of(rows[0]) if rows else None

    def job(self, job_id: int) -> Job:
        """The job of that number. Raises LookupError."""
        rows = self._rows(f"SELECT {JOB_COLUMNS} FROM job WHERE id = ?", (job_id,))
        if not rows:
            raise LookupError(f"no job {job_id}")
        return job_of(rows[0])

    def in_state(self, *states: JobState, inbox: str | None = None, scope: Scope = WHOLE_INBOX, limit: int = -1) -> list[Job]:
        """Jobs in any of these states, oldest first."""
        where, bounds = within(scope)
        where = "state = ?" + (" AND inbox = ?" if inbox is not None else "") + where
        # Each state by itself comes in order from the index, so that few of ten thousand cost what few of ten do.
        of_one = f"SELECT * FROM (SELECT {JOB_COLUMNS} FROM job WHERE {where} ORDER BY id LIMIT ?)"
        values = [v for state in states for v in (state, *([inbox] if inbox is not None else []), *bounds, limit)]
        query = " UNION ALL ".join([of_one] * len(states)) + " ORDER BY id LIMIT ?"
        return [job_of(r) for r in self._rows(query, [*values, limit])]

    def published_hashes(self, inbox: str, path: str) -> set[str]:
        """Hashes of every sidecar that was ever published for a path: what may be replaced there is one of these."""
        rows = self._rows(
            "SELECT text_sha256 AS t, json_sha256 AS j FROM job WHERE inbox = ? AND path = ?", (inbox, os.fsencode(path))
        )
        return {digest for row in rows for digest in (row["t"], row["j"]) if digest is not None}

    def finished_like(self, job: Job, *, sha256: str, settings: str) -> list[Job]:
        """Finished jobs of the same inbox, content and settings, newest first: other names, and the same with another time."""
        rows = self._rows(
            f"SELECT {JOB_COLUMNS} FROM job WHERE sha256 = ? AND settings = ? AND inbox = ? AND id <> ?"
            " AND (state IN ('done', 'orphaned', 'archived') OR state = 'superseded' AND path = ? AND text_sha256 IS NOT NULL)"
            " ORDER BY id DESC LIMIT 5",
            (sha256, settings, job.inbox, job.id, os.fsencode(job.path)),
        )
        return [job_of(r) for r in rows]

    def counts(self) -> dict[tuple[str, JobState], int]:
        """How many current jobs each inbox has in each state."""
        rows = self._rows(f"SELECT inbox, state, count(*) AS n FROM job WHERE {_CURRENT} GROUP BY inbox, state", ())
        return {(r["inbox"], JobState(r["state"])): r["n"] for r in rows}

    def oldest_unfinished(self, inbox: str) -> float | None:
        """When the oldest job that still waits was made (seconds since the epoch)."""
        rows = self._rows(
            "SELECT min(created) AS t FROM job WHERE inbox = ? AND state IN ('queued', 'spooled', 'deferred')", (inbox,)
        )
        return rows[0]["t"] if rows else None

    def finished_since(self, since: float) -> dict[JobState, int]:
        """How many jobs came to an end after `since`, by state."""
        rows = self._rows(
            f"SELECT after, count(*) AS n FROM event WHERE at >= ? AND {_END} AND after <> 'awaiting_correction' GROUP BY after",
            (since,),
        )
        return {JobState(r["after"]): r["n"] for r in rows}

    def work_since(self, since: float) -> tuple[int, dict[str, int]]:
        """How many pages the texts have that were finished after `since`, and how many files failed, by reason."""
        pages = self._rows(
            "SELECT sum(pages) AS n FROM job WHERE id IN"
            f" (SELECT job FROM event WHERE at >= ? AND {_END} AND after IN ('done', 'partial'))",
            (since,),
        )
        failures = self._rows(
            f"SELECT reason, count(*) AS n FROM event WHERE at >= ? AND {_END} AND after IN ('failed', 'poison')"
            " GROUP BY reason ORDER BY n DESC, reason",
            (since,),
        )
        return pages[0]["n"] or 0, {r["reason"]: r["n"] for r in failures}

    def over_since(self, event: int) -> tuple[int, list[int]]:
        """The last event there is, and the jobs that a newer version or the end of their files put an end to after `event`."""
        (last,) = self._rows("SELECT coalesce(max(id), 0) AS n FROM event", ())
        rows = self._rows(
            "SELECT DISTINCT job FROM event WHERE id > ? AND id <= ? AND after IN ('superseded', 'vanished', 'orphaned')",
            (event, last["n"]),
        )
        return last["n"], [row["job"] for row in rows]

    def finished_between(self, since: float, until: float) -> list[Job]:
        """Current jobs that came to an end, or whose raw text was published, at a time from `since` to before `until`."""
        rows = self._rows(
            f"SELECT {JOB_COLUMNS} FROM job WHERE {_CURRENT}"
            f" AND id IN (SELECT job FROM event WHERE at >= ? AND at < ? AND {_END}) ORDER BY inbox, path",
            (since, until),
        )
        return [job_of(r) for r in rows]

    def events(self, job_id: int) -> list[Event]:
        """What happened to a job, oldest first."""
        rows = self._rows("SELECT at, before, after, reason, detail FROM event WHERE job = ? ORDER BY id", (job_id,))
        return [
            Event(
                at=r["at"],
                before=JobState(r["before"]) if r["before"] else None,
                after=JobState(r["after"]),
                reason=r["reason"],
                detail=r["detail"],
            )
            for r in rows
        ]

    # -- the way of a job ----------------------------------------------------------------------------------------

    def move(self, job_id: int, after: JobState, *, reason: str = "", detail: str = "", **fields: Any) -> Job:
        """Move a job to a state, with the columns that change along. Raises IllegalTransition, LookupError."""
        with self._transaction():
            return self._move(self.job(job_id), after, reason=reason, detail=detail, **fields)

    def spooled(self, job_id: int, *, sha256: str, settings: str) -> None:
        """The scan's copy is there, of this content, to be read with these settings; of others, its pages are forgotten."""
        with self._transaction():
            job = self.job(job_id)
            if (job.sha256, job.settings) != (sha256, settings):
                self._db.execute("DELETE FROM page WHERE job = ?", (job_id,))
                self._db.execute("UPDATE job SET sha256 = ?, settings = ?, pages = NULL WHERE id = ?", (sha256, settings, job_id))
            if job.state is JobState.QUEUED:
                self._move(job, JobState.SPOOLED, tries=job.tries + 1)

    def remark(self, job: Job, detail: str) -> None:
        """What keeps a job from going on that stays in its state, for `why`; nothing where it went on meanwhile."""
        if detail != job.detail:
            with self._transaction():
                self._db.execute("UPDATE job SET detail = ? WHERE id = ? AND state = ?", (detail, job.id, job.state))

    def defer(self, job_id: int, *, delay_s: float, reason: str, detail: str) -> Job:
        """The surroundings are at fault: try again after `delay_s` seconds; neither the file nor a page of it is blamed."""
        with self._transaction():
            job = self.job(job_id)
            self._db.execute("UPDATE page SET tries = deaths WHERE job = ?", (job_id,))
            return self._move(
                job,
                JobState.DEFERRED,
                reason=reason,
                detail=detail,
                deferrals=job.deferrals + 1,
                not_before=self._wall_clock() + delay_s,
            )

    def wake(self, *, longest_s: float) -> list[Job]:
        """Deferred jobs whose time has come become queued again.

        longest_s: no job waits longer than this from now, so that a clock set back cannot hold one up for ever.
        """
        now = self._wall_clock()
        with self._transaction():
            due = self._rows(
                f"SELECT {JOB_COLUMNS} FROM job WHERE state = 'deferred' AND (not_before <= ? OR not_before > ?)",
                (now, now + longest_s),
            )
            return [self._move(job_of(r), JobState.QUEUED) for r in due]

    def retry(self, job_id: int) -> Job:
        """A person asks for another try: budgets start anew; pages that are done stay done.

        A file that was set aside, or is about to be, is only asked back: it is tried again when it is in its inbox.
        """
        with self._transaction():
            job = self.job(job_id)
            if job.state is JobState.QUARANTINED or (job.moved_to is not None and job.state in RETRYABLE):
                self._db.execute("UPDATE job SET not_before = ? WHERE id = ?", (self._wall_clock(), job_id))
                return self.job(job_id)
            self._begin_anew(job_id)
            return self._move(job, JobState.QUEUED, deferrals=0, not_before=None)

    def gone(self, inbox: str, path: str) -> Job | None:
        """The file of a path is no longer there; its sidecar, if any, stays."""
        with self._transaction():
            job = self.current(inbox, path)
            if job is None or job.state in AWAY | {JobState.VANISHED, JobState.SUPERSEDED}:
                return None
            if job.moved_to is not None:  # whoever moves it says what became of it
                return None
            has_sidecar = job.state in PUBLISHED or job.text_name is not None  # published before, and tried again
            return self._move(job, JobState.ORPHANED if has_sidecar else JobState.VANISHED)

    # -- pages ---------------------------------------------------------------------------------------------------

    def set_pages(self, job_id: int, count: int) -> list[Page]:
        """The document has `count` pages; pages known already keep their state."""
        with self._transaction():
            self._db.execute("UPDATE job SET pages = ? WHERE id = ?", (count, job_id))
            self._db.execute("DELETE FROM page WHERE job = ? AND number > ?", (job_id, count))
            self._db.executemany(
                "INSERT OR IGNORE INTO page (job, number) VALUES (?, ?)", ((job_id, n) for n in range(1, count + 1))
            )
        return self.pages(job_id)

    def pages(self, job_id: int) -> list[Page]:
        """The pages of a job in order."""
        rows = self._rows(
            "SELECT number, state, tries, deaths, reason, detail FROM page WHERE job = ? ORDER BY number", (job_id,)
        )
        return [
            Page(
                number=r["number"],
                state=PageState(r["state"]),
                tries=r["tries"],
                deaths=r["deaths"],
                reason=r["reason"],
                detail=r["detail"],
            )
            for r in rows
        ]

    def page_begins(self, job_id: int, number: int) -> int:
        """Work on a page begins, counted before it does; how often it began and cost no worker its life, with this time."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO page (job, number, tries) VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET tries = tries + 1",
                (job_id, number),
            )
            row = self._rows("SELECT tries - deaths AS survived FROM page WHERE job = ? AND number = ?", (job_id, number))[0]
            return int(row["survived"])

    def page_is(self, job_id: int, number: int, state: PageState, *, reason: str = "", detail: str = "") -> None:
        """A page has come to a state."""
        with self._transaction():
            self._db.execute(
                "UPDATE page SET state = ?, reason = ?, detail = ? WHERE job = ? AND number = ?",
                (state, reason, detail, job_id, number),
            )

    def page_killed_worker(self, job_id: int, number: int, *, reason: str, detail: str) -> int:
        """A worker died at a page; how many did at the pages of the job, with this one."""
        with self._transaction():
            self._db.execute(
                "UPDATE page SET deaths = deaths + 1, reason = ?, detail = ? WHERE job = ? AND number = ?",
                (reason, detail, job_id, number),
            )
            return int(self._rows("SELECT sum(deaths) AS deaths FROM page WHERE job = ?", (job_id,))[0]["deaths"])

    # -- inside --------------------------------------------------------------------------------------------------

    def _begin_anew(self, job_id: int) -> None:
        self._db.execute(
            "UPDATE page SET state = iif(state = 'failed', 'waiting', state), tries = 0, deaths = 0, reason = '', detail = ''"
            " WHERE job = ?",
            (job_id,),
        )

    def _add_one(self, inbox: str, entry: Entry) -> Job | None:
        old = self.current(inbox, entry.path)
        if old is not None and old.state not in (JobState.SUPERSEDED, JobState.VANISHED):
            if old.identity.matches(entry.identity):
                return self._back(old) if old.state in AWAY else None
            self._move(old, JobState.SUPERSEDED, reason="newer_version", detail="the file changed")
        self._wrote()
        now = self._wall_clock()
        cursor = self._db.execute(
            "INSERT INTO job (inbox, path, directory, size, mtime_ns, inode, created, changed) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                inbox,
                os.fsencode(entry.path),
                os.fsencode(directory_of(entry.path)),
                entry.identity.size,
                entry.identity.mtime_ns,
                entry.identity.inode,
                now,
                now,
            ),
        )
        assert cursor.lastrowid is not None
        return self.job(cursor.lastrowid)

    def _back(self, job: Job) -> Job:
        """A scan that went and is there again is what it was: a partial text is not whole for having been away.

        One that had been set aside was put back by somebody, to be tried again.
        """
        if job.state is JobState.QUARANTINED:
            self._begin_anew(job.id)
            return self._move(job, JobState.QUEUED, deferrals=0, not_before=None, moved_to=None)
        if job.state is JobState.ARCHIVED:
            return self._move(job, JobState.DONE, detail="it was put back from the archive", moved_to=None)
        was = self.events(job.id)[-2]
        if was.after not in ALLOWED[JobState.ORPHANED]:  # it was in work
            return self._move(job, JobState.QUEUED)
        return self._move(job, was.after, reason=was.reason, detail=was.detail)

    def _move(self, job: Job, after: JobState, *, reason: str = "", detail: str = "", **fields: Any) -> Job:
        check(job.state, after)
        unknown = fields.keys() - _FIELDS
        assert not unknown, unknown
        fields |= {name: os.fsencode(fields[name]) for name in _PATHS if fields.get(name) is not None}
        settings = {"state": str(after), "reason": reason, "detail": detail, "changed": self._wall_clock(), **fields}
        assignments = ", ".join(f"{column} = ?" for column in settings)
        self._wrote()
        self._db.execute(f"UPDATE job SET {assignments} WHERE id = ?", (*settings.values(), job.id))
        return self.job(job.id)


def directory_of(path: str) -> str:
    """The folder part of a relative path; '' for the root."""
    parent = str(PurePosixPath(path).parent)
    return "" if parent == "." else parent
