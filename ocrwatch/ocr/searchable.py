"""A scan as a searchable PDF: its own pages, and under each page that was recognized its words, invisibly. Worker-side.

Pages of a PDF stay as they are; of a page that gets a layer, one that somebody's recognition left there before is taken out.
Pages of an image scan are shown upright. What must not be changed is refused: signed files, and files with restrictions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import pikepdf
from pikepdf.canvas import ContentStreamBuilder

from ocrwatch.errors import CorruptFile, FileRejected, UnsupportedFile
from ocrwatch.ocr.imposed import imposed
from ocrwatch.ocr.invisible import InvisibleFont, layer
from ocrwatch.ocr.pages import detect
from ocrwatch.ocr.pages_image import ImageDocument
from ocrwatch.output.placed import Run

_LAYER = "/OcrwatchText"
_MOST_FIELDS = 10_000
_MOST_FORMS = 100  # of a page, in which a layer of before may be
_PROPORTION_TOLERANCE = 0.02
_INVISIBLE = 3
_SHOWS_TEXT = frozenset({"Tj", "TJ", "'", '"'})

Rectangle = tuple[float, float, float, float]
"""Left, bottom, right, top in points."""


@dataclass(frozen=True)
class Layout:
    """The page as it was recognized: pixels of the upright image, and by how much it was turned clockwise for that."""

    width_px: int
    height_px: int
    turn_deg: int


class SearchablePdf:
    """The PDF of one scan, in the making. The file stays the caller's to close, after the PDF."""

    def __init__(self, file: BinaryIO) -> None:
        format_ = detect(file)
        self._is_image = format_ != "pdf"
        with _translated():
            self._pdf = _image_pages(file, format_) if self._is_image else _own_pages(file)
            self.pages = len(self._pdf.pages)
            self._font = InvisibleFont(self._pdf)
        self._has_layer = False

    def add(self, number: int, layout: Layout, runs: Sequence[Run]) -> None:
        """Lay the words under a page. Raises CorruptFile when the page is another than the one that was recognized."""
        with _translated():
            page = self._pdf.pages[number - 1]
            turned = _rotation(page)
            if self._is_image and layout.turn_deg:
                page.obj.Rotate = (turned + layout.turn_deg) % 360
            area = _shown(page)
            turn = (turned + layout.turn_deg) % 360
            width_pt, height_pt = _upright_size(area, turn)
            _check_proportion(number, (width_pt, height_pt), layout)
            if not runs:
                return
            if not self._is_image:
                _take_out_layers(self._pdf, page)
            content = layer(
                self._font, runs, scale=(width_pt / layout.width_px, height_pt / layout.height_px), height_pt=height_pt
            )
            form = self._form(content, (0.0, 0.0, width_pt, height_pt), _placement(area, turn))
            _lay_under(page, self._pdf.make_indirect(form))
            self._has_layer = True

    def save(self, file: BinaryIO) -> None:
        """Write the PDF. The same scan and words give the same bytes."""
        with _translated():
            if self._has_layer:
                self._font.finish()
            self._pdf.save(file, deterministic_id=True)

    def close(self) -> None:
        """Give its memory back."""
        self._pdf.close()

    def _form(self, content: bytes, box: Rectangle, matrix: pikepdf.Matrix) -> pikepdf.Stream:
        form = self._pdf.make_stream(content)
        form.Type, form.Subtype = pikepdf.Name.XObject, pikepdf.Name.Form
        form.BBox, form.Matrix = pikepdf.Array(list(box)), matrix.as_array()
        form.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F=self._font.object))
        return form


def _own_pages(file: BinaryIO) -> pikepdf.Pdf:
    file.seek(0)
    pdf = pikepdf.open(file)
    if pdf.is_encrypted:
        raise UnsupportedFile("the scan is encrypted or its use is restricted: it is left as it is")
    if _is_signed(pdf):
        raise UnsupportedFile("the scan is signed: a text layer would break the signature")
    return pdf


def _image_pages(file: BinaryIO, format_: str) -> pikepdf.Pdf:
    document = ImageDocument(file, format_)
    try:
        return imposed(file, document)
    finally:
        document.close()


def _is_signed(pdf: pikepdf.Pdf) -> bool:
    """Whether a signature field is filled in, or the document is certified."""
    if any(name in pdf.Root.get("/Perms", {}) for name in ("/DocMDP", "/UR", "/UR3")):
        return True
    form = pdf.Root.get("/AcroForm")
    if not isinstance(form, pikepdf.Dictionary):
        return False
    waiting: list[tuple[pikepdf.Object, object]] = [(field, None) for field in _items(form.get("/Fields"))]
    for _ in range(_MOST_FIELDS):
        if not waiting:
            return False
        field, inherited = waiting.pop()
        if not isinstance(field, pikepdf.Dictionary):
            continue
        kind = field.get("/FT", inherited)
        if kind == pikepdf.Name.Sig and "/V" in field:
            return True
        waiting += [(kid, kind) for kid in _items(field.get("/Kids"))]
    raise UnsupportedFile("the form of the scan has too many fields to tell whether it is signed: it is left as it is")


