"""What a report shows: its values, which pages a person should look at, their order, and the figures. Pure.

Of each file that is shown its outline is kept, of its pages nothing but numbers; of the others nothing but the sums.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import NamedTuple

from ocrwatch.correction.edits import Edit, Reason
from ocrwatch.output.document import Document, Page, PageStatus, Source
from ocrwatch.output.sidecar import Names

REASONS = {
    Reason.WORD: "another word is likelier here",
    Reason.REWRITE: "proposed by the model, and verified",
    Reason.LETTER_TO_DIGIT: "a letter in a number",
    Reason.DIGIT_TO_LETTER: "a digit in a word",
    Reason.SIGN_TO_LETTER: "a sign read for a letter",
    Reason.PUNCTUATION: "punctuation",
}


class Place(NamedTuple):
    """Where a scan may be: a folder, and the path beneath it."""

    root: str
    path: str


class Text(NamedTuple):
    """Where a text is: a folder, and the names of its files beneath it."""

    root: str
    names: Names


@dataclass(frozen=True)
class Outline:
    """A document without its pages. places: where its scan may be. review: the numbers of the pages to look at."""

    text: Text
    source: Source
    places: tuple[Place, ...]
    pages: int
    review: tuple[int, ...]
    edits: int
    incomplete_reason: str
    uncorrected_reason: str
    reading_s: float
    correcting_s: float

    @staticmethod
    def of(document: Document, text: Text, places: tuple[Place, ...]) -> Outline:
        """What a report remembers of a document."""
        return Outline(
            text=text,
            source=document.source,
            places=places,
            pages=len(document.pages),
            review=tuple(number for number, page in enumerate(document.pages, start=1) if doubts(page)),
            edits=sum(len(page.edits) for page in document.pages),
            incomplete_reason=document.incomplete_reason,
            uncorrected_reason=document.uncorrected_reason,
            reading_s=sum(page.render_s + page.recognize_s for page in document.pages),
            correcting_s=sum(page.correct_s for page in document.pages),
        )


@dataclass(frozen=True)
class FileResult:
    """What became of one file. path: as a person names it. outline: None where there is no text to show; `problem` says why.

    reason: the code of what is wrong.
    """

    path: str
    state: str
    reason: str = ""
    problem: str = ""
    outline: Outline | None = None

    @property
    def is_failed(self) -> bool:
        """Whether nothing of it can be read."""
        return self.outline is None

    @property
    def wants_a_look(self) -> bool:
        """Whether a person should look at it."""
        return self.outline is None or bool(self.outline.review)


@dataclass
class Figures:
    """What stands on top: sums over all files, shown or not. Times are those that workers spent, added up."""

    files: int = 0
    pages: int = 0
    to_review: int = 0
    edits: int = 0
    failed: int = 0
    incomplete: int = 0
    uncorrected: int = 0
    reading_s: float = 0.0
    correcting_s: float = 0.0

    def add(self, file: FileResult) -> None:
        """Count a file in."""
        self.files += 1
        if (outline := file.outline) is None:
            self.failed += 1
            return
        self.pages += outline.pages
        self.to_review += len(outline.review)
        self.edits += outline.edits
        self.incomplete += bool(outline.incomplete_reason)
        self.uncorrected += bool(outline.uncorrected_reason)
        self.reading_s += outline.reading_s
        self.correcting_s += outline.correcting_s


class Shown(NamedTuple):
    """One page of one file, both counted from 1."""

    file: int
    number: int
    is_to_review: bool


@dataclass
class Collection:
    """The files of a report: sums over all of them, and themselves as many as are shown, those that want a look first."""

    most_files: int
    figures: Figures = field(default_factory=Figures)
    reasons: Counter[str] = field(default_factory=Counter)
    unlisted: list[tuple[str, str]] = field(default_factory=list)
    """Folders that could not be looked into, and why."""
    _first: list[tuple[int, FileResult]] = field(default_factory=list)
    _rest: list[tuple[int, FileResult]] = field(default_factory=list)

    def add(self, file: FileResult) -> None:
        """Take one in, in the order in which they are to be shown."""
        self.figures.add(file)
        if file.is_failed:
            self.reasons[file.reason or file.state] += 1
        kept = self._first if file.wants_a_look else self._rest
        if len(kept) < self.most_files:
            kept.append((self.figures.files, file))

    def could_not_list(self, folder: str, why: str) -> None:
        """Take note of a folder that could not be looked into."""
        self.unlisted.append((folder, why))

    def files(self) -> list[FileResult]:
        """Those that are shown."""
        return [file for _, file in sorted((self._first + self._rest)[: self.most_files], key=lambda each: each[0])]


def shown(files: Sequence[FileResult], most_pages: int) -> list[Shown]:
    """The pages that are shown: those to review first; apart from that in the order of the files."""
    outlines = [(number, file.outline) for number, file in enumerate(files, start=1) if file.outline is not None]
    first = (Shown(file, page, True) for file, outline in outlines for page in outline.review)
    rest = (
        Shown(file, page, False)
        for file, outline in outlines
        for page in range(1, outline.pages + 1)
        if page not in outline.review
    )
    return list(islice(chain(first, rest), most_pages))


def doubts(page: Page) -> tuple[str, ...]:
    """Why a person should look at a page."""
    if page.status is PageStatus.FAILED:
        return (f"it could not be read: {page.detail or 'no reason is known'}",)
    if page.status is PageStatus.TRIAL:
        return ("the engine cut its text for want of a licence", *page.review)
    return page.review


def pieces(page: Page) -> Iterator[str | Edit]:
    """The page's raw text cut at its edits: what stays, and what was changed, in order."""
    position = 0
    for edit in page.edits:
        if kept := page.raw[position : edit.offset]:
            yield kept
        yield edit
        position = edit.offset + len(edit.before)
    if rest := page.raw[position:]:
        yield rest
