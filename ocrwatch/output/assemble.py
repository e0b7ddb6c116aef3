"""From what became of each page to the document that the sidecar shows. Pure; decides what `complete` and `corrected` mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ocrwatch.correction.protocol import Correction
from ocrwatch.ocr.engine import PageResult, PageSource
from ocrwatch.output.document import Document, Model, Page, PageStatus, Source

_LOW_CONFIDENCE = 0.6


@dataclass(frozen=True)
class PageOutcome:
    """What became of one page.

    reading: what the engine gave, without its words; None when the page failed. failure: why it did.
    correction: what the model made of it; None when there was none. uncorrected: why there was none.
    """

    number: int
    reading: PageResult | None
    failure: str = ""
    correction: Correction | None = None
    uncorrected: str = ""

    @staticmethod
    def of(number: int, result: PageResult) -> PageOutcome:
        """The outcome of a page that was read; its words stay in the checkpoint, a book of them is large."""
        return PageOutcome(number=number, reading=replace(result, words=()))


def assemble(
    source: Source,
    outcomes: Sequence[PageOutcome],
    *,
    languages: tuple[str, ...],
    engine: str,
    model: Model | None,
    mode: str,
    profile: str,
) -> Document:
    """The document of all pages in order."""
    versions = [o.reading.engine_version for o in outcomes if o.reading is not None and o.reading.source is PageSource.OCR]
    return Document(
        source=source,
        pages=tuple(_page(o) for o in outcomes),
        engine=engine,
        engine_version=versions[0] if versions else "",
        languages=languages,
        model=model,
        mode=mode,
        profile=profile,
        incomplete_reason=_incomplete(outcomes),
        uncorrected_reason=_uncorrected(outcomes, mode),
    )


def _page(outcome: PageOutcome) -> Page:
    reading, correction = outcome.reading, outcome.correction
    if reading is None:
        return Page(raw="", status=PageStatus.FAILED, detail=outcome.failure, uncorrected_reason=outcome.uncorrected)
    return Page(
        raw=reading.text,
        status=_status(reading),
        source=reading.source,
        engine=reading.engine,
        confidence=reading.confidence,
        render_s=reading.render_s,
        recognize_s=reading.recognize_s,
        correct_s=correction.seconds if correction else 0.0,
        warnings=reading.warnings,
        review=tuple(_review(reading, correction)),
        edits=correction.edits if correction else (),
        uncorrected_reason=outcome.uncorrected or _cut_short(correction),
    )


def _cut_short(correction: Correction | None) -> str:
    if correction is None or not correction.truncated:
        return ""
    return correction.why or "the correction of this page was cut short; its rest stays as read"


def _status(reading: PageResult) -> PageStatus:
    if reading.trial:
        return PageStatus.TRIAL
    return PageStatus.OK if reading.text.strip() else PageStatus.BLANK


def _review(reading: PageResult, correction: Correction | None) -> list[str]:
    notes = []
    if reading.confidence is not None and reading.confidence < _LOW_CONFIDENCE and reading.text.strip():
        notes.append(f"the engine is {reading.confidence:.0%} sure of this page")
    if correction is not None and correction.review:
        notes.append("the model was unsure of a place on this page")
    return notes


def _incomplete(outcomes: Sequence[PageOutcome]) -> str:
    if any(o.reading is not None and o.reading.trial for o in outcomes):
        return "trial"
    failed = [o for o in outcomes if o.reading is None]
    if not failed:
        return ""
    numbers = ", ".join(str(o.number) for o in failed[:10]) + (", ..." if len(failed) > 10 else "")
    return f"page {numbers} could not be read: {failed[0].failure}"


def _uncorrected(outcomes: Sequence[PageOutcome], mode: str) -> str:
    if mode == "off":
        return "correction is off"
    reasons = [o.uncorrected for o in outcomes if o.uncorrected]
    return reasons[0] if reasons else ""
