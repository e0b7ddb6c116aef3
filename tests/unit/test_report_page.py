"""The page of HTML: nothing of a scan gets out of its text, and nothing is needed beside it."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from ocrwatch.correction.edits import Edit, Reason
from ocrwatch.intake.entries import Identity
from ocrwatch.output.document import Document, Page, PageStatus, Source
from ocrwatch.output.sidecar import Names
from ocrwatch.report.content import Collection, FileResult, Outline, Text, shown
from ocrwatch.report.page import MARK, Bulk, Heading, Templates
from ocrwatch.report.pictures import Absent, Picture

HOSTILE = "</style></title><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7*7 }}\u202e\x1b[2J"
VOID = {"meta", "img", "link", "br", "input"}
GONE = Absent("the scan is not where it was")
PICTURE = Picture(base64.b64encode(b"RIFF....WEBP").decode(), 900, 1270)
EDITED = Page(
    raw="a qu1ck fox", status=PageStatus.OK, confidence=0.91, edits=(Edit(2, "qu1ck", "quick", Reason.DIGIT_TO_LETTER, 2.04),)
)


class Parsed(HTMLParser):
    """The elements of a page with their attributes, whether they close as they open, and the text outside of the style."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.style = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every element of that name."""
        return [attributes for name, attributes in self.tags if name == tag]


@dataclass
class Stack:
    """Files with their documents, and the images of their pages."""

    documents: dict[str, Document] = field(default_factory=dict)
    collection: Collection = field(default_factory=lambda: Collection(100))
    pictures: dict[tuple[int, int], Picture | Absent] = field(default_factory=dict)
    subject: str = "x"

    def file(self, *pages: Page, path: str = "a.pdf", **more: Any) -> Stack:
        """Put one more on it."""
        source = Source(path=path, identity=Identity(1, 2, 3), sha256="ab" * 32)
        made = Document(source=source, pages=pages, engine="tesseract", engine_version="5", languages=("en",), **more)
        self.documents[path] = made
        outline = Outline.of(made, Text("/in", Names(path + ".txt", path + ".json")), ())
        self.collection.add(FileResult(path, "done", outline=outline))
        return self

    def html(self, most_pages: int = 100) -> str:
        """The report."""
        templates, files = Templates(), self.collection.files()
        review, others = "", ""
        pages = shown(files, most_pages)
        for each in pages:
            file = files[each.file - 1]
            picture = self.pictures.get((each.file, each.number), GONE)
            article = templates.article(each, file, self.documents.get(file.path), picture)
            review, others = (review + article, others) if each.is_to_review else (review, others + article)
        without = sum(isinstance(self.pictures.get((each.file, each.number), GONE), Absent) for each in pages)
        first = {file: number for file, number, _ in sorted(pages, reverse=True)}
        bulk = Bulk([review] if review else [], [others] if others else [], len(pages), without, first)
        heading = Heading(self.subject, "now", "only its owner can read it")
        return "".join(templates.whole(heading, self.collection, files, bulk))


def test_whatever_a_scan_says_is_text() -> None:
    """A letter with a script in it, of a name with one, in a folder with one: all are read, none runs."""
    page = Page(
        raw=HOSTILE,
        status=PageStatus.OK,
        engine=HOSTILE,
        detail=HOSTILE,
        warnings=(HOSTILE,),
        review=(HOSTILE,),
        uncorrected_reason=HOSTILE,
        edits=(Edit(0, HOSTILE[:4], HOSTILE, Reason.WORD, 1.0),),
    )
    blank = Page(raw="", status=PageStatus.FAILED, detail=HOSTILE)
    stack = Stack(pictures={(1, 1): Absent(HOSTILE)}, subject=HOSTILE)
    stack.file(page, blank, path=HOSTILE, incomplete_reason=HOSTILE, uncorrected_reason=HOSTILE)
    stack.collection.add(FileResult(HOSTILE, HOSTILE, HOSTILE, HOSTILE))
    stack.collection.could_not_list(HOSTILE, HOSTILE)
    parsed = Parsed(stack.html())
    assert not parsed.all("script")
    assert not parsed.all("img")
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")]
    assert "49" not in parsed.text
    assert HOSTILE in parsed.text  # the scan's text, as it is
    assert not parsed.open


