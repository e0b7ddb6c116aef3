"""Word lists as they are, and the built-in profiles."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein
from wordfreq import top_n_list

from ocrwatch.correction.lexicon import DICTIONARY_ZIPF, WordList, list_name
from ocrwatch.correction.profiles import BUILT_IN, REWRITE_INSTRUCTION, instruction


@pytest.fixture(scope="module")
def english() -> WordList:
    return WordList(["eng"], ["Ocrwatch GmbH"])


@pytest.mark.parametrize(
    ("code", "name"), [("en", "en"), ("eng", "en"), ("deu", "de"), ("ces", "cs"), ("no", "nb"), ("hrv", "sh")]
)
def test_list_is_found_by_either_code(code: str, name: str) -> None:
    """Languages come with two or three letters, as in the configuration."""
    assert list_name(code) == name


@pytest.mark.parametrize("code", ["la", "xx", "frk", "chi_sim"])
def test_language_without_a_list_is_not_given_a_related_one(code: str) -> None:
    """Italian words would spoil Latin; no list is the better answer, and then none covers the page."""
    assert list_name(code) is None
    assert not WordList([code], ["Ocrwatch"]).covers
    assert WordList([code, "en"]).covers


def test_words_are_known_in_any_case_and_the_dictionary_counts(english: WordList) -> None:
    """Case and the form of the apostrophe do not matter; the inbox's own words are as good as the list's."""
    assert english.frequency("License") == english.frequency("license") > 4
    assert english.frequency("don’t") > 5
    assert english.frequency("ocrwatch") == english.frequency("GmbH") == DICTIONARY_ZIPF
    assert english.frequency("licemse") == english.frequency("wa") == 0.0


def test_near_words_are_in_a_fixed_order_and_without_the_word(english: WordList) -> None:
    """The same text always meets the same candidates."""
    found = english.near("licemse", 1)
    assert "license" in found
    assert found == sorted(found)
    assert "the" not in english.near("the", 1)


ALPHABET = "abcdefghijklmnopqrstuvwxyz'’.1ßéñжש\0"
SOME = sorted(random.Random(7).sample(top_n_list("en", 50_000), 3000))
DICTIONARY = [*SOME, "straße", "жук", "o'clock"]
FEW = WordList((), DICTIONARY)
WORDS = {part.casefold() for word in DICTIONARY for part in (word, *word.split())}


@given(
    st.sampled_from(SOME),
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from(["", *ALPHABET])), max_size=5),
    st.integers(0, 4),
)
def test_near_words_are_all_within_the_distance_and_no_others(word: str, edits: list[tuple[int, str]], distance: int) -> None:
    """The letters sort out what cannot be near; nothing that is near is lost, however the word was misread."""
    for at, text in edits:
        word = word[:at] + text + word[at + (at % 2) :]
    target = word.casefold().replace("’", "'")
    expected = sorted(w for w in WORDS if w != target and Levenshtein.distance(target, w) <= distance)
    assert FEW.near(word, distance) == expected
    assert FEW.near(word, distance) == expected, "a search that is kept gives the same again"


def test_empty_list_has_no_near_words() -> None:
    """A language without words, and no dictionary, is no error."""
    assert WordList(()).near("word", 3) == []


def test_caller_may_change_what_it_was_given(english: WordList) -> None:
    """Results are kept between calls; each caller has a list of its own."""
    english.near("licemse", 1).clear()
    assert "license" in english.near("licemse", 1)


def test_profiles_are_there() -> None:
    """The built-in profiles have prompts, the default has none, and the rewriting instruction takes them in."""
    assert set(BUILT_IN) == {"default", "financial", "medical"}
    assert BUILT_IN["default"] is None
    assert all(BUILT_IN[name] for name in ("financial", "medical"))
    assert instruction(None) == REWRITE_INSTRUCTION
    assert instruction("Medical.").endswith("Medical.")
