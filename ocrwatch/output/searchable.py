"""The making of searchable PDFs, from the parent's side: a worker of its own for each, started for it and ended after.

Owns what a PDF may cost, and that a failure of it is a reason and no failure of the scan. What a PDF is made of is the worker's.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path

from ocrwatch.errors import OcrwatchError, WorkerRefused
from ocrwatch.ocr.engine import PageResult, PageSource
from ocrwatch.output.document import Document
from ocrwatch.output.placed import Run, runs
from ocrwatch.worker.process import WorkerProcess, WorkerSpec

_FILE_BYTES = 1 << 30  # what `files` takes for a file of ours
_OPEN_S, _PAGE_S, _SAVE_S = 120.0, 60.0, 300.0
_AT_ONCE = 2


@dataclass(frozen=True)
class LaidPage:
    """A page that gets a layer, and what is to be laid there."""

    number: int
    page: PageResult
    runs: list[Run]


def laid_pages(document: Document, page_of: Callable[[int], PageResult | None]) -> Iterator[LaidPage]:
    """The pages of the document that were recognized, one at a time: those that have a text of their own keep to it."""
    for number, page in enumerate(document.pages, start=1):
        result = page_of(number) if page.source == PageSource.OCR else None
        if result is not None:
            yield LaidPage(number, result, runs(result, page.edits))


class PdfMaker:
    """Makes searchable PDFs, a few at a time. For any thread."""

    def __init__(self, *, memory_bytes: int) -> None:
        self._ended = threading.Event()
        self._room = threading.Semaphore(_AT_ONCE)
        self._spec = WorkerSpec(
            module="ocrwatch.ocr.searchable_worker",
            options={"file_bytes": _FILE_BYTES},
            memory_bytes=memory_bytes,
            ended=self._ended,
        )

    def make(self, source: Path, destination: Path, pages: Iterable[LaidPage], *, count: int) -> str:
        """Make `destination` of the scan `source`, of `count` pages; returns why there is none now, or nothing.

        Raises CancelledError after `stop`, and what iterating the pages raises.
        """
        destination.unlink(missing_ok=True)
        temporary = destination.with_name(f".{destination.name}")
        with self._room:
            try:
                self._make(source, temporary, pages, count)
                temporary.rename(destination)
            except OcrwatchError as error:
                if self._ended.is_set():
                    raise CancelledError from error
                return f"{error.code}: {error.message}"
            except OSError as error:  # of our own copies; whether the disk is full is the text's to find out
                return f"its files in the state directory: {error.strerror}"
            finally:
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)
        return ""

    def stop(self) -> None:
        """End what is in work; whoever waits for it gets CancelledError."""
        self._ended.set()

    def _make(self, source: Path, temporary: Path, pages: Iterable[LaidPage], count: int) -> None:
        with WorkerProcess(self._spec) as worker:
            with source.open("rb") as file:
                found = worker.call({"op": "open"}, deadline_s=_OPEN_S, descriptor=file.fileno()).get("pages")
            if found != count:
                raise WorkerRefused(f"the scan has {count} pages, and {found} when they are to be copied: it is damaged")
            for laid in pages:
                worker.call(_request(laid), deadline_s=_PAGE_S)
            with temporary.open("w+b") as file:
                worker.call({"op": "save"}, deadline_s=_SAVE_S, descriptor=file.fileno())
                os.fsync(file.fileno())


def _request(laid: LaidPage) -> dict[str, object]:
    return {
        "op": "page",
        "number": laid.number,
        "width_px": laid.page.width_px,
        "height_px": laid.page.height_px,
        "turn_deg": laid.page.rotation_deg,
        "runs": [[run.text, *run.box, run.ends_line] for run in laid.runs],
    }