def test_page_needs_nothing_beside_it_and_its_policy_forbids_the_rest() -> None:
    """One file, to be mailed or archived; the browser fetches nothing and runs nothing."""
    html = Stack(pictures={(1, 1): PICTURE}).file(EDITED).html()
    parsed = Parsed(html)
    policy = next(meta["content"] for meta in parsed.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(parsed.style.encode()).digest()).decode()
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    assert rules == {
        "default-src": ["'none'"],
        "img-src": ["data:"],
        "style-src": [f"'sha256-{digest}'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    assert not re.search(r"https?:|url\(|@import", html)
    assert not [attributes for _, attributes in parsed.tags if "style" in attributes]  # the policy would refuse these
    assert html.startswith(MARK)


def test_every_link_has_its_target_also_when_pages_are_left_out() -> None:
    """A click, or the skip links of a keyboard, lead somewhere; a file without a page here has no link."""
    doubtful = Page(raw="x", status=PageStatus.OK, review=("unsure",))
    parsed = Parsed(Stack().file(EDITED, doubtful).file(EDITED, path="b.pdf").file(EDITED, path="c.pdf").html(most_pages=2))
    targets = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    links = {link["href"].removeprefix("#") for link in parsed.all("a")}
    assert len(set(targets)) == len(targets)
    assert links <= set(targets)
    assert {"f1p1"} == {link for link in links if re.fullmatch(r"f\dp\d", link)}
    assert "b.pdf (not shown)" in parsed.text


def test_an_edit_is_marked_and_says_what_was_read() -> None:
    """Underlined, not coloured alone; what was read on hover and, for a keyboard, on focus."""
    html = Stack().file(EDITED).html()
    assert "<del>qu1ck</del><ins>quick</ins>" in html
    (edit,) = [attributes for tag, attributes in Parsed(html).tags if attributes.get("class") == "edit"]
    assert edit["data-tip"] == "read: qu1ck\na digit in a word, +2.0"
    assert edit["tabindex"] == "0"
    assert "91 % sure · 1 edit ·" in html


def test_a_page_without_image_says_why_and_the_top_counts_it() -> None:
    """Nothing is left out silently."""
    html = Stack(pictures={(1, 1): PICTURE}).file(EDITED, EDITED).html()
    assert "No image: the scan is not where it was" in html
    assert "1 page without an image" in html
    (image,) = Parsed(html).all("img")
    assert (image["width"], image["height"], image["alt"]) == ("900", "1270", "The scan of page 1")


def test_pages_and_files_beyond_the_limits_are_told_with_numbers() -> None:
    """A year in one report would stop a browser; what is missing is said."""
    stack = Stack(collection=Collection(2)).file(EDITED, EDITED, EDITED).file(EDITED, path="b.pdf").file(EDITED, path="c.pdf")
    parsed = Parsed(stack.html(most_pages=2))
    assert len(parsed.all("article")) == 2
    assert "shows 2 of 5 pages, those to review first; 3 are left out" in parsed.text
    assert "lists 2 of 3 files; 1 are left out" in parsed.text


def test_a_text_beyond_any_page_is_cut_and_says_so() -> None:
    """One page of a million characters must not stop the browser for the others; no edit is cut in two."""
    raw = "x" * 49_998 + "qu1ck" + "y" * 200_000
    page = Page(raw=raw, status=PageStatus.OK, edits=(Edit(49_998, "qu1ck", "quick", Reason.DIGIT_TO_LETTER, 1.0),))
    html = Stack().file(page).html()
    assert "Not shown: 200003 more characters of this page" in html
    assert len(html) < 100_000
    assert "quick" not in html


def test_a_text_that_was_replaced_meanwhile_is_told() -> None:
    """The daemon goes on while a report is made."""
    stack = Stack().file(EDITED)
    stack.documents.clear()
    parsed = Parsed(stack.html())
    assert "No text: it was replaced or removed while this report was made" in parsed.text
    assert not parsed.open


def test_an_empty_report_says_so() -> None:
    """A quiet day is a page, too."""
    text = Parsed(Stack().html()).text
    assert "There is no file." in text
    assert "failed" in text
