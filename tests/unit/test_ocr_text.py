"""The form of page texts, and what is made of Aspose's answers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.ocr.aspose import without_notice, words_of_lines
from ocrwatch.ocr.text import printable, tidy

NOTICE = "\n ************* Trial Licenses ************* \n"


@given(st.text())
def test_tidy_text_has_whole_lines_and_no_control_characters(text: str) -> None:
    """Every line ends in one newline, none in blanks, nothing follows the last, and form feeds are the sidecar's alone."""
    tidied = tidy(text)
    assert printable(tidied.replace("\n", "")) == tidied.replace("\n", "")
    assert not tidied or (tidied.endswith("\n") and not tidied.endswith("\n\n"))
    assert all(line == line.rstrip() for line in tidied.split("\n"))


@given(st.text())
def test_tidy_changes_nothing_twice(text: str) -> None:
    """Text in our form stays as it is."""
    assert tidy(tidy(text)) == tidy(text)


def test_tidy_keeps_paragraphs_and_hyphens() -> None:
    """Blank lines between paragraphs stay; PDFium's marks of a hyphen at the end of a line become one."""
    assert tidy("Man\x02\r\nda\ufffe\n\n\nX\t1\x00\n\n") == "Man-\nda-\n\n\nX 1\n"


def test_trial_notice_is_stripped_and_nothing_else() -> None:
    """The notice is no text of the scan; stars of the scan are."""
    assert without_notice("The quick\nthe laz" + NOTICE) == "The quick\nthe laz"
    assert without_notice(NOTICE) == ""
    assert without_notice("**** Trial ****\n") == "**** Trial ****\n"


@given(st.lists(st.text(alphabet="ab \n", max_size=8), max_size=5))
def test_words_stand_where_they_say(lines: list[str]) -> None:
    """Offsets hold whatever the lines are, also when a line is not in the text."""
    page = tidy("\n".join(lines))
    words = words_of_lines(page, [(line, (0, 0, 1, 1)) for line in reversed(lines)])
    assert [word.text for word in words] == page.split()
    assert all(page[word.offset : word.offset + len(word.text)] == word.text for word in words)


def test_words_have_the_box_of_their_line() -> None:
    """A text that was cut in a line gives the words of that line no box."""
    words = words_of_lines("one two\none\nthr\n", [("one two", (1, 1, 2, 2)), ("one", (3, 3, 4, 4))])
    assert [word.box for word in words] == [(1, 1, 2, 2), (1, 1, 2, 2), (3, 3, 4, 4), None]
