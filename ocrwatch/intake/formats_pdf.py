"""Is this PDF whole? Its end mark, and the cross-reference that the end mark points to. Reads the tail and two small windows."""

from __future__ import annotations

import re
from typing import BinaryIO

_TAIL_BYTES = 64 * 1024  # scanners and mail gateways append junk after the end mark
_WINDOW_BYTES = 1024  # offsets are off by as much as there is junk before the header
_START = re.compile(rb"startxref\s+(\d{1,20})")
_REFERENCES = re.compile(rb"xref|\d+\s+\d+\s+obj")
_LINEARIZED = re.compile(rb"/Linearized\b")
_LENGTH = re.compile(rb"/L\s+(\d{1,20})")


def missing(file: BinaryIO, size: int) -> str:
    """What is missing of the PDF; empty when nothing is."""
    file.seek(0)
    head = file.read(_WINDOW_BYTES)
    announced = _LENGTH.search(head) if _LINEARIZED.search(head) else None
    if announced is not None and int(announced[1]) > size:
        return f"the PDF has {size} of {int(announced[1])} bytes"
    # A page-at-a-time writer appends: only the last end mark counts, the earlier ones belong to earlier versions.
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read(_TAIL_BYTES)
    end = tail.rfind(b"%%EOF")
    if end < 0:
        return "the PDF has no end mark (%%EOF)"
    starts = list(_START.finditer(tail, 0, end))
    if not starts:
        return "the PDF has no cross-reference pointer (startxref) before its end mark"
    if tail.find(b" obj", end) >= 0:
        return "the PDF goes on after its end mark, without another one"
    return _missing_references(file, size, offset=int(starts[-1][1]))


def _missing_references(file: BinaryIO, size: int, *, offset: int) -> str:
    if offset <= 0 or offset >= size:
        return "the cross-reference of the PDF is not there yet"
    file.seek(max(0, offset - _WINDOW_BYTES))
    if _REFERENCES.search(file.read(2 * _WINDOW_BYTES)) is None:
        return "there is no cross-reference where the PDF says it is"
    return ""
