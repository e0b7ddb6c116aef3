"""What the sidecar's two files say."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.correction.edits import Edit, Reason
from ocrwatch.intake.entries import Identity
from ocrwatch.output.document import Document, Model, Page, PageStatus, Source, claims, clean, raw_pages, read_back, render

SOURCE = Source(path="a/scan.pdf", identity=Identity(size=9, mtime_ns=8, inode=7), sha256="ab" * 32)
PLAIN = Document(
    source=SOURCE,
    pages=(Page(raw="The qu1ck fox\n", status=PageStatus.OK), Page(raw="$1O0.00\n", status=PageStatus.OK)),
    engine="tesseract",
    engine_version="5.5",
    languages=("en",),
)


@st.composite
def pages(draw: st.DrawFn) -> Page:
    """A page of any text with edits that fit it."""
    raw = draw(st.text(st.characters(), max_size=60) | st.text("ab \n\f\r\0\udce4é", max_size=30))
    cuts = sorted(draw(st.sets(st.integers(0, len(raw)), max_size=8)))
    edits = tuple(
        Edit(start, raw[start:end], draw(st.text("xyz\n\f\0é", max_size=4)), Reason.WORD, 1.5)
        for start, end in zip(cuts[::2], cuts[1::2], strict=False)
    )
    return Page(raw=raw, status=PageStatus.OK, edits=edits)


@given(st.lists(pages(), min_size=1, max_size=5))
def test_undoing_the_edits_of_the_json_on_the_text_gives_the_raw_text(contents: list[Page]) -> None:
    """Every change to what was read is listed and can be undone; pages in are pages out."""
    rendered = render(replace(PLAIN, pages=tuple(contents)))
    assert raw_pages(rendered.text, rendered.metadata) == tuple(clean(page.raw) for page in contents)
    assert rendered.text.decode().count("\f") == len(contents) - 1
    assert not set(rendered.text.decode()) & {"\0", "\r"}


@given(st.lists(pages(), min_size=1, max_size=5))
def test_document_is_read_back_as_it_was_written(contents: list[Page]) -> None:
    """A result can be used again without a second recognition: both files hold everything."""
    document = replace(PLAIN, pages=tuple(contents), model=Model("r", "f", "v", "s"), mode="rescore", profile="default")
    rendered = render(document)
    again = read_back(rendered.text, rendered.metadata)
    assert render(again) == rendered
    assert again.source == SOURCE
    assert again.is_final


@pytest.mark.parametrize("lost", ["pages", "engine", "edits"])
def test_metadata_that_lacks_something_is_not_read_back(lost: str) -> None:
    """A foreign or older file is refused, not guessed at."""
    rendered = render(PLAIN)
    data = json.loads(rendered.metadata)
    del data[lost]
    with pytest.raises(ValueError, match="not as ocrwatch writes it"):
        read_back(rendered.text, json.dumps(data).encode())


def test_partial_document_is_not_final() -> None:
    """Something better may come of it."""
    failed = replace(PLAIN, pages=(*PLAIN.pages, Page(raw="", status=PageStatus.FAILED)))
    assert PLAIN.is_final
    assert not failed.is_final
    assert not replace(PLAIN, mode="rescore", uncorrected_reason="no model").is_final


def test_text_is_pages_joined_by_form_feeds() -> None:
    """The text holds text only, of corrected pages, and never a notice."""
    edits = (Edit(4, "qu1ck", "quick", Reason.DIGIT_TO_LETTER, 3.0),)
    document = replace(
        PLAIN, pages=(replace(PLAIN.pages[0], edits=edits), Page(raw="", status=PageStatus.FAILED), PLAIN.pages[1])
    )
    assert render(document).text == b"The quick fox\n\f\f$1O0.00\n"


def test_json_holds_what_the_schema_says() -> None:
    """Schema version 1: the fields that others rely on."""
    edit = Edit(4, "qu1ck", "quick", Reason.DIGIT_TO_LETTER, 3.0)
    document = replace(
        PLAIN,
        pages=(replace(PLAIN.pages[0], edits=(edit,), confidence=0.93, review=("fox?",), recognize_s=1.23456), PLAIN.pages[1]),
        model=Model(repository="r", file="f.gguf", revision="main", sha256="cd" * 32),
        mode="words",
        profile="default",
    )
    rendered = render(document)
    data = json.loads(rendered.metadata)
    assert data["schema_version"] == 1
    assert data["source"] == {"path": "a/scan.pdf", "size": 9, "mtime_ns": 8, "inode": 7, "sha256": "ab" * 32}
    assert data["engine"] == {"name": "tesseract", "version": "5.5", "languages": ["en"]}
    assert data["correction"]["model"] == {"repository": "r", "file": "f.gguf", "revision": "main", "sha256": "cd" * 32}
    assert (data["correction"]["mode"], data["correction"]["profile"]) == ("words", "default")
    assert data["text_sha256"] == hashlib.sha256(rendered.text).hexdigest() == rendered.text_sha256
    assert (data["complete"], data["corrected"]) == (True, True)
    assert data["edits"] == [
        {"page": 1, "offset": 4, "before": "qu1ck", "after": "quick", "reason": "digit_to_letter", "score": 3.0}
    ]
    page = data["pages"][0]
    assert (page["page"], page["status"], page["source"], page["engine"]) == (1, "ok", "ocr", "tesseract")
    assert (page["confidence"], page["recognize_s"], page["review"]) == (0.93, 1.235, ["fox?"])


@pytest.mark.parametrize("status", [PageStatus.FAILED, PageStatus.TRIAL])
def test_document_with_a_partial_page_is_never_called_complete(status: PageStatus) -> None:
    """GPT#1037, NGX#2320, OMP#1353: an unread page is told in the metadata, even if the caller forgot to."""
    data = json.loads(render(replace(PLAIN, pages=(PLAIN.pages[0], Page(raw="", status=status, detail="why")))).metadata)
    assert data["complete"] is False
    assert "page 2" in data["incomplete_reason"]
    assert len(data["pages"]) == 2
    assert data["pages"][1]["status"] == status


