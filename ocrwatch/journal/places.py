"""Where trees were found: the mounts that a journal remembers, so that an empty mount point is no empty inbox."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

from ocrwatch.intake.beneath import RootIdentity
from ocrwatch.journal.database import Database


class Places(Database):
    """The part of the journal that knows mounts. inbox: whose files are there; '' for trees that are only written to."""

    def root_of(self, inbox: str, path: str) -> RootIdentity | None:
        """The mount on which a place was last found."""
        rows = self._rows("SELECT root FROM place WHERE inbox = ? AND path = ?", (inbox, os.fsencode(path)))
        return RootIdentity(**json.loads(rows[0]["root"])) if rows else None

    def places(self, inbox: str) -> list[str]:
        """Where the files of an inbox were ever found: its own path and mounts below it."""
        return [os.fsdecode(r["path"]) for r in self._rows("SELECT path FROM place WHERE inbox = ?", (inbox,))]

    def set_root(self, inbox: str, path: str, identity: RootIdentity) -> None:
        """A place was found on this mount."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO place (inbox, path, root) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET root = excluded.root",
                (inbox, os.fsencode(path), json.dumps(asdict(identity))),
            )

    def forget_root(self, inbox: str, path: str) -> None:
        """A place is no more, and not only away."""
        with self._transaction():
            self._db.execute("DELETE FROM place WHERE inbox = ? AND path = ?", (inbox, os.fsencode(path)))
