"""The product's promise: whatever is proposed, no number changes outside the two exceptions, and the layout stays."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ocrwatch.correction import figures, marks
from ocrwatch.correction.edits import Edit, Reason, apply, undo
from ocrwatch.correction.guard import Guard

EXCEPTIONS = (Reason.LETTER_TO_DIGIT, Reason.DIGIT_TO_LETTER)
ALPHABET = "abelnotwsOlISBZTKäßçиа0123456789٣１²½三Ⅳ$€£¢₹%‰§#+-−–.,:;/'’|!() \n\t\f\r\u2028\u00a0\u202f"
FRAGMENTS = st.sampled_from(
    [
        *("inanlté", "knovvn", "recipiont", "tlie", "werk", "ofthe", "well-knovvn", "d'accuser", "wal", "2O23-07-15", "1O0,50€"),
        *("the", "tlie", "cat", "$1O0.00", "1,000.50", "12/05/2023", "5%", "No.", "5", "-", "−5", "345", "kg", "16", "B"),
        *("qu1ck", "wa3", "H2O", "IV", "XIV", "EUR", "€", "Mr", "not", "now", "ten", "zwei", "May"),
        " ",
        "  ",
        "\n",
        "\f",
        "\n  ",
        "total.",
        "‘total",
        "cats,",
        "12 345",
        "5 l",
        "１２３",
        "x²",
        "三",
        "5 %",
        "- 5",
        "\u202f",
    ]
)
TEXTS = st.one_of(
    st.text(alphabet=ALPHABET, max_size=40),
    st.lists(FRAGMENTS, max_size=14).map(" ".join),
    st.lists(FRAGMENTS, max_size=14).map("".join),
)


@st.composite
def proposed_edits(draw: st.DrawFn, raw: str) -> Edit:
    """An edit of some stretch of the page: of a word, of a token, or of anything; often nearly right, sometimes wild."""
    words = [m.span() for m in re.finditer(r"[^\W\d_]+", raw)]
    tokens = [m.span() for m in re.finditer(r"\S+", raw)]
    kind = draw(st.sampled_from(["word", "word", "two words", "token", "digits", "marks", "anything"]))
    start = draw(st.integers(0, len(raw)))
    end = draw(st.integers(start, min(len(raw), start + 8)))
    if kind in ("token", "digits", "marks") and tokens:
        start, end = tokens[draw(st.integers(0, len(tokens) - 1))]
    elif kind != "anything" and words:
        first = draw(st.integers(0, len(words) - 1))
        start, end = words[first][0], words[min(first + (kind == "two words"), len(words) - 1)][1]
    before = raw[start:end]
    at = draw(st.integers(0, max(len(before) - 1, 0)))
    put = draw(st.sampled_from([*"aetnz", *"aetnz", "rn", "O", "0", "5", " ", "", "-", "'", "а", "三", "\n"]))
    after = before[:at] + put + before[at + 1 :]
    if kind == "digits":
        letters = figures.digit_to_letter(before, lambda _: True)
        after = figures.letter_to_digit(before) or (letters[0] if letters else after)
    if kind == "marks":
        after = next(iter(marks.repairs(before)), after)
    reason = (
        Reason.PUNCTUATION
        if kind == "marks"
        else draw(st.sampled_from(list(Reason) if kind in ("digits", "anything") else [Reason.WORD, Reason.REWRITE]))
    )
    return Edit(start, before, after, reason, draw(st.floats(-5, 5)))


@st.composite
def pages_and_edits(draw: st.DrawFn) -> tuple[str, list[Edit]]:
    raw = draw(TEXTS)
    return raw, draw(st.lists(proposed_edits(raw), max_size=8))


def skeleton(text: str) -> list[tuple[str, str, str]]:
    """Every token with a numeral or a currency sign, and the white space that touches it."""
    parts = re.split(r"(\s+)", text)
    return [
        ("".join(parts[i - 1 : i]), part, "".join(parts[i + 1 : i + 2]))
        for i, part in enumerate(parts)
        if any(c.isnumeric() or c.isdigit() or unicodedata.category(c) in ("Sc", "Nd", "Nl", "No") or c in "%‰+−#" for c in part)
    ]


def layout(text: str) -> list[tuple[str, str]]:
    """Indentation and line end of every line."""
    lines = text.splitlines(keepends=True)
    return [(line[: len(line) - len(line.lstrip())], line[len(line.rstrip()) :]) for line in lines]


@settings(max_examples=600, deadline=None)
@given(pages_and_edits())
@example(("th¢ cat", [Edit(0, "th¢", "the", Reason.WORD, 9.0)]))
@example(("12 345", [Edit(2, " ", "", Reason.REWRITE, 9.0)]))
@example(("- 5", [Edit(0, "-", "a", Reason.WORD, 9.0)]))
@example(("No 5", [Edit(0, "No", "Now", Reason.WORD, 9.0)]))
@example(("cat 5", [Edit(0, "cat", "cat-", Reason.WORD, 9.0)]))
def test_guard_changes_no_number_and_no_layout_whatever_is_proposed(case: tuple[str, list[Edit]]) -> None:
    """Numbers, their signs and spaces, line and page breaks and indentation are the same; undoing gives the raw page."""
    raw, proposed = case
    kept, refused = Guard(raw, is_word=lambda _: True).admit(proposed)
    assert len(kept) + len(refused) == len(proposed)
    corrected = apply(raw, kept)
    assert undo(corrected, kept).encode("utf-8") == raw.encode("utf-8")
    assert layout(corrected) == layout(raw)
    assert skeleton(apply(raw, [e for e in kept if e.reason not in EXCEPTIONS])) == skeleton(raw)
    for edit in kept:
        changed = [(a, b) for a, b in zip(edit.before, edit.after, strict=edit.reason in EXCEPTIONS) if a != b]
        if edit.reason is Reason.LETTER_TO_DIGIT:
            assert all(figures.LETTER_TO_DIGIT.get(a) == b for a, b in changed)
        if edit.reason is Reason.DIGIT_TO_LETTER:
            assert len(changed) == 1
            assert changed[0][1] in figures.DIGIT_TO_LETTERS[changed[0][0]]
        if edit.reason is Reason.PUNCTUATION:
            assert re.sub(r"[^\w'’-]", "", edit.after) == re.sub(r"[^\w'’-]", "", edit.before).lstrip(marks.QUOTES)


@settings(max_examples=300, deadline=None)
@given(pages_and_edits())
@example(("x²total.", [Edit(0, "x²total.", "x²total,", Reason.PUNCTUATION, 0.0)]))
def test_guard_with_both_exceptions_off_changes_no_digit_at_all(case: tuple[str, list[Edit]]) -> None:
    """Switched off means off: every number of the page is as read."""
    raw, proposed = case
    kept, _ = Guard(raw, is_word=lambda _: True, letter_to_digit=False, digit_to_letter=False).admit(proposed)
    assert skeleton(apply(raw, kept)) == skeleton(raw)


def objection(raw: str, before: str, after: str, reason: Reason = Reason.WORD, names: frozenset[str] = frozenset()) -> str | None:
    return Guard(raw, is_word=lambda _: True, names=names).objection(Edit(raw.index(before), before, after, reason, 1.0))


@pytest.mark.parametrize(
    ("raw", "before", "after"),
    [
        ("tlie cat", "tlie", "the"),
        ("the c0w and tlie cat", "tlie", "the"),
        ("l'inanlté du", "inanlté", "inanité"),
        ("a well-knovvn man", "knovvn", "known"),
        ("Invoic # 12345", "Invoic", "Invoice"),
        ("Juiy 4", "Juiy", "July"),
        ("the n came", "the n", "then"),
        ("ofthe cat", "ofthe", "of the"),
        ("w|th care", "w|th", "with"),
    ],
)
def test_guard_lets_word_edits_pass(raw: str, before: str, after: str) -> None:
    """What the product is for is not in the guard's way, also beside a number when the word is long enough to be no unit."""
    guard = Guard(raw, is_word=lambda word: word != before)
    assert guard.objection(Edit(raw.index(before), before, after, Reason.WORD, 1.0)) is None


