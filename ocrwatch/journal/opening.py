"""The service's journal, from its opening to its closing: a damaged one is kept aside and another begun.

Scans and their whole texts tell all that a journal must know: each scan is looked at again, and one whose text is there and
right is taken as done. Owns the names of damaged journals.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from ocrwatch.errors import StateDamaged, StateUnwritable
from ocrwatch.journal.journal import Journal
from ocrwatch.log_events import LogEvent

log = logging.getLogger(__name__)

_ASIDE = ".damaged-"


@contextlib.contextmanager
def opened(path: Path, *, wall_clock: Callable[[], float]) -> Iterator[Journal]:
    """The journal in a file; an empty one where that is damaged. One that proves to be so meanwhile is kept aside at the end.

    Raises StateUnwritable when neither can be had.
    """
    try:
        journal = Journal(path, wall_clock=wall_clock)
    except StateDamaged as error:
        log.error("%s", error.message, extra={"event": LogEvent.JOURNAL_DAMAGED})
        if not _set_aside(path, wall_clock()):
            raise
        journal = Journal(path, wall_clock=wall_clock)
    try:
        with contextlib.suppress(StateUnwritable):  # for want of room; it may stay as large as it is
            journal.compact()
        yield journal
    finally:
        journal.close()
        if journal.is_damaged:
            _set_aside(path, wall_clock())


def damaged(folder: Path) -> list[Path]:
    """Journals that were kept aside, oldest first. Raises OSError."""
    return sorted(path for path in folder.iterdir() if _ASIDE in path.name and not path.name.endswith(("-wal", "-shm")))


def _set_aside(path: Path, wall_s: float) -> bool:
    kept = path.with_name(f"{path.name}{_ASIDE}{datetime.fromtimestamp(wall_s, UTC):%Y%m%dT%H%M%SZ}")
    for ending in ("-wal", "-shm"):  # first: the new journal must not find the log of the old
        with contextlib.suppress(OSError):
            os.replace(f"{path}{ending}", f"{kept}{ending}")
    try:
        os.replace(path, kept)
    except OSError as error:
        log.error("the damaged journal %s cannot be renamed: %s", path, error.strerror)
        return False
    log.error("the damaged journal is kept as %s; another is begun from the scans and their texts", kept)
    return True
