"""Inboxes of any size on a local disk, and their journals. Owns what the benchmarks of the intake stand on; measures nothing."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from ocrwatch.intake import tree
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.ignore import NO_PATTERNS
from ocrwatch.intake.surroundings import InboxRules
from ocrwatch.journal.journal import Journal

INBOX = "bench"
_BATCH = 20_000


def make_tree(root: Path, *, files: int, folder_files: int) -> None:
    """`files` scans of one byte, `folder_files` in each folder."""
    root.mkdir()
    for begin in range(0, files, folder_files):
        folder = root / f"batch-{begin // folder_files:05d}"
        folder.mkdir()
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        for number in range(begin, min(begin + folder_files, files)):
            file = os.open(f"scan-{number:07d}.png", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=descriptor)
            os.write(file, b"x")
            os.close(file)
        os.close(descriptor)


def seed(journal: Journal, root: Path, *, name: str = INBOX) -> None:
    """Every file of the tree becomes known as one of the inbox of that name, many in one transaction."""
    entries = (entry for listing in tree.scan(Root(str(root)), recursive=True) for entry in listing.entries())
    while batch := list(itertools.islice(entries, _BATCH)):
        journal.add(name, batch)


def rules(root: Path, *, rescan_s: float) -> InboxRules:
    """How the inbox of a benchmark is looked at."""
    return InboxRules(
        name=INBOX,
        path=str(root),
        recursive=True,
        settle_s=0.0,
        incomplete_max_s=600.0,
        patterns=NO_PATTERNS,
        rescan_s=rescan_s,
        poll_s=rescan_s,
    )
