"""What may be chosen of Aspose, and how the answers of its trial are taken."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrwatch import composition
from ocrwatch.config import parse
from ocrwatch.errors import ConfigError
from ocrwatch.ocr import proof
from ocrwatch.ocr.aspose import without_notice
from ocrwatch.ocr.aspose_options import AsposeOptions, DetectAreas, Filter
from ocrwatch.ocr.engine import EngineName
from ocrwatch.settings import Configuration

NOTICE = "\n ************* Trial Licenses ************* \n"


def settings(aspose: str = "{}") -> Configuration:
    """A configuration with these settings of Aspose."""
    return parse(f"inboxes: [{{path: /srv/a}}]\nocr: {{engine: aspose, aspose: {aspose}}}", source="c.yaml")


def problem(aspose: str) -> str:
    """The one thing that is wrong with these settings."""
    with pytest.raises(ConfigError) as refusal:
        settings(aspose)
    (line,) = refusal.value.problems
    return line


@given(
    st.builds(
        AsposeOptions,
        st.sampled_from(DetectAreas),
        st.lists(st.sampled_from(Filter)).map(tuple),
        st.integers(min_value=1, max_value=64),
    )
)
def test_options_cross_a_process_boundary_whole(options: AsposeOptions) -> None:
    """JSON and back; what is not said has its default."""
    assert AsposeOptions.from_json(options.to_json()) == options
    assert AsposeOptions.from_json({}) == AsposeOptions()


@pytest.mark.parametrize(
    ("aspose", "words"),
    [
        (
            "{detect_areas_mode: leen}",
            "ocr.aspose.detect_areas_mode: Input should be 'universal' or 'lean'; did you mean `lean`?",
        ),
        ("{detect_areas_mode: multicolumn}", "`multicolumn` wants a model that the package does not hold"),
        ("{filters: [auto_skew, binarise]}", "did you mean `binarize`?"),
        ("{filters: [auto_denoising]}", "ocr.aspose.filters[0]: `auto_denoising` wants a model"),
        ("{filters: [threshold]}", "`binarize` finds its own"),
        ("{filters: [rotate]}", "ocrwatch renders and turns each page itself"),
        ("{threads: 0}", "greater than or equal to 1"),
        ("{licence: /x}", "did you mean `license_file`?"),
    ],
)
def test_choice_that_cannot_be_had_is_refused_with_its_reason(aspose: str, words: str) -> None:
    """A slip gets the name that was meant; a name of the package that needs what we do not give gets the reason."""
    assert words in problem(aspose)


@pytest.mark.parametrize("aspose", ["{metered_keys_file: /etc/topsecret}", "{metered_keys_file: {public: topsecret}}"])
def test_metered_keys_are_refused_and_not_shown(aspose: str) -> None:
    """They need a network, which no worker has; whatever stands there stays there."""
    line = problem(aspose)
    assert "c.yaml:2: ocr.aspose.metered_keys_file: metered keys cannot be used" in line
    assert "ocr.aspose.license_file" in line
    assert "topsecret" not in line


@pytest.mark.parametrize("aspose", ["{metered_keys: topsecret}", "{public_key: topsecret}", "{license: topsecret}"])
def test_keys_in_the_wrong_place_are_not_shown(aspose: str) -> None:
    """Unknown keys are named without their value."""
    assert "topsecret" not in problem(aspose)


def digest(aspose: str, engine: EngineName = EngineName.ASPOSE) -> str:
    """What stands for the settings that shape a result."""
    own: Any = settings(aspose)
    unreached: Any = None
    made = composition.treatment(own, own.inboxes[0], engine=engine, scans=unreached, texts=None, archive=None)
    return made.settings


def test_choices_that_shape_a_text_are_in_the_digest_of_its_settings() -> None:
    """A text made with other filters is another text; one made with more threads is not, and Tesseract's is none of theirs."""
    for aspose in ("{filters: [median]}", "{detect_areas_mode: lean}"):
        assert digest(aspose) != digest("{}")
        assert digest(aspose, EngineName.TESSERACT) == digest("{}", EngineName.TESSERACT)
    assert digest("{filters: [median, invert]}") != digest("{filters: [invert, median]}")
    assert digest("{threads: 2}") == digest("{}")


def test_choices_reach_the_worker_of_aspose_alone() -> None:
    """Another engine's worker knows neither the licence nor where it is."""
    own = settings("{license_file: /etc/a.lic, filters: [median], detect_areas_mode: lean, threads: 2}")
    specs = composition.engine_specs(own)
    options = specs[EngineName.ASPOSE]().options
    assert AsposeOptions.from_json(options) == AsposeOptions(DetectAreas.LEAN, (Filter.MEDIAN,), 2)
    assert options["license_file"] == "/etc/a.lic"
    other = specs[EngineName.TESSERACT]().options
    assert "a.lic" not in str(other)
    assert other["threads"] == 1


@given(st.text(alphabet="ab*\n ", max_size=30), st.integers(min_value=0, max_value=len(NOTICE)))
def test_notice_of_a_trial_goes_also_when_it_is_cut(text: str, length: int) -> None:
    """A short page has the notice twice, and the first one is cut like the text; a text without one stays as it is."""
    shown = without_notice(text + NOTICE[:length] + NOTICE)
    assert text.startswith(shown)
    assert not text[len(shown) :].strip(" *\n")
    assert without_notice(text) == text


def test_proof_is_what_the_page_shows_as_far_as_a_trial_lets_it_be_seen() -> None:
    """Whole, cut, or with a letter off; not a few letters, not nothing, not something else."""
    for text in (proof.SHOWN, "Invoice", "Invoice 24680\npaid in full\n", "lnvoice 24680 paid in full", "Invoice 246"):
        assert proof.is_read(text), text
    for text in ("", "Inv", "nvoice paid", "Trial Licenses", "0" * 30):
        assert not proof.is_read(text), text