@pytest.mark.parametrize(
    ("raw", "before", "after"),
    [
        ("at 5 kq of", "kq", "kg"),
        ("No 5 is", "No", "Na"),
        ("5 %", "%", "a"),
        ("costs th¢ man", "th¢", "the"),
        ("pay 12 EUR now", "EUR", "BUR"),
        ("pay BUR now", "BUR", "EUR"),
        ("chapter XIV of", "XIV", "XIX"),
        ("chapter XlV of", "XlV", "XIV"),
        ("write to max@localhost.de now", "localhost", "localhosts"),
        ("see www.exarnple.org now", "exarnple", "example"),
        ("path/to/fi1e and fiie", "path", "paths"),
        ("the iViveLabs firm", "iViveLabs", "iViewLabs"),
        ("a Homoglyph", "Homoglyph", "Hоmoglyph"),
        ("a word here", "word", "word\u200b"),
        ("a word here", "word", "5word"),
        ("a word here", "word", "w0rd"),
        ("a word here", "word", "wor三d"),
        ("a word here", "ord", "orb"),
        ("two\nlines", "two\nlines", "two lines"),
        ("two  columns", "two  columns", "two columns"),
        ("  indented", " ", ""),
        ("page\fpage", "page\fpage", "page page"),
        ("short", "short", "another longer text"),
    ],
)
def test_guard_refuses(raw: str, before: str, after: str) -> None:
    """Units and signs beside numbers, currencies, Roman numerals, addresses, codes, other scripts, layout, long changes."""
    assert objection(raw, before, after) is not None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Mr", "Ms"),
        ("not", "now"),
        ("now", "not"),
        ("not", "note"),
        ("nol", "not"),
        ("mg", "ug"),
        ("with", "without"),
        ("June", "July"),
        ("Jule", "July"),
        ("zwei", "drei"),
        ("zrei", "drei"),
        ("zweiundzwanzig", "dreiundzwanzig"),
        ("sixteen", "sixty"),
        ("possibie", "impossible"),
        ("asymptomatlc", "symptomatic"),
        ("febrile", "afebrile"),
        ("nillion", "million"),
        ("dollar", "dollars"),
        ("Mio", "Mia"),
        ("Tage", "Jahre"),
        ("fire", "five"),
        ("tour", "four"),
        ("hot", "not"),
        ("unpaid", "paid"),
        ("trentadue", "trentatre"),
        ("pětset", "šestset"),
        ("pięćset", "sześćset"),
        ("vijfentwintig", "vierentwintig"),
        ("doscientos", "trescientos"),
    ],
)
def test_guard_never_swaps_small_words_that_carry_the_meaning(before: str, after: str) -> None:
    """Titles, negations, units, months and number words stay; an unclear one is not made into one of them."""
    assert objection(f"a {before} b", before, after) is not None


