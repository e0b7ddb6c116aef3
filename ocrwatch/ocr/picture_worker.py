"""The worker that draws pages for people to look at. Run as `python -m ocrwatch.ocr.picture_worker FD PPID`.

Hello: sandbox (see `Confinement`).

Operations: `open {}` -> {pages}, with the scan's descriptor; `picture {page}` -> {data, width_px, height_px}: the page as WebP in
base64, small enough to stand in a page of HTML beside hundreds of others, and large enough to be read.
"""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO

from ocrwatch.errors import MissingPart, OversizedPage, UsageError
from ocrwatch.ocr.pages import Bounds, Document, Rendered, open_document
from ocrwatch.worker import sandbox
from ocrwatch.worker.child import Handler, Message, serve

if TYPE_CHECKING:
    from PIL.Image import Image

_PDF_DPI = 110.0
_MAX_PIXELS = 1_200_000  # A4 at 110 dpi
_MAX_SIDE_PX = 4_000
_QUALITIES = (30, 10)
_MOST_BYTES = 160_000  # a dense page of print is just beneath it; one of noise gives way


def start(_: Message) -> tuple[Message, Mapping[str, Handler]]:
    """Lock this process in, then load the libraries: the scan comes open, so there is no folder to read or write in."""
    os.chdir("/")
    confinement = sandbox.enter(sandbox.Policy())
    try:
        import PIL.WebPImagePlugin  # noqa: F401 - what is missing is told at the start
    except ImportError as error:
        raise MissingPart(f"images of pages need {error.name}, which is not installed", "install ocrwatch anew") from error
    worker = _Worker()
    return {"sandbox": confinement.to_json()}, {"open": worker.open, "picture": worker.picture}


class _Worker:
    """The operations, on one document at a time."""

    def __init__(self) -> None:
        self._document: Document | None = None
        self._file: BinaryIO | None = None

    def open(self, request: Message) -> Message:
        """Read this scan, and forget the one before."""
        self._close()
        self._file = os.fdopen(request["descriptor"], "rb")
        try:
            self._document = open_document(self._file)
        except MemoryError as error:
            raise OversizedPage("there is no memory for the scan") from error
        return {"pages": self._document.pages}

    def picture(self, request: Message) -> Message:
        """One page."""
        document, page = self._document, int(request["page"])
        if document is None or not 1 <= page <= document.pages:
            raise UsageError(f"there is no page {page}")
        # Of a PDF the bound of pixels is also that of the images within it, which are larger than what is drawn here.
        bounds = Bounds(dpi=_PDF_DPI) if document.format == "pdf" else Bounds(max_pixels=_MAX_PIXELS)
        try:
            return _small(document.render(page, bounds))
        except MemoryError as error:
            raise OversizedPage(f"there is no memory for page {page}") from error

    def _close(self) -> None:
        if self._document is not None:
            self._document.close()
        if self._file is not None:
            self._file.close()
        self._document, self._file = None, None


def _small(rendered: Rendered) -> Message:
    image = _bounded(rendered.image)
    data = b""
    for quality in _QUALITIES:
        data = _encoded(image, quality)
        if len(data) <= _MOST_BYTES:
            break
    else:
        image = _scaled(image, math.sqrt(_MOST_BYTES / len(data)) / 2)
        data = _encoded(image, _QUALITIES[-1])
    return {"data": base64.b64encode(data).decode("ascii"), "width_px": image.width, "height_px": image.height}


def _bounded(image: Image) -> Image:
    side_px = math.sqrt(_MAX_PIXELS / (image.width * image.height))
    factor = min(1.0, side_px, _MAX_SIDE_PX / max(image.size))
    return _scaled(image, factor) if factor < 1 else image


def _scaled(image: Image, factor: float) -> Image:
    return image.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))), reducing_gap=2.0)


def _encoded(image: Image, quality: int) -> bytes:
    data = io.BytesIO()
    image.save(data, "WEBP", quality=quality, method=4)
    return data.getvalue()


if __name__ == "__main__":
    serve(start)
