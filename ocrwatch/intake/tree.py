"""The truth about an inbox: what is there, by scanning directories and by looking at single files.

Plain functions without state, because those on a network mount run in a process that may have to be killed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from stat import S_ISREG
from typing import Any

from ocrwatch.errors import ShareOffline, SourceChanged
from ocrwatch.intake import beneath, formats, syscalls
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Entry, Identity, Kind, Row, kind_of, stored
from ocrwatch.intake.formats import Completeness
from ocrwatch.intake.ignore import (
    NO_PATTERNS,
    ODD_BEGINNINGS,
    OWN_PREFIX,
    PDF_SUFFIX,
    SCAN_ENDINGS,
    Patterns,
    why_directory_ignored,
    why_name_ignored,
)
from ocrwatch.intake.troubles import is_mount_away, is_offline, is_vanished, source_error, what

_PART_FILES = 20_000  # 33 MB as JSON with the longest and oddest names, and seconds of work on a slow share


@dataclass(frozen=True)
class DirectoryListing:
    """One directory: its possible scans, names that ocrwatch itself left there, and why it could not be read.

    unread: names that are there but whose status could not be had, with the reason; they are not gone.
    With an error the listing says nothing about which files are gone. more: this is a part, and another of the same directory
    follows; `joined` makes them one.
    """

    directory: str
    files: tuple[Row, ...] = ()
    leftovers: tuple[str, ...] = ()
    unread: tuple[tuple[str, str], ...] = ()
    error: str = ""
    more: bool = False

    @staticmethod
    def joined(parts: Sequence[DirectoryListing]) -> DirectoryListing:
        """The listing of one directory from its parts; what is no file stands in the last."""
        *_, last = parts
        return last if len(parts) == 1 else replace(last, files=tuple(file for part in parts for file in part.files))

    def entries(self) -> list[Entry]:
        """The possible scans by their path, in the order of their names."""
        return [Entry(self.path(name), Identity(size, mtime_ns, inode)) for name, size, mtime_ns, inode in sorted(self.files)]

    def path(self, name: str) -> str:
        """The path of a name of this directory."""
        return f"{self.directory}/{name}" if self.directory else name

    def to_json(self) -> dict[str, Any]:
        """The listing as a JSON object."""
        return vars(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> DirectoryListing:
        """The listing of `to_json`, whether it went through a frame or not. Raises KeyError, TypeError or ValueError."""
        return DirectoryListing(
            directory=str(data["directory"]),
            files=files if isinstance(files := data["files"], tuple) else _rows(files),
            leftovers=tuple(str(name) for name in data["leftovers"]),
            unread=tuple((str(name), str(reason)) for name, reason in data["unread"]),
            error=str(data["error"]),
            more=bool(data["more"]),
        )


def _rows(data: list[Any]) -> tuple[Row, ...]:
    return tuple((str(name), int(size), int(mtime_ns), int(inode)) for name, size, mtime_ns, inode in data)


@dataclass(frozen=True)
class Seen:
    """What stands under a name. identity is None unless it is a regular file."""

    kind: Kind
    identity: Identity | None


def scan(
    root: Root,
    start: str = "",
    *,
    below: str = "",
    recursive: bool,
    patterns: Patterns = NO_PATTERNS,
    without: Collection[str] = (),
) -> Iterator[DirectoryListing]:
    """The listings of the directory `start` and, when recursive, of those below it, one at a time; large ones in parts.

    below: where the root stands in its inbox; every path, in and out, begins at the inbox, as patterns do. without: directories
    that are not entered. Raises ShareOffline when the root or its mount does not answer. A directory that
    vanishes meanwhile is left out; one on which something else is mounted is an error, as are those that may not be read.
    """
    if start and why_directory_ignored(start, patterns):
        return
    with beneath.opened(root) as root_fd:
        waiting = [start]
        while waiting:
            directory = waiting.pop()
            place = inside(directory, below)
            try:
                folders = yield from _list(root_fd, directory, place, patterns)
            except OSError as error:
                if is_mount_away(error) or not place:
                    message = f"{os.path.join(root.path, place).rstrip('/')!r} cannot be listed: {what(error)}"
                    raise ShareOffline(message, "check that the share is mounted and its server answers") from error
                if error.errno == errno.EXDEV:
                    yield DirectoryListing(directory, error="another file system is mounted there")
                elif not is_vanished(error):
                    yield DirectoryListing(directory, error=what(error))
                continue
            if recursive:
                waiting += [path for path in reversed(folders) if path not in without]


def inside(path: str, below: str) -> str:
    """A path of the inbox as it begins at a root that stands at `below` in it. Raises ValueError for one that is elsewhere."""
    if path == below:
        return ""
    if below and not path.startswith(f"{below}/"):
        raise ValueError(f"{path!r} does not lie below {below!r}")
    return path.removeprefix(f"{below}/") if below else path


def _list(root_fd: int, directory: str, place: str, patterns: Patterns) -> Generator[DirectoryListing, None, list[str]]:
    """One directory (`place` from the root on) in parts; returns the directories below it that are to be entered, by name."""
    files: list[Row] = []
    failed: list[tuple[str, OSError]] = []
    leftovers: list[str] = []
    folders: list[str] = []
    prefix = f"{directory}/" if directory else ""
    every_name = patterns == NO_PATTERNS
    with beneath.directory(root_fd, place) as directory_fd, os.scandir(directory_fd) as found:
        for item in found:
            name = item.name
            try:
                if item.is_dir(follow_symlinks=False):  # asks for the status where a listing does not tell
                    (leftovers if name.startswith(OWN_PREFIX) else folders).append(name)
                elif (lowered := name.lower()).endswith(SCAN_ENDINGS) and (
                    (every_name and not name.startswith(ODD_BEGINNINGS) and not lowered.endswith(PDF_SUFFIX))
                    or why_name_ignored(prefix + name, name, patterns) is None
                ):
                    status = item.stat(follow_symlinks=False)
                    if S_ISREG(status.st_mode):
                        files.append((name, status.st_size, stored(status.st_mtime_ns), stored(status.st_ino)))
                        if len(files) > _PART_FILES:  # one stays, to tell that not every name is without a status
                            yield DirectoryListing(directory, tuple(files[:-1]), more=True)
                            del files[:-1]
                elif name.startswith(OWN_PREFIX):
                    leftovers.append(name)
            except OSError as error:
                failed.append((name, error))
        if not (files or leftovers or folders):
            syscalls.prove_readable(directory_fd, directory)
    yield DirectoryListing(directory, tuple(files), tuple(sorted(leftovers)), _unread(failed, is_alone=not (files or folders)))
    paths = [prefix + name for name in sorted(folders)]
    return [path for path in paths if why_directory_ignored(path, patterns) is None]


def _unread(failed: list[tuple[str, OSError]], *, is_alone: bool) -> tuple[tuple[str, str], ...]:
    """The names without a status, with the reason. Raises OSError when it is the mount that does not answer.

    is_alone: no other name of the directory has a status, so this is no bad file among good ones.
    """
    for _, error in failed:
        if is_mount_away(error) or (is_alone and is_offline(error)):
            raise error
    # ENOENT: it vanished between its name and its status.
    return tuple((name, what(error)) for name, error in failed if error.errno != errno.ENOENT)


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
