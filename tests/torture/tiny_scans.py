"""Scans of a few hundred bytes whose text stands in them: what a fast engine of the tests reads, and intake takes for whole."""

from __future__ import annotations

import struct
from collections.abc import Sequence

_ASCII, _SHORT, _LONG = 2, 3, 4
_ENTRY_BYTES = 12


def tiff(pages: Sequence[str]) -> bytes:
    """A TIFF with one black pixel a page and the text of each as its description; the pages stand behind their data.

    So a file that is not all there yet lacks a page that its head points to.
    """
    body = bytearray(b"II*\0\0\0\0\0")
    link = 4  # where the place of the next page belongs
    for text in pages:
        words = text.encode("ascii") + b"\0" * (5 - min(len(text), 4))  # beside, never within, its entry
        text_at = len(body)
        body += words + b"\0" * (len(words) % 2)
        pixel_at = len(body)
        body += b"\x01\x01"
        struct.pack_into("<I", body, link, len(body))
        entries = [
            (256, _LONG, 1, 1),
            (257, _LONG, 1, 1),
            (258, _SHORT, 1, 8),
            (259, _SHORT, 1, 1),
            (262, _SHORT, 1, 1),
            (270, _ASCII, len(words), text_at),
            (273, _LONG, 1, pixel_at),
            (278, _LONG, 1, 1),
            (279, _LONG, 1, 1),
        ]
        body += struct.pack("<H", len(entries))
        for entry in entries:
            body += struct.pack("<HHII", *entry)
        link = len(body)
        body += b"\0\0\0\0"
    return bytes(body)


def texts(data: bytes) -> list[str]:
    """The texts of the pages of such a TIFF. Raises ValueError for any other file, or one that was cut."""
    if data[:4] != b"II*\0":
        raise ValueError("no TIFF of the tests")
    pages: list[str] = []
    try:
        (at,) = struct.unpack_from("<I", data, 4)
        while at:
            (count,) = struct.unpack_from("<H", data, at)
            for place in range(at + 2, at + 2 + count * _ENTRY_BYTES, _ENTRY_BYTES):
                tag, _, length, value = struct.unpack_from("<HHII", data, place)
                if tag == 270:
                    pages.append(data[value : value + length].rstrip(b"\0").decode("ascii"))
            (at,) = struct.unpack_from("<I", data, at + 2 + count * _ENTRY_BYTES)
    except struct.error as error:
        raise ValueError("it was cut") from error
    return pages
