"""The report's file: whole or absent, for those who may read it, and never in place of what is no report."""

from __future__ import annotations

import os
from pathlib import Path

from ocrwatch.errors import ForeignFile, OutputUnwritable, ShareOffline
from ocrwatch.intake import beneath
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.troubles import output_error
from ocrwatch.output import files
from ocrwatch.output.files import Likeness
from ocrwatch.report.page import MARK

_ANOTHER = "name another file with -o"


def earlier(path: Path) -> str | None:
    """The hash of an earlier report that stands there; None when nothing does.

    Raises ForeignFile when something else does, OutputUnwritable when there is no such folder.
    """
    try:
        with beneath.opened(Root(str(path.parent))) as root_fd:
            descriptor = beneath.open_file(root_fd, path.name)
    except FileNotFoundError:
        return None
    except ShareOffline as error:
        raise OutputUnwritable(error.message, _ANOTHER) from error
    except OSError as error:
        raise ForeignFile(f"{path} is no plain file: {error.strerror}", _ANOTHER) from error
    with os.fdopen(descriptor, "rb") as standing:
        if standing.read(len(MARK)) != MARK.encode():
            raise ForeignFile(f"{path} is there, and is no report of ocrwatch", _ANOTHER)
        return files.hash_of_descriptor(standing.fileno())


def save(path: Path, report: Path, *, mode: int, replaces: str | None) -> None:
    """Put the report there, with this mode. replaces: the hash of the one that stands there."""
    root = Root(str(path.parent))
    files.write_durably(root, path.name, report, like=Likeness(mode, gid=-1), replaces=(replaces,) if replaces else ())
    # One that says the same to the letter was left as it is, and its mode with it.
    with beneath.opened(root) as root_fd:
        try:
            descriptor = beneath.open_file(root_fd, path.name)
            try:
                os.fchmod(descriptor, mode)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise output_error(error, str(path)) from error
