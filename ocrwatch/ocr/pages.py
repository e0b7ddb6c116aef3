"""A spooled file as pages: told apart by content, rendered one page at a time within a bound of pixels. Worker-side.

Owns the values, the bounds and the choice of the reader; PDF is in `pages_pdf`, images in `pages_image`. What they say of a file
names it "the scan": a person reads it beside the scan's own name, and does not know our copy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

from ocrwatch import magic
from ocrwatch.errors import EmptyDocument, Infrastructure, UnsupportedFile
from ocrwatch.ocr.engine import PdfText, Word

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT_DPI = 300
DEFAULT_MAX_PIXELS = 40_000_000
MAX_SIDE_PX = 32_000  # engines count pixels of a side in 16 bits


@dataclass(frozen=True)
class Bounds:
    """How a page is to be rendered. dpi: for a PDF; an image keeps its own. max_pixels: larger pages are scaled down."""

    dpi: float = DEFAULT_DPI
    max_pixels: int = DEFAULT_MAX_PIXELS

    def scale(self, width: float, height: float) -> float:
        """The factor, at most 1, that brings an image of this size in pixels within the bounds."""
        by_area = math.sqrt(self.max_pixels / (width * height))
        return min(1.0, by_area, MAX_SIDE_PX / width, MAX_SIDE_PX / height)


@dataclass(frozen=True)
class Rendered:
    """A page as an image: mode L or RGB, upright by the file's own word. dpi: its resolution after any scaling."""

    image: Image
    dpi: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextLayer:
    """The text that a PDF page brings along, in our form. reader: name and version.

    words: with their boxes on the page as it would be rendered, `width_px` by `height_px` pixels; none where they cannot be told.
    """

    text: str
    words: tuple[Word, ...]
    width_px: int
    height_px: int
    reader: tuple[str, str]


class Document(Protocol):
    """An open file. Pages count from 1."""

    format: str
    pages: int

    def render(self, page: int, bounds: Bounds) -> Rendered:
        """The image of a page. Raises CorruptFile or OversizedPage for the page's own fault."""
        ...

    def text_layer(self, page: int, mode: PdfText, *, dpi: float = DEFAULT_DPI) -> TextLayer | None:
        """The page's own text where `mode` wants it taken instead of a recognition; None otherwise."""
        ...

    def close(self) -> None:
        """Give its memory back."""
        ...


def open_document(file: BinaryIO) -> Document:
    """Read a file by what it holds, whatever its name; it stays the caller's to close, after the document.

    Raises UnsupportedFile, CorruptFile, EncryptedFile, EmptyDocument or OversizedPage; Infrastructure when it can't be read.
    """
    # Each reader brings a native library: a worker that only sees images never loads the other.
    if (format_ := detect(file)) == "pdf":
        from ocrwatch.ocr.pages_pdf import PdfDocument

        return PdfDocument(file)
    from ocrwatch.ocr.pages_image import ImageDocument

    return ImageDocument(file, format_)


def detect(file: BinaryIO) -> str:
    """The format of a file by its first bytes. Raises UnsupportedFile or EmptyDocument; Infrastructure when it can't be read."""
    try:
        file.seek(0)
        head = file.read(magic.HEAD_BYTES)
        file.seek(0)
    except OSError as error:  # the copy in the spool is ours: its disk is at fault, never what it holds
        raise Infrastructure(f"the copy of the scan cannot be read: {error.strerror}", "check the disk of `state_dir`") from error
    if not head:
        raise EmptyDocument("the scan has no content")
    format_ = magic.format_of(head)
    if format_ is not None:
        return format_
    raise UnsupportedFile("the scan is none of PDF, TIFF, JPEG, PNG, WebP, BMP, GIF, JPEG 2000")
