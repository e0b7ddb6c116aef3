"""A tree of an inbox or of its output, wherever it is: every operation on its paths, with values in and out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from concurrent.futures import CancelledError
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from ocrwatch.errors import OutputUnwritable, ShareOffline
from ocrwatch.intake import tree
from ocrwatch.intake.beneath import Root, RootIdentity
from ocrwatch.intake.entries import Identity, Kind
from ocrwatch.intake.formats import Completeness
from ocrwatch.intake.ignore import Patterns
from ocrwatch.intake.spool import Spooled
from ocrwatch.intake.tree import DirectoryListing, Seen
from ocrwatch.output.document import Document
from ocrwatch.output.files import Likeness
from ocrwatch.output.listing import Folder
from ocrwatch.output.quarantine import Reason
from ocrwatch.output.sidecar import Examined, Names, Published, SidecarState
from ocrwatch.worker.access import Access
from ocrwatch.worker.operations import Values

log = logging.getLogger(__name__)


class Share:
    """The operations, with values instead of JSON. Errors are those of the functions they stand for.

    below: where the root stands in its inbox. Callers' paths begin at the inbox, the operations' at the root; '' is the same.
    """

    def __init__(self, access: Access, *, below: str = "") -> None:
        self._access = access
        self._below = below

    def close(self) -> None:
        """Give back what the access holds."""
        self._access.close()

    def identify(self, path: str) -> RootIdentity:
        """`beneath.root_identity` of an absolute path."""
        return RootIdentity(**self._access.run("identify", {"root": Root(path).to_json()}))

    def is_empty(self, path: str) -> bool:
        """`beneath.is_empty` of an absolute path."""
        return bool(self._access.run("is_empty", {"root": Root(path).to_json()})["is_empty"])

    def scan(
        self,
        root: Root,
        start: str,
        *,
        recursive: bool,
        patterns: Patterns,
        without: Collection[str] = (),
        each: Callable[[DirectoryListing], None],
    ) -> None:
        """`tree.scan`; each listing is handed to `each` as it comes, whole."""
        parts: list[DirectoryListing] = []

        def take(told: Values) -> None:
            parts.append(DirectoryListing.from_json(told["listing"]))
            if not parts[-1].more:
                each(DirectoryListing.joined(parts))
                parts.clear()

        arguments = {
            "root": root.to_json(),
            "below": self._below,
            "start": start,
            "recursive": recursive,
            "patterns": patterns.to_json(),
            "without": sorted(without),
        }
        self._access.run("scan", arguments, tell=take)

    def look(self, root: Root, path: str, *, closely: bool) -> Seen | None:
        """`tree.look` or `tree.look_closely`."""
        told = self._access.run("look", {"root": root.to_json(), "path": self._inside(path), "closely": closely})
        if told["kind"] is None:
            return None
        identity = told["identity"]
        return Seen(kind=Kind(told["kind"]), identity=None if identity is None else Identity.from_json(identity))

    def completeness(self, root: Root, path: str, expected: Identity) -> Completeness:
        """`tree.completeness`."""
        arguments = {"root": root.to_json(), "path": self._inside(path), "expected": expected.to_json()}
        return Completeness.from_json(self._access.run("completeness", arguments)["completeness"])

    def spool(self, root: Root, path: str, *, expected: Identity, destination: Path) -> Spooled:
        """`spool.copy`."""
        arguments = {
            "root": root.to_json(),
            "path": self._inside(path),
            "expected": expected.to_json(),
            "destination": str(destination),
        }
        return Spooled.from_json(self._access.run("spool", arguments))

    def examine(self, root: Root, names: Names, *, known: Collection[str] = ()) -> Examined:
        """`sidecar.examine`."""
        arguments = {"root": root.to_json(), "names": self._names_inside(names), "known": sorted(known)}
        told = self._access.run("examine", arguments)
        return Examined(**(told | {"state": SidecarState(told["state"])}))

    def read_back(self, root: Root, names: Names, *, published: Collection[str] | None = None) -> Document | None:
        """`sidecar.read_back`."""
        hashes = None if published is None else sorted(published)
        arguments = {"root": root.to_json(), "names": self._names_inside(names), "published": hashes}
        document = self._access.run("read_back", arguments)["document"]
        return None if document is None else Document.from_json(document)

    def texts(self, root: Root, path: str) -> Folder:
        """`listing.folder`."""
        return Folder.from_json(self._access.run("texts", {"root": root.to_json(), "path": self._inside(path)}))

    def publish(
        self,
        root: Root,
        names: Names,
        document: Document,
        *,
        like: Likeness | None,
        known: Collection[str],
        make_directories: bool,
        hocr: Path | None = None,
        pdf: Path | None = None,
    ) -> Published:
        """`sidecar.publish`."""
        arguments = {
            "root": root.to_json(),
            "names": self._names_inside(names),
            "document": document.to_json(),
            "like": None if like is None else asdict(like),
            "known": sorted(known),
            "make_directories": make_directories,
            "hocr": None if hocr is None else str(hocr),
            "pdf": None if pdf is None else str(pdf),
        }
        told = self._access.run("publish", arguments)
        return Published(**(told | {"names": names, "notes": tuple(told["notes"])}))

    def archive(
        self,
        root: Root,
        path: str,
        *,
        expected: Identity,
        sha256: str | None,
        destination_root: Root,
        destination: str,
        numbered: bool = True,
    ) -> str:
        """`archive.archive`, out of this tree."""
        arguments = {
            "root": root.to_json(),
            "path": self._inside(path),
            "expected": expected.to_json(),
            "sha256": sha256,
            "destination_root": destination_root.to_json(),
            "destination": destination,
            "numbered": numbered,
        }
        return str(self._access.run("archive", arguments)["path"])

    def bring(self, root: Root, path: str, *, expected: Identity, origin_root: Root, origin: str) -> None:
        """`archive.archive`, from another tree into this one, under no other name."""
        arguments = {
            "root": origin_root.to_json(),
            "path": origin,
            "expected": expected.to_json(),
            "sha256": None,
            "destination_root": root.to_json(),
            "destination": self._inside(path),
            "numbered": False,
        }
        self._access.run("archive", arguments)

    def reserve(self, root: Root, path: str, *, reason: Reason, destination_root: Root, destination: str) -> str:
        """`quarantine.reserve`."""
        arguments = {
            "root": root.to_json(),
            "path": self._inside(path),
            "reason": reason,
            "destination_root": destination_root.to_json(),
            "destination": destination,
        }
        return str(self._access.run("reserve", arguments)["path"])

    def release(self, root: Root, place: str, *, reason: Reason) -> None:
        """`quarantine.release`."""
        self._access.run("release", {"root": root.to_json(), "path": self._inside(place), "reason": reason})

    def tidy(self, root: Root, directory: str) -> None:
        """Remove our own stale temporary files in a directory and put back scans that a crash left half archived, where that can
        be done: what lies about keeps nothing else from being done. Raises ShareOffline, or CancelledError at the end."""
        try:
            self._access.run("tidy", {"root": root.to_json(), "directory": self._inside(directory)})
        except (ShareOffline, CancelledError):
            raise
        except OutputUnwritable as error:
            log.debug("%s is not tidied: %s", directory, error)
        except Exception:
            log.exception("%s below %s is not tidied: unforeseen trouble", directory, root.path)

    def _inside(self, path: str) -> str:
        return tree.inside(path, self._below)

    def _names_inside(self, names: Names) -> Values:
        return {"text": self._inside(names.text), "metadata": self._inside(names.metadata)}


class Reach(NamedTuple):
    """How the files of a tree are reached. closely: its mount caches attributes, so a file is opened as well as looked at."""

    share: Share
    root: Root
    closely: bool = False
