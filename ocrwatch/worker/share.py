"""Every operation on the paths of an inbox or of its output, in this process or in one that can be killed.

A dead network mount blocks whoever touches it, in a state that only the mount ends. So the paths of a mount that may hang
are touched by a process of their own; local ones directly. Both ways run the same operations on the same JSON values.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from ocrwatch.errors import ShareOffline, WorkerDied, WorkerTimedOut
from ocrwatch.intake import beneath, spool, tree
from ocrwatch.intake.beneath import Root, RootIdentity
from ocrwatch.intake.entries import Identity, Kind
from ocrwatch.intake.formats import Completeness
from ocrwatch.intake.spool import Spooled
from ocrwatch.intake.tree import DirectoryListing, Seen
from ocrwatch.output import archive, files, sidecar
from ocrwatch.output.document import Document
from ocrwatch.output.files import Likeness
from ocrwatch.output.sidecar import Examined, Names, Published, SidecarState
from ocrwatch.worker import child
from ocrwatch.worker.process import WorkerSpec
from ocrwatch.worker.supervised import Supervised

Values = dict[str, Any]
_ANSWER_S = 60.0  # without an answer or a sign of progress; a mount that is slower than this is not there
_IDLE_S = 900.0


class Access(Protocol):
    """A way to run an operation by name. `tell` gets what the operation reports on the way."""

    def run(self, operation: str, arguments: Values, *, tell: Callable[[Values], None] | None = None) -> Values: ...

    def close(self) -> None: ...


class LocalAccess:
    """Runs operations in the calling thread: for file systems that answer from this machine."""

    def run(self, operation: str, arguments: Values, *, tell: Callable[[Values], None] | None = None) -> Values:
        """The operation's result. Raises its errors."""
        return OPERATIONS[operation](arguments, tell or (lambda _: None))

    def close(self) -> None:
        """Nothing is held."""


class RemoteAccess:
    """Runs operations in a child process that is killed when the mount hangs: for everything else."""

    def __init__(self, name: str, *, clock: Callable[[], float], answer_s: float = _ANSWER_S) -> None:
        self._name = name
        self._answer_s = answer_s
        self._worker = Supervised(lambda: WorkerSpec(module=__name__), idle_s=_IDLE_S, clock=clock)
        # The kernel's death signal follows the thread that starts a child, so one thread that stays starts them all.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"share-{name}")

    def run(self, operation: str, arguments: Values, *, tell: Callable[[Values], None] | None = None) -> Values:
        """The operation's result. Raises its errors, and ShareOffline when the mount gave no answer."""
        request = {"op": operation, "arguments": arguments}
        try:
            future = self._thread.submit(self._worker.call, request, deadline_s=self._answer_s, progress=tell)
        except RuntimeError as error:
            raise ShareOffline(f"the share of inbox {self._name} was let go", "") from error
        try:
            return future.result()
        except (WorkerDied, WorkerTimedOut) as error:
            raise ShareOffline(f"the share of inbox {self._name} gives no answer", "check the mount and its server") from error

    def close(self) -> None:
        """End the child; what it is doing is lost."""
        self._worker.interrupt()
        self._thread.submit(self._worker.stop)
        self._thread.shutdown(wait=True, cancel_futures=False)


