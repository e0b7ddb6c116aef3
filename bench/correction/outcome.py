"""The ways to correct a page, and what comes of one. Owns what goes to the process that corrects, and what comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from bench.correction.sets import Page
from ocrwatch.correction.edits import Edit


class Mode(StrEnum):
    """How a page is corrected."""

    PROMPT = "prompt"  # the prompt alone: what the model answers is the text, nothing is verified
    RESCORE = "rescore"  # the product's default: the model judges
    REWRITE = "rewrite"  # the product's other mode: the model writes too, and is verified
    TRUTH = "truth"  # rescore on the true text: nothing should change
    PROMPT_TRUTH = "prompt-truth"  # the prompt alone on the true text, for the speed on clean pages


WRITING = frozenset({Mode.PROMPT, Mode.REWRITE, Mode.PROMPT_TRUTH})
"""The model writes the page anew: slow."""

ON_TRUTH = frozenset({Mode.TRUTH, Mode.PROMPT_TRUTH})
BASELINE = {
    Mode.RESCORE: Mode.PROMPT,
    Mode.REWRITE: Mode.PROMPT,
    Mode.TRUTH: Mode.PROMPT_TRUTH,
}
"""What the speed of a mode is held against, on the same pages."""


@dataclass(frozen=True)
class Outcome:
    """What a mode made of a page.

    characters: of the input, as far as the mode came with it. cpu_s: of all threads. why: for people, when not all went well.
    """

    text: str
    edits: tuple[Edit, ...]
    characters: int
    seconds: float
    cpu_s: float
    peak_bytes: int
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """The outcome as a JSON object."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Outcome:
        """The outcome of `to_json`."""
        return Outcome(**{**data, "edits": tuple(Edit.from_json(each) for each in data["edits"])})


def turns(pages: Sequence[Page], modes: Sequence[Mode], *, prompt_pages: int) -> Iterator[tuple[Page, Mode]]:
    """Which page is corrected in which mode, in order."""
    for number, page in enumerate(pages):
        now = [mode for mode in modes if mode not in WRITING or number < prompt_pages]
        for mode in now[:: -1 if number % 2 else 1]:
            yield page, mode


def write_pages(path: Path, pages: Sequence[Page]) -> None:
    """The file that tells a process what to correct."""
    path.write_text("".join(json.dumps(page.to_json()) + "\n" for page in pages), encoding="utf-8")


def read_pages(path: Path) -> list[Page]:
    """The pages of `write_pages`."""
    with path.open(encoding="utf-8") as lines:
        return [Page.from_json(json.loads(line)) for line in lines]
