"""The form that page texts have: no control characters, lines that end in a newline, nothing after the last. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import replace

from ocrwatch.ocr.engine import Word

# How PDFium marks a hyphen at the end of a line.
_HYPHEN_MARKS = {0x02: "-", 0xFFFE: "-"}


def printable(text: str) -> str:
    """The text without control characters and line separators of any kind, for use within a line."""
    return "".join(char for char in text if unicodedata.category(char) not in {"Cc", "Cs", "Zl", "Zp"})


def tidy(text: str) -> str:
    """Text from elsewhere in our form: lines without trailing blanks, no blank lines at the end, one newline after each."""
    lines = text.translate(_HYPHEN_MARKS).replace("\t", " ").splitlines()
    body = "\n".join(printable(line).rstrip() for line in lines).rstrip("\n")
    return f"{body}\n" if body else ""


def typeset(words: Iterable[tuple[str, Word]]) -> tuple[str, tuple[Word, ...]]:
    """The text of a page from its words, each after what parts it from the one before; and the words with their offsets in it."""
    parts: list[str] = []
    placed: list[Word] = []
    length = 0
    for separator, word in words:
        if placed:
            parts.append(separator)
            length += len(separator)
        placed.append(replace(word, offset=length))
        parts.append(word.text)
        length += len(word.text)
    return "".join(parts) + ("\n" if placed else ""), tuple(placed)
