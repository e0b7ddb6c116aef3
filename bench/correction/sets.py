"""The sets that the correction is measured on: pages as an engine read them, and what truly stands there.

Owns where the pages come from and what is kept of them in a cache folder; measures nothing. A set whose material is not here
raises `Lacking` when its pages are asked for.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import lru_cache, partial
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

from rapidfuzz.distance import Levenshtein

from ocrwatch import direct
from ocrwatch.correction.protocol import CorrectionRequest
from ocrwatch.errors import OcrwatchError
from ocrwatch.ocr.engine import EngineName, PageResult, Word
from ocrwatch.settings import AsposeSettings, Configuration, OcrSettings

PROJECT = Path(__file__).resolve().parents[2]
CACHE = PROJECT / ".cache" / "correction"
DEGRADED_SEEDS = (7, 8, 9)
DEGRADED_PAGES = 40
RENDERED_LANGUAGES = ("en", "de", "fr", "es", "it", "cs", "pl")
RENDERED_PAGES = 12
RENDERED_SEED = 31
"""Not the seed of the pages that channel and weights are learned from."""

_ENGINES = ("tesserocr", "aspose-ocr-python-net", "Pillow", "pillow")
_SLACK = 0.25
"""By how much the beginning of the truth may be longer or shorter than what was read of it."""


class Group(StrEnum):
    """Where a set comes from."""

    PAIRS = "pairs"  # somebody else's engine read it
    IMAGES = "images"  # scans that our engines read
    DEGRADED = "degraded"  # pages drawn and worn by the prototype
    RENDERED = "rendered"  # pages drawn and worn as those of the training are, from another seed


class Lacking(Exception):
    """Why a set cannot be had, or not all of it."""


@dataclass(frozen=True)
class Page:
    """A page as recognized, and what truly stands there."""

    name: str
    language: str
    raw: str
    true: str
    words: tuple[Word, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The page as a JSON object."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Page:
        """The page of `to_json`; without the boxes of its words, which correction does not look at."""
        words = CorrectionRequest.from_json({"text": data["raw"], "words": data["words"]}).words
        return Page(**{**data, "words": words})


@dataclass(frozen=True)
class PageSet:
    """A set by name. load: its pages, made or read when they are not in the cache."""

    name: str
    group: Group
    language: str
    load: Callable[[], Iterator[Page]]

    def pages(self, most: int) -> list[Page]:
        """Its first pages."""
        return list(islice(self.load(), most))


def all_sets(shared: Path, cache: Path = CACHE) -> tuple[list[PageSet], list[str]]:
    """Every set that can be known of, and what is left out because it is not here."""
    found, lacking = [], []
    for group, listed in ((Group.PAIRS, _pairs), (Group.IMAGES, partial(_images, cache=cache))):
        if (shared / "data" / group / "manifest.tsv").is_file():
            found += listed(shared)
        else:
            lacking.append(f"{group}: no data below {shared} (set OCRWATCH_SHARED, or --shared)")
    script = shared / "prototypes" / "degrade.py"
    if script.is_file():
        for seed in DEGRADED_SEEDS:
            load = partial(_degraded, script, seed, cache)
            found.append(PageSet(f"degraded-{seed}", Group.DEGRADED, "en", load))
    else:
        lacking.append(f"degraded: no {script}")
    for language in RENDERED_LANGUAGES:
        found.append(PageSet(f"rendered_{language}", Group.RENDERED, language, partial(rendered_pages, language)))
    return found, lacking


def normal(text: str) -> str:
    """NFC, words joined that a line end parts, white space folded."""
    return " ".join(re.sub(r"(\w)[-¬]\n(\w)", r"\1\2", unicodedata.normalize("NFC", text)).split())


def beginning(true: str, read: str) -> str:
    """The beginning of a truth that fits a text best which ends early."""
    read = normal(read)
    slack = round(_SLACK * len(read))
    beginnings = ((end, normal(true[:end])) for end in range(len(true) + 1))
    fitting = ((Levenshtein.distance(each, read), end) for end, each in beginnings if abs(len(each) - len(read)) <= slack)
    return true[: min(fitting, default=(0, len(true)))[1]]


def _manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.tsv").open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


# -- pairs -----------------------------------------------------------------------------------------------------------


def _pairs(shared: Path) -> list[PageSet]:
    languages = {row["set"]: row["lang"] for row in _manifest(shared / "data" / "pairs")}
    return [PageSet(name, Group.PAIRS, language, partial(pair_pages, shared, name)) for name, language in languages.items()]


def pair_pages(shared: Path, name: str) -> Iterator[Page]:
    """The pages of one set of `data/pairs`."""
    folder = shared / "data" / "pairs"
    for row in _manifest(folder):
        if row["set"] == name:
            raw, true = ((folder / name / row[key]).read_text(encoding="utf-8") for key in ("file", "gt_file"))
            yield Page(row["file"], row["lang"], raw, true)


# -- images ----------------------------------------------------------------------------------------------------------


def _images(shared: Path, *, cache: Path) -> list[PageSet]:
    languages = dict.fromkeys(row["lang"] for row in _manifest(shared / "data" / "images") if _is_scan(row))
    return [
        PageSet(name, Group.IMAGES, language, partial(image_pages, shared, language, engine=engine, cache=cache))
        for engine, ending in ((EngineName.TESSERACT, ""), (EngineName.ASPOSE, "_aspose"))
        for language in languages
        if (name := f"images_{language}{ending}")
    ]


def image_pages(shared: Path, language: str, *, engine: EngineName = EngineName.TESSERACT, cache: Path = CACHE) -> Iterator[Page]:
    """The images of `data/images` in one language, as an engine reads them."""
    folder = shared / "data" / "images"
    for row in _manifest(folder):
        if row["lang"] == language and _is_scan(row):
            true = (folder / row["set"] / row["gt_file"]).read_text(encoding="utf-8")
            yield read_page(folder / row["set"] / row["file"], language, true, engine=engine, cache=cache)


def _is_scan(row: dict[str, str]) -> bool:
    """PDFs bring their text along and are not corrected; a page that is there a second time, turned, would count twice."""
    return not row["file"].endswith(".pdf") and "rotated" not in row["file"]


def read_page(path: Path, language: str, true: str, *, engine: EngineName = EngineName.TESSERACT, cache: Path = CACHE) -> Page:
    """A page as an engine reads it, with what it tells of each word; kept, because it is the same every time.

    Where the engine cut the text for want of a licence, the truth is cut to the same stretch. Raises Lacking.
    """
    key = hashlib.sha256(path.read_bytes() + f"{language} {engine} {_reader_version()}".encode()).hexdigest()[:24]
    kept = cache / "readings" / f"{key}.json"
    if not kept.is_file():
        _keep(kept, _recognize(path, language, engine).to_json())
    found = PageResult.from_json(json.loads(kept.read_text(encoding="utf-8")))
    return Page(path.name, language, found.text, beginning(true, found.text) if found.trial else true, found.words)


def _recognize(path: Path, language: str, engine: EngineName) -> PageResult:
    """The first page of a scan, by the product's own worker. Raises Lacking."""
    base = Configuration(inboxes=direct.bare_settings().inboxes, ocr=OcrSettings(aspose=AsposeSettings(allow_trial=True)))
    settings = direct.settings_for((path,), base=base, engine=engine.value, languages=(language,), mode="off")
    try:
        return direct.recognize(settings, path)[0]
    except OcrwatchError as error:
        raise Lacking(str(error)) from error


