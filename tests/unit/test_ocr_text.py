"""The form of page texts, and what is made of Aspose's answers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.ocr.aspose import with_alternatives, without_notice, words_of_lines
from ocrwatch.ocr.engine import Word
from ocrwatch.ocr.text import printable, tidy, typeset

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


@given(st.lists(st.tuples(st.sampled_from([" ", "  ", "\n", "\n\n"]), st.text("abc", min_size=1, max_size=5))))
def test_typeset_words_stand_where_they_say(words: list[tuple[str, str]]) -> None:
    """The text is the words and what parts them, and each word's offset is its place in it."""
    text, placed = typeset((separator, Word(word, 0)) for separator, word in words)
    assert text == "".join(separator + word for separator, word in words)[len(words[0][0]) :] + "\n" if words else text == ""
    assert [text[word.offset : word.offset + len(word.text)] for word in placed] == [word for _, word in words]


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


def test_words_have_their_share_of_the_box_of_their_line() -> None:
    """By their place in its text; a text that was cut in a line gives the words of that line no box."""
    words = words_of_lines("one two\none\nthr\n", [("one two", (10, 1, 80, 2)), ("one", (3, 3, 4, 4))])
    assert [word.box for word in words] == [(10, 1, 40, 2), (50, 1, 80, 2), (3, 3, 4, 4), None]


def test_alternatives_are_those_of_their_character() -> None:
    """The characters of the answer run on over the ends of lines, and may go on beyond a text that was cut."""
    choices = [["a", "o"], [" ", "."], ["b", "h", "6"], [" ", "-"], ["c", "e", " "], ["d", "o"]]
    words = with_alternatives(words_of_lines("a b\nc\n", []), "a b\nc\n", choices)
    assert [[(a.start, a.end, a.text) for a in word.alternatives] for word in words] == [
        [(0, 1, "o")],
        [(0, 1, "h"), (0, 1, "6")],
        [(0, 1, "e")],
    ]


@given(st.text("ab ", max_size=9), st.lists(st.lists(st.text("ab ", min_size=1, max_size=1), min_size=1, max_size=3), max_size=9))
def test_alternatives_never_change_the_words(line: str, choices: list[list[str]]) -> None:
    """Whatever an engine answers, a choice stands for one character of its word, or there is none."""
    page = tidy(line)
    words = words_of_lines(page, [])
    answered = with_alternatives(words, page, choices)
    assert [(word.text, word.offset) for word in answered] == [(word.text, word.offset) for word in words]
    assert all(0 <= a.start < a.end <= len(word.text) for word in answered for a in word.alternatives)
