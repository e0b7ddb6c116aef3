"""The images of pages for a report: the scan is found, proven to be the one that was read, and drawn in a confined worker.

Owns what an image may cost, and that a scan without one costs the report nothing but that image.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from ocrwatch.errors import (
    Infrastructure,
    OcrwatchError,
    SourceChanged,
    SourceVanished,
    WorkerDied,
    WorkerRefused,
    WorkerTimedOut,
)
from ocrwatch.output.document import Source
from ocrwatch.report.content import Place
from ocrwatch.report.reaching import Reaching
from ocrwatch.worker.process import WorkerProcess, WorkerSpec

MEDIA_TYPE = "image/webp"
_MODULE = "ocrwatch.ocr.picture_worker"
_PICTURE_S = 30.0
_ANSWER_BYTES = 2**20
_MAX_PX = 20_000


class Picture(NamedTuple):
    """An image in the text of a page of HTML: its bytes in base64, and its size."""

    data: str
    width_px: int
    height_px: int


@dataclass(frozen=True)
class Absent:
    """No image, and why."""

    why: str


def picture_worker(memory_bytes: int) -> WorkerSpec:
    """How to start what draws. memory_bytes: what it may take."""
    return WorkerSpec(module=_MODULE, memory_bytes=memory_bytes, answer_bytes=_ANSWER_BYTES)


class PictureMaker:
    """Draws pages in one worker after another. A context: the worker ends with it.

    folder: an empty one for the scan in work; so no mount, and no writer, comes between a scan and its drawing.
    spec: of the worker. picture_s: what a page may take.
    """

    def __init__(self, reaching: Reaching, folder: Path, *, spec: WorkerSpec, picture_s: float = _PICTURE_S) -> None:
        self._reaching = reaching
        self._copy = folder / "scan"
        self._spec = spec
        self._picture_s = picture_s
        self._worker: WorkerProcess | None = None
        self._current = ""  # the hash of the scan in work
        self._absent: Absent | None = None  # why it has no images

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        if self._worker is not None:
            self._worker.stop()

    def picture(self, source: Source, places: Sequence[Place], number: int) -> Picture | Absent:
        """The image of one page of the scan. Pages of one scan are best asked for one after the other."""
        if self._current != source.sha256:
            self._current, self._absent = source.sha256, None
            self._absent = self._begin(source, places)
        if self._absent is not None:
            return self._absent
        try:
            return _picture(self._call({"op": "picture", "page": number}))
        except WorkerTimedOut:
            self._absent = Absent("not drawn: another page of this scan took too long")
            return Absent(f"the page could not be drawn within {self._picture_s:g} s")
        except WorkerDied as error:
            self._absent = Absent("not drawn: another page of this scan ended the process that draws")
            return Absent(f"the page could not be drawn: {error.message}")
        except OcrwatchError as error:
            return Absent(error.message)

    def _begin(self, source: Source, places: Sequence[Place]) -> Absent | None:
        """Have the worker open the scan."""
        self._copy.unlink(missing_ok=True)
        if (absent := self._fetch(source, places)) is not None:
            return absent
        descriptor = os.open(self._copy, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._call({"op": "open"}, descriptor)
        except OcrwatchError as error:
            return Absent(error.message)
        finally:
            os.close(descriptor)
        return None

    def _fetch(self, source: Source, places: Sequence[Place]) -> Absent | None:
        """Copy the very scan that was read, wherever it is."""
        why = "the scan is not where it was"
        for place in dict.fromkeys(places):
            try:
                self._reaching.copy(place, source, self._copy)
            except SourceVanished:
                continue
            except SourceChanged:
                why = "the scan was changed since it was read"
            except OcrwatchError as error:
                why = error.message
            else:
                return None
        return Absent(why)

    def _call(self, request: dict[str, object], descriptor: int | None = None) -> dict[str, object]:
        if self._worker is not None and not self._worker.alive:
            self._worker.stop()
            self._worker = None
        if self._worker is None:
            try:
                self._worker = WorkerProcess(self._spec)
            except OSError as error:
                raise Infrastructure(f"no process could be started to draw it: {error.strerror}") from error
        return self._worker.call(request, deadline_s=self._picture_s, descriptor=descriptor)


def _picture(answer: dict[str, object]) -> Picture:
    """The image that a worker gave. It met what others wrote: nothing but an image of a plausible size is taken."""
    data, width_px, height_px = answer.get("data"), answer.get("width_px"), answer.get("height_px")
    if isinstance(data, str) and isinstance(width_px, int) and isinstance(height_px, int):
        try:
            head = base64.b64decode(data, validate=True)[:12]
        except (binascii.Error, ValueError):
            head = b""
        if head[:4] == b"RIFF" and head[8:] == b"WEBP" and 0 < width_px <= _MAX_PX and 0 < height_px <= _MAX_PX:
            return Picture(data, width_px, height_px)
    raise WorkerRefused("the page could not be drawn: the worker gave no image")