def test_document_with_an_uncorrected_page_is_never_called_corrected() -> None:
    """A page that the model gave up on is told."""
    document = replace(PLAIN, pages=(PLAIN.pages[0], replace(PLAIN.pages[1], uncorrected_reason="the model took too long")))
    data = json.loads(render(document).metadata)
    assert data["corrected"] is False
    assert "page 2 (the model took too long)" in data["uncorrected_reason"]


def test_name_that_is_not_utf8_does_not_break_the_json() -> None:
    """NG#1737: the JSON is valid UTF-8 whatever the scan is called."""
    document = replace(PLAIN, source=replace(SOURCE, path=os.fsdecode(b'a\n"\xe4.pdf')))
    assert json.loads(render(document).metadata.decode("utf-8"))["source"]["path"] == 'a\n"\ufffd.pdf'


def test_edit_that_does_not_fit_is_refused() -> None:
    """Nothing is published that could not be undone."""
    with pytest.raises(ValueError, match="does not fit"):
        render(replace(PLAIN, pages=(replace(PLAIN.pages[0], edits=(Edit(0, "no", "yes", Reason.WORD, 1.0),)),)))


def test_raw_pages_refuses_a_text_that_is_not_the_described_one() -> None:
    """Edits are not undone on somebody's edited text."""
    rendered = render(PLAIN)
    with pytest.raises(ValueError, match="not the one"):
        raw_pages(rendered.text + b"x", rendered.metadata)


def test_claims_know_an_untouched_json_from_an_edited_one() -> None:
    """The checksum at the end tells, without a journal, whether somebody changed the file."""
    metadata = render(PLAIN, supersedes_text_sha256="ee").metadata
    said = claims(metadata)
    assert said is not None
    assert said.unchanged
    assert (said.source_path, said.source_sha256, said.supersedes_text_sha256) == ("a/scan.pdf", "ab" * 32, "ee")
    edited = claims(metadata.replace(b"tesseract", b"Tesseract"))
    assert edited is not None
    assert not edited.unchanged
    assert claims(json.dumps({"schema_version": 1, "title": "x"}).encode()) is None
    assert claims(b"[" * 100_000) is None
    assert claims(b"\xff") is None


@given(st.lists(pages(), min_size=1, max_size=3))
def test_document_survives_a_frame(contents: list[Page]) -> None:
    """A share worker renders the same bytes as the parent would."""
    document = replace(PLAIN, pages=tuple(contents), model=Model("r", "f", "v", "s"))
    assert Document.from_json(json.loads(json.dumps(document.to_json()))) == document
