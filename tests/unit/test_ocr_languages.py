"""Language codes: ours, Tesseract's, Aspose's."""

from __future__ import annotations

import pytest

from ocrwatch.errors import MissingPart, UsageError
from ocrwatch.ocr import languages


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("en", "en"),
        ("eng", "en"),
        ("DEU", "de"),
        ("ger", "de"),
        (" fr ", "fr"),
        ("grc", "grc"),
        ("zh_hant", "zh-hant"),
        ("zho", "zh"),
    ],
)
def test_canonical_is_the_two_letter_code_where_there_is_one(given: str, expected: str) -> None:
    """However a language is named by ISO 639, the configuration keeps one form of it."""
    assert languages.canonical(given) == expected


def test_canonical_is_stable() -> None:
    """A canonical code is its own canonical form."""
    for code in (*languages.codes_of_aspose(), *languages.codes_of_tesseract({"eng", "deu", "chi_sim", "chi_tra", "nor"})):
        assert languages.canonical(code) == code


@pytest.mark.parametrize(("given", "advice"), [("german", "`de`"), ("Frensh", "`fr`"), ("xx", "ISO 639"), ("", "ISO 639")])
def test_unknown_language_is_refused_with_a_suggestion(given: str, advice: str) -> None:
    """A name or a slip gets the code that was meant; anything else is told what a code looks like."""
    with pytest.raises(UsageError) as refusal:
        languages.canonical(given)
    assert advice in refusal.value.remedy


def test_engines_have_names_of_their_own() -> None:
    """The same language is called differently by each engine."""
    assert (languages.tesseract_name("zh"), languages.tesseract_name("de"), languages.aspose_name("deu")) == (
        "chi_sim",
        "deu",
        "DEU",
    )


def test_language_without_a_model_is_a_missing_part() -> None:
    """A language that an engine cannot read says so, and which engine can."""
    with pytest.raises(MissingPart, match=r"Russian.*Tesseract"):
        languages.aspose_name("ru")
    with pytest.raises(MissingPart, match=r"Zulu.*Aspose"):
        languages.tesseract_name("zu")


def test_debian_package_has_no_underscore() -> None:
    """Debian's package names are those that `apt install` takes."""
    assert languages.debian_package("chi_sim") == "tesseract-ocr-chi-sim"


def test_tesseract_codes_are_those_of_the_data_present() -> None:
    """Orientation data is no language, and one data file may serve several codes."""
    assert languages.codes_of_tesseract({"eng", "osd", "nor"}) == ("en", "nb", "nn", "no")
