"""The worker that makes one searchable PDF. Run as `python -m ocrwatch.ocr.searchable_worker FD PPID`.

Options (the first frame): file_bytes, the largest PDF that it may write. Hello: sandbox (see `Confinement`).

Operations: `open {}` -> {pages}, with the scan's descriptor; `page {number, width_px, height_px, turn_deg, runs}` -> {}, a run
being [text, left, top, right, bottom, ends_line]; `save {}` -> {bytes}, with the descriptor of the empty file that is to hold it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from ocrwatch.errors import MissingPart, OversizedPage, UsageError
from ocrwatch.worker import sandbox
from ocrwatch.worker.child import Handler, Message, serve

if TYPE_CHECKING:
    from ocrwatch.ocr.searchable import SearchablePdf

Value = TypeVar("Value")


def start(options: Message) -> tuple[Message, Mapping[str, Handler]]:
    """Lock this process in, then load the libraries: scan and PDF come open, so there is no folder to read or write in."""
    os.chdir("/")
    confinement = sandbox.enter(sandbox.Policy(file_bytes=int(options["file_bytes"])))
    try:
        import ocrwatch.ocr.searchable  # noqa: F401 - what is missing is told at the start
    except ImportError as error:
        raise MissingPart(f"a searchable PDF needs {error.name}, which is not installed", "install ocrwatch anew") from error
    worker = _Worker()
    return {"sandbox": confinement.to_json()}, {"open": worker.open, "page": worker.page, "save": worker.save}


class _Worker:
    """The operations, on one document."""

    def __init__(self) -> None:
        self._pdf: SearchablePdf | None = None

    def open(self, request: Message) -> Message:
        """Read the scan."""
        from ocrwatch.ocr.searchable import SearchablePdf

        file = os.fdopen(request["descriptor"], "rb")  # open as long as this process is: its pages are read as they are written
        self._pdf = _within_memory(lambda: SearchablePdf(file))
        return {"pages": self._pdf.pages}

    def page(self, request: Message) -> Message:
        """Lay words under a page."""
        from ocrwatch.ocr.searchable import Layout
        from ocrwatch.output.placed import Run

        layout = Layout(*(int(request[name]) for name in ("width_px", "height_px", "turn_deg")))
        runs = [Run(text, (left, top, right, bottom), ends) for text, left, top, right, bottom, ends in request["runs"]]
        _within_memory(lambda: self._opened().add(int(request["number"]), layout, runs))
        return {}

    def save(self, request: Message) -> Message:
        """Write the PDF."""
        with os.fdopen(request["descriptor"], "w+b") as file:
            _within_memory(lambda: self._opened().save(file))
            file.flush()
            return {"bytes": file.seek(0, os.SEEK_END)}

    def _opened(self) -> SearchablePdf:
        if self._pdf is None:
            raise UsageError("no scan is open")
        return self._pdf


def _within_memory(work: Callable[[], Value]) -> Value:
    try:
        return work()
    except MemoryError as error:
        raise OversizedPage("there is no memory for the searchable PDF") from error


if __name__ == "__main__":
    serve(start)
