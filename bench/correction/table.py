"""The table of the figures, as text and as Markdown, and the targets beside what was reached. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.correction.outcome import Mode
from bench.correction.sets import Group
from bench.correction.tally import Measured, Summary, summary

SMOLLM2, GEMMA3 = "smollm2", "gemma3"
DEGRADED_REDUCTION, NEWSPAPER_REDUCTION, OTHER_REDUCTION = 0.40, 0.20, 0.05
WORSE_SHARE, WORST_CHARACTERS = 0.02, 3
CHANGED_ONE_IN = 20_000
TIMES_AS_FAST = {SMOLLM2: 3.0, GEMMA3: 8.0}
TIMES_AS_FAST_CLEAN = 20.0
_MODELS_TARGET = {SMOLLM2: "SmolLM2", GEMMA3: "Gemma 3"}
_LONGEST_NAME = 24

Rows = list[tuple[str, ...]]


@dataclass(frozen=True)
class Target:
    """One figure that is to be reached. reached: None where it was not measured."""

    model: str
    what: str
    wanted: str
    found: str
    reached: bool | None

    @property
    def verdict(self) -> str:
        """In a word."""
        return "not measured" if self.reached is None else "reached" if self.reached else "NOT reached"


# -- the table -------------------------------------------------------------------------------------------------------


def _worst(found: Summary) -> str:
    loss = found.worst.after - found.worst.before
    return f"{loss:+d} {found.worst.page[:_LONGEST_NAME]}" if loss > 0 else f"{loss:+d}"


def _rates(rates: tuple[float, float]) -> str:
    return f"{100 * rates[0]:.2f} -> {100 * rates[1]:.2f}"


def _percent(found: Summary) -> str:
    return f"{0.0 - 100 * found.reduction:+.1f} %"


def _change(found: Summary) -> str:
    if found.mode is Mode.PROMPT_TRUTH:
        return "-"
    if found.mode is Mode.TRUTH:
        changed = found.sum("changed")
        return f"1 in {found.sum('input') / changed:,.0f}" if changed else f"0 in {found.sum('input'):,.0f}"
    return _percent(found)


_COLUMNS: tuple[tuple[str, Callable[[Summary], str]], ...] = (
    ("set", lambda s: s.name),
    ("model", lambda s: s.model),
    ("mode", lambda s: s.mode.value),
    ("pages", lambda s: str(len(s.pages))),
    ("CER %", lambda s: _rates(s.cer)),
    ("errors", _change),
    ("WER %", lambda s: _rates(s.wer)),
    ("better/same/worse", lambda s: f"{s.better}/{len(s.pages) - s.better - s.worse}/{s.worse}"),
    ("numbers", lambda s: f"{s.sum('numbers'):.0f}"),
    ("edits +/=/-", lambda s: f"{s.sum('right'):.0f}/{s.sum('neutral'):.0f}/{s.sum('wrong'):.0f}" if _has_edits(s) else "-"),
    ("changed %", lambda s: f"{100 * s.changed_share:.3f}"),
    ("chars/s", lambda s: f"{s.speed:,.0f}"),
    ("x prompt (cpu, written)", lambda s: _times(s)),
    ("MB", lambda s: f"{s.peak_bytes / 1e6:.0f}"),
    ("worst page", _worst),
)


def _times(found: Summary) -> str:
    return "-" if found.against is None else f"{found.against.clock:.1f} ({found.against.cpu:.1f}, {found.against.written:.1f})"


def _has_edits(found: Summary) -> bool:
    return found.mode not in {Mode.PROMPT, Mode.PROMPT_TRUTH}


def rows(found: Sequence[Summary]) -> Rows:
    """The figures with their heading."""
    return [tuple(heading for heading, _ in _COLUMNS), *(tuple(show(each) for _, show in _COLUMNS) for each in found)]


def target_rows(targets: Sequence[Target]) -> Rows:
    """The targets with their heading."""
    heading = ("model", "target", "wanted", "found", "")
    return [heading, *((each.model, each.what, each.wanted, each.found, each.verdict) for each in targets)]


def text(table: Rows) -> str:
    """The table in columns."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def markdown(table: Rows) -> str:
    """The table for a document."""
    head, *others = (tuple(cell.replace("|", "\\|") for cell in row) for row in table)
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ("---",) * len(head), *others))


# -- the targets -----------------------------------------------------------------------------------------------------


