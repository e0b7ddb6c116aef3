"""Character error rates of both engines on scans whose text is known. Owns the comparison of texts.

Aspose without a licence returns only the beginning of a page: it is compared with the beginning of the truth, and Tesseract with
the same once more, so that two of the columns can be held against each other.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rapidfuzz.distance import Levenshtein

from ocrwatch import direct
from ocrwatch.errors import OcrwatchError
from ocrwatch.ocr.engine import EngineName
from ocrwatch.settings import AsposeSettings, Configuration, OcrSettings

_SLACK = 0.25  # by how much the beginning of the truth may be longer or shorter than what was read of it


@dataclass(frozen=True)
class Sample:
    """A scan and what truly stands there."""

    group: str
    path: Path
    language: str
    truth: str


@dataclass
class Score:
    """Sums over the scans of one group. errors and characters of the beginning: as far as Aspose's trial reads."""

    pages: int = 0
    errors: int = 0
    characters: int = 0
    beginnings: int = 0
    beginning_characters: int = 0
    tesseract_beginning: int = 0
    aspose_beginning: int = 0


def samples(shared: Path, *, limit: int | None) -> Iterator[Sample]:
    """The images of the shared data, `limit` of each group; PDFs bring their text along and are none."""
    folder = shared / "data" / "images"
    taken: dict[str, int] = defaultdict(int)
    with (folder / "manifest.tsv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            path = folder / row["set"] / row["file"]
            group = f"{row['set']}, {row['lang']}"
            if path.suffix != ".pdf" and (limit is None or taken[group] < limit):
                taken[group] += 1
                truth = (folder / row["set"] / row["gt_file"]).read_text(encoding="utf-8")
                yield Sample(group, path, row["lang"], normal(truth))


def normal(text: str) -> str:
    """NFC, words joined that a line end parts, white space folded."""
    return " ".join(re.sub(r"(\w)[-¬]\n(\w)", r"\1\2", unicodedata.normalize("NFC", text)).split())


def read(sample: Sample, engine: EngineName) -> str | None:
    """What an engine reads; None where it cannot read this language. Raises OcrwatchError when it does not start."""
    base = Configuration(inboxes=direct.bare_settings().inboxes, ocr=OcrSettings(aspose=AsposeSettings(allow_trial=True)))
    settings = direct.settings_for((sample.path,), base=base, engine=engine.value, languages=(sample.language,), mode="off")
    try:
        return normal("\n".join(page.text for page in direct.recognize(settings, sample.path)))
    except OcrwatchError as error:
        if "language" in error.message:
            return None
        raise


def add(score: Score, truth: str, tesseract: str, aspose: str | None) -> None:
    """Count one scan."""
    score.pages += 1
    score.errors += Levenshtein.distance(truth, tesseract)
    score.characters += len(truth)
    if aspose:
        score.beginnings += 1
        score.beginning_characters += len(aspose)
        score.aspose_beginning += beginning_errors(truth, aspose)
        score.tesseract_beginning += beginning_errors(truth, tesseract[: len(aspose)])


def beginning_errors(truth: str, beginning: str) -> int:
    """The errors of a text that ends early, against the beginning of the truth that fits it best."""
    slack = round(_SLACK * len(beginning))
    shortest = max(0, min(len(truth), len(beginning) - slack))
    ends = range(shortest, min(len(truth), len(beginning) + slack) + 1)
    return min(Levenshtein.distance(truth[:end], beginning) for end in ends)
