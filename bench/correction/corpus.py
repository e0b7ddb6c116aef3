"""Pages with what truly stands on them and what our own engine read: what the correction's channel and weights are learned from.

    python -m bench.correction.corpus make [--languages en,de,...] [--pages 200] [--seed 20] [--cache .cache/training]
    python -m bench.correction.corpus show FILE...

Owns the corpus on disk: JSON lines, a page each, in files of a hundred, `LANGUAGE-SEED-FIRST.jsonl`. A file that is there is
not made again; page number n of a language and a seed is the same each time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import threading
import time
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_THREAD_LIMIT"] = "1"  # read by Tesseract when it loads

from rapidfuzz.distance import Levenshtein

from bench.correction import render, sources
from bench.correction.texts import Author, Kind, Sheet
from ocrwatch.ocr.engine import PageResult, PageSource
from ocrwatch.ocr.tesseract import TesseractEngine

CACHE = Path(".cache/training")
SEED = 20
FILE_PAGES = 100
MOST_WRONG = 0.25
"""Beyond this character error rate lines were lost or taken in another order: nothing to align."""

_TOO_WRONG = 0.14  # a page that is worse is drawn again, milder
_MILDNESSES = (1.0, 0.7, 0.4, 0.0)


@dataclass(frozen=True)
class TrainingPage:
    """One page. true: what was meant, a line each row. reading: the engine's text, words, confidences and alternatives."""

    name: str
    language: str
    kind: Kind
    damage: render.Damage
    strength: float
    true: str
    reading: PageResult

    @property
    def error_rate(self) -> float:
        """Wrong characters of the reading, white space folded, by those of the true text."""
        true = fold(self.true)
        return Levenshtein.distance(true, fold(self.reading.text)) / max(1, len(true))

    @property
    def is_aligned(self) -> bool:
        """Whether the reading follows the true text line by line, so that one may learn from it."""
        return self.error_rate <= MOST_WRONG

    def to_json(self) -> dict[str, Any]:
        """The page as a JSON object."""
        return {**vars(self), "reading": self.reading.to_json()}

    @staticmethod
    def from_json(data: dict[str, Any]) -> TrainingPage:
        """The page of `to_json`."""
        fixed = {"kind": Kind(data["kind"]), "damage": render.Damage(data["damage"])}
        return TrainingPage(**{**data, **fixed, "reading": PageResult.from_json(data["reading"])})


def fold(text: str) -> str:
    """NFC, white space folded."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def line(page: TrainingPage) -> str:
    """The page as a line of a file."""
    return json.dumps(page.to_json(), ensure_ascii=False) + "\n"


def load(path: Path) -> Iterator[TrainingPage]:
    """The pages of one file."""
    with path.open(encoding="utf-8") as lines:
        for row in lines:
            yield TrainingPage.from_json(json.loads(row))


def load_all(paths: Iterable[Path]) -> Iterator[TrainingPage]:
    """The aligned pages of several files."""
    for path in sorted(paths):
        yield from (page for page in load(path) if page.is_aligned)


def make(language: str, pages: int, *, cache: Path = CACHE, seed: int = SEED) -> list[Path]:
    """The files with the first `pages` pages of a language; makes those that are missing."""
    files = [cache / f"{language}-{seed}-{first:04}.jsonl" for first in range(0, pages, FILE_PAGES)]
    if all(path.is_file() for path in files):
        return files
    readers = _Readers(language, cache, seed)
    for number, path in enumerate(files):
        if path.is_file():
            continue
        begun = time.monotonic()
        names = [f"{language}-{n:05}" for n in range(number * FILE_PAGES, (number + 1) * FILE_PAGES)]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            text = "".join(line(page) for page in threads.map(readers.page, names))
        part = path.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.rename(path)
        print(f"{path}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return files


class _Readers:
    """Writes, draws and reads pages; an author and an engine for each thread."""

    def __init__(self, language: str, cache: Path, seed: int) -> None:
        self._language, self._seed = language, seed
        self._prose = sources.prose(cache, language)
        self._root = sources.fetch(cache)
        self._own = threading.local()

    def page(self, name: str) -> TrainingPage:
        """The page of this name."""
        if not hasattr(self._own, "engine"):
            self._own.author = Author(self._language, self._prose)
            self._own.engine = TesseractEngine(self._root / sources.TESSDATA)
        seed = f"{self._seed}/{name}"
        sheet = self._own.author.page(seed)
        for mildness in _MILDNESSES:
            page = self._read(name, sheet, seed, mildness)
            if page.error_rate < _TOO_WRONG:
                break
        return page

    def _read(self, name: str, sheet: Sheet, seed: str, mildness: float) -> TrainingPage:
        image, plan = render.draw(sheet, self._root, seed, mildness=mildness)
        begun = time.monotonic()
        found = self._own.engine.recognize(image, languages=(self._language,), dpi=plan.dpi)
        reading = PageResult(
            text=found.text,
            engine=TesseractEngine.name.value,
            engine_version=TesseractEngine.version,
            source=PageSource.OCR,
            width_px=image.width,
            height_px=image.height,
            dpi=round(plan.dpi, 2),
            rotation_deg=found.rotation_deg,
            confidence=found.confidence,
            words=found.words,
            warnings=found.warnings,
            recognize_s=round(time.monotonic() - begun, 3),
        )
        return TrainingPage(name, self._language, sheet.kind, plan.damage, round(plan.strength, 3), sheet.true, reading)


def show(paths: Iterable[Path]) -> None:
    """Print error rates by language, kind and damage."""
    groups: dict[str, list[TrainingPage]] = defaultdict(list)
    for path in paths:
        for page in load(path):
            for group in (page.language, f"{page.language} {page.kind}", f"{page.language} {page.damage}"):
                groups[group].append(page)
    print("group               pages  not aligned  CER      median   9 of 10 below  characters  seconds a page")
    for group, pages in sorted(groups.items()):
        good = [page for page in pages if page.is_aligned] or pages
        rates, characters = sorted(page.error_rate for page in good), [len(fold(page.true)) for page in good]
        mean = sum(rate * size for rate, size in zip((p.error_rate for p in good), characters, strict=True)) / sum(characters)
        seconds = statistics.fmean(page.reading.recognize_s for page in pages)
        print(
            f"{group:18} {len(pages):6}  {len(pages) - len(good):11}  {mean:6.2%}  {statistics.median(rates):7.2%}"
            f"  {rates[int(0.9 * (len(rates) - 1))]:13.2%}  {sum(characters):10}  {seconds:.2f}"
        )


def main() -> None:
    """Make or show."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("--languages", default=",".join(sources.LANGUAGES))
    making.add_argument("--pages", type=int, default=200)
    making.add_argument("--seed", type=int, default=SEED)
    making.add_argument("--cache", type=Path, default=CACHE)
    showing = commands.add_parser("show")
    showing.add_argument("files", type=Path, nargs="+")
    options = parser.parse_args()
    if options.command == "show":
        show(options.files)
        return
    for language in options.languages.split(","):
        show(make(language, options.pages, cache=options.cache, seed=options.seed))


if __name__ == "__main__":
    main()