class Share:
    """The operations, with values instead of JSON. Errors are those of the functions they stand for."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def close(self) -> None:
        """Give back what the access holds."""
        self._access.close()

    def identify(self, path: str) -> RootIdentity:
        """`beneath.root_identity`."""
        return RootIdentity(**self._access.run("identify", {"path": path}))

    def scan(
        self, root: Root, start: str, *, recursive: bool, patterns: Sequence[str], each: Callable[[DirectoryListing], None]
    ) -> None:
        """`tree.scan`; each listing is handed to `each` as it comes."""
        arguments = {"root": root.to_json(), "start": start, "recursive": recursive, "patterns": list(patterns)}
        self._access.run("scan", arguments, tell=lambda told: each(DirectoryListing.from_json(told["listing"])))

    def look(self, root: Root, path: str, *, closely: bool) -> Seen | None:
        """`tree.look` or `tree.look_closely`."""
        told = self._access.run("look", {"root": root.to_json(), "path": path, "closely": closely})
        if told["kind"] is None:
            return None
        identity = told["identity"]
        return Seen(kind=Kind(told["kind"]), identity=None if identity is None else Identity.from_json(identity))

    def completeness(self, root: Root, path: str, expected: Identity) -> Completeness:
        """`tree.completeness`."""
        told = self._access.run("completeness", {"root": root.to_json(), "path": path, "expected": expected.to_json()})
        return Completeness.from_json(told["completeness"])

    def spool(self, root: Root, path: str, *, expected: Identity, destination: Path) -> Spooled:
        """`spool.copy`."""
        arguments = {"root": root.to_json(), "path": path, "expected": expected.to_json(), "destination": str(destination)}
        return Spooled(**self._access.run("spool", arguments))

    def examine(self, root: Root, names: Names, *, known: Collection[str] = ()) -> Examined:
        """`sidecar.examine`."""
        told = self._access.run("examine", {"root": root.to_json(), "names": asdict(names), "known": sorted(known)})
        return Examined(**(told | {"state": SidecarState(told["state"])}))

    def read_back(self, root: Root, names: Names) -> Document | None:
        """`sidecar.read_back`."""
        document = self._access.run("read_back", {"root": root.to_json(), "names": asdict(names)})["document"]
        return None if document is None else Document.from_json(document)

    def publish(
        self,
        root: Root,
        names: Names,
        document: Document,
        *,
        like: Likeness | None,
        known: Collection[str],
        make_directories: bool,
    ) -> Published:
        """`sidecar.publish`."""
        arguments = {
            "root": root.to_json(),
            "names": asdict(names),
            "document": document.to_json(),
            "like": None if like is None else asdict(like),
            "known": sorted(known),
            "make_directories": make_directories,
        }
        told = self._access.run("publish", arguments)
        return Published(**(told | {"names": Names(**told["names"]), "notes": tuple(told["notes"])}))

    def archive(self, root: Root, path: str, *, expected: Identity, sha256: str, destination_root: Root, destination: str) -> str:
        """`archive.archive`."""
        arguments = {
            "root": root.to_json(),
            "path": path,
            "expected": expected.to_json(),
            "sha256": sha256,
            "destination_root": destination_root.to_json(),
            "destination": destination,
        }
        return str(self._access.run("archive", arguments)["path"])

    def tidy(self, root: Root, directory: str, leftovers: Sequence[str]) -> None:
        """Remove our own stale temporary files in a directory and put back scans that a crash left half archived."""
        if leftovers:
            self._access.run("tidy", {"root": root.to_json(), "directory": directory})


def _identify(arguments: Values, _: Callable[[Values], None]) -> Values:
    return asdict(beneath.root_identity(arguments["path"]))


def _scan(arguments: Values, tell: Callable[[Values], None]) -> Values:
    root = Root.from_json(arguments["root"])
    for listing in tree.scan(root, arguments["start"], recursive=arguments["recursive"], patterns=arguments["patterns"]):
        tell({"listing": listing.to_json()})
    return {}


def _look(arguments: Values, _: Callable[[Values], None]) -> Values:
    look = tree.look_closely if arguments["closely"] else tree.look
    seen = look(Root.from_json(arguments["root"]), arguments["path"])
    if seen is None:
        return {"kind": None}
    return {"kind": seen.kind, "identity": None if seen.identity is None else seen.identity.to_json()}


def _completeness(arguments: Values, _: Callable[[Values], None]) -> Values:
    expected = Identity.from_json(arguments["expected"])
    found = tree.completeness(Root.from_json(arguments["root"]), arguments["path"], expected)
    return {"completeness": found.to_json()}


def _spool(arguments: Values, tell: Callable[[Values], None]) -> Values:
    return asdict(
        spool.copy(
            Root.from_json(arguments["root"]),
            arguments["path"],
            expected=Identity.from_json(arguments["expected"]),
            destination=Path(arguments["destination"]),
            tell=lambda size: tell({"spooled_bytes": size}),  # a large scan on a slow share moves, it does not hang
        )
    )


def _examine(arguments: Values, _: Callable[[Values], None]) -> Values:
    root, names = Root.from_json(arguments["root"]), Names(**arguments["names"])
    return asdict(sidecar.examine(root, names, known=arguments["known"]))


def _read_back(arguments: Values, _: Callable[[Values], None]) -> Values:
    document = sidecar.read_back(Root.from_json(arguments["root"]), Names(**arguments["names"]))
    return {"document": None if document is None else document.to_json()}


def _publish(arguments: Values, _: Callable[[Values], None]) -> Values:
    like = arguments["like"]
    published = sidecar.publish(
        Root.from_json(arguments["root"]),
        Names(**arguments["names"]),
        Document.from_json(arguments["document"]),
        like=None if like is None else Likeness(**like),
        known=arguments["known"],
        make_directories=arguments["make_directories"],
    )
    return asdict(published)


def _archive(arguments: Values, _: Callable[[Values], None]) -> Values:
    path = archive.archive(
        Root.from_json(arguments["root"]),
        arguments["path"],
        expected=Identity.from_json(arguments["expected"]),
        sha256=arguments["sha256"],
        destination_root=Root.from_json(arguments["destination_root"]),
        destination=arguments["destination"],
    )
    return {"path": path}


def _tidy(arguments: Values, _: Callable[[Values], None]) -> Values:
    root = Root.from_json(arguments["root"])
    archive.recover(root, arguments["directory"])
    files.sweep(root, arguments["directory"])
    return {}


OPERATIONS: Mapping[str, Callable[[Values, Callable[[Values], None]], Values]] = {
    "identify": _identify,
    "scan": _scan,
    "look": _look,
    "completeness": _completeness,
    "spool": _spool,
    "examine": _examine,
    "read_back": _read_back,
    "publish": _publish,
    "archive": _archive,
    "tidy": _tidy,
}


def start(_: child.Message) -> tuple[child.Message, Mapping[str, child.Handler]]:
    """The same operations, for a parent that asks by frames."""

    def handler(name: str) -> child.Handler:
        return lambda request: OPERATIONS[name](request["arguments"], lambda told: child.progress(**told))

    return {}, {name: handler(name) for name in OPERATIONS}


if __name__ == "__main__":
    child.serve(start)
