"""Numbers: where they stand in a text, and the two narrow exceptions in which one may change. Pure.

A number is more than its digits: its signs, separators, currency signs and units, and the spaces that touch it, belong to
it. Everything that holds a numeric character of any script (superscripts, full-width and Chinese numerals, Roman numeral
signs) counts, so a whole token, up to the white space around it, is frozen as soon as it holds one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

LETTER_TO_DIGIT = {"O": "0", "l": "1", "I": "1", "S": "5", "B": "8", "Z": "2"}
DIGIT_TO_LETTERS = {"0": "o", "1": "li", "2": "z", "3": "se", "4": "a", "5": "s", "6": "b", "8": "bg", "9": "gq"}

_SIGNS = frozenset("%‰‱#№℗§¶°ºª¤†‡*^~_=<>&@")
"""What gives a token a meaning that letters alone do not have; currency signs and mathematical signs come by category."""

_STROKES = "|¬"
"""Mathematical signs by category that in a scan are strokes of letters or hyphens."""

_OUTER = "()[]{}<>\"'“”„‘’«»,;:!?"
_CURRENCY = "[" + "".join(re.escape(chr(c)) for c in range(0x20, 0x2100) if unicodedata.category(chr(c)) == "Sc") + "]"
_SIGN = "[-+−–]?"
_DIGITS = r"(?:[0-9]{1,3}(?:[.,'’][0-9]{3})+|[0-9]+)(?:[.,][0-9]{2})?"
_AMOUNT = re.compile(f"{_SIGN}(?:{_CURRENCY}{_SIGN}{_DIGITS}|{_DIGITS}{_CURRENCY})")
_DECIMAL = re.compile(
    rf"{_SIGN}(?:[0-9]{{1,3}}(?:(?P<group>[.,'’])[0-9]{{3}})+(?:(?!(?P=group))[.,][0-9]{{2}})?|[0-9]+[.,][0-9]{{1,3}})"
)
_ISO_DATE = re.compile(r"(?:19|20)[0-9]{2}([-/.])(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12][0-9]|3[01])")
_DAY_DATE = re.compile(r"(?:0?[1-9]|[12][0-9]|3[01])([-/.])(?:0?[1-9]|[12][0-9]|3[01])\1(?:19|20)[0-9]{2}")
_CODE_STEMS = re.compile("mp|sha|md|utf|ascii|co|ch|nh|no|so|ho|[a-z]|usb|dvb|ps|cv|cat|web|ac|ad|ip|ipv")


_IN_LETTERS = re.compile("(?=..)[OlISBZ]*O[OlISBZ]*")
_LONGEST = 40
"""Characters of a token that an exception may concern; a hostile page has longer ones."""


def is_numeric(character: str) -> bool:
    """True for a digit or numeral of any script and style."""
    return character.isnumeric() or unicodedata.category(character)[0] == "N"


def is_sign(character: str) -> bool:
    """True for currency signs, mathematical signs, and others that make a token more than a word."""
    return character in _SIGNS or (unicodedata.category(character) in ("Sc", "Sm") and character not in _STROKES)


def is_number(token: str) -> bool:
    """True when the token holds anything of a number: it is frozen as a whole."""
    return any(is_numeric(c) or is_sign(c) for c in token)


def is_in_letters(token: str) -> bool:
    """True for a token with a nought read as a capital `O`, and otherwise nothing but what is read for digits: `lO`, `IOO`."""
    core = token.strip(_OUTER + ".")
    return len(core) <= _LONGEST and bool(_IN_LETTERS.fullmatch(core))


def letter_to_digit(token: str) -> str | None:
    """The amount, decimal number or date that this token was before letters were read into it; None for anything else.

    `$1O0.00` -> `$100.00`, `2O23-07-15` -> `2023-07-15`. Not `5l` (litres), `16B` or `$1.5B` (billions), `16B.50` (a
    section): letters that are also units are taken for digits only where no unit can stand.
    """
    core = token.strip(_OUTER).rstrip(".")
    start = token.find(core)
    if len(core) > _LONGEST or sum(c in "0123456789" for c in core) < 2 or not any(c in LETTER_TO_DIGIT for c in core):
        return None
    if any(is_numeric(c) and c not in "0123456789" for c in core):
        return None
    changed = "".join(LETTER_TO_DIGIT.get(c, c) for c in core)
    is_date = bool(_ISO_DATE.fullmatch(changed) or _DAY_DATE.fullmatch(changed))
    is_amount = bool(_AMOUNT.fullmatch(changed))
    if not (is_date or is_amount or _DECIMAL.fullmatch(changed)):
        return None
    if not all(_misread(core, at, sure=is_date or is_amount) for at, c in enumerate(core) if c in LETTER_TO_DIGIT):
        return None
    return token[:start] + changed + token[start + len(core) :]


def _misread(core: str, at: int, *, sure: bool) -> bool:
    """Whether the letter here can only be a misread digit. sure: a currency sign or a date's form says so too."""
    letter, left, right = core[at], core[:at], core[at + 1 :]
    if sum(c in LETTER_TO_DIGIT for c in core) >= sum(c.isdigit() for c in core) or not any(c.isdigit() for c in left):
        return False
    if not any(c.isdigit() for c in right):  # at the end, units stand: litres, billions, seconds
        rest_is_number = all(not c.isalpha() or c == "O" for c in right)
        ends_decimals = bool(re.search(r"[.,][0-9O]$", left)) and not right
        return rest_is_number and letter != "B" and (sure or (letter in "OZI" and ends_decimals))
    return sure or letter == "O" or (letter != "B" and left[-1] in "0123456789O" and right[0] in "0123456789O")


def digit_to_letter(token: str, is_word: Callable[[str], bool]) -> tuple[str, ...]:
    """The words that this token may be when its one digit is a misread letter: `qu1ck` -> `quick`, `wa3` -> `was`.

    is_word: whether a word is in a list or elsewhere in the document; for a digit at the end, whether it is so much more
    usual than the token without it that the digit is no footnote mark. Codes (`H2O`, `mp3`, `sha1`, `A4`), addresses and
    URLs have none.
    """
    core = token.strip(_OUTER + ".")
    start = token.find(core)
    if (
        len(core) > _LONGEST
        or not re.fullmatch(r"[^\W\d_]+[0-9]?[^\W\d_]*", core)
        or len(core) < 3
        or not any(c in DIGIT_TO_LETTERS for c in core)
    ):
        return ()
    at = next(i for i, c in enumerate(core) if c in DIGIT_TO_LETTERS)
    stem, tail = core[:at], core[at + 1 :]
    if not (stem[1:] + tail).islower() or (_CODE_STEMS.fullmatch(stem.casefold()) and len(tail) < 3):
        return ()
    if not tail and is_word(stem):  # a footnote mark, a version, a count
        return ()
    words = (stem + letter + tail for letter in DIGIT_TO_LETTERS[core[at]])
    return tuple(token[:start] + word + token[start + len(core) :] for word in words if is_word(word))
