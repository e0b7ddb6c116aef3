"""Where a path lies among the folders of the configuration, and of which scan it may be a result. Pure: knows names only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ocrwatch.errors import UsageError
from ocrwatch.intake.entries import lies_in
from ocrwatch.intake.ignore import PDF_SUFFIX, SCAN_ENDINGS


class Role(StrEnum):
    """What a folder is for."""

    INBOX = "inbox"  # scans arrive there
    TEXTS = "texts"  # the results of an inbox, where they are not beside the scans
    ARCHIVE = "archive"  # scans that are done
    QUARANTINE = "quarantine"  # files that cannot be processed


@dataclass(frozen=True)
class Place:
    """A folder of the configuration, by its absolute path."""

    inbox: str
    role: Role
    path: str


@dataclass(frozen=True)
class Spot:
    """Where a path lies: in which place, and where there."""

    place: Place
    relative: str


def locate(path: str, places: Sequence[Place]) -> Spot:
    """The innermost place that holds an absolute path. Raises UsageError, which names the nearest inbox, when none does."""
    if "\0" in path or not path.startswith("/") or path != os.path.normpath(path):
        raise UsageError(f"{path} is no absolute path without detours", "leave out `.`, `..` and repeated slashes")
    holding = [place for place in places if path != place.path and lies_in(path, place.path.rstrip("/"))]
    if not holding:
        raise UsageError(f"{path} lies in no inbox", _elsewhere(path, places))
    # The inbox last: texts may have a folder of their own inside it.
    place = max(holding, key=lambda place: (len(place.path), place.role is Role.INBOX))
    return Spot(place, path.removeprefix(place.path.rstrip("/") + "/"))


def _elsewhere(path: str, places: Sequence[Place]) -> str:
    inboxes = [place for place in places if place.role is Role.INBOX]
    if any(place.path == path for place in inboxes):
        return "it is an inbox itself: name a file, or see `ocrwatch status`"
    listed = f"the inboxes are {', '.join(place.path for place in inboxes)}"
    nearest = max(inboxes, key=lambda place: len(os.path.commonpath([path, place.path])), default=None)
    if nearest is None or os.path.commonpath([path, nearest.path]) == "/":
        return listed
    return f"the nearest is {nearest.path}; {listed}" if len(inboxes) > 1 else listed


_RESULTS = {
    ".reason.json": "reason for the failure",
    ".txt": "text",
    ".json": "description",
    ".hocr": "hOCR",
    PDF_SUFFIX: "searchable PDF",
}


def result_of(path: str) -> tuple[str, str] | None:
    """What a file is by its name, and the scan that it belongs to; None when no result is called so.

    `scan.pdf.txt` belongs to `scan.pdf`, and `scan.txt` to it as well where names are replaced, which only those of PDFs are.
    """
    suffix = next((suffix for suffix in _RESULTS if path.endswith(suffix)), None)
    if suffix is None:
        return None
    stem = path.removesuffix(suffix)
    return _RESULTS[suffix], stem if stem.lower().endswith(SCAN_ENDINGS) else f"{stem}.pdf"
