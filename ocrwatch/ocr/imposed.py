"""An image scan as a PDF, without loss: JPEG data as they are, other pixels as they were or compressed anew. By img2pdf.

What img2pdf does not take as it is (WebP, BMP, mirrored images, thumbnails among the pages, ...) is decoded by Pillow and put in
as PNG, pixel by pixel; samples of more than eight bits and transparency on white, as they are recognized.
"""

from __future__ import annotations

import io
from typing import BinaryIO

import img2pdf
import pikepdf
from pikepdf.canvas import ContentStreamBuilder

from ocrwatch.ocr.pages_image import ImageDocument

_POINTS_PER_INCH = 72
_POINTS_PER_PIXEL = 0.12  # while img2pdf is at it, which refuses pages of more than 14,400 points; the true size comes after
_SAME_DPI = 0.02
# What it raises on images that it does not take; its own errors are plain exceptions, broken files bring the others.
_NOT_TAKEN = (
    img2pdf.ImageOpenError, img2pdf.JpegColorspaceError, img2pdf.UnsupportedColorspaceError, img2pdf.AlphaChannelError,
    img2pdf.PdfTooLargeError, img2pdf.ExifOrientationError, img2pdf.NegativeDimensionError,
    OSError, ValueError, TypeError, LookupError, AttributeError, NotImplementedError, AssertionError,
)  # fmt: skip


def imposed(file: BinaryIO, document: ImageDocument) -> pikepdf.Pdf:
    """A PDF with a page for each page of the scan, in its true size, upright as far as the file itself tells."""
    pdf = _as_it_is(file, document) if document.is_plain else None
    if pdf is None:
        pdf = _decoded(document)
        turns = [0] * document.pages
    else:
        turns = [document.turn_deg] * document.pages
    for number, turn in enumerate(turns, start=1):
        _set_true_size(pdf.pages[number - 1], document.resolution(number))
        if turn:
            pdf.pages[number - 1].obj.Rotate = turn
    return pdf


def _as_it_is(file: BinaryIO, document: ImageDocument) -> pikepdf.Pdf | None:
    file.seek(0)
    try:
        pdf = _converted(file)
    except _NOT_TAKEN:
        return None
    return pdf if len(pdf.pages) == document.pages else None


def _decoded(document: ImageDocument) -> pikepdf.Pdf:
    pdf = pikepdf.new()
    for number in range(1, document.pages + 1):
        data = io.BytesIO()
        document.upright(number).save(data, "PNG")
        data.seek(0)
        pdf.pages.extend(_converted(data).pages)
    return pdf


def _converted(file: BinaryIO | io.BytesIO) -> pikepdf.Pdf:
    data = img2pdf.convert(
        file,
        layout_fun=lambda width, height, _: (width * _POINTS_PER_PIXEL, height * _POINTS_PER_PIXEL) * 2,
        rotation=img2pdf.Rotation.none,
        nodate=True,
        engine=img2pdf.Engine.pikepdf,
    )
    pdf = pikepdf.open(io.BytesIO(data))
    if "/ID" in pdf.trailer:
        del pdf.trailer["/ID"]  # made of the time; without it the content alone decides
    return pdf


def _set_true_size(page: pikepdf.Page, dpi: tuple[float, float]) -> None:
    across, down = (_POINTS_PER_INCH / _whole(value) / _POINTS_PER_PIXEL for value in dpi)
    _, _, width, height = (float(value) for value in page.mediabox)
    for name in ("/CropBox", "/TrimBox", "/BleedBox", "/ArtBox"):
        if name in page.obj:
            del page.obj[name]
    page.mediabox = pikepdf.Array([0, 0, round(width * across, 3), round(height * down, 3)])
    page.contents_add(ContentStreamBuilder().cm(pikepdf.Matrix(across, 0, 0, down, 0, 0)).build(), prepend=True)


def _whole(dpi: float) -> float:
    # PNG counts dots per metre: 300 dpi come back as 299.9994, and the page would be a pixel wider when it is rendered.
    return round(dpi) if abs(round(dpi) - dpi) < _SAME_DPI else dpi
