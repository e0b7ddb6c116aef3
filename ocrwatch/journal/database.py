"""The journal's file: connection, lock, transactions and migrations in SQLite. Knows no table but through the schema files.

WAL with synchronous=FULL: a committed transaction survives a power cut. One connection, shared by all threads under one lock.
A file that SQLite finds damaged cannot be trusted again: `trouble` says so. What becomes of it is `opening`'s matter.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from ocrwatch.errors import StateDamaged, StateUnwritable

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
REBUILT = "the service begins another from the scans and their texts when it starts; look at the disk's health"
_MIGRATIONS = ("schema.sql", "hooks.sql", "ends.sql", "over.sql")  # append only; each runs once, in a transaction of its own


class Database:
    """Opens (and creates, or brings up to date) the database in a file. Raises StateUnwritable when that cannot be."""

    def __init__(self, path: Path, *, wall_clock: Callable[[], float], read_only: bool = False) -> None:
        self._path = path
        self._wall_clock = wall_clock
        self._lock = threading.RLock()
        self._damage: StateDamaged | None = None
        self._inode = 0
        was_left = not read_only and _was_left(path)
        with self._translated():
            target = f"file:{_uri(path)}?mode={'ro' if read_only else 'rwc'}"
            self._db = sqlite3.connect(target, uri=True, isolation_level=None, check_same_thread=False, timeout=10)
            self._db.row_factory = sqlite3.Row
            try:
                version = self._known_version(read_only=read_only)
                if was_left:
                    self._check()
                if not read_only:
                    self._db.execute("PRAGMA journal_mode = WAL")
                    self._db.execute("PRAGMA synchronous = FULL")
                    self._db.execute("PRAGMA foreign_keys = OFF")  # a table that is made anew must not take its rows along
                    self._migrate(version)
                    self._db.execute("PRAGMA foreign_keys = ON")
            except BaseException:
                self._db.close()
                raise

        self._inode = path.stat().st_ino

    def close(self) -> None:
        """Close the file; nothing else may be called afterwards, but `trouble`."""
        with self._lock:
            self._db.close()

    @property
    def is_damaged(self) -> bool:
        """Whether a statement has found it damaged."""
        return self._damage is not None

    def trouble(self) -> StateDamaged | None:
        """Why the file can no longer be trusted; None while it can, as far as is known. Costs a look at its folder."""
        return self._damage or (StateDamaged(f"the journal {self._path} was taken away", REBUILT) if self._is_gone() else None)

    def _known_version(self, *, read_only: bool) -> int:
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version > len(_MIGRATIONS):
            raise StateUnwritable(f"the journal {self._path} was written by a newer ocrwatch", "install that version again")
        if read_only and version < len(_MIGRATIONS):
            raise StateUnwritable(
                f"the journal {self._path} was written by an older ocrwatch",
                "start the service: it brings the journal up to date",
            )
        return version

    def _is_gone(self) -> bool:
        try:
            return self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True
        except OSError:  # a disk that fails for a moment takes nothing away
            return False

    def _check(self) -> None:
        found = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise self._damaged(" ".join(str(found).split()))

    def _damaged(self, found: str) -> StateDamaged:
        self._damage = StateDamaged(f"the journal {self._path} is damaged: {found}", REBUILT)
        return self._damage

    def _migrate(self, version: int) -> None:
        for number, name in enumerate(_MIGRATIONS[version:], start=version + 1):
            script = resources.files("ocrwatch.journal").joinpath(name).read_text(encoding="utf-8")
            self._db.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")

    def _rows(self, query: str, values: Iterable[Any]) -> list[sqlite3.Row]:
        with self._lock, self._translated():
            return self._db.execute(query, tuple(values)).fetchall()

    def _plain_rows(self, query: str, values: Iterable[Any]) -> list[Any]:
        """Rows as tuples, which cost half of those that know their columns' names."""
        with self._lock, self._translated():
            cursor = self._db.cursor()
            cursor.row_factory = None
            return cursor.execute(query, tuple(values)).fetchall()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, self._translated():
            if self._db.in_transaction:  # part of a larger one
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
                raise self._damaged(str(error)) from error
            raise StateUnwritable(
                f"the journal {self._path} does not take it: {error}", "check free space and permissions of its folder"
            ) from error


def _was_left(path: Path) -> bool:
    """Whether whoever wrote last did not close it: SQLite removes the log with the last connection."""
    with contextlib.suppress(OSError):
        return Path(f"{path}-wal").stat().st_size > 0
    return False


def _uri(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