def _items(value: object) -> list[pikepdf.Object]:
    return list(value) if isinstance(value, pikepdf.Array) else []


def _rotation(page: pikepdf.Page) -> int:
    """By how much the page is turned clockwise when it is shown."""
    value = page.rotation % 360
    return value if value % 90 == 0 else 0


def _shown(page: pikepdf.Page) -> Rectangle:
    """What of the page is shown, before it is turned: the crop box within the media box."""
    left, bottom, right, top = _normal(page.mediabox)
    crop = _normal(page.cropbox)
    shown = max(left, crop[0]), max(bottom, crop[1]), min(right, crop[2]), min(top, crop[3])
    return shown if shown[0] < shown[2] and shown[1] < shown[3] else (left, bottom, right, top)


def _normal(box: pikepdf.Array) -> Rectangle:
    x0, y0, x1, y1 = (float(value) for value in box)
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def _upright_size(area: Rectangle, turn: int) -> tuple[float, float]:
    width, height = area[2] - area[0], area[3] - area[1]
    return (height, width) if turn % 180 else (width, height)


def _check_proportion(number: int, size_pt: tuple[float, float], layout: Layout) -> None:
    if min(*size_pt, layout.width_px, layout.height_px) <= 0:
        raise CorruptFile(f"page {number} has no size")
    seen = layout.width_px / layout.height_px
    # Pixels are whole: a narrow page may be half of one off on each side.
    slack = _PROPORTION_TOLERANCE + 1 / min(layout.width_px, layout.height_px)
    if abs(size_pt[0] / size_pt[1] / seen - 1) > slack:
        raise CorruptFile(f"page {number} has another shape than the one that was recognized: the file is damaged")


def _placement(area: Rectangle, turn: int) -> pikepdf.Matrix:
    """From the upright page to the page as it is stored, which is shown after a turn clockwise by that many degrees."""
    left, bottom, right, top = area
    return {
        0: pikepdf.Matrix(1, 0, 0, 1, left, bottom),
        90: pikepdf.Matrix(0, 1, -1, 0, right, bottom),
        180: pikepdf.Matrix(-1, 0, 0, -1, right, top),
        270: pikepdf.Matrix(0, -1, 1, 0, left, top),
    }[turn]


def _lay_under(page: pikepdf.Page, form: pikepdf.Object) -> None:
    """Show the form before anything else: nothing of the page's own content can have moved or clipped it there."""
    # Resources may serve several pages, or be inherited: this page gets its own.
    resources = pikepdf.Dictionary(dict(page.resources.items()))
    objects = pikepdf.Dictionary(dict(resources.get("/XObject", pikepdf.Dictionary()).items()))
    name = next(name for n in range(len(objects) + 1) if (name := f"{_LAYER}{n}") not in objects)
    objects[name] = form
    resources.XObject = objects
    page.obj.Resources = resources
    page.contents_add(ContentStreamBuilder().push().draw_xobject(pikepdf.Name(name)).pop().build(), prepend=True)


def _take_out_layers(pdf: pikepdf.Pdf, page: pikepdf.Page) -> None:
    """Remove the invisible text that another recognition left: found twice, each word would be there twice."""
    content, was_found = _without_invisible(page)
    if was_found:
        page.obj.Contents = pdf.make_stream(content)
    for form in _forms(page):
        content, was_found = _without_invisible(form)
        if was_found:
            form.write(content)


def _forms(page: pikepdf.Page) -> Iterator[pikepdf.Stream]:
    waiting: list[pikepdf.Object] = [page.resources]
    seen: set[tuple[int, int]] = set()
    while waiting and len(seen) < _MOST_FORMS:
        objects = waiting.pop().get("/XObject")
        for item in dict(objects.items()).values() if isinstance(objects, pikepdf.Dictionary) else ():
            if isinstance(item, pikepdf.Stream) and item.get("/Subtype") == pikepdf.Name.Form and item.objgen not in seen:
                seen.add(item.objgen)
                yield item
                if isinstance(resources := item.get("/Resources"), pikepdf.Dictionary):
                    waiting.append(resources)


def _without_invisible(content: pikepdf.Page | pikepdf.Stream) -> tuple[bytes, bool]:
    """The content without what shows invisible text, and whether there was any."""
    kept, modes, mode, was_found = [], [], 0, False
    for instruction in pikepdf.parse_content_stream(content):
        operator = str(instruction.operator)
        if operator == "q":
            modes.append(mode)
        elif operator == "Q" and modes:
            mode = modes.pop()
        elif operator == "Tr" and len(instruction.operands) == 1:
            mode = int(instruction.operands[0])
        if operator in _SHOWS_TEXT and mode == _INVISIBLE:
            was_found = True
        else:
            kept.append(instruction)
    return (pikepdf.unparse_content_stream(kept) if was_found else b""), was_found


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FileRejected:
        raise
    except pikepdf.PasswordError as error:
        raise UnsupportedFile("the scan is encrypted: it is left as it is") from error
    except (pikepdf.PdfError, ValueError, TypeError, LookupError, AttributeError, NotImplementedError, ArithmeticError) as error:
        raise CorruptFile(f"the scan cannot be put into a searchable PDF: {str(error)[:200] or type(error).__name__}") from error
