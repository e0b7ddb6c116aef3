"""PDF by PDFium: rendering within bounds, and the text layer of pages that were born digital."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pypdfium2
import pypdfium2.raw as pdfium

from ocrwatch.errors import CorruptFile, EmptyDocument, EncryptedFile, OversizedPage
from ocrwatch.ocr.engine import PdfText
from ocrwatch.ocr.layout import COLUMN_GAP, Run, in_reading_order
from ocrwatch.ocr.pages import Bounds, Rendered, TextLayer
from ocrwatch.ocr.text import tidy

_READER = ("pdfium", str(pypdfium2.PDFIUM_INFO))

_POINTS_PER_INCH = 72
_LOW_DPI = 150
_NESTING = 5  # forms within forms that are searched for images
_BILEVEL_FILTERS = {"CCITTFaxDecode", "JBIG2Decode"}
# Decoded bytes of one embedded image for each pixel that a page may have: 480 MB at 40 megapixels, enough for A4 at 1200 dpi
# in colour. PDFium decodes an image whole, however small the page is rendered.
_IMAGE_BYTES_PER_PIXEL = 12

# When a text layer is the page's text and no leftover; see `_is_born_digital`.
_MIN_LETTERS = 50
_MAX_IMAGE_SHARE = 0.2
_MAX_UNREADABLE_SHARE = 0.02
_MAX_OBJECTS = 20_000
_MAX_CHARACTERS = 50_000  # of a page whose lines are put in order
_HYPHEN_MARK, _HYPHEN = 0x2, 0xFFFE  # PDFium's own marks of a hyphen at the end of a line, in its two ways to give text
_RIGHT_TO_LEFT = {"R", "AL"}
_WRITING_ANNOTATIONS = {pdfium.FPDF_ANNOT_WIDGET, pdfium.FPDF_ANNOT_FREETEXT, pdfium.FPDF_ANNOT_STAMP, pdfium.FPDF_ANNOT_INK}


class PdfDocument:
    """A PDF file. See `Document`."""

    format = "pdf"

    def __init__(self, path: Path) -> None:
        self._name = path.name
        try:
            # PDFium tries the empty password by itself.
            self._pdf = pypdfium2.PdfDocument(path)
        except pypdfium2.PdfiumError as error:
            raise self._unopened(error) from error
        self.pages = len(self._pdf)
        if not self.pages:
            raise EmptyDocument(f"{self._name} has no page")
        # What was filled into a form is drawn only with this.
        if self._pdf.get_formtype() != pdfium.FORMTYPE_NONE:
            self._pdf.init_forms()

    def render(self, page: int, bounds: Bounds) -> Rendered:
        """See `Document.render`."""
        with self._page(page) as loaded:
            width_pt, height_pt = self._size(loaded, page)
            self._refuse_huge_images(loaded, page, bounds)
            wanted = bounds.dpi / _POINTS_PER_INCH
            # A page of a line's height is still an image with a row.
            scale = wanted * bounds.scale(max(width_pt * wanted, 1), max(height_pt * wanted, 1))
            dpi = scale * _POINTS_PER_INCH
            bitmap = loaded.render(scale=scale, grayscale=True)
            image = bitmap.to_pil().convert("L").copy()  # the bitmap's memory goes with it
            bitmap.close()
        notes = (f"rendered at {dpi:.0f} dpi to stay within {bounds.max_pixels} pixels",) if dpi < _LOW_DPI < bounds.dpi else ()
        return Rendered(image, dpi, notes)

    def text_layer(self, page: int, mode: PdfText) -> TextLayer | None:
        """See `Document.text_layer`."""
        if mode is PdfText.NEVER:
            return None
        with self._page(page) as loaded:
            width_pt, height_pt = self._size(loaded, page)
            text_page = loaded.get_textpage()
            text = tidy(_text_of(text_page, loaded.get_rotation()))
            text_page.close()
            if not text.strip() or (mode is PdfText.AUTO and not _is_born_digital(loaded, text, width_pt * height_pt)):
                return None
        return TextLayer(text, width_pt, height_pt, _READER)

    def close(self) -> None:
        """See `Document.close`."""
        self._pdf.close()

    @contextmanager
    def _page(self, number: int) -> Iterator[Any]:
        loaded = None
        try:
            loaded = self._pdf[number - 1]
            yield loaded
        except (pypdfium2.PdfiumError, IndexError, ValueError, RuntimeError) as error:
            raise CorruptFile(f"page {number} of {self._name} cannot be read: {error}") from error
        except MemoryError as error:
            raise self._too_large(number) from error
        finally:
            if loaded is not None:
                loaded.close()

    def _size(self, loaded: Any, page: int) -> tuple[float, float]:
        width_pt, height_pt = loaded.get_size()
        if not (0 < width_pt < float("inf") and 0 < height_pt < float("inf")):
            raise CorruptFile(f"page {page} of {self._name} has no area")
        return width_pt, height_pt

    def _refuse_huge_images(self, loaded: Any, page: int, bounds: Bounds) -> None:
        limit = _IMAGE_BYTES_PER_PIXEL * bounds.max_pixels
        for image in loaded.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE], max_depth=_NESTING):
            try:
                width, height = image.get_px_size()
                # Reading the depth would decode the image; the filter tells what matters.
                bits = 1 if _BILEVEL_FILTERS.intersection(image.get_filters()) else 24
            except pypdfium2.PdfiumError:
                continue  # an image that PDFium cannot read is not drawn either
            if width * height * bits > 8 * limit:
                raise self._too_large(page)

    def _too_large(self, page: int) -> OversizedPage:
        return OversizedPage(f"page {page} of {self._name} holds too large an image", "scan it at a lower resolution")

    def _unopened(self, error: pypdfium2.PdfiumError) -> Exception:
        code = getattr(error, "err_code", None)
        if code == pdfium.FPDF_ERR_PASSWORD:
            return EncryptedFile(f"{self._name} needs a password", "store a copy without one")
        if code == pdfium.FPDF_ERR_SECURITY:
            return EncryptedFile(f"{self._name} is encrypted in a way that is not known here", "store a copy without encryption")
        return CorruptFile(f"{self._name} cannot be opened as PDF: {error}")


def _text_of(text_page: Any, clockwise_deg: int) -> str:
    """The text as a person reads it; as it was drawn where its lines cannot be told apart, or it runs from right to left."""
    drawn = str(text_page.get_text_range())
    if text_page.count_chars() > _MAX_CHARACTERS or any(unicodedata.bidirectional(c) in _RIGHT_TO_LEFT for c in drawn):
        return drawn
    rows = in_reading_order([run.turned(clockwise_deg) for run in _drawn_lines(text_page)])
    ordered = "\n".join(COLUMN_GAP.join(run.text for run in row) for row in rows)
    return ordered if _letters(ordered) == _letters(drawn) else drawn  # an order, never a loss


def _drawn_lines(text_page: Any) -> Iterator[Run]:
    """The lines as PDFium finds them in the order of drawing, each with its box."""
    units: list[int] = []
    boxes: list[tuple[float, float, float, float]] = []
    for index in range(text_page.count_chars() + 1):
        unit = pdfium.FPDFText_GetUnicode(text_page, index) if index < text_page.count_chars() else ord("\n")
        if unit not in (ord("\r"), ord("\n")):
            units.append(_HYPHEN if unit == _HYPHEN_MARK else unit)
            boxes.append(text_page.get_charbox(index, loose=True))
            continue
        text = b"".join(u.to_bytes(4 if u > 0xFFFF else 2, "little") for u in units).decode("utf-16-le", "ignore").strip()
        if text:
            left, bottom, right, top = zip(*boxes, strict=True)
            yield Run(min(left), min(bottom), max(right), max(top), text)
        units, boxes = [], []


def _letters(text: str) -> Counter[str]:
    return Counter("".join(text.split()))


def _is_born_digital(page: Any, text: str, area_pt2: float) -> bool:
    """Whether the text layer is the whole text of the page.

    Not so: a stray letter or a page number on a scan (OCRmyPDF#1563); letters without a meaning (fonts without a character
    map); pages of which images cover more than a fifth, for they may hold text, be they a whole scan with an older
    recognition under it or a pasted one; text that is not drawn; forms, stamps and notes, whose writing is drawn and in no text
    layer. Recognizing such a page costs a second and loses nothing.
    """
    letters = sum(char.isalnum() for char in text)
    unreadable = sum(char == "\ufffd" or "\ue000" <= char <= "\uf8ff" for char in text)
    if letters < _MIN_LETTERS or unreadable > _MAX_UNREADABLE_SHARE * len(text) or _is_written_upon(page):
        return False
    image_area = 0.0
    hidden = drawn = 0
    for number, item in enumerate(page.get_objects(max_depth=_NESTING)):
        if number > _MAX_OBJECTS:
            return False
        if item.type == pdfium.FPDF_PAGEOBJ_IMAGE:
            image_area += _area(item)
        elif item.type == pdfium.FPDF_PAGEOBJ_TEXT:
            invisible = pdfium.FPDFTextObj_GetTextRenderMode(item) == pdfium.FPDF_TEXTRENDERMODE_INVISIBLE
            hidden, drawn = hidden + invisible, drawn + (not invisible)
    return drawn > hidden and image_area <= _MAX_IMAGE_SHARE * area_pt2


def _is_written_upon(page: Any) -> bool:
    for number in range(pdfium.FPDFPage_GetAnnotCount(page)):
        annotation = pdfium.FPDFPage_GetAnnot(page, number)
        if not annotation:
            continue
        subtype = pdfium.FPDFAnnot_GetSubtype(annotation)
        pdfium.FPDFPage_CloseAnnot(annotation)
        if subtype in _WRITING_ANNOTATIONS:
            return True
    return False


def _area(item: Any) -> float:
    try:
        rectangle, form = item.get_bounds(), item.container
        while form is not None:  # bounds are those within the form that the object belongs to
            rectangle, form = form.get_matrix().on_rect(*rectangle), form.container
    except pypdfium2.PdfiumError:
        return 0.0
    left, bottom, right, top = rectangle
    return float(max(right - left, 0) * max(top - bottom, 0))
