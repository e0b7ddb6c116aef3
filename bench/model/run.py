"""What the model's life costs: cycles of loading and unloading, the way back, the first page after idle. One command, one table.

`python -m bench.model.run [--only NAME ...] [--cycles N]`. What is compared runs in turns, never at once; ratios and differences
are taken round by round, and the median counts. Fails when a target is missed. With a GPU: `python -m bench.model.gpu`.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from statistics import median

from bench.model import cycles, delay, life, reload
from bench.model.table import NO_TARGET, Row, print_table, verdict

PARTS = ("cycles", "reload", "delay")
_GROWTH_MB = 1.0
_RELOAD_RATIO = 1.2
_DELAY_MS = 100.0


def main() -> int:
    """Run the benchmarks; 1 when a figure is missed."""
    options = _arguments()
    model = options.model or life.installed_model()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="ocrwatch-bench-") as name:
        folder = Path(name)
        if "cycles" in options.only:
            _say(f"{options.cycles:,} cycles with a scripted model")
            rows += cycle_rows("scripted model", cycles.run(options.cycles, model=None))
            _say(f"{options.model_cycles} cycles with {model.name}")
            rows += cycle_rows(model.name, cycles.run(options.model_cycles, model=model))
        if "reload" in options.only:
            for kind, text in (("note", life.PAGE), ("letter", life.letter())):
                _say(f"a {kind} after unloading, beside a bare load: {options.rounds} rounds")
                rows += reload_rows(kind, reload.measure(model, folder, text=text, rounds=options.rounds))
        if "delay" in options.only:
            _say(f"a scan after idle, and with the model kept loaded: {options.rounds} rounds")
            rows += delay_rows(delay.measure(model, folder, scan=life.draw_scan(folder), rounds=options.rounds))
    print_table(rows)
    return int(any(told == "MISSED" for *_, told in rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.model.run", description=__doc__)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--cycles", type=int, default=1_000, help="with the scripted model")
    parser.add_argument("--model-cycles", type=int, default=50, help="with the real one")
    parser.add_argument("--rounds", type=int, default=9, help="of each comparison")
    parser.add_argument("--model", type=Path, help="a GGUF file (default: SmolLM2, from its package)")
    return parser.parse_args()


def cycle_rows(name: str, course: cycles.Course) -> list[Row]:
    """Flat or not: what the parent held in the first and in the last tenth of the cycles."""
    counts = (("descriptors", course.descriptors), ("threads", course.threads), ("children", course.children))
    told = ", ".join(f"{first:.1f} -> {last:.1f} {what}" for what, (first, last) in counts)
    first_mb, last_mb = (size / 1e6 for size in course.resident_bytes)
    return [
        (
            f"{course.cycles:,} cycles, {name}: descriptors, threads",
            "flat" if course.counts_are_flat else "grow",
            "flat",
            verdict(course.counts_are_flat),
        ),
        (f"  {told}", "", "", ""),
        (
            f"  memory of the parent, {first_mb:.1f} -> {last_mb:.1f} MB",
            f"{course.growth_bytes / 1e6:+.2f} MB",
            f"<= {_GROWTH_MB:g} MB",
            verdict(course.growth_bytes <= _GROWTH_MB * 1e6),
        ),
    ]


def reload_rows(kind: str, times: reload.Reloads) -> list[Row]:
    """The way back, beside a bare load."""
    tokens, calls = sum(times.batches), len(times.batches)
    return [
        (f"{kind} after unloading: request to answer", f"{1e3 * median(times.ours_s):.0f} ms", *NO_TARGET),
        (
            f"  bare process, load, the same {tokens} tokens in {calls} batches",
            f"{1e3 * median(times.bare_s):.0f} ms",
            *NO_TARGET,
        ),
        ("  ratio", f"{times.ratio:.2f} x", f"<= {_RELOAD_RATIO:g} x", verdict(times.ratio <= _RELOAD_RATIO)),
    ]


def delay_rows(times: delay.Delays) -> list[Row]:
    """What idleness adds to a page, if its recognition takes longer than the load: else the target does not hold."""
    read_s, load_s, added_ms = median(page.read_s for page in times.kept), median(times.load_s), 1e3 * times.added_s
    is_longer = read_s > load_s
    return [
        ("scan, model kept loaded: recognition", f"{1e3 * read_s:.0f} ms", *NO_TARGET),
        ("  its correction", f"{1e3 * median(page.corrected_s for page in times.kept):.0f} ms", *NO_TARGET),
        (
            "scan after idle: recognition, beside the load",
            f"{1e3 * median(p.read_s for p in times.after_idle):.0f} ms",
            *NO_TARGET,
        ),
        ("  the load", f"{1e3 * load_s:.0f} ms", *NO_TARGET),
        (
            "  its correction, the rest of the load included",
            f"{1e3 * median(p.corrected_s for p in times.after_idle):.0f} ms",
            *NO_TARGET,
        ),
        ("  waits longer for it, once it is read", f"{1e3 * times.added_after_reading_s:+.0f} ms", *NO_TARGET),
        (
            "  is there later, all told",
            f"{added_ms:+.0f} ms",
            f"< {_DELAY_MS:.0f} ms" if is_longer else "-",
            verdict(added_ms < _DELAY_MS) if is_longer else "the load took longer than the recognition",
        ),
    ]


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the scratch folder goes
    sys.exit(main())
