"""The reason that lies beside a file which was set aside, `scan.pdf.reason.json`: it is there before the file comes.

So it also reserves the name: where it is, no other file of ours will be moved to. The move itself is `archive`'s matter.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from datetime import datetime
from typing import Any

from ocrwatch.errors import ForeignFile, OutputUnwritable
from ocrwatch.intake import beneath
from ocrwatch.intake.beneath import Root
from ocrwatch.output import files
from ocrwatch.output.archive import candidates, likeness

Reason = dict[str, Any]

REASON_SUFFIX = ".reason.json"
_LONGEST_NAME_BYTES = 255
MOST_REASON_BYTES = 1 << 16
_SAME = ("inbox", "path", "size", "mtime_ns")
"""What tells the reason of one file from that of another."""


def reserve(root: Root, path: str, *, reason: Reason, destination_root: Root, destination: str) -> str:
    """Write the reason why the file `path` is to be moved, at the first place free for both; returns the file's place.

    Raises SourceVanished, ShareOffline, OutputUnwritable.
    """
    data = json.dumps(reason, indent=1).encode("ascii") + b"\n"
    with beneath.opened(root) as root_fd:
        like = likeness(root_fd, path)
    where, _, name = destination.rpartition("/")
    for candidate in candidates(name):
        place = f"{where}/{candidate}" if where else candidate
        beside = reason_path(place)
        if _is_taken(destination_root, place):
            continue
        standing = _standing(destination_root, beside, reason)
        with contextlib.suppress(ForeignFile):
            files.write_durably(destination_root, beside, data, like=like, replaces=standing, make_directories=True)
            return place
    raise OutputUnwritable(f"{destination!r} cannot be written: every name is taken", "tidy up there")


def release(root: Root, place: str, *, reason: Reason) -> None:
    """The file did not come, or went back: its reason goes too, if it is the one that was written for it."""
    beside = reason_path(place)
    if not _is_taken(root, place):
        for sha256 in _standing(root, beside, reason):
            files.remove(root, beside, sha256=sha256)


def reason_path(place: str) -> str:
    """Where the reason for a file at `place` lies: beside it."""
    where, slash, name = place.rpartition("/")
    if len(os.fsencode(name)) + len(REASON_SUFFIX) > _LONGEST_NAME_BYTES:
        mark = "~" + hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
        name = os.fsencode(name)[: _LONGEST_NAME_BYTES - len(REASON_SUFFIX) - len(mark)].decode("utf-8", "ignore") + mark
    return f"{where}{slash}{name}{REASON_SUFFIX}"


def understood(data: bytes) -> Reason:
    """What a reason tells: inbox, path, reason and detail, and its failures as events; nothing where it is none of ours."""
    try:
        said = json.loads(data)
        failures = [
            {"at": datetime.fromisoformat(each["at"]).timestamp(), "after": _text(each["state"])}
            | {name: _text(each[name]) for name in ("reason", "detail")}
            for each in said["failures"]
        ]
        return {name: _text(said[name]) for name in ("inbox", "path", "reason", "detail")} | {"failures": failures}
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return {}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _is_taken(root: Root, path: str) -> bool:
    with beneath.opened(root) as root_fd, files.translated(path):
        try:
            beneath.lstat(root_fd, path)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return False
            raise
    return True


def _standing(root: Root, path: str, reason: Reason) -> set[str]:
    """The hash of the reason there, if it is one of the same file: from a try before. Nothing otherwise."""
    not_ours = contextlib.suppress(ForeignFile, ValueError, KeyError, RecursionError)
    with beneath.opened(root) as root_fd, files.translated(path), not_ours:
        descriptor = files.open_standing(root_fd, path)
        if descriptor is not None:
            with os.fdopen(descriptor, "rb") as file:
                data = file.read(MOST_REASON_BYTES)
            found = json.loads(data)
            if isinstance(found, dict) and all(found[key] == reason[key] for key in _SAME):
                return {hashlib.sha256(data).hexdigest()}
    return set()
