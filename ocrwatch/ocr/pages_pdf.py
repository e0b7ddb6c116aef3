"""PDF by PDFium: rendering within bounds, and the text layer of pages that were born digital."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import c_int
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Any, BinaryIO, NamedTuple

import pypdfium2
import pypdfium2.raw as pdfium

from ocrwatch.errors import CorruptFile, EmptyDocument, EncryptedFile, OversizedPage
from ocrwatch.ocr.engine import Box, PdfText, Word
from ocrwatch.ocr.layout import Run, in_reading_order, in_words, separators_of
from ocrwatch.ocr.pages import DEFAULT_DPI, Bounds, Rendered, TextLayer
from ocrwatch.ocr.text import printable, tidy, typeset

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
_HYPHEN_MARK = 0x2  # PDFium's own mark of a hyphen at the end of a line
_LINE_ENDS = frozenset(map(ord, "\r\n"))
_RIGHT_TO_LEFT = {"R", "AL"}
_WRITING_ANNOTATIONS = {pdfium.FPDF_ANNOT_WIDGET, pdfium.FPDF_ANNOT_FREETEXT, pdfium.FPDF_ANNOT_STAMP, pdfium.FPDF_ANNOT_INK}


Rectangle = tuple[float, float, float, float]
"""Left, bottom, right, top in points."""


class PdfDocument:
    """A PDF file. See `Document`."""

    format = "pdf"

    def __init__(self, file: BinaryIO) -> None:
        try:
            _forget_last_error()
            # PDFium tries the empty password by itself.
            self._pdf = pypdfium2.PdfDocument(file)
        except pypdfium2.PdfiumError as error:
            raise self._unopened(error) from error
        self.pages = len(self._pdf)
        if not self.pages:
            raise EmptyDocument("the scan has no page")
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

    def text_layer(self, page: int, mode: PdfText, *, dpi: float = DEFAULT_DPI) -> TextLayer | None:
        """See `Document.text_layer`."""
        if mode is PdfText.NEVER:
            return None
        with self._page(page) as loaded:
            width_pt, height_pt = self._size(loaded, page)
            text_page = loaded.get_textpage()
            size_px = math.ceil(width_pt * dpi / _POINTS_PER_INCH), math.ceil(height_pt * dpi / _POINTS_PER_INCH)
            text, words = _read(text_page, loaded, size_px)
            text_page.close()
            if not text.strip() or (mode is PdfText.AUTO and not _is_born_digital(loaded, text, width_pt * height_pt)):
                return None
        return TextLayer(text, words, *size_px, _READER)

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
            raise CorruptFile(f"page {number} cannot be read: {error}") from error
        except MemoryError as error:
            raise self._too_large(number) from error
        finally:
            if loaded is not None:
                loaded.close()

    def _size(self, loaded: Any, page: int) -> tuple[float, float]:
        width_pt, height_pt = loaded.get_size()
        if not (0 < width_pt < float("inf") and 0 < height_pt < float("inf")):
            raise CorruptFile(f"page {page} has no area")
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
        return OversizedPage(f"page {page} holds too large an image", "scan it at a lower resolution")

    def _unopened(self, error: pypdfium2.PdfiumError) -> Exception:
        code = getattr(error, "err_code", None)
        if code == pdfium.FPDF_ERR_PASSWORD:
            return EncryptedFile("the scan needs a password", "store a copy without one")
        if code == pdfium.FPDF_ERR_SECURITY:
            return EncryptedFile("the scan is encrypted in a way that is not known here", "store a copy without encryption")
        return CorruptFile(f"the scan cannot be opened as PDF: {error}")


def _forget_last_error() -> None:
    """PDFium keeps its last error until the next, and some failures set none: no file must hear what was wrong with another."""
    # What is no PDF at all leaves "data format error", which is right for those.
    pdfium.FPDF_LoadMemDocument(b"-", 1, None)


class _Glyph(NamedTuple):
    """A character as drawn: its box as its font has it, and that of its ink alone."""

    text: str
    box: Rectangle
    ink: Rectangle


@dataclass(frozen=True)
class _Line:
    """A line in the order of drawing: as a whole by the boxes of its font, its words by their ink. gaps: between words."""

    run: Run
    words: list[Run]
    gaps: list[str]


def _read(text_page: Any, page: Any, size_px: tuple[int, int]) -> tuple[str, tuple[Word, ...]]:
    """The text as a person reads it, and its words; as it was drawn, without words, where its lines cannot be told apart."""
    drawn = tidy(str(text_page.get_text_range()))
    if text_page.count_chars() > _MAX_CHARACTERS:
        return drawn, ()
    as_drawn = list(_drawn_lines(text_page))
    is_right_to_left = any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for char in drawn)
    turn = 0 if is_right_to_left else _turn(as_drawn)
    lines = [line for glyphs in as_drawn if (line := _line(glyphs)) is not None]
    runs = [replace(line.run.turned(turn), number=number) for number, line in enumerate(lines)]
    rows = [[run] for run in runs] if is_right_to_left else in_reading_order(runs)
    words = [[Word(word.text, 0, _in_pixels(word, page, size_px)) for word in line.words] for line in lines]
    text, placed = typeset(in_words(rows, words, separators=_separators(lines, turn)))
    return (text, placed) if _letters(text) == _letters(drawn) else (drawn, ())  # an order, never a loss


def _turn(lines: Sequence[Sequence[_Glyph]]) -> int:
    """By how many degrees clockwise, in quarters, most text runs from left to right; what the page says of its turn may be wrong.

    Told by where each letter stands beside the one before: a font's matrix may turn what another turns back.
    """
    steps: Counter[int] = Counter()
    for glyphs in lines:
        for one, other in pairwise(glyph.box for glyph in glyphs if not glyph.text.isspace()):
            right, up = (other[side] + other[side + 2] - one[side] - one[side + 2] for side in (0, 1))
            if right or up:
                steps[(0 if right > 0 else 180) if abs(right) >= abs(up) else (90 if up > 0 else 270)] += 1
    return steps.most_common(1)[0][0] if steps else 0


def _drawn_lines(text_page: Any) -> Iterator[list[_Glyph]]:
    """The lines as PDFium finds them."""
    glyphs: list[_Glyph] = []
    for index in range(text_page.count_chars()):
        unit = pdfium.FPDFText_GetUnicode(text_page, index)
        if unit in _LINE_ENDS:
            yield glyphs
            glyphs = []
        else:
            text = "-" if unit == _HYPHEN_MARK else chr(unit)
            glyphs.append(_Glyph(text, text_page.get_charbox(index, loose=True), text_page.get_charbox(index)))
    yield glyphs


def _line(glyphs: Sequence[_Glyph]) -> _Line | None:
    words: list[Run] = []
    gaps: list[str] = []
    gap = ""
    for is_blank, group in groupby(glyphs, key=lambda glyph: glyph.text.isspace()):
        part = list(group)
        text = _decoded(part)
        if is_blank:
            gap += text
        elif text:
            gaps.append(gap or " ")
            words.append(_run(text, [glyph.ink for glyph in part]))
            gap = ""
    if not words:
        return None
    return _Line(_run(_decoded(glyphs).strip(), [glyph.box for glyph in glyphs]), words, gaps[1:])


def _decoded(glyphs: Sequence[_Glyph]) -> str:
    # What is beyond the first 65,536 characters comes as one unit or as two.
    units = "".join(glyph.text for glyph in glyphs).replace("\t", " ").encode("utf-16-le", "surrogatepass")
    return printable(units.decode("utf-16-le", "ignore"))


def _run(text: str, boxes: Sequence[Rectangle]) -> Run:
    left, bottom, right, top = zip(*boxes, strict=True)
    return Run(min(left), min(bottom), max(right), max(top), text)


def _separators(lines: Sequence[_Line], turn: int) -> list[list[str]]:
    """What parts the words of each line: what was drawn, but for a single blank that stands in a gap as wide as a column's."""
    measured = separators_of([[word.turned(turn) for word in line.words] for line in lines])
    pairs = (zip(line.gaps, gaps, strict=True) for line, gaps in zip(lines, measured, strict=True))
    return [[gap if drawn == " " else drawn for drawn, gap in line] for line in pairs]


def _in_pixels(word: Run, page: Any, size_px: tuple[int, int]) -> Box:
    """The box on the page as it is rendered at this size, its own turn and crop applied."""
    corners = []
    for x, y in ((word.left, word.top), (word.right, word.bottom)):
        x_px, y_px = c_int(), c_int()
        pdfium.FPDF_PageToDevice(page, 0, 0, *size_px, 0, x, y, x_px, y_px)
        corners.append((min(max(x_px.value, 0), size_px[0]), min(max(y_px.value, 0), size_px[1])))
    (x0, y0), (x1, y1) = corners
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


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
