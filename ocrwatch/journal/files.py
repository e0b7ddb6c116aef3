"""Which files are known, folder by folder: the part of the journal that a listing is compared with."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from typing import Any

from ocrwatch.intake.entries import Identity, Row
from ocrwatch.journal.places import Places
from ocrwatch.journal.states import AWAY, JobState

CURRENT = "state NOT IN ('superseded', 'vanished')"
"""The condition that a row is the current version of its path."""
_AWAY = ", ".join(f"'{state}'" for state in sorted(AWAY))
_PAGE_ROWS = 10_000
_ONCE = 500  # names in one question
_EXPECTED = (
    "SELECT substr(path, ?), size, mtime_ns, inode, id FROM job WHERE inbox = ? AND directory = ?"
    f" AND {CURRENT} AND state NOT IN ({_AWAY}) AND id > ? ORDER BY id LIMIT ?"
)


class Files(Places):
    """The part of the journal that knows files."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._writes = 0
        self._agreed: dict[tuple[str, str], int] = {}  # folders that were as known since the last write, by a hash of their files

    def expected_in(self, inbox: str, directory: str) -> dict[str, Identity]:
        """The current version of every file that is to be in one folder of an inbox, by relative path."""
        rows = self._rows(
            "SELECT path, size, mtime_ns, inode FROM job WHERE inbox = ? AND directory = ?"
            f" AND {CURRENT} AND state NOT IN ({_AWAY})",
            (inbox, os.fsencode(directory)),
        )
        return {os.fsdecode(r["path"]): identity_of(r) for r in rows}

    def known_of(self, inbox: str, paths: Sequence[str]) -> dict[str, tuple[Identity, JobState]]:
        """The current version of those of these files that are known, also of such as are away."""
        found: dict[str, tuple[Identity, JobState]] = {}
        for start in range(0, len(paths), _ONCE):
            some = [os.fsencode(path) for path in paths[start : start + _ONCE]]
            rows = self._rows(
                f"SELECT path, size, mtime_ns, inode, state FROM job WHERE inbox = ? AND path IN ({', '.join('?' * len(some))})"
                f" AND {CURRENT}",
                (inbox, *some),
            )
            found |= {os.fsdecode(r["path"]): (identity_of(r), JobState(r["state"])) for r in rows}
        return found

    def known(self, inbox: str, path: str) -> tuple[Identity, JobState] | None:
        """The current version of one file."""
        return self.known_of(inbox, [path]).get(path)

    def directories(self, inbox: str) -> set[str]:
        """The folders of an inbox in which a file is to be."""
        query = f"SELECT DISTINCT directory FROM job WHERE inbox = ? AND {CURRENT} AND state NOT IN ({_AWAY})"
        rows = self._rows(query, (inbox,))
        return {os.fsdecode(r["directory"]) for r in rows}

    def is_as_known(self, inbox: str, directory: str, files: tuple[Row, ...]) -> bool:
        """Whether these are the files that are to be there in one folder: no more, no less, and each the version that is known.

        A reconcile comes by here for every file of an inbox. What agreed is not compared again until the journal is written.
        """
        place, digest = (inbox, directory), hash(files)
        with self._lock:
            if self._agreed.get(place) == digest:
                return True
            writes = self._writes
        if not self._agrees(inbox, directory, frozenset(files)):
            return False
        with self._lock:
            if writes == self._writes:
                self._agreed[place] = digest
        return True

    def _agrees(self, inbox: str, directory: str, listed: frozenset[Row]) -> bool:
        """Read in pages, because a folder may hold a million."""
        folder, expected, last = os.fsencode(directory), 0, 0
        while rows := self._plain_rows(_EXPECTED, (len(folder) + 2 if folder else 1, inbox, folder, last, _PAGE_ROWS)):
            # All names in one go, which is much cheaper.
            names = os.fsdecode(b"\0".join([row[0] for row in rows])).split("\0")
            known = [(name, size, mtime_ns, inode) for name, (_, size, mtime_ns, inode, _) in zip(names, rows, strict=True)]
            if not listed.issuperset(known):
                return False
            expected, last = expected + len(rows), rows[-1][-1]
        return expected == len(listed)

    def _wrote(self) -> None:
        """A job is written; called under the lock."""
        self._writes += 1
        self._agreed.clear()


def identity_of(row: sqlite3.Row) -> Identity:
    """The identity in a row of the table of jobs."""
    return Identity(size=row["size"], mtime_ns=row["mtime_ns"], inode=row["inode"])