@pytest.mark.parametrize(
    ("raw", "before", "after", "passes"),
    [
        ("zwan-\nzig Euro", "zwan", "zwar", False),
        ("neun-\nzehn Euro", "zehn", "zeln", False),
        ("fünf-\nzehm Euro", "zehm", "zehn", False),  # or `zig`
        ("ein Haus-\nhait im", "hait", "halt", True),
        ("ein Hans-\nhalt im", "Hans", "Haus", True),
    ],
)
def test_guard_reads_a_number_over_a_line_end(raw: str, before: str, after: str, passes: bool) -> None:
    """Neither half of a number word is one by itself."""
    guard = Guard(raw, is_word=lambda word: word in ("Haushalt", "halt", "zwar"))
    assert (guard.objection(Edit(raw.index(before), before, after, Reason.WORD, 9.0)) is None) is passes


@pytest.mark.parametrize("number", ["lO", "OO", "IOO", "(BO)"])
def test_number_of_letters_alone_is_made_no_word(number: str) -> None:
    """`IO pieces` may be ten of them: it stays as read, and is no other word afterwards."""
    raw = f"take {number} pieces"
    before = number.strip("()")
    guard = Guard(raw, is_word=lambda word: word == "to")
    assert guard.objection(Edit(raw.index(before), before, "to", Reason.WORD, 9.0)) == "may be a number that was read as letters"


