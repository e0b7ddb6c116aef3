"""What is counted on corrected pages. Pure: owns the figures, not where they come from nor how they are shown.

CER and WER after NFC, joining words that a line end parts, and folding white space. An edit is right when it alone brings the
page nearer to the truth, wrong when it leads away from it, else neutral. Digits and currency signs are counted with the two
listed exceptions left out, which change numbers on purpose.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from bench.correction.outcome import BASELINE, ON_TRUTH, Mode, Outcome
from bench.correction.sets import Group, Page, PageSet, normal
from ocrwatch.correction import edits, figures
from ocrwatch.correction.edits import Reason

EXCEPTIONS = frozenset({Reason.LETTER_TO_DIGIT, Reason.DIGIT_TO_LETTER})


@dataclass(frozen=True)
class Measured:
    """One page, in one mode, by one model.

    characters, words: of the truth. before, after: wrong characters. numbers: digits and currency signs changed. changed: of
    the input's characters. reached: characters of the input that the mode came with. written: of its text. notes: every edit.
    """

    model: str
    set: str
    group: Group
    language: str
    mode: Mode
    page: str
    characters: int
    words: int
    before: int
    after: int
    words_before: int
    words_after: int
    right: int
    neutral: int
    wrong: int
    numbers: int
    changed: int
    input: int
    reached: int
    written: int
    seconds: float
    cpu_s: float
    peak_bytes: int
    why: str
    notes: tuple[str, ...] = ()


def measured(page: Page, outcome: Outcome, *, of: PageSet, model: str, mode: Mode) -> Measured:
    """A corrected page held against the truth."""
    source = page.true if mode in ON_TRUTH else page.raw
    if outcome.edits and edits.undo(outcome.text, outcome.edits) != source:
        raise ValueError(f"{of.name} {page.name}: the edits do not lead back to the text as it was read")
    true, read, made = normal(page.true), normal(source), normal(outcome.text)
    before = Levenshtein.distance(true, read)
    nearer = [before - Levenshtein.distance(true, normal(edits.apply(source, [edit]))) for edit in outcome.edits]
    plain = [edit for edit in outcome.edits if edit.reason not in EXCEPTIONS]
    spared = edits.apply(source, plain) if outcome.edits else outcome.text
    return Measured(
        model=model,
        set=of.name,
        group=of.group,
        language=page.language,
        mode=mode,
        page=page.name,
        characters=len(true),
        words=len(true.split()),
        before=before,
        after=Levenshtein.distance(true, made),
        words_before=Levenshtein.distance(true.split(), read.split()),
        words_after=Levenshtein.distance(true.split(), made.split()),
        right=sum(change > 0 for change in nearer),
        neutral=sum(change == 0 for change in nearer),
        wrong=sum(change < 0 for change in nearer),
        numbers=Levenshtein.distance(numbers_of(source), numbers_of(spared)),
        changed=Levenshtein.distance(folded(source), folded(outcome.text)),
        input=len(folded(source)),
        reached=outcome.characters,
        written=len(outcome.text),
        seconds=outcome.seconds,
        cpu_s=outcome.cpu_s,
        peak_bytes=outcome.peak_bytes,
        why=outcome.why,
        notes=tuple(
            f"{'+' if change > 0 else '!' if change < 0 else '='}{edit.before}>{edit.after}({edit.score})"
            for edit, change in zip(outcome.edits, nearer, strict=True)
        ),
    )


def folded(text: str) -> str:
    """White space folded."""
    return " ".join(text.split())


def numbers_of(text: str) -> list[str]:
    """Digits and currency signs in order."""
    return [c for c in text if figures.is_numeric(c) or unicodedata.category(c) == "Sc"]


_ByPage = dict[tuple[str, str], Measured]


@dataclass(frozen=True)
class Against:
    """How many times as many characters of the input a second as another mode on the same pages.

    clock, cpu: by the clock, by processor time. written: by the clock, against the characters that the other wrote: an answer
    that breaks off early, or sums up instead of correcting, takes little time.
    """

    clock: float
    cpu: float
    written: float


@dataclass(frozen=True)
class Summary:
    """The figures of some pages, all of one model and mode.

    against: how many times as fast as the prompt alone, if that was measured.
    """

    name: str
    model: str
    mode: Mode
    pages: Sequence[Measured]
    against: Against | None

    @property
    def cer(self) -> tuple[float, float]:
        """Character error rate before and after."""
        return self._rate("before", "characters"), self._rate("after", "characters")

    @property
    def wer(self) -> tuple[float, float]:
        """Word error rate before and after."""
        return self._rate("words_before", "words"), self._rate("words_after", "words")

    @property
    def reduction(self) -> float:
        """The share of the errors that is gone; negative where there are more."""
        return (self.sum("before") - self.sum("after")) / max(1, self.sum("before"))

    @property
    def better(self) -> int:
        """Pages with fewer errors than before."""
        return sum(page.after < page.before for page in self.pages)

    @property
    def worse(self) -> int:
        """Pages with more errors than before."""
        return sum(page.after > page.before for page in self.pages)

    @property
    def worst(self) -> Measured:
        """The page that lost most."""
        return max(self.pages, key=lambda page: page.after - page.before)

    @property
    def changed_share(self) -> float:
        """Of the input's characters."""
        return self._rate("changed", "input")

    @property
    def speed(self) -> float:
        """Characters a second."""
        return self.sum("reached") / max(self.sum("seconds"), 1e-9)

    @property
    def peak_bytes(self) -> int:
        """The most memory."""
        return max(page.peak_bytes for page in self.pages)

    def sum(self, figure: str) -> float:
        """Of a figure over the pages."""
        return float(sum(getattr(page, figure) for page in self.pages))

    def _rate(self, figure: str, of: str) -> float:
        return self.sum(figure) / max(1.0, self.sum(of))


def summaries(pages: Sequence[Measured]) -> list[Summary]:
    """A summary for each set, model and mode, in the order in which the sets and the models come."""
    sets: dict[str, dict[str, list[Measured]]] = {}
    for page in pages:
        sets.setdefault(page.set, {}).setdefault(page.model, []).append(page)
    return [
        summary(name, model=model, mode=mode, pages=own)
        for name, models in sets.items()
        for model, own in models.items()
        for mode in Mode
        if any(page.mode is mode for page in own)
    ]


def summary(name: str, *, model: str, mode: Mode, pages: Iterable[Measured]) -> Summary:
    """The figures of a mode of a model over pages, among which others may be."""
    of_model = [page for page in pages if page.model == model]
    own = {(page.set, page.page): page for page in of_model if page.mode is mode}
    other = {(page.set, page.page): page for page in of_model if page.mode is BASELINE.get(mode)}
    return Summary(name, model, mode, tuple(own.values()), _against(own, other))


def _against(own: _ByPage, other: _ByPage) -> Against | None:
    both = own.keys() & other.keys()
    if not both:
        return None

    def times(time: str, done: str) -> float:
        return _rate(own, both, "reached", time) / max(_rate(other, both, done, time), 1e-9)

    return Against(times("seconds", "reached"), times("cpu_s", "reached"), times("seconds", "written"))


def _rate(pages: _ByPage, of: Set[tuple[str, str]], what: str, by: str) -> float:
    whole: float = sum(getattr(pages[key], what) for key in of)
    part: float = sum(getattr(pages[key], by) for key in of)
    return whole / max(part, 1e-9)
