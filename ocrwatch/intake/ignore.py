"""Which names are never scans, and why, as a sentence for people. Pure: knows names, not files.

An ignored file is left alone, and looked at again when it gets another name.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

SCAN_SUFFIXES = ("pdf", "jpg", "png", "tif", "jpeg", "tiff", "webp", "bmp", "gif", "jp2", "j2k", "jpx")  # the frequent first
OWN_PREFIX = ".ocrwatch-"
"""Begins the name of every temporary file and private directory of ours."""
PDF_SUFFIX = ".ocr.pdf"
"""Ends the name of every searchable PDF of ours: the only output that a scan might be taken for."""
OWN_SUFFIXES = (".txt", ".json", ".hocr", PDF_SUFFIX)
SCAN_ENDINGS = tuple(f".{suffix}" for suffix in SCAN_SUFFIXES)
"""How every scan's name ends, in small letters. Such a name without one of the odd beginnings, and without PDF_SUFFIX at its
end, is met by no rule but a pattern."""
ODD_BEGINNINGS = (".", "~")

_UPLOAD = re.compile(
    r"""( \.(part|partial|filepart|crdownload|download|opdownload|aria2|!ut|!qb)$
        | \.(tmp|temp|upload|uploading|inprogress|incomplete|swp)$
        | ~$ | ^\.~lock\. | ^~\$ | ^~syncthing~ | ^\.syncthing\. | ^\.goutputstream- | ^\.fuse_hidden | ^\.nfs[0-9a-f]{8} )""",
    re.VERBOSE | re.IGNORECASE,
)
_JUNK = frozenset(
    {
        *("thumbs.db", "ehthumbs.db", "desktop.ini", ".ds_store", ".localized", "icon\r", "autorun.inf", "$recycle.bin"),
        *(
            "system volume information",
            "lost+found",
            "recycler",
            "#recycle",
            "#snapshot",
            "@eadir",
            "@recycle",
            "@recently-snapshot",
        ),
        *(".@__thumb", ".appledouble", ".trashes", ".spotlight-v100", ".fseventsd", ".temporaryitems", "network trash folder"),
        *("__macosx", ".snapshot", ".stversions", ".stfolder", ".zfs"),
    }
)


@dataclass(frozen=True)
class Patterns:
    """The configuration's own say, as shell patterns of names or relative paths.

    ignore: never taken, folders not entered. include: when there are any, only files that match one are taken.
    """

    ignore: tuple[str, ...] = ()
    include: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The patterns as a JSON object."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Patterns:
        """The patterns of `to_json`. Raises KeyError or TypeError on anything else."""
        return Patterns(ignore=tuple(data["ignore"]), include=tuple(data["include"]))


NO_PATTERNS = Patterns()


def why_ignored(path: str, patterns: Patterns = NO_PATTERNS) -> str | None:
    """Why the file `path` (relative to the inbox) is not taken, as a sentence; None when it may be a scan."""
    directory, _, name = path.rpartition("/")
    if directory and (reason := _why_above(directory, patterns)):
        return reason
    return why_name_ignored(path, name, patterns)


def why_name_ignored(path: str, name: str, patterns: Patterns) -> str | None:
    """As `why_ignored`, for the file `name` in a directory that is entered."""
    reason = _why_any(name) or _why_pattern(path, name, patterns.ignore)
    if reason is not None:
        return reason
    _, dot, suffix = name.rpartition(".")
    suffix = suffix.lower() if dot else ""
    if suffix in SCAN_SUFFIXES:
        return _why_not_included(path, name, patterns.include)
    kinds = ", ".join(sorted(SCAN_SUFFIXES))
    return (
        f"its name ends in {'.' + suffix!r}, and only these are scans: {kinds}"
        if suffix
        else f"its name has none of the endings {kinds}"
    )


def why_directory_ignored(path: str, patterns: Patterns = NO_PATTERNS) -> str | None:
    """Why the directory `path` is not entered; None when it is."""
    return _why_above(path, patterns)


def is_ours(path: str) -> bool:
    """Whether the name may be one of our own outputs or temporary files; such events are dropped before they cost anything."""
    return path.endswith(OWN_SUFFIXES) or path.startswith(OWN_PREFIX) or "/" + OWN_PREFIX in path


def _why_above(directory: str, patterns: Patterns) -> str | None:
    names = directory.split("/")
    for depth, name in enumerate(names, start=1):
        reason = _why_any(name) or _why_pattern("/".join(names[:depth]), name, patterns.ignore)
        if reason is not None:
            return reason
    return None


def _why_any(name: str) -> str | None:
    if name.startswith(OWN_PREFIX):
        return "it is a temporary file of ocrwatch"
    if name.lower() in _JUNK:
        return f"{name!r} is housekeeping of an operating system or NAS"
    if name.startswith("._"):
        return "it is the companion that macOS writes beside a file"
    if _UPLOAD.search(name):
        return "it is an upload or edit in progress by its name; it is taken when it gets its final name"
    if name.lower().endswith(PDF_SUFFIX):
        return f"its name ends in {PDF_SUFFIX!r}, as those of the searchable PDFs do that ocrwatch writes"
    if name.startswith("."):
        return f"{name!r} is hidden: its name begins with a dot"
    return None


def _why_pattern(path: str, name: str, ignored: tuple[str, ...]) -> str | None:
    for pattern in ignored:
        if _matches(path, name, pattern):
            return f"it matches the pattern {pattern!r} that the configuration ignores"
    return None


def _why_not_included(path: str, name: str, included: tuple[str, ...]) -> str | None:
    if not included or any(_matches(path, name, pattern) for pattern in included):
        return None
    return f"it matches none of the patterns that the configuration includes: {', '.join(included)}"


def _matches(path: str, name: str, pattern: str) -> bool:
    shape = pattern.rstrip("/")
    return fnmatchcase(path, shape) or fnmatchcase(name, shape)
