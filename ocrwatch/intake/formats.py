"""Is this file whole, by its own format? Only delays: what it does not know is whole, the worker decides.

Bounded reads on the given file object; never the whole file, never a decoder. Each format has a function that says what is
missing, empty when nothing is: PDF in `formats_pdf`, TIFF in `formats_tiff`, the other images in `formats_image`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from ocrwatch import magic
from ocrwatch.intake import formats_image, formats_pdf, formats_tiff

_MISSING: dict[str, Callable[[BinaryIO, int], str]] = {
    "pdf": formats_pdf.missing,
    "tiff": formats_tiff.missing,
    "jpeg": formats_image.missing_of_jpeg,
    "png": formats_image.missing_of_png,
    "gif": formats_image.missing_of_gif,
    "bmp": formats_image.missing_of_bmp,
    "jpeg2000": formats_image.missing_of_jpeg2000,
    "webp": formats_image.missing_of_webp,
}


@dataclass(frozen=True)
class Completeness:
    """Whether a file is whole. reason: what is missing, for people; empty when whole."""

    whole: bool
    format: str
    reason: str = ""

    def to_json(self) -> list[Any]:
        """The value as a list, for a frame."""
        return [self.whole, self.format, self.reason]

    @staticmethod
    def from_json(data: list[Any]) -> Completeness:
        """The value of `to_json`. Raises ValueError on anything else."""
        whole, format_, reason = data
        return Completeness(whole=bool(whole), format=str(format_), reason=str(reason))


def check(file: BinaryIO, size: int) -> Completeness:
    """Whether the `size` bytes of `file` (seekable, binary) are a whole file of their format."""
    if size == 0:
        return Completeness(whole=False, format="empty", reason="it has no content yet")
    file.seek(0)
    head = file.read(magic.HEAD_BYTES)
    if not head.strip(b"\0"):
        return Completeness(whole=False, format="unknown", reason="it begins with zeros, as a file that is yet to be filled in")
    format_ = magic.format_of(head)
    if format_ is None:
        return Completeness(whole=True, format="unknown")
    reason = _MISSING[format_](file, size)
    return Completeness(whole=not reason, format=format_, reason=reason)
