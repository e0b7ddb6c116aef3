"""The model's answer becomes single edits, or nothing with a reason."""

from __future__ import annotations

import pytest

from ocrwatch.correction.rewrite import Proposal, Written, chunks, proposals, read_answer

TEXT = "The qulck brown fox jumps over tlie lazy dog, 12.50 each."


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("", "empty"),
        ("   \n", "empty"),
        ("<think>what", "thought"),
        ("<think>what</think>", "empty"),
        ("word " * 60, "longer"),
        ("Быстрая лиса", "script"),
        ("I cannot help with that request, sorry.", "not the text"),
    ],
)
def test_useless_answer_gives_a_reason(answer: str, why: str) -> None:
    """Empty, endless, thoughtful, foreign and other answers are told apart, for people."""
    text, reason = read_answer(TEXT, Written(answer, ""))
    assert text == ""
    assert why in reason


def test_writers_own_reason_is_kept() -> None:
    """An answer that did not end is of no use, with the writer's reason."""
    assert read_answer(TEXT, Written("The quick", "the model's answer did not end")) == ("", "the model's answer did not end")


def test_thoughts_and_fences_are_taken_off() -> None:
    """What stands around the answer is not the answer."""
    assert read_answer(TEXT, Written(f"<think>well</think>\n```text\n{TEXT}\n```", "")) == (TEXT, "")


def test_proposals_are_single_words_without_their_punctuation() -> None:
    """The answer is cut into one edit a word; punctuation stays as read."""
    answer = TEXT.replace("qulck", "quick").replace("tlie", "the").replace("dog,", "dog!")
    assert proposals(TEXT, answer, offset=100) == [Proposal(104, "qulck", "quick"), Proposal(131, "tlie", "the")]


def test_joined_and_split_words_are_one_proposal() -> None:
    """Two words for one, and one for two, are proposals of their own."""
    assert proposals("a b ofthe c the n d", "a b of the c then d") == [
        Proposal(4, "ofthe", "of the"),
        Proposal(12, "the n", "then"),
    ]


def test_added_and_dropped_words_have_an_empty_side() -> None:
    """What the model adds or drops is shown as such, to be refused."""
    assert proposals("one two three", "one three") == [Proposal(4, "two", "")]
    assert proposals("one two", "one two more") == [Proposal(7, "", "more")]


def test_chunks_are_whole_lines_and_all_of_the_page() -> None:
    """Nothing of the page is lost between the chunks."""
    page = "".join(f"line {i} of the page\n" for i in range(100)) + "x" * 2000 + "\nend"
    parts = list(chunks(page, 300))
    assert "".join(text for _, text in parts) == page
    assert all(page[offset : offset + len(text)] == text for offset, text in parts)
