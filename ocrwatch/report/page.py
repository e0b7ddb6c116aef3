"""The report as one page of HTML that needs nothing beside it: no network, no script. Pure but for reading its own templates.

Whatever comes from a scan is escaped, and the page's own policy forbids the browser all but its style and its images.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources

import jinja2

from ocrwatch import __version__
from ocrwatch.correction.edits import Edit
from ocrwatch.output.document import Document, Page
from ocrwatch.report.content import REASONS, Collection, FileResult, Shown, doubts, pieces
from ocrwatch.report.pictures import MEDIA_TYPE, Absent, Picture
from ocrwatch.service.logs import printable
from ocrwatch.wording import duration

MARK = "<!doctype html>\n<!-- ocrwatch report -->\n"
"""How every report begins, so that an earlier one is known again."""
_MOST_CHARACTERS = 50_000  # ten times what a page of print has: a browser is to live with it


@dataclass(frozen=True)
class Heading:
    """What a report is about, when it was made, and who can read it, in words."""

    subject: str
    made: str
    readers: str


@dataclass(frozen=True)
class Bulk:
    """The pages as HTML, in blocks. first: of each file, by its number, the first page that is shown."""

    review: Iterable[str]
    others: Iterable[str]
    pages: int
    without_image: int
    first: Mapping[int, int]


class Templates:
    """The parts of a report."""

    def __init__(self) -> None:
        self._style = resources.files("ocrwatch.report").joinpath("templates/report.css").read_text(encoding="utf-8")
        environment = _environment()
        self._article = environment.get_template("article.html.jinja")
        self._report = environment.get_template("report.html.jinja")

    def article(self, each: Shown, file: FileResult, document: Document | None, picture: Picture | Absent) -> str:
        """One page: its image beside its text. document: None where it was replaced since the report was begun."""
        pages = document.pages if document is not None else ()
        page, cut = _bounded(pages[each.number - 1]) if each.number <= len(pages) else (None, 0)
        return self._article.render(
            each=each,
            file=file,
            document=document,
            page=page,
            cut=cut,
            doubts=doubts(page) if page is not None else (),
            picture=picture,
            media_type=MEDIA_TYPE,
        )

    def whole(self, heading: Heading, collection: Collection, files: Sequence[FileResult], bulk: Bulk) -> Iterator[str]:
        """The report, in blocks."""
        # In blocks of some size: a write for each of the template's pieces would take longer than they.
        stream = self._report.stream(
            mark=MARK,
            style=self._style,
            style_hash=base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode("ascii"),
            version=__version__,
            heading=heading,
            files=files,
            figures=collection.figures,
            failures=collection.reasons.most_common(),
            unlisted=collection.unlisted,
            bulk=bulk,
        )
        stream.enable_buffering(64)
        yield from stream


def _bounded(page: Page) -> tuple[Page, int]:
    """As much of a page's text as is shown, and how many characters are not."""
    cut = len(page.raw) - _MOST_CHARACTERS
    if cut <= 0:
        return page, 0
    edits = tuple(edit for edit in page.edits if edit.offset + len(edit.before) <= _MOST_CHARACTERS)
    return replace(page, raw=page.raw[:_MOST_CHARACTERS], edits=edits), cut


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ocrwatch.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": duration, "printable": printable, "pieces": pieces, "tip": _tip, "count": _count}
    environment.tests["edit"] = lambda piece: isinstance(piece, Edit)
    environment.tests["picture"] = lambda picture: isinstance(picture, Picture)
    environment.globals["reasons"] = REASONS
    return environment


def _tip(edit: Edit) -> str:
    return f"read: {edit.before or 'nothing'}\n{REASONS[edit.reason]}, {edit.score:+.1f}"


def _count(number: int, one: str) -> str:
    """`1 page`, `2 pages`, `no pages`."""
    return f"{number or 'no'} {one if number == 1 else one + 's'}"
