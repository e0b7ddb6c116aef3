"""The truth about an inbox: what is there, by scanning directories and by looking at single files.

Plain functions without state, because those on a network mount run in a process that may have to be killed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from ocrwatch.errors import ShareOffline, SourceChanged
from ocrwatch.intake import beneath, formats, syscalls
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Entry, Identity, Kind, kind_of
from ocrwatch.intake.formats import Completeness
from ocrwatch.intake.ignore import OWN_PREFIX, why_directory_ignored, why_name_ignored
from ocrwatch.intake.troubles import is_offline, is_vanished, source_error, what


@dataclass(frozen=True)
class DirectoryListing:
    """One directory: its possible scans, names that ocrwatch itself left there, and why it could not be read.

    With an error the listing says nothing about which files are gone.
    """

    directory: str
    entries: tuple[Entry, ...] = ()
    leftovers: tuple[str, ...] = ()
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """The listing as a JSON object."""
        return {"directory": self.directory, "entries": self.entries, "leftovers": self.leftovers, "error": self.error}

    @staticmethod
    def from_json(data: dict[str, Any]) -> DirectoryListing:
        """The listing of `to_json`, whether it went through a frame or not. Raises KeyError, TypeError or ValueError."""
        return DirectoryListing(
            directory=str(data["directory"]),
            entries=tuple(entry if isinstance(entry, Entry) else Entry.from_json(entry) for entry in data["entries"]),
            leftovers=tuple(str(name) for name in data["leftovers"]),
            error=str(data["error"]),
        )


@dataclass(frozen=True)
class Seen:
    """What stands under a name. identity is None unless it is a regular file."""

    kind: Kind
    identity: Identity | None

    def to_json(self) -> list[Any]:
        """The value as a list."""
        return [self.kind.value, self.identity.to_json() if self.identity else None]

    @staticmethod
    def from_json(data: list[Any]) -> Seen:
        """The value of `to_json`. Raises TypeError or ValueError on anything else."""
        kind, identity = data
        return Seen(kind=Kind(kind), identity=Identity.from_json(identity) if identity is not None else None)


def scan(root: Root, start: str = "", *, recursive: bool, patterns: Sequence[str] = ()) -> Iterator[DirectoryListing]:
    """The listings of the directory `start` and, when recursive, of those below it, one at a time.

    Raises ShareOffline when the root or its mount does not answer. A directory that vanishes meanwhile is left out.
    """
    if start and why_directory_ignored(start, patterns):
        return
    with beneath.opened(root) as root_fd:
        waiting = [start]
        while waiting:
            directory = waiting.pop()
            try:
                listing, below = _list(root_fd, directory, patterns)
            except OSError as error:
                if is_offline(error) or not directory:
                    message = f"{os.path.join(root.path, directory)!r} cannot be listed: {what(error)}"
                    raise ShareOffline(message, "check that the share is mounted and its server answers") from error
                if not is_vanished(error):
                    yield DirectoryListing(directory, error=what(error))
                continue
            yield listing
            if recursive:
                waiting += reversed(below)


def _list(root_fd: int, directory: str, patterns: Sequence[str]) -> tuple[DirectoryListing, list[str]]:
    """One directory, and the directories below it that are to be entered, both in the order of their names."""
    entries, leftovers, below = [], [], []
    with beneath.directory(root_fd, directory) as directory_fd, os.scandir(directory_fd) as found:
        for item in found:
            name = item.name
            path = f"{directory}/{name}" if directory else name
            if name.startswith(OWN_PREFIX):
                leftovers.append(name)
            elif item.is_dir(follow_symlinks=False):
                if why_directory_ignored(path, patterns) is None:
                    below.append(path)
            elif why_name_ignored(path, name, patterns) is None:
                try:
                    status = item.stat(follow_symlinks=False)
                except FileNotFoundError:  # it vanished between its name and its status
                    continue
                if stat.S_ISREG(status.st_mode):
                    entries.append(Entry(path, Identity(status.st_size, status.st_mtime_ns, status.st_ino)))
        if not (entries or leftovers or below):
            syscalls.prove_readable(directory_fd, directory)
    entries.sort(key=itemgetter(0))  # whole entries compare at four times the cost
    return DirectoryListing(directory, tuple(entries), tuple(sorted(leftovers))), sorted(below)


def look(root: Root, path: str) -> Seen | None:
    """What stands at `path` now; None when nothing does. Raises ShareOffline or Infrastructure when that cannot be known."""
    with beneath.opened(root) as root_fd:
        return _look(root_fd, path)


def _look(root_fd: int, path: str) -> Seen | None:
    try:
        status = beneath.lstat(root_fd, path)
    except OSError as error:
        if is_vanished(error):
            return None
        raise source_error(error, path) from error
    kind = kind_of(status.st_mode)
    return Seen(kind, Identity.of(status) if kind is Kind.REGULAR else None)


def look_closely(root: Root, path: str) -> Seen | None:
    """As `look`, but opens the file as well and takes the newer of both answers.

    Attribute caches hide a growing file from one of the two for seconds: NFS from stat, SMB from open and fstat.
    Raises ShareOffline, or Infrastructure when the file may not be opened.
    """
    with beneath.opened(root) as root_fd:
        seen = _look(root_fd, path)
        if seen is None or seen.identity is None:
            return seen
        try:
            descriptor = beneath.open_file(root_fd, path)
        except OSError as error:
            if is_vanished(error):
                return None
            raise source_error(error, path) from error
        try:
            opened = Identity.of(os.fstat(descriptor))
        except OSError as error:
            raise source_error(error, path) from error
        finally:
            os.close(descriptor)
    return Seen(Kind.REGULAR, max(seen.identity, opened, key=lambda identity: (identity.mtime_ns, identity.size)))


def completeness(root: Root, path: str, expected: Identity) -> Completeness:
    """Whether the file is whole by its format. Raises SourceChanged, SourceVanished, ShareOffline or Infrastructure."""
    try:
        with beneath.opened(root) as root_fd, os.fdopen(beneath.open_file(root_fd, path), "rb") as file:
            result = formats.check(file, expected.size)
            if not Identity.of(os.fstat(file.fileno())).matches(expected):
                raise SourceChanged(f"{path!r} changed while its format was checked")
    except OSError as error:
        raise source_error(error, path) from error
    return result
