"""What the parent asks of the correction worker and what comes back. Owns the values and their JSON form.

Imports no model, no arrays and no word lists: the parent reads these values and stays small.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from ocrwatch.correction.edits import Edit
from ocrwatch.ocr.engine import Alternative, Word

EARLIER_PAGES = 8
"""Raw pages before the one in hand whose words support it."""

PAGE_BUDGET_S = 300.0
"""Of the model's time, after which the rest of a page stays raw."""


class Mode(StrEnum):
    """How the model takes part."""

    RESCORE = "rescore"  # it judges candidates and never writes
    REWRITE = "rewrite"  # it also writes proposals, which are cut into single edits and judged like all others


@dataclass(frozen=True)
class CorrectionRequest:
    """One raw page, and what helps to correct it.

    languages: ISO 639-1 codes. prompt: the profile's, None for none. caution: moves all margins; 1.0 is as calibrated.
    earlier: raw text of earlier pages of the document. words: the engine's words with their confidences and alternatives.
    dictionary: words that count as known. budget_s: after it, the rest of the page stays raw.
    """

    text: str
    languages: tuple[str, ...] = ("en",)
    mode: Mode = Mode.RESCORE
    prompt: str | None = None
    caution: float = 1.0
    earlier: tuple[str, ...] = ()
    words: tuple[Word, ...] = ()
    dictionary: tuple[str, ...] = ()
    letter_to_digit: bool = True
    digit_to_letter: bool = True
    budget_s: float = PAGE_BUDGET_S

    def to_json(self) -> dict[str, Any]:
        """The request as a frame for the worker, `op` included."""
        return asdict(self) | {"op": "correct"}

    @staticmethod
    def from_json(data: dict[str, Any]) -> CorrectionRequest:
        """The request of `to_json`; what is absent has its default. Raises KeyError, TypeError or ValueError on anything else."""
        prompt = data.get("prompt")
        request = CorrectionRequest(text=str(data["text"]), prompt=None if prompt is None else str(prompt))
        given = {name: read(data[name]) for name, read in _READERS.items() if name in data}
        return replace(request, **given)


@dataclass(frozen=True)
class Refusal:
    """An edit that the rewriting model proposed and that was not made. `offset` counts code points in the raw page."""

    offset: int
    before: str
    after: str
    why: str


@dataclass(frozen=True)
class Correction:
    """What became of a page; `edits.apply(text, correction.edits)` is the corrected page.

    truncated: the budget ran out (or the request was stopped), the rest of the page stays as read. review: the model was
    unsure somewhere, a person should look. suspicious, scored: places that looked wrong, places that the model judged. why:
    for people, when truncated or when the model's answer was of no use.
    """

    edits: tuple[Edit, ...] = ()
    refused: tuple[Refusal, ...] = ()
    truncated: bool = False
    review: bool = False
    suspicious: int = 0
    scored: int = 0
    seconds: float = 0.0
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """The correction as the worker's reply."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Correction:
        """The correction of `to_json`. Raises KeyError, TypeError or ValueError on anything else."""
        return Correction(
            edits=tuple(Edit.from_json(e) for e in data["edits"]),
            refused=tuple(Refusal(int(r["offset"]), str(r["before"]), str(r["after"]), str(r["why"])) for r in data["refused"]),
            truncated=bool(data["truncated"]),
            review=bool(data["review"]),
            suspicious=int(data["suspicious"]),
            scored=int(data["scored"]),
            seconds=float(data["seconds"]),
            why=str(data.get("why", "")),
        )


@dataclass(frozen=True)
class JudgedPlace:
    """A place that the model judged, from `start` to `end` of the raw page: what might stand there, each with its evidence."""

    start: int
    end: int
    options: tuple[tuple[Edit, dict[str, float]], ...]


@dataclass(frozen=True)
class Judged:
    """What the model says of a page, without a decision: the answer to `judge`, a `CorrectionRequest` of which no edit is made.

    is_foreign: the page is in none of its languages, so no place was looked for. truncated: the budget ran out.
    """

    places: tuple[JudgedPlace, ...] = ()
    is_foreign: bool = False
    truncated: bool = False

    def to_json(self) -> dict[str, Any]:
        """The answer as the worker's reply; evidence of 0 is left out."""
        places = [
            {"start": p.start, "end": p.end, "options": [{"edit": e.to_json(), "evidence": _told(o)} for e, o in p.options]}
            for p in self.places
        ]
        return {"places": places, "is_foreign": self.is_foreign, "truncated": self.truncated}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Judged:
        """The answer of `to_json`. Raises KeyError, TypeError or ValueError on anything else."""
        return Judged(
            places=tuple(
                JudgedPlace(
                    start=int(p["start"]),
                    end=int(p["end"]),
                    options=tuple((Edit.from_json(o["edit"]), _numbers(o["evidence"])) for o in p["options"]),
                )
                for p in data["places"]
            ),
            is_foreign=bool(data["is_foreign"]),
            truncated=bool(data["truncated"]),
        )


def _told(evidence: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in evidence.items() if value}


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {str(name): float(value) for name, value in values.items()}


def _strings(values: Any) -> tuple[str, ...]:
    return tuple(str(v) for v in values)


def _words(values: Any) -> tuple[Word, ...]:
    return tuple(_word(v) for v in values)


def _word(data: dict[str, Any]) -> Word:
    confidence = data.get("confidence")
    return Word(
        text=str(data["text"]),
        offset=int(data["offset"]),
        confidence=None if confidence is None else float(confidence),
        alternatives=tuple(Alternative(**a) for a in data.get("alternatives", ())),
    )


_READERS: dict[str, Callable[[Any], Any]] = {
    "languages": _strings,
    "mode": Mode,
    "caution": float,
    "earlier": _strings,
    "words": _words,
    "dictionary": _strings,
    "letter_to_digit": bool,
    "digit_to_letter": bool,
    "budget_s": float,
}
