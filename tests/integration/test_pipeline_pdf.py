"""A job whose inbox wants a searchable PDF: when it is made, published, superseded, and what becomes of the job without it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ocrwatch.journal.states import JobState
from ocrwatch.output.searchable import LaidPage, PdfMaker
from tests.faults.daemon import wait_until
from tests.integration.test_pipeline import _PLAN, Bench


class _Noting(PdfMaker):
    """Notes what it is given, in place of a PDF: the scans of these tests are scripts."""

    def make(self, source: Path, destination: Path, pages: Iterable[LaidPage], *, count: int) -> str:
        assert source.is_file()
        noted = {"count": count, "pages": {laid.number: [run.text for run in laid.runs] for laid in pages}}
        destination.write_text(json.dumps(noted), encoding="utf-8")
        return ""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A service whose inbox wants searchable PDFs."""
    bench = Bench(tmp_path)
    bench.treatment = replace(bench.treatment, pdf=True)
    with_maker(bench, _Noting(memory_bytes=10**9))
    yield bench
    bench.stop()


def with_maker(bench: Bench, maker: PdfMaker) -> None:
    """From now on, also after a crash."""
    bench.pdfs = maker
    bench._build()


def _pdf(bench: Bench, name: str) -> Path:
    return bench.inbox / f"{name}.ocr.pdf"


def _noted(bench: Bench, name: str) -> dict[str, list[str]]:
    pages = json.loads(_pdf(bench, name).read_text(encoding="utf-8"))["pages"]
    assert isinstance(pages, dict)
    return pages


def test_searchable_pdf_is_published_with_the_text(bench: Bench) -> None:
    """The JSON names it and its hash; a page with a text of its own gets no second one."""
    job = bench.run_new(
        "a.pdf",
        {"text": "one", "boxed": True},
        {"text": "digital", "source": "text_layer"},
        {"text": "three pages", "boxed": True},
    )
    assert job.state is JobState.DONE
    assert _noted(bench, "a.pdf") == {"1": ["one"], "3": ["three", "pages"]}
    said = bench.metadata("a.pdf")
    assert (said["pdf"], said["pdf_reason"]) == ("a.pdf.ocr.pdf", "")
    assert said["pdf_sha256"] == hashlib.sha256(_pdf(bench, "a.pdf").read_bytes()).hexdigest()


def test_searchable_pdf_holds_the_corrected_words(bench: Bench) -> None:
    """Raw ones as long as there is no model; then it is superseded with the text."""
    (bench.folder / "no-memory").touch()
    model = bench.with_model(wait_s=1.0)
    job = bench.run_new("a.pdf", {"text": "tbe one", "boxed": True})
    assert job.state is JobState.AWAITING_CORRECTION
    assert _noted(bench, "a.pdf") == {"1": ["tbe", "one"]}
    (bench.folder / "no-memory").unlink()
    wait_until(lambda: model.status().unavailable_since is None)
    bench.treatment = replace(bench.treatment, correction=_PLAN)
    assert bench.run(job).state is JobState.DONE
    assert bench.text("a.pdf") == "the one"
    assert _noted(bench, "a.pdf") == {"1": ["the", "one"]}
    assert bench.metadata("a.pdf")["pdf_sha256"] == hashlib.sha256(_pdf(bench, "a.pdf").read_bytes()).hexdigest()
    assert bench.read_pages() == [1], "the page is not recognized again for it"


def test_scan_that_gives_no_pdf_gets_its_text_and_the_reason(bench: Bench) -> None:
    """By the real worker, which finds no PDF and no image in a script."""
    with_maker(bench, PdfMaker(memory_bytes=10**9))
    assert bench.run_new("a.pdf", {"text": "one", "boxed": True}).state is JobState.DONE
    said = bench.metadata("a.pdf")
    assert bench.text("a.pdf") == "one"
    assert (said["pdf"], said["pdf_sha256"]) == (None, "")
    assert "unsupported_file" in said["pdf_reason"]
    assert not _pdf(bench, "a.pdf").exists()


def test_pdf_of_an_earlier_scan_goes_when_the_new_one_has_none(bench: Bench) -> None:
    """It would show the pages of another document."""
    bench.run_new("a.pdf", {"text": "one", "boxed": True})
    assert _pdf(bench, "a.pdf").exists()
    with_maker(bench, PdfMaker(memory_bytes=10**9))
    assert bench.run_new("a.pdf", {"text": "another one", "boxed": True}).state is JobState.DONE
    assert bench.text("a.pdf") == "another one"
    assert not _pdf(bench, "a.pdf").exists()


def test_pdf_of_somebody_else_is_never_touched(bench: Bench) -> None:
    """The text is published all the same, and says why there is no PDF of it."""
    _pdf(bench, "a.pdf").write_bytes(b"precious")
    assert bench.run_new("a.pdf", {"text": "one", "boxed": True}).state is JobState.DONE
    assert _pdf(bench, "a.pdf").read_bytes() == b"precious"
    said = bench.metadata("a.pdf")
    assert said["pdf"] is None
    assert "not written by ocrwatch" in said["pdf_reason"]


def test_edited_pdf_is_never_replaced(bench: Bench) -> None:
    """Somebody put notes into it."""
    bench.run_new("a.pdf", {"text": "one", "boxed": True})
    _pdf(bench, "a.pdf").write_bytes(b"with notes")
    bench.run_new("a.pdf", {"text": "two", "boxed": True})
    assert bench.text("a.pdf") == "two"
    assert _pdf(bench, "a.pdf").read_bytes() == b"with notes"


def test_same_content_has_a_pdf_of_its_own(bench: Bench) -> None:
    """Where the words stand is in no text: the twin is read again for it."""
    for name in ("a.pdf", "b.pdf"):
        assert bench.run_new(name, {"text": "one", "boxed": True}).state is JobState.DONE
        assert _noted(bench, name) == {"1": ["one"]}


@pytest.mark.parametrize("wanted_before", [False, True])
def test_sidecar_without_a_wanted_pdf_is_not_whole(bench: Bench, wanted_before: bool) -> None:
    """When the journal was lost, it is adopted only with it."""
    bench.treatment = replace(bench.treatment, pdf=wanted_before)
    bench.run_new("a.pdf", {"text": "one", "boxed": True})
    bench.stop()
    for file in bench.folder.glob("journal.db*"):
        file.unlink()
    bench.start()
    bench.treatment = replace(bench.treatment, pdf=True)
    job = bench.run(bench.enter(bench.inbox / "a.pdf"))
    assert (job.state, job.reason) == (JobState.DONE, "adopted" if wanted_before else "")
    assert _noted(bench, "a.pdf") == {"1": ["one"]}


def test_crash_while_the_pdf_is_made_costs_nothing(bench: Bench) -> None:
    """The job goes on at the next start, and its pages are not recognized again."""
    with_maker(bench, PdfMaker(memory_bytes=10**9))
    assert bench.pdfs is not None
    bench.pdfs.stop()
    job = bench.run_new("a.pdf", {"text": "one", "boxed": True})
    assert job.state is JobState.SPOOLED
    assert not (bench.inbox / "a.pdf.json").exists()
    bench.crash()
    with_maker(bench, _Noting(memory_bytes=10**9))
    assert bench.run(job).state is JobState.DONE
    assert _noted(bench, "a.pdf") == {"1": ["one"]}
    assert bench.read_pages() == [1]