def groups(pages: Sequence[Measured]) -> list[Summary]:
    """The figures of all sets of a kind together, for each model and mode."""
    return [
        summary(f"all {group}", model=model, mode=mode, pages=own)
        for group in dict.fromkeys(page.group for page in pages)
        for model in dict.fromkeys(page.model for page in pages)
        for mode in Mode
        if (own := [page for page in pages if page.group is group]) and any(p.mode is mode and p.model == model for p in own)
    ]


def targets(pages: Sequence[Measured]) -> Iterator[Target]:
    """Every target with what the pages say, for the product's default mode; of those of the numbers, for both modes."""
    for model in dict.fromkeys(page.model for page in pages):
        own = [page for page in pages if page.model == model]
        yield from _reductions(model, own)
        yield from _worse_pages(model, own)
        yield from _harm(model, own)
        yield from _speeds(model, own)


def _reductions(model: str, pages: Sequence[Measured]) -> Iterator[Target]:
    if model == SMOLLM2:
        degraded = [page for page in pages if page.group is Group.DEGRADED]
        yield _reduction(model, "errors, degraded pages", degraded, DEGRADED_REDUCTION)
    for name in dict.fromkeys(page.set for page in pages):
        own = [page for page in pages if page.set == name]
        if name.startswith("hipe_") and name.endswith("_en"):
            yield _reduction(model, f"errors, {name}", own, NEWSPAPER_REDUCTION)
        elif own[0].language != "en":
            yield _reduction(model, f"errors, {name}", own, OTHER_REDUCTION)


def _reduction(model: str, what: str, pages: Sequence[Measured], least: float) -> Target:
    found = summary(what, model=model, mode=Mode.RESCORE, pages=pages)
    wanted = f"<= -{100 * least:.0f} %"
    if not found.sum("before"):
        return Target(model, what, wanted, "no errors before" if found.pages else "-", None)
    shown = f"{_percent(found)}, CER {_rates(found.cer)} %"
    return Target(model, what, wanted, shown, found.reduction >= least)


def _worse_pages(model: str, pages: Sequence[Measured]) -> Iterator[Target]:
    real = [page for page in pages if page.group in {Group.PAIRS, Group.IMAGES}]
    found = summary("", model=model, mode=Mode.RESCORE, pages=real)
    wanted = f"<= {100 * WORSE_SHARE:.0f} %", f"<= {WORST_CHARACTERS} characters"
    if not found.pages:
        yield from (
            Target(model, what, want, "-", None) for what, want in zip(("pages worse", "worst page"), wanted, strict=True)
        )
        return
    share, loss = found.worse / len(found.pages), max(0, found.worst.after - found.worst.before)
    where = f" ({found.worst.set}, {found.worst.page})" if loss else ""
    yield Target(model, "pages worse, pairs and images", wanted[0], f"{found.worse} of {len(found.pages)}", share <= WORSE_SHARE)
    yield Target(model, "worst page, pairs and images", wanted[1], f"{loss}{where}", loss <= WORST_CHARACTERS)


def _harm(model: str, pages: Sequence[Measured]) -> Iterator[Target]:
    for mode in (Mode.RESCORE, Mode.REWRITE):
        found = summary("", model=model, mode=mode, pages=pages)
        numbers = found.sum("numbers")
        shown = f"{numbers:.0f} on {len(found.pages)} pages" if found.pages else "-"
        yield Target(model, f"numbers changed, {mode}", "0", shown, numbers == 0 if found.pages else None)
    found = summary("", model=model, mode=Mode.TRUTH, pages=pages)
    changed, of = found.sum("changed"), found.sum("input")
    shown = f"{changed:.0f} of {of:,.0f}" + (f", 1 in {of / changed:,.0f}" if changed else "") if found.pages else "-"
    reached = changed * CHANGED_ONE_IN <= of if found.pages else None
    yield Target(model, "true text changed", f"<= 1 in {CHANGED_ONE_IN:,}", shown, reached)


def _speeds(model: str, pages: Sequence[Measured]) -> Iterator[Target]:
    wanted = (
        (Mode.RESCORE, "times the prompt's speed (cpu, written)", TIMES_AS_FAST.get(model)),
        (Mode.TRUTH, "the same, clean pages", TIMES_AS_FAST_CLEAN),
    )
    for mode, what, least in wanted:
        if least is not None:
            found = summary("", model=model, mode=mode, pages=pages)
            reached = None if found.against is None else found.against.clock >= least
            yield Target(model, what, f">= {least:g} x", _times(found), reached)
