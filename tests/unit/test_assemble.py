"""From what became of each page to the document: what `complete` and `corrected` mean."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.correction.edits import Edit, Reason
from ocrwatch.correction.protocol import Correction
from ocrwatch.intake.entries import Identity
from ocrwatch.ocr.engine import PageResult, PageSource, Word
from ocrwatch.output.assemble import PageOutcome, assemble
from ocrwatch.output.document import Document, PageStatus, Source, claims, render

_SOURCE = Source("a.pdf", Identity(size=1, mtime_ns=1), "0" * 64)


def _result(text: str = "text", **changes: Any) -> PageResult:
    fixed: dict[str, Any] = {
        "engine": "tesseract",
        "engine_version": "5.5",
        "source": PageSource.OCR,
        "width_px": 1,
        "height_px": 1,
        "dpi": 300.0,
    }
    return PageResult(text=text, **(fixed | changes))


def _assemble(*outcomes: PageOutcome, mode: str = "rescore") -> Document:
    return assemble(_SOURCE, outcomes, languages=("en",), engine="tesseract", model=None, mode=mode, profile="default")


def _claims(document: Document) -> tuple[bool, bool]:
    said = claims(render(document).metadata)
    assert said is not None
    return said.complete, said.corrected


def test_words_stay_out_of_an_outcome() -> None:
    """A book of them is large, and they are in the checkpoint."""
    outcome = PageOutcome.of(3, _result(words=(Word("text", 0),)))
    assert outcome.reading is not None
    assert outcome.reading.words == ()


def test_whole_and_corrected_document() -> None:
    """Blank pages and text layers count as both; edits are kept."""
    edit = Edit(0, "tbe", "the", Reason.WORD, 3.0)
    document = _assemble(
        PageOutcome(1, _result("tbe one"), correction=Correction(edits=(edit,), seconds=2.0)),
        PageOutcome(2, _result(" \n")),
        PageOutcome(3, _result("layer", source=PageSource.TEXT_LAYER, engine_version="pdfium")),
    )
    assert _claims(document) == (True, True)
    assert [page.status for page in document.pages] == [PageStatus.OK, PageStatus.BLANK, PageStatus.OK]
    assert (document.pages[0].edits, document.pages[0].correct_s) == ((edit,), 2.0)
    assert document.engine_version == "5.5"


def test_failed_page_makes_it_incomplete_and_names_the_page() -> None:
    """Its place stays."""
    document = _assemble(PageOutcome(1, _result()), PageOutcome(2, None, failure="it is damaged"))
    assert _claims(document)[0] is False
    assert document.incomplete_reason == "page 2 could not be read: it is damaged"
    assert [page.status for page in document.pages] == [PageStatus.OK, PageStatus.FAILED]
    assert render(document).text == b"text\f"


def test_very_many_failed_pages_are_not_all_listed() -> None:
    """A line for a person."""
    document = _assemble(*(PageOutcome(n, None, failure="x") for n in range(1, 50)))
    assert document.incomplete_reason == "page 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ... could not be read: x"


def test_trial_comes_before_every_other_reason() -> None:
    """It is the one that the administrator can end at once."""
    document = _assemble(PageOutcome(1, None, failure="x"), PageOutcome(2, _result(trial=True)))
    assert document.incomplete_reason == "trial"
    assert document.pages[1].status is PageStatus.TRIAL
    assert _claims(document)[0] is False


def test_correction_that_is_off_is_said() -> None:
    """Raw text is never called corrected."""
    document = _assemble(PageOutcome(1, _result()), mode="off")
    assert document.uncorrected_reason == "correction is off"
    assert _claims(document) == (True, False)


def test_correction_that_was_cut_short_is_no_whole_one() -> None:
    """With or without a reason from the model's worker."""
    for why in ("", "the time was up"):
        document = _assemble(PageOutcome(1, _result(), correction=Correction(truncated=True, why=why)))
        assert _claims(document) == (True, False)
        assert why in document.pages[0].uncorrected_reason


def test_doubtful_pages_are_marked_for_review() -> None:
    """By the engine's confidence and by the model's doubt."""
    document = _assemble(
        PageOutcome(1, _result(confidence=0.41), correction=Correction(review=True)),
        PageOutcome(2, _result("", confidence=0.1)),
        PageOutcome(3, _result(confidence=0.99), correction=Correction()),
    )
    assert [len(page.review) for page in document.pages] == [2, 0, 0]
    assert "41%" in document.pages[0].review[0]


_READINGS = st.none() | st.builds(_result, st.text(max_size=5), trial=st.booleans(), confidence=st.none() | st.floats(0, 1))
_CORRECTIONS = st.none() | st.builds(Correction, truncated=st.booleans(), why=st.sampled_from(["", "why"]))
_OUTCOMES = st.lists(st.tuples(_READINGS, _CORRECTIONS, st.sampled_from(["", "no model"])), min_size=1, max_size=6)


@given(_OUTCOMES, st.sampled_from(["off", "rescore", "rewrite"]))
def test_document_never_claims_more_than_it_holds(
    drawn: list[tuple[PageResult | None, Correction | None, str]], mode: str
) -> None:
    """Pages in are pages out; complete and corrected only when every page is."""
    outcomes = [PageOutcome(n, r, "" if r else "f", c if r else None, u) for n, (r, c, u) in enumerate(drawn, start=1)]
    document = _assemble(*outcomes, mode=mode)
    complete, corrected = _claims(document)
    assert len(document.pages) == len(outcomes)
    assert render(document).text.count(b"\f") == len(outcomes) - 1
    assert complete == all(o.reading is not None and not o.reading.trial for o in outcomes)
    whole = all(not o.uncorrected and not (o.correction and o.correction.truncated) for o in outcomes)
    assert corrected == (mode != "off" and whole)
