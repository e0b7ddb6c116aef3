"""The operations on a tree by name, with JSON values in and out; run in this process or, by frames, in a child.

Each stands for one function of intake or output; errors are those of the function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ocrwatch.intake import beneath, spool, tree
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Identity
from ocrwatch.intake.ignore import Patterns
from ocrwatch.output import archive, files, quarantine, sidecar
from ocrwatch.output.document import Document
from ocrwatch.output.files import Likeness
from ocrwatch.output.listing import folder
from ocrwatch.output.sidecar import Names
from ocrwatch.worker import child

Values = dict[str, Any]
Tell = Callable[[Values], None]


def _identify(arguments: Values, _: Tell) -> Values:
    return asdict(beneath.root_identity(arguments["root"]["path"]))


def _is_empty(arguments: Values, _: Tell) -> Values:
    return {"is_empty": beneath.is_empty(arguments["root"]["path"])}


def _scan(arguments: Values, tell: Tell) -> Values:
    listings = tree.scan(
        Root.from_json(arguments["root"]),
        arguments["start"],
        below=arguments["below"],
        recursive=arguments["recursive"],
        patterns=Patterns.from_json(arguments["patterns"]),
        without=arguments["without"],
    )
    for listing in listings:
        tell({"listing": listing.to_json()})
    return {}


def _look(arguments: Values, _: Tell) -> Values:
    look = tree.look_closely if arguments["closely"] else tree.look
    seen = look(Root.from_json(arguments["root"]), arguments["path"])
    if seen is None:
        return {"kind": None}
    return {"kind": seen.kind, "identity": None if seen.identity is None else seen.identity.to_json()}


def _completeness(arguments: Values, _: Tell) -> Values:
    expected = Identity.from_json(arguments["expected"])
    found = tree.completeness(Root.from_json(arguments["root"]), arguments["path"], expected)
    return {"completeness": found.to_json()}


def _spool(arguments: Values, tell: Tell) -> Values:
    return spool.copy(
        Root.from_json(arguments["root"]),
        arguments["path"],
        expected=Identity.from_json(arguments["expected"]),
        destination=Path(arguments["destination"]),
        tell=lambda size: tell({"spooled_bytes": size}),  # a large scan on a slow share moves, it does not hang
    ).to_json()


def _examine(arguments: Values, _: Tell) -> Values:
    root, names = Root.from_json(arguments["root"]), Names(**arguments["names"])
    return asdict(sidecar.examine(root, names, known=arguments["known"]))


def _read_back(arguments: Values, _: Tell) -> Values:
    root, names = Root.from_json(arguments["root"]), Names(**arguments["names"])
    document = sidecar.read_back(root, names, published=arguments.get("published"))
    return {"document": None if document is None else document.to_json()}


def _texts(arguments: Values, _: Tell) -> Values:
    return folder(Root.from_json(arguments["root"]), arguments["path"]).to_json()


def _publish(arguments: Values, tell: Tell) -> Values:
    like = arguments["like"]
    with files.telling(lambda: tell({})):  # what is large, on a slow share, moves and does not hang
        published = sidecar.publish(
            Root.from_json(arguments["root"]),
            Names(**arguments["names"]),
            Document.from_json(arguments["document"]),
            like=None if like is None else Likeness(**like),
            known=arguments["known"],
            make_directories=arguments["make_directories"],
            hocr=None if arguments["hocr"] is None else Path(arguments["hocr"]),
            pdf=None if arguments["pdf"] is None else Path(arguments["pdf"]),
        )
    return asdict(published)


def _archive(arguments: Values, tell: Tell) -> Values:
    with files.telling(lambda: tell({})):
        path = archive.archive(
            Root.from_json(arguments["root"]),
            arguments["path"],
            expected=Identity.from_json(arguments["expected"]),
            sha256=arguments["sha256"],
            destination_root=Root.from_json(arguments["destination_root"]),
            destination=arguments["destination"],
            numbered=arguments["numbered"],
        )
    return {"path": path}


def _reserve(arguments: Values, _: Tell) -> Values:
    place = quarantine.reserve(
        Root.from_json(arguments["root"]),
        arguments["path"],
        reason=arguments["reason"],
        destination_root=Root.from_json(arguments["destination_root"]),
        destination=arguments["destination"],
    )
    return {"path": place}


def _release(arguments: Values, _: Tell) -> Values:
    quarantine.release(Root.from_json(arguments["root"]), arguments["path"], reason=arguments["reason"])
    return {}


def _tidy(arguments: Values, _: Tell) -> Values:
    root = Root.from_json(arguments["root"])
    archive.recover(root, arguments["directory"])
    files.sweep(root, arguments["directory"])
    return {}


OPERATIONS: Mapping[str, Callable[[Values, Tell], Values]] = {
    "identify": _identify,
    "is_empty": _is_empty,
    "scan": _scan,
    "look": _look,
    "completeness": _completeness,
    "spool": _spool,
    "examine": _examine,
    "read_back": _read_back,
    "texts": _texts,
    "publish": _publish,
    "archive": _archive,
    "reserve": _reserve,
    "release": _release,
    "tidy": _tidy,
}


def start(_: child.Message) -> tuple[child.Message, Mapping[str, child.Handler]]:
    """The same operations, for a parent that asks by frames."""

    def handler(name: str) -> child.Handler:
        return lambda request: OPERATIONS[name](request["arguments"], lambda told: child.progress(**told))

    return {}, {name: handler(name) for name in OPERATIONS}


if __name__ == "__main__":
    child.serve(start)
