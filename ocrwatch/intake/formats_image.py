"""Is this JPEG, PNG, WebP, BMP, GIF or JPEG 2000 whole? Each walks its container to the end; no pixel is decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

_STEPS_MAX = 100_000
_GIF_STEPS_MAX = 400_000  # of at most 255 bytes each, in all images together
_BACK_BYTES = 4 * 1024 * 1024  # phones append whole videos after a JPEG's end
_BLOCK_BYTES = 64 * 1024
_MARKER_BYTES = 1024  # a marker may be preceded by any number of fill bytes
_SAMPLE_BYTES = 64
_GIF_EXTENSION, _GIF_IMAGE, _GIF_TRAILER = 0x21, 0x2C, 0x3B
_JPEG_SCAN, _JPEG_END = 0xDA, 0xD9
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length


def missing_of_jpeg(file: BinaryIO, size: int) -> str:
    """What is missing of the JPEG; empty when nothing is."""
    position = 2
    for _ in range(_STEPS_MAX):
        marker, body = _jpeg_marker(file, position)
        if marker == _JPEG_SCAN:
            # Within image data 0xFF is always escaped, so that this can only be the end; thumbnails lie before the scan.
            return "" if _found_backwards(file, size, b"\xff\xd9", not_before=body) else "the JPEG has no end mark (EOI)"
        if marker == _JPEG_END:
            return ""
        if marker is None:
            break
        position = body if marker in _JPEG_ALONE else body + _number(file, body, ">H")
    return "the JPEG has no image data yet"


def _jpeg_marker(file: BinaryIO, position: int) -> tuple[int | None, int]:
    """The marker at `position`, fill bytes skipped, and where what follows it begins."""
    file.seek(position)
    data = file.read(_MARKER_BYTES)
    filled = data.lstrip(b"\xff")
    if not filled or len(filled) == len(data):
        return None, position
    return filled[0], position + len(data) - len(filled) + 1


def missing_of_png(file: BinaryIO, size: int) -> str:
    """What is missing of the PNG; empty when nothing is."""
    position = 8
    for _ in range(_STEPS_MAX):
        if position + 12 > size:
            break
        length, kind = _number(file, position, ">I"), _read(file, position + 4, 4)
        position += 12 + length
        if not kind.isalpha():
            return "the PNG has a part that is no chunk"
        if kind == b"IEND" and position <= size:
            return ""
    return "the PNG has no end (IEND)"


def missing_of_webp(file: BinaryIO, size: int) -> str:
    """What is missing of the WebP; empty when nothing is."""
    end = _number(file, 4, "<I") + 8
    if end > size:
        return f"the WebP has {size} of {end} bytes"
    position = 12
    for _ in range(_STEPS_MAX):
        if position + 8 > end:
            return ""
        kind, length = _read(file, position, 4), _number(file, position + 4, "<I")
        sample = min(length, _SAMPLE_BYTES)
        ends_in_zeros = not _read(file, position + 8 + length - sample, sample).strip(b"\0")
        if not kind.strip(b"\0") or (kind.startswith(b"VP8") and sample == _SAMPLE_BYTES and ends_in_zeros):
            return "the WebP has data that is still zeros"
        position += 8 + length + length % 2
    return ""


def missing_of_bmp(file: BinaryIO, size: int) -> str:
    """What is missing of the BMP; empty when nothing is."""
    announced, pixels_at = _number(file, 2, "<I"), _number(file, 10, "<I")
    # Some writers leave the size out; the pixels must begin inside the file at least.
    if max(announced, pixels_at + 1) > size:
        return f"the BMP has {size} of {max(announced, pixels_at + 1)} bytes"
    return ""


def missing_of_gif(file: BinaryIO, size: int) -> str:
    """What is missing of the GIF; empty when nothing is."""
    position = 13 + _gif_palette_bytes(_read(file, 10, 1))
    steps = iter(range(_GIF_STEPS_MAX))
    for _ in steps:
        kind = _read(file, position, 1)
        if kind == bytes([_GIF_TRAILER]):
            return ""
        if kind == bytes([_GIF_EXTENSION]):
            position = _after_gif_blocks(file, position + 2, steps)
        elif kind == bytes([_GIF_IMAGE]):
            position = _after_gif_blocks(file, position + 11 + _gif_palette_bytes(_read(file, position + 9, 1)), steps)
        else:
            break
        if position > size:
            break
    return "the GIF has no end mark"


def _gif_palette_bytes(flags: bytes) -> int:
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _after_gif_blocks(file: BinaryIO, position: int, steps: Iterator[int]) -> int:
    for _ in steps:
        length = _read(file, position, 1)
        position += 1 + (length[0] if length else 0)
        if not length or length == b"\0":
            break
    return position


def missing_of_jpeg2000(file: BinaryIO, size: int) -> str:
    """What is missing of the JPEG 2000 file or codestream; empty when nothing is."""
    if _read(file, 0, 2) == b"\xff\x4f":
        return _missing_of_codestream(file, 0, size)
    position = 0
    for _ in range(_STEPS_MAX):
        if position + 8 > size:
            break
        length, kind = _number(file, position, ">I"), _read(file, position + 4, 4)
        if length == 1:
            length = _number(file, position + 8, ">Q")
        end = position + length if length else size
        if end > size or (0 < length < 8):
            break
        if kind == b"jp2c":
            return _missing_of_codestream(file, position + 8, end)
        position = end
    return "the JPEG 2000 file has no whole codestream"


def _missing_of_codestream(file: BinaryIO, begin: int, end: int) -> str:
    return "" if _found_backwards(file, end, b"\xff\xd9", not_before=begin) else "the JPEG 2000 codestream has no end (EOC)"


def _found_backwards(file: BinaryIO, end: int, mark: bytes, *, not_before: int) -> bool:
    """Whether `mark` stands between `not_before` and `end`, looking at the last few MB only."""
    earliest = max(not_before, end - _BACK_BYTES)
    while end > earliest:
        begin = max(earliest, end - _BLOCK_BYTES)
        if mark in _read(file, begin, end - begin + len(mark) - 1):
            return True
        end = begin
    return False


def _read(file: BinaryIO, position: int, length: int) -> bytes:
    file.seek(position)
    return file.read(length)


def _number(file: BinaryIO, position: int, code: str) -> int:
    """The number at `position`; 0 beyond the end of the file."""
    data = _read(file, position, struct.calcsize(code))
    return int(struct.unpack(code, data)[0]) if len(data) == struct.calcsize(code) else 0