@pytest.mark.parametrize(
    ("before", "after", "passes"),
    [
        ("witli", "with", True),  # `within` is no farther by letters, but does not look like it
        ("nieht", "nicht", True),
        ("fivc", "five", True),
        ("inodify", "modify", True),  # `inmodify` is no word
        ("impossihle", "possible", False),
        ("possihle", "impossible", False),
        ("nov", "not", False),
        ("nol", "not", False),
    ],
)
def test_guard_makes_a_small_word_where_no_other_of_its_group_looks_as_like(before: str, after: str, passes: bool) -> None:
    """Misreadings that look alike are nearer than others; an opposite counts only when it is a word."""
    guard = Guard(f"a {before} b", is_word=lambda word: word in ("possible", "impossible"))
    assert (guard.objection(Edit(2, before, after, Reason.WORD, 9.0)) is None) is passes


@pytest.mark.parametrize(
    ("before", "after", "passes"),
    [
        ("LoRD", "LORD", True),
        ("oF", "or", True),
        ("GmbH", "Gmbh", False),
        ("iPhone", "Iphone", False),
        ("kW", "kw", False),
        ("McDONALD", "MCDONALD", False),
    ],
)
def test_guard_mends_torn_capitals_of_plain_words_only(before: str, after: str, passes: bool) -> None:
    """Capitals within a word are a code or a name, except where no author would set them so and the word is in a list."""
    assert (objection(f"a {before} b", before, after) is None) is passes


@pytest.mark.parametrize(
    ("raw", "before", "after", "passes"),
    [
        ("the cats. and dogs", "cats.", "cats,", True),
        ("the cats, And dogs", "cats,", "cats.", True),
        ("the ‘Cats and dogs", "‘Cats", "Cats", True),
        ("the ‘Cats and dogs’ sat", "‘Cats", "Cats", False),  # a quotation that is closed
        ("the cats. 12 dogs", "cats.", "cats,", False),
        ("in 1999, cats. and", "cats.", "cats,", False),
        ("at 12 cats. and", "cats.", "cats,", False),
        ("Mr. Smith", "Mr.", "Mr,", False),
        ("paid 12.50. and", "12.50.", "12.50,", False),
        ("see e.g. there", "e.g.", "e.g,", False),
        ("cats; and", "cats;", "cats,", False),
        ("the cats. and dogs", "cats.", "cats", False),
        ("the cats. and dogs", "cats.", "cat,", False),
    ],
)
def test_guard_lets_only_plain_marks_at_plain_words_pass(raw: str, before: str, after: str, passes: bool) -> None:
    """A stop for a comma and back, an opening quotation mark that nothing closes; never at numbers, titles, abbreviations."""
    assert (objection(raw, before, after, Reason.PUNCTUATION) is None) is passes


def test_guard_leaves_names_alone() -> None:
    """A name that was seen before is no misreading."""
    assert objection("the MNKOI plant", "MNKOI", "MINKOI", names=frozenset(["MNKOI"])) == "is a name seen before"


def test_guard_bounds_what_changes_in_a_line() -> None:
    """Where many edits meet in one short line, the surest pass and the rest are refused."""
    raw = "abcd efgh ijkl\n"
    proposed = [
        Edit(at, raw[at : at + 4], "zz" + raw[at + 2 : at + 4], Reason.WORD, score)
        for at, score in ((0, 1.0), (5, 3.0), (10, 2.0))
    ]
    kept, refused = Guard(raw, is_word=lambda _: True).admit(proposed)
    assert [e.score for e in kept] == [3.0, 2.0]
    assert [r.why for r in refused] == ["changes too much of its line"]


def test_guard_takes_the_surer_of_two_that_overlap() -> None:
    """Overlapping edits cannot both be made."""
    raw = "tlie cat"
    kept, refused = Guard(raw, is_word=lambda _: True).admit(
        [Edit(0, "tlie", "tile", Reason.WORD, 1.0), Edit(0, "tlie", "the", Reason.REWRITE, 2.0)]
    )
    assert [e.after for e in kept] == ["the"]
    assert refused[0].why == "overlaps a surer edit"
