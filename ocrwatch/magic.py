"""The format of a file by how it begins; a name says nothing. Pure: the intake and the readers of pages agree on it."""

from __future__ import annotations

HEAD_BYTES = 1024
"""As much of a file as `format_of` wants to see. Readers of PDF accept a header anywhere in it: mail gateways write before it."""

_BEGINNINGS = {
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
    b"\xff\xd8\xff": "jpeg",
    b"\x89PNG\r\n\x1a\n": "png",
    b"GIF87a": "gif",
    b"GIF89a": "gif",
    b"BM": "bmp",
    b"\0\0\0\x0cjP  \r\n\x87\n": "jpeg2000",
    b"\xff\x4f\xff\x51": "jpeg2000",
}


def format_of(head: bytes) -> str | None:
    """`pdf`, `tiff`, `jpeg`, `png`, `webp`, `bmp`, `gif` or `jpeg2000`, by a file's first HEAD_BYTES; None for anything else."""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    for beginning, format_ in _BEGINNINGS.items():
        if head.startswith(beginning):
            return format_
    return "pdf" if b"%PDF-" in head else None
