"""A row of the table of jobs: its columns, and the value that is made of them."""

from __future__ import annotations

import os
import sqlite3

from ocrwatch.journal.files import identity_of
from ocrwatch.journal.records import Job, Scope
from ocrwatch.journal.states import JobState

JOB_COLUMNS = (
    "id, inbox, path, size, mtime_ns, inode, state, reason, detail, sha256, settings, pages, tries, deferrals, "
    "not_before, text_name, text_sha256, json_sha256, created, changed, moved_to, to_review, edits"
)


def job_of(row: sqlite3.Row) -> Job:
    """The job in a row of JOB_COLUMNS."""
    return Job(
        id=row["id"],
        inbox=row["inbox"],
        path=os.fsdecode(row["path"]),
        identity=identity_of(row),
        state=JobState(row["state"]),
        reason=row["reason"],
        detail=row["detail"],
        sha256=row["sha256"],
        settings=row["settings"],
        pages=row["pages"],
        tries=row["tries"],
        deferrals=row["deferrals"],
        not_before=row["not_before"],
        text_name=os.fsdecode(row["text_name"]) if row["text_name"] is not None else None,
        text_sha256=row["text_sha256"],
        json_sha256=row["json_sha256"],
        created=row["created"],
        changed=row["changed"],
        moved_to=os.fsdecode(row["moved_to"]) if row["moved_to"] is not None else None,
        to_review=row["to_review"],
        edits=row["edits"],
    )


def within(scope: Scope) -> tuple[str, list[bytes]]:
    """The condition that a path lies in the scope, and its values. `0` is the byte after the slash."""
    folders = [os.fsencode(folder) for folder in ((scope.below,) if scope.below else ()) + scope.without]
    conditions = [" AND path > ? AND path < ?"] * bool(scope.below) + [" AND NOT (path > ? AND path < ?)"] * len(scope.without)
    return "".join(conditions), [bound for folder in folders for bound in (folder + b"/", folder + b"0")]
