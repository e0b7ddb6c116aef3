"""Is this file whole, by its own format? Only delays: what it does not know is whole, the worker decides.

Bounded reads on the given file object; never the whole file, never a decoder. Each format has a function that says what is
missing, empty when nothing is: PDF in `formats_pdf`, TIFF in `formats_tiff`, the other images in `formats_image`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from ocrwatch.intake import formats_image, formats_pdf, formats_tiff

_HEAD_BYTES = 1024
Missing = Callable[[BinaryIO, int], str]


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
    head = file.read(_HEAD_BYTES)
    if not head.strip(b"\0"):
        return Completeness(whole=False, format="unknown", reason="it begins with zeros, as a file that is yet to be filled in")
    name, missing = _format_of(head)
    reason = missing(file, size)
    return Completeness(whole=not reason, format=name, reason=reason)


def _format_of(head: bytes) -> tuple[str, Missing]:
    for name, magic, missing in (
        ("tiff", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), formats_tiff.missing),
        ("jpeg", (b"\xff\xd8\xff",), formats_image.missing_of_jpeg),
        ("png", (b"\x89PNG\r\n\x1a\n",), formats_image.missing_of_png),
        ("gif", (b"GIF87a", b"GIF89a"), formats_image.missing_of_gif),
        ("bmp", (b"BM",), formats_image.missing_of_bmp),
        ("jpeg2000", (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"), formats_image.missing_of_jpeg2000),
    ):
        if head.startswith(magic):
            return name, missing
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp", formats_image.missing_of_webp
    # Readers accept a PDF header anywhere in the first kilobyte.
    return ("pdf", formats_pdf.missing) if b"%PDF-" in head else ("unknown", _nothing)


def _nothing(file: BinaryIO, size: int) -> str:
    return ""
