"""Word lists as they are, and the built-in profiles."""

from __future__ import annotations

import pytest

from ocrwatch.correction.lexicon import DICTIONARY_ZIPF, WordList, list_name
from ocrwatch.correction.profiles import BUILT_IN, REWRITE_INSTRUCTION, instruction
from ocrwatch.errors import MissingPart


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
    """Italian words would spoil Latin; no list is the better answer."""
    with pytest.raises(MissingPart, match=code):
        list_name(code)


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


def test_profiles_are_there() -> None:
    """The built-in profiles have prompts, the default has none, and the rewriting instruction takes them in."""
    assert set(BUILT_IN) == {"default", "financial", "medical"}
    assert BUILT_IN["default"].prompt is None
    assert all(BUILT_IN[name].prompt for name in ("financial", "medical"))
    assert instruction(None) == REWRITE_INSTRUCTION
    assert instruction("Medical.").endswith("Medical.")
