"""A correction worker without a model: marks the page as corrected, or does to it what its text says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ocrwatch.correction.edits import Edit, Reason
from ocrwatch.correction.protocol import Correction
from ocrwatch.errors import MissingPart, ModelUnavailable
from ocrwatch.worker import child

Message = dict[str, Any]


def _correct(request: Message) -> Message:
    text = str(request["text"])
    if "fatal" in text:
        os.abort()
    position = text.find("tbe")
    edits = (Edit(position, "tbe", "the", Reason.WORD, 3.0),) if position >= 0 else ()
    return Correction(edits=edits, suspicious=len(edits), scored=len(edits)).to_json()


def _find(request: Message) -> Message:
    path = Path(str(request["wish"]["path"]))
    if not path.exists():
        raise MissingPart(f"there is no model at {path}", "pull it")
    size = path.stat().st_size
    return {"path": str(path), "file": path.name, "sha256": "0" * 64, "size_bytes": size, "source": "path"}


def start(options: Message) -> tuple[Message, Mapping[str, child.Handler]]:
    """`fails_while`: no memory for the model as long as that path exists. `hangs`: the load never ends."""
    if options.get("hangs"):
        while True:
            os.read(os.pipe()[0], 1)
    mark = options.get("fails_while")
    if mark is not None and Path(str(mark)).exists():
        raise ModelUnavailable("no memory for the model", "close other programs")
    return {"device": "cpu"}, {"correct": _correct, "find": _find}


if __name__ == "__main__":
    child.serve(start)
