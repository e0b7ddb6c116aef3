"""Pieces: the words of a page that a correction may concern, with their places. Pure.

A piece is a run of letters, with apostrophes or strokes inside; hyphens part pieces. Words broken over a line end know the
other half.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PIECE = re.compile(r"[^\W\d_](?:[^\W\d_'’|!¦]|['’|!¦](?=[^\W\d_]))*")
_BREAK = re.compile(r"(?P<first>[^\W\d_]+)[-‐¬\u00ad=—–]{1,3}[ \t]*\r?\n[ \t]*(?P<second>[^\W\d_]+)")
_NAME_PREFIX = re.compile("Ma?c|De|Du|La|Le")
_ELISION = 3
"""Letters, at most, of a part before or after an apostrophe that is no word of its own (`l'`, `qu'`, `'ll`)."""


@dataclass(frozen=True)
class Piece:
    """A word of the page: `text` stands at `start`. joined: the whole word, when a line end breaks it."""

    start: int
    text: str
    joined: str = ""

    @property
    def end(self) -> int:
        """Offset behind the last character."""
        return self.start + len(self.text)


def pieces(text: str) -> list[Piece]:
    """The words of the page in order; of a word with an elision or ending (`d'accuser`, `it's`) the main part."""
    broken = halves(text)
    found = []
    for match in _PIECE.finditer(text):
        start, word = _main_part(match.start(), match.group())
        found.append(Piece(start, word, "".join(broken.get(match.start(), ()))))
    return found


def halves(text: str) -> dict[int, tuple[str, str, str]]:
    """The halves of words that a line end breaks, by their offsets: what goes before in the word, the half, what follows."""
    found: dict[int, tuple[str, str, str]] = {}
    for match in _BREAK.finditer(text):
        found[match.start("first")] = ("", match["first"], match["second"])
        found[match.start("second")] = (match["first"], match["second"], "")
    return found


def _main_part(start: int, word: str) -> tuple[int, str]:
    parts = re.split(r"(['’])", word)
    long = [n for n, part in enumerate(parts) if len(part) > _ELISION]
    if len(parts) == 1 or len(long) != 1:
        return start, word
    return start + sum(map(len, parts[: long[0]])), parts[long[0]]


def carry_case(pattern: str, word: str) -> str:
    """The word, given in lower case, written as the pattern is: small, Capitalized, or ALL CAPITALS."""
    letters = [c for c in pattern if c.isalpha()]
    capitals = sum(c.isupper() for c in letters)
    if len(letters) > 1 and capitals > len(letters) // 2 and letters[0].isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if pattern[:1].isupper() else word


def is_torn(word: str) -> bool:
    """Whether capitals and small letters are mixed as no author mixes them: `LoRD`, `oF`; not `GmbH`, `McDONALD`, `PDFs`."""
    if not word.isalpha() or word.isupper() or word[1:].islower():
        return False
    if len(word) == 2:
        return word[1].isupper()
    mostly = word[0].isupper() and sum(c.isupper() for c in word) > len(word) // 2
    return mostly and len(word) > 3 and not (word[:-1].isupper() or _NAME_PREFIX.match(word))
