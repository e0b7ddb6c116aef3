"""The sidecars of a folder, by their names: what a report is made from. Owns no reading of them.

A plain function without state, because a folder on a network mount is listed by a process that may have to be killed.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from ocrwatch.errors import ShareOffline
from ocrwatch.intake import beneath
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.ignore import why_directory_ignored
from ocrwatch.intake.troubles import what
from ocrwatch.output.sidecar import METADATA_SUFFIX


@dataclass(frozen=True)
class Folder:
    """One directory: names that a sidecar's JSON may have, and the directories in it, both in order.

    error: why it could not be listed; then it says nothing.
    """

    metadata: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """The listing as a JSON object."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Folder:
        """The listing of `to_json`. Raises KeyError or TypeError on anything else."""
        names, folders = tuple(map(str, data["metadata"])), tuple(map(str, data["folders"]))
        return Folder(metadata=names, folders=folders, error=str(data["error"]))


def folder(root: Root, path: str) -> Folder:
    """What stands in the directory `path` beneath the root; '' is the root itself. Links and other mounts are not entered.

    Housekeeping of operating systems (snapshots, trash) is left out. Raises ShareOffline when the root cannot be entered.
    """
    metadata, folders = [], []
    with beneath.opened(root) as root_fd:
        try:
            with beneath.directory(root_fd, path) as directory_fd, os.scandir(directory_fd) as entries:
                for entry in entries:
                    if entry.name.endswith(METADATA_SUFFIX) and entry.is_file(follow_symlinks=False):
                        metadata.append(entry.name)
                    elif entry.is_dir(follow_symlinks=False) and why_directory_ignored(entry.name) is None:
                        folders.append(entry.name)
        except OSError as error:
            if not path:
                raise ShareOffline(f"{root.path!r} cannot be listed: {what(error)}", "check who may read it") from error
            return Folder(error=what(error))
    return Folder(tuple(sorted(metadata)), tuple(sorted(folders)))
