"""A correction worker without a model: marks the page as corrected, or does to it what its text or the options say.

Options, where MARK is a path:

    fails_while=MARK   no memory for the model as long as it exists
    loads_until=MARK   the load says that it moves, and ends when it exists
    hangs              the load never ends, and says nothing
    layers=N           puts so many on its device
    room=N             a load with more layers finds no memory on the device
    aborts_above=N     with more layers, a page finds no memory there, as llama.cpp says it: last words and an abort
    dies_once=MARK     the first page ends the worker and makes it
    record=MARK        every process adds its layers to that file

A page that says `fatal` ends the worker.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ocrwatch.correction.edits import Edit, Reason
from ocrwatch.correction.protocol import Correction
from ocrwatch.correction.store import stamp_of
from ocrwatch.errors import DeviceFull, MissingPart, ModelUnavailable
from ocrwatch.worker import child

Message = dict[str, Any]


class _Model:
    def __init__(self, options: Message) -> None:
        self._layers = int(options.get("layers") or 0)
        self._aborts_above = options.get("aborts_above")
        self._dies_once = options.get("dies_once")

    def correct(self, request: Message) -> Message:
        text = str(request["text"])
        if "fatal" in text or self._dies_now():
            os.abort()
        if self._aborts_above is not None and self._layers > int(self._aborts_above):
            print("ggml_cuda.cu:88: CUDA error: out of memory", file=sys.stderr, flush=True)
            print("  current device: 0, in function alloc", file=sys.stderr, flush=True)
            os.abort()
        position = text.find("tbe")
        edits = (Edit(position, "tbe", "the", Reason.WORD, 3.0),) if position >= 0 else ()
        return Correction(edits=edits, suspicious=len(edits), scored=len(edits)).to_json()

    def _dies_now(self) -> bool:
        if self._dies_once is None or Path(self._dies_once).exists():
            return False
        Path(self._dies_once).touch()
        return True


def _find(request: Message) -> Message:
    path = Path(str(request["wish"]["path"]))
    if not path.exists():
        raise MissingPart(f"there is no model at {path}", "pull it")
    known = {"path": str(path), "file": path.name, "sha256": "0" * 64, "source": "path"}
    return known | {"size_bytes": path.stat().st_size, "stamp": stamp_of(path)}


def _load(options: Message) -> None:
    if options.get("hangs"):
        while True:
            os.read(os.pipe()[0], 1)
    pause = threading.Event()
    while "loads_until" in options and not Path(options["loads_until"]).exists():
        child.progress(part=0.5)
        pause.wait(0.005)
    if "fails_while" in options and Path(options["fails_while"]).exists():
        raise ModelUnavailable("no memory for the model", "close other programs")
    if "room" in options and int(options.get("layers") or 0) > int(options["room"]):
        raise DeviceFull("the device has no memory for so many layers")


def start(options: Message) -> tuple[Message, Mapping[str, child.Handler]]:
    """Loads as the options say."""
    layers = int(options.get("layers") or 0)
    if "record" in options:
        with Path(options["record"]).open("a", encoding="ascii") as record:
            record.write(f"{layers}\n")
    _load(options)
    hello = {"device": "gpu" if layers else "cpu", "layers_on_gpu": layers}
    return hello, {"correct": _Model(options).correct, "find": _find}


if __name__ == "__main__":
    child.serve(start)
