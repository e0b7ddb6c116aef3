"""Marks: the narrow repairs of punctuation. A stop for a comma and back, a speck read as a quotation mark, a letter that stands
alone read as a sign. Pure."""

from __future__ import annotations

import re

QUOTES = "‘’'`´"
ALL = QUOTES + ".,"
_SHORTEST = 3
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
SIGNS = "@&®©«»="
"""What a word of one letter is read as. No currency signs, no number sign, no bullets."""

_RUNNING = re.compile(r"[^\W\d_]{2,}(?:['’-][^\W\d_]+)*")
_REACH = 300
"""Characters in which the closing mark of a quotation is looked for."""


def repairs(token: str) -> tuple[str, ...]:
    """What may stand for a token with a mark at one end; nothing where it is no plain word of at least three letters."""
    if len(token) > _SHORTEST and token[-1] in ".," and _WORD.fullmatch(token[:-1]):
        return (token[:-1] + ("," if token[-1] == "." else "."),)
    if len(token) > _SHORTEST and token[0] in QUOTES and _WORD.fullmatch(token[1:].rstrip(".,;:")):
        return (token[1:],)
    return ()


def has_partner(raw: str, start: int, token: str) -> bool:
    """Whether a quotation that the token opens is closed soon after."""
    following = raw[start + len(token) : start + len(token) + _REACH]
    return token[0] in QUOTES and any(
        c in QUOTES and not b.isspace() and not a.isalpha() for b, c, a in _triples(token[-1] + following + " ")
    )


def _triples(text: str) -> zip[tuple[str, str, str]]:
    return zip(text, text[1:], text[2:], strict=False)


def is_lone_sign(raw: str, start: int, token: str) -> bool:
    """Whether a sign stands alone in running text: behind a small word on its line, and before another word."""
    if len(token) != 1 or token not in SIGNS:
        return False
    line = raw[raw.rfind("\n", 0, start) + 1 : start].split()
    following = raw[start + 1 : start + 1 + _REACH].split(maxsplit=1)
    before, after = line[-1].rstrip(",;") if line else "", following[0].rstrip(".,;:") if following else ""
    return before.islower() and bool(_RUNNING.fullmatch(before) and _RUNNING.fullmatch(after))