@lru_cache
def _reader_version() -> str:
    """What a reading depends on beside the scan: the code that reads, and the engines' packages."""
    packages = sorted(f"{each.name} {each.version}" for each in metadata.distributions() if each.name in _ENGINES)
    sources = b"".join(path.read_bytes() for path in sorted((PROJECT / "ocrwatch" / "ocr").glob("*.py")))
    return hashlib.sha256(sources + repr(packages).encode()).hexdigest()


def _keep(path: Path, data: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}-{path.stem}.part")
    part.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    part.rename(path)


# -- pages that are made here ----------------------------------------------------------------------------------------


def _degraded(script: Path, seed: int, cache: Path) -> Iterator[Page]:
    folder = cache / f"degraded-{seed}"
    pages = folder / "d"
    if len(list(pages.glob("*.gt"))) < DEGRADED_PAGES:
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [sys.executable, str(script), str(seed)], cwd=folder, stderr=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            raise Lacking(f"{script} {seed}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return degraded_pages(pages, cache=cache)


def degraded_pages(folder: Path, *, cache: Path = CACHE) -> Iterator[Page]:
    """Pages of a folder of NN.png and NN.gt, read by Tesseract, several at once."""
    paths = sorted(folder.glob("*.png"))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        yield from threads.map(lambda p: read_page(p, "en", p.with_suffix(".gt").read_text(encoding="utf-8"), cache=cache), paths)


def rendered_pages(language: str, *, count: int = RENDERED_PAGES) -> Iterator[Page]:
    """Pages as those that channel and weights are learned from, of another seed; only those read line by line, as there.

    Raises Lacking.
    """
    try:
        from bench.correction import corpus

        files = corpus.make(language, count, cache=PROJECT / corpus.CACHE, seed=RENDERED_SEED)
    except ModuleNotFoundError as error:
        raise Lacking(f"no package {error.name}: pip install -e '.[dev]'") from error
    except subprocess.CalledProcessError as error:
        raise Lacking(f"the texts and fonts of Debian packages cannot be had: {error}") from error
    for page in islice(corpus.load_all(files), count):
        yield Page(page.name, language, page.reading.text, page.true, page.reading.words)


def chosen(sets: Sequence[PageSet], patterns: Sequence[str]) -> list[PageSet]:
    """The sets whose names fit a pattern. Raises Lacking for a pattern that fits none."""
    for pattern in patterns:
        if not any(Path(each.name).match(pattern) for each in sets):
            raise Lacking(f"no set {pattern}; there are: {', '.join(each.name for each in sets)}")
    return [each for each in sets if any(Path(each.name).match(pattern) for pattern in patterns)]
