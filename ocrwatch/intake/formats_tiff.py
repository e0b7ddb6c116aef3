"""Is this TIFF or BigTIFF whole? Every page of the chain, its values, and its strips or tiles must lie inside the file."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

_PAGES_MAX = 20_000
_ENTRIES_MAX = 4_096
_VALUES_MAX = 65_536
_WORK_MAX = 1_000_000  # entries and values in all: a hostile file must not keep the inbox busy
_SAMPLE_BYTES = 64
_PLAIN_SAMPLE_BYTES = 8_192
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_NUMBER_CODES = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_COMPRESSION, _PHOTOMETRIC, _STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES, _OLD_JPEG = (
    259,
    262,
    273,
    279,
    324,
    325,
    513,
)

_PLACES = frozenset({_STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES})


@dataclass(frozen=True)
class _Layout:
    """Field widths and byte order of one file."""

    order: str
    big: bool

    def unpack(self, code: str, data: bytes) -> int:
        return int(struct.unpack(self.order + code, data)[0])


@dataclass(frozen=True)
class _Value:
    type_: int
    count: int
    offset: int

    @property
    def length(self) -> int:
        return _TYPE_BYTES.get(self.type_, 0) * self.count


def missing(file: BinaryIO, size: int) -> str:
    """What is missing of the TIFF; empty when nothing is."""
    try:
        return _missing_in_chain(file, size)
    except struct.error:
        return "the TIFF ends in the middle of a page's description"


def _missing_in_chain(file: BinaryIO, size: int) -> str:
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:1] == b"I" else ">"
    layout = _Layout(order=order, big=struct.unpack(order + "H", head[2:4])[0] == 43)
    offset = layout.unpack("Q", head[8:16]) if layout.big else layout.unpack("I", head[4:8])
    if offset == 0:
        return "the TIFF has no page yet"
    seen: set[int] = set()
    work = 0
    # A chain that runs in circles is odd, but nothing is missing from it.
    while offset and offset not in seen and len(seen) < _PAGES_MAX and work < _WORK_MAX:
        seen.add(offset)
        if offset >= size:
            return f"page {len(seen)} of the TIFF is not there yet"
        values, entries, offset = _read_directory(file, offset, layout)
        work += entries + sum(min(value.count, _VALUES_MAX) for tag, value in values.items() if tag in _PLACES)
        reason = _missing_of_page(file, size, values, layout)
        if reason:
            return f"page {len(seen)} of the TIFF {reason}"
    return ""


def _read_directory(file: BinaryIO, offset: int, layout: _Layout) -> tuple[dict[int, _Value], int, int]:
    """The values of one page by tag, the number of its entries, and the offset of the next page."""
    count_bytes, entry_bytes, inline_bytes = (8, 20, 8) if layout.big else (2, 12, 4)
    file.seek(offset)
    count = layout.unpack("Q" if layout.big else "H", file.read(count_bytes))
    values = {}
    for index in range(min(count, _ENTRIES_MAX)):
        entry = file.read(entry_bytes)
        tag, type_ = struct.unpack(layout.order + "HH", entry[:4])
        number = layout.unpack("Q" if layout.big else "I", entry[4:-inline_bytes])
        value = _Value(type_, number, 0)
        here = offset + count_bytes + index * entry_bytes + entry_bytes - inline_bytes
        there = layout.unpack("Q" if layout.big else "I", entry[-inline_bytes:])
        values[tag] = _Value(type_, number, here if value.length <= inline_bytes else there)
    if count > _ENTRIES_MAX:
        return values, _ENTRIES_MAX, 0
    following = layout.unpack("Q" if layout.big else "I", file.read(inline_bytes))
    return values, count, following


def _missing_of_page(file: BinaryIO, size: int, values: dict[int, _Value], layout: _Layout) -> str:
    if not values.keys() & {_STRIP_OFFSETS, _TILE_OFFSETS, _OLD_JPEG}:
        return "has no image data yet"
    if any(value.offset + value.length > size for value in values.values()):
        return "has values beyond the end of the file"
    for offsets_tag, lengths_tag in ((_STRIP_OFFSETS, _STRIP_BYTES), (_TILE_OFFSETS, _TILE_BYTES)):
        offsets = _numbers(file, values.get(offsets_tag), layout)
        lengths = _numbers(file, values.get(lengths_tag), layout)
        if any(offset >= size for offset in offsets):
            return "has image data beyond the end of the file"
        if any(offset + length > size for offset, length in zip(offsets, lengths, strict=False)):
            return "has image data beyond the end of the file"
        sample_bytes = _sample_bytes(file, values, layout)
        if sample_bytes and offsets and lengths and _ends_in_zeros(file, offsets[-1], lengths[-1], sample_bytes):
            return "has image data that is still zeros"
    return ""


def _numbers(file: BinaryIO, value: _Value | None, layout: _Layout) -> tuple[int, ...]:
    if value is None or value.type_ not in _NUMBER_CODES:
        return ()
    count = min(value.count, _VALUES_MAX)
    file.seek(value.offset)
    data = file.read(count * _TYPE_BYTES[value.type_])
    return struct.unpack(f"{layout.order}{count}{_NUMBER_CODES[value.type_]}", data)


def _sample_bytes(file: BinaryIO, values: dict[int, _Value], layout: _Layout) -> int:
    """How many zeros at the end of the image mean a file that was given its size before its content; 0: never."""
    compressed = _numbers(file, values.get(_COMPRESSION), layout)[:1] not in ((), (0,), (1,))
    if compressed:
        return _SAMPLE_BYTES
    white_is_zero = _numbers(file, values.get(_PHOTOMETRIC), layout)[:1] == (0,)
    return 0 if white_is_zero else _PLAIN_SAMPLE_BYTES


def _ends_in_zeros(file: BinaryIO, offset: int, length: int, sample_bytes: int) -> bool:
    if length < sample_bytes:
        return False
    file.seek(offset + length - sample_bytes)
    return not file.read(sample_bytes).strip(b"\0")
