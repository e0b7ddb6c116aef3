"""What a report shows: which pages first, the figures, and a text cut at its edits."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.correction.edits import Edit, Reason, apply
from ocrwatch.intake.entries import Identity
from ocrwatch.output.document import Document, Page, PageStatus, Source
from ocrwatch.output.sidecar import Names
from ocrwatch.report.content import REASONS, Collection, FileResult, Outline, Text, doubts, pieces, shown


def _file(path: str, *pages: Page, **more: Any) -> FileResult:
    """A file of these pages."""
    source = Source(path=path, identity=Identity(1, 2, 3), sha256="ab" * 32)
    document = Document(source=source, pages=pages, engine="tesseract", engine_version="5", languages=("en",), **more)
    return FileResult(path, "done", outline=Outline.of(document, Text("/in", Names(f"{path}.txt", f"{path}.json")), ()))


PLAIN = Page(raw="well read", status=PageStatus.OK, render_s=1, recognize_s=2, correct_s=4)
DOUBTFUL = Page(raw="ill raed", status=PageStatus.OK, review=("the engine is 40% sure of this page",))
FAILED = Page(raw="", status=PageStatus.FAILED, detail="page 3 cannot be decoded")


@st.composite
def _edited(draw: st.DrawFn) -> Page:
    """A page with edits that fit it."""
    raw, edits, at = draw(st.text(max_size=60)), [], 0
    while at < len(raw) and draw(st.booleans()):
        begin = draw(st.integers(at, len(raw) - 1))
        end = draw(st.integers(begin, len(raw)))
        edits.append(Edit(begin, raw[begin:end], draw(st.text(max_size=5)), Reason.WORD, 1.0))
        at = max(end, begin + 1)
    return Page(raw=raw, status=PageStatus.OK, edits=tuple(edits))


@given(_edited())
def test_pieces_are_the_whole_text_before_and_after(page: Page) -> None:
    """A report leaves no character out and shows none twice."""
    cut = list(pieces(page))
    assert "".join(piece.before if isinstance(piece, Edit) else piece for piece in cut) == page.raw
    assert "".join(piece.after if isinstance(piece, Edit) else piece for piece in cut) == apply(page.raw, page.edits)
    assert [piece for piece in cut if isinstance(piece, Edit)] == list(page.edits)


def test_pages_to_review_come_first_and_the_rest_in_order() -> None:
    """A person looks at the doubtful pages, whichever file they are in, before patience ends."""
    files = [_file("a.pdf", PLAIN, DOUBTFUL), FileResult("b.pdf", "failed"), _file("c.pdf", FAILED, PLAIN)]
    assert [(page.file, page.number) for page in shown(files, 9)] == [(1, 2), (3, 1), (1, 1), (3, 2)]
    assert [(page.file, page.number) for page in shown(files, 2)] == [(1, 2), (3, 1)]


def test_a_page_says_why_a_person_should_look() -> None:
    """The reason is the engine's, the model's, or that there is no text."""
    trial = Page(raw="cut", status=PageStatus.TRIAL, review=("unsure",))
    assert doubts(PLAIN) == ()
    assert doubts(DOUBTFUL) == ("the engine is 40% sure of this page",)
    assert doubts(FAILED) == ("it could not be read: page 3 cannot be decoded",)
    assert doubts(trial) == ("the engine cut its text for want of a licence", "unsure")


def test_figures_add_up_files_pages_edits_and_time() -> None:
    """What stands on top is the sum over every file, listed or not."""
    edit = Edit(0, "well", "Well", Reason.WORD, 2.0)
    edited = Page(raw="well", status=PageStatus.OK, edits=(edit, edit))
    collection = Collection(most_files=2)
    for file in (
        _file("a.pdf", PLAIN, DOUBTFUL, edited),
        _file("b.pdf", PLAIN, incomplete_reason="page 2", uncorrected_reason="off"),
        FileResult("c.pdf", "failed", reason="encrypted_file"),
        FileResult("d.pdf", "failed", reason="encrypted_file"),
        FileResult("e.pdf", "poison"),
    ):
        collection.add(file)
    sums = collection.figures
    assert (sums.files, sums.pages, sums.to_review, sums.edits, sums.failed) == (5, 4, 1, 2, 3)
    assert (sums.incomplete, sums.uncorrected, sums.reading_s, sums.correcting_s) == (1, 1, 6.0, 8.0)
    assert collection.reasons.most_common() == [("encrypted_file", 2), ("poison", 1)]


def test_files_that_want_a_look_are_kept_before_others_and_all_in_order() -> None:
    """Of a hundred thousand files a report remembers a few, and those are not the dull ones."""
    collection = Collection(most_files=3)
    for number in range(50):
        collection.add(_file(f"{number:02}.pdf", DOUBTFUL if number in (20, 40) else PLAIN))
    assert [file.path for file in collection.files()] == ["00.pdf", "20.pdf", "40.pdf"]
    assert collection.figures.files == 50


def test_every_reason_of_an_edit_has_its_words() -> None:
    """No code is shown to a person."""
    assert set(REASONS) == set(Reason)
