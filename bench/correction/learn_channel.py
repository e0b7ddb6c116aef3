"""Learns `ocrwatch/correction/channel.tsv`: how Tesseract misreads text that `corpus` renders and wears itself.

    python -m bench.correction.learn_channel [--english 1000] [--others 200] [--seed 20] [--output TABLE]
    python -m bench.correction.learn_channel --compare

Owns alignment, counting, and the table's file. `--compare` learns from four fifths of the pages and prints what the rest
costs with one table for all languages, with one of each language's own, and with a language's own that falls back on all.
No scanned or foreign data set goes in, so that the table may be shipped.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from rapidfuzz.distance import Levenshtein

from bench.correction import corpus, sources
from bench.correction.corpus import TrainingPage, fold
from ocrwatch.correction.channel import SEGMENT, Channel

Counts = Counter[tuple[str, str]]
_HELD_OUT = 5  # every fifth page
_OTHERS_SHARES = (0.05, 0.2, 0.5, 1.0)
_LONG = 6  # a change beyond this is no confusion but lost text


@dataclass(frozen=True)
class Change:
    """What a stretch of true text was read as, where the two differ."""

    true: str
    read: str


def changes(true: str, read: str) -> Iterator[Change]:
    """The stretches in which two texts differ."""
    group: list[int] = []
    for op in Levenshtein.opcodes(true, read):
        if op.tag != "equal":
            begins = group[::2] or [op.src_start, op.dest_start]
            group = [begins[0], op.src_end, begins[1], op.dest_end]
        elif group:
            yield Change(true[group[0] : group[1]], read[group[2] : group[3]])
            group = []
    if group:
        yield Change(true[group[0] : group[1]], read[group[2] : group[3]])


def count(pages: Iterable[TrainingPage]) -> Counts:
    """What became of each one- and two-character segment of the true text, blanks among them."""
    counts: Counts = Counter()
    for page in pages:
        _count(fold(page.true), fold(page.reading.text), counts)
    return counts


def _count(true: str, read: str, counts: Counts) -> None:
    for op in Levenshtein.opcodes(true, read):
        if op.tag == "equal":
            counts.update((c, c) for c in true[op.src_start : op.src_end])
    for change in changes(true, read):
        before, after = change.true, change.read
        if len(before) == len(after) <= 3:
            counts.update(zip(before, after, strict=True))
        if len(before) <= SEGMENT and len(after) <= SEGMENT and not len(before) == len(after) == 1:  # those are counted above
            counts[before, after] += 1
    counts["", ""] += len(true)
    counts.update((first + second, first + second) for first, second in pairwise(true))


def write(path: Path, counts: Counts, *, head: list[str]) -> None:
    """The table: every right reading of a single character, and every confusion, with the right reading of its segment."""
    confused = {true for true, read in counts if true != read}
    shown = ((t, r, n) for (t, r), n in counts.items() if len(t) < SEGMENT or t in confused)
    rows = sorted(row for row in shown if not row[0].startswith("# "))  # it would look like a comment
    body = [f"{true}\t{read}\t{n}" for true, read, n in rows]
    path.write_text("\n".join([*(f"# {line}" for line in head), *body]) + "\n", encoding="utf-8")


def cost(pages: Iterable[TrainingPage], channels: Mapping[str, Channel]) -> tuple[float, float]:
    """Nats for a changed stretch, and for a hundred characters of text, changed ones among them."""
    changed = kept = 0.0
    stretches = characters = 0
    for page in pages:
        channel, true, read = channels[page.language], fold(page.true), fold(page.reading.text)
        found = [c for c in changes(true, read) if max(len(c.true), len(c.read)) <= _LONG]
        changed += sum(channel.cost(c.read, c.true) for c in found)
        stretches, characters = stretches + len(found), characters + len(true)
        for op in Levenshtein.opcodes(true, read):
            if op.tag == "equal":
                kept += sum(channel.segment_cost(c, c) for c in true[op.src_start : op.src_end])
    return changed / max(1, stretches), 100 * (changed + kept) / max(1, characters)


def compare(pages: list[TrainingPage]) -> None:
    """Print what the held-out fifth costs with each kind of table."""
    known = [page for number, page in enumerate(pages) if number % _HELD_OUT]
    held_out = [page for number, page in enumerate(pages) if not number % _HELD_OUT]
    languages = sorted({page.language for page in pages})
    own = {language: count(page for page in known if page.language == language) for language in languages}
    everything = sum(own.values(), Counter())
    kinds = {"one table": dict.fromkeys(languages, Channel(everything))}
    kinds["own tables"] = {language: Channel(own[language]) for language in languages}
    for share in _OTHERS_SHARES[:-1]:
        mixed = {name: _mixed(own[name], everything, share) for name in languages}
        kinds[f"own + {share:.0%} of all"] = {name: Channel(counts) for name, counts in mixed.items()}
    print(f"nats a changed stretch / a hundred characters, {len(held_out)} held-out pages")
    print("                    " + "".join(f"{language:>14}" for language in [*languages, "all"]))
    for name, channels in kinds.items():
        groups = [[page for page in held_out if page.language == language] for language in languages]
        costs = [cost(group, channels) for group in [*groups, held_out]]
        print(f"{name:20}" + "".join(f"{changed:7.2f}/{text:6.2f}" for changed, text in costs))


def _mixed(own: Counts, everything: Counts, share: float) -> Counts:
    others = {key: round(share * (n - own[key])) for key, n in everything.items()}
    return Counter({key: own[key] + others[key] for key in everything if own[key] + others[key]})


def main() -> None:
    """Learn and write, or compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--english", type=int, default=1000, help="pages")
    parser.add_argument("--others", type=int, default=200, help="pages of each other language")
    parser.add_argument("--seed", type=int, default=corpus.SEED)
    parser.add_argument("--cache", type=Path, default=corpus.CACHE)
    parser.add_argument("--output", type=Path, default=Path("ocrwatch/correction/channel.tsv"))
    parser.add_argument("--compare", action="store_true")
    options = parser.parse_args()
    wanted = {language: options.english if language == "en" else options.others for language in sources.LANGUAGES}
    files = [
        path
        for language, pages in wanted.items()
        for path in corpus.make(language, pages, cache=options.cache, seed=options.seed)
    ]
    pages = list(corpus.load_all(files))
    if options.compare:
        compare(pages)
        return
    counts = count(pages)
    characters = sum(len(fold(page.true)) for page in pages)
    errors = sum(page.error_rate * len(fold(page.true)) for page in pages)
    engine = pages[0].reading
    head = [
        "What the reader made of segments of true text: true, read, count (tab-separated; an empty field is nothing).",
        "Learned by bench/correction/learn_channel.py"
        f" --english {options.english} --others {options.others} --seed {options.seed}",
        f"from {len(pages)} pages of {characters} characters that bench/correction/corpus.py wrote, drew and wore"
        f" (CER {errors / characters:.2%}),",
        f"read by {engine.engine.capitalize()} {engine.engine_version} ({', '.join(sources.LANGUAGES)}).",
        "Text: letters, invoices, tables and forms of the project's own with invented names, and running text of the Debian",
        "packages that bench/correction/sources.py lists. Fonts: free ones of Debian.",
    ]
    write(options.output, counts, head=head)


if __name__ == "__main__":
    main()
