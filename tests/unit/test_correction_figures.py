"""Numbers and the two exceptions in which one may change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.correction import figures

WORDS = frozenset(["quick", "was", "all", "since", "this", "cats", "well", "cat"])


def known(word: str) -> bool:
    return word.casefold() in WORDS


@pytest.mark.parametrize(
    ("read", "true"),
    [
        ("$1O0.00", "$100.00"),
        ("($1O0.00)", "($100.00)"),
        ("€1O,50", "€10,50"),
        ("1OO,50€", "100,50€"),
        ("-1O0.00", "-100.00"),
        ("2O23-07-15", "2023-07-15"),
        ("2023-07-1S", "2023-07-15"),
        ("15.O7.2023,", "15.07.2023,"),
        ("10,5O", "10,50"),
        ("$16O", "$160"),
    ],
)
def test_letter_to_digit_mends_amounts_decimals_and_dates(read: str, true: str) -> None:
    """A letter among the digits of an amount, a decimal number or a date becomes the digit that it is confused with."""
    assert figures.letter_to_digit(read) == true


@pytest.mark.parametrize(
    "token",
    [
        "5l",
        "16B",
        "$16B",
        "$1.5B",
        "1.5l",
        "3,5l",
        "5l.2",
        "16B.50",
        "12l.50",
        "1O0",
        "1S.5",
        "1.2B3",
        "B1O0.00",
        "$lO0.00",
        "O.OO",
        "$O.OO",
        "192.168.1.l",
        "1O:30",
        "SO12",
        "ISO9001",
        "1Z8",
        "2O23-13-15",
        "٣O٤.٠٠",
        "１O０.００",
        "½O.00",
        "$1²O.00",
        "100.00",
        "l2.50",
    ],
)
def test_letter_to_digit_leaves_units_codes_and_foreign_digits_alone(token: str) -> None:
    """Litres, billions, versions, addresses, sections and digits of other scripts are no misread amounts."""
    assert figures.letter_to_digit(token) is None


@given(st.text(alphabet="0123456789OlISBZ.,-/$€ kgA%'’", max_size=12))
def test_letter_to_digit_changes_only_confusable_letters(token: str) -> None:
    """Whatever the token, real digits, signs and separators stay, and at least two real digits were there."""
    changed = figures.letter_to_digit(token)
    if changed is not None:
        assert len(changed) == len(token)
        assert all(a == b or figures.LETTER_TO_DIGIT.get(a) == b for a, b in zip(token, changed, strict=True))
        assert sum(c.isdigit() for c in token) >= 2


@pytest.mark.parametrize(("read", "true"), [("qu1ck", "quick"), ("wa3", "was"), ("Th1s", "This"), ("s1nce,", "since,")])
def test_digit_to_letter_mends_words(read: str, true: str) -> None:
    """A single digit in a word becomes the letter that makes it a known word."""
    assert figures.digit_to_letter(read, known) == (true,)


@pytest.mark.parametrize(
    "token",
    [
        "H2O",
        "mp3",
        "sha1",
        "A4",
        "cat5",
        "a1l",
        "qu11ck",
        "1quick",
        "x@wa3.de",
        "http://wa3",
        "wa3/2",
        "WA3",
        "ca²s",
        "quıck",
        "5",
        "q1",
        "$wa3",
    ],
)
def test_digit_to_letter_leaves_codes_alone(token: str) -> None:
    """Codes, addresses, footnote marks, capitals and tokens with more digits stay."""
    assert figures.digit_to_letter(token, known) == ()


@pytest.mark.parametrize("token", ["5", "１２", "x²", "三", "Ⅳ", "½", "٣", "€", "5%", "a+b", "№", "12/05/2023", "①", "3️⃣"])
def test_is_number_knows_numerals_and_signs_of_all_scripts(token: str) -> None:
    """Every numeral of Unicode, every currency and mathematical sign freezes its token."""
    assert figures.is_number(token)
