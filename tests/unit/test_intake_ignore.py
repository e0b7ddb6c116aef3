"""Names that are never scans."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.intake.ignore import (
    ODD_BEGINNINGS,
    PDF_SUFFIX,
    SCAN_ENDINGS,
    SCAN_SUFFIXES,
    Patterns,
    is_ours,
    why_directory_ignored,
    why_ignored,
)


def _ignoring(*patterns: str) -> Patterns:
    return Patterns(ignore=patterns)


@pytest.mark.parametrize(
    "name",
    [
        *("scan.pdf.part", "scan.pdf.filepart", "scan.pdf.crdownload", "scan.tmp", "scan.pdf~", "scan.pd~", ".~lock.scan.pdf#"),
        *(".syncthing.scan.pdf.tmp", "~syncthing~scan.pdf.tmp", "~$scan.pdf", ".goutputstream-X1Y2Z3", ".nfs0000000000a1b2c3"),
        *("Thumbs.db", ".DS_Store", "._scan.pdf", "desktop.ini", ".hidden.pdf", "@eaDir/scan.pdf", "a/.@__thumb/scan.pdf"),
        *("$RECYCLE.BIN/scan.pdf", "#recycle/a.pdf", "System Volume Information/x.pdf", ".stversions/scan.pdf", "~snapshot~"),
        *("scan.pdf.txt", "scan.pdf.json", "scan.txt", ".ocrwatch-1-2-3-4-5.tmp", ".ocrwatch-moving-1/scan.pdf"),
        *("noending", "letter.docx", "config.yaml", "archive.zip", "pdf", "scan."),
    ],
)
def test_name_is_ignored_with_a_reason(name: str) -> None:
    """AUTO#16, PL#485, NG#1509, ST#2208, DS#2993: temporary, foreign, junk and our own names are left alone, and said so."""
    assert why_ignored(name)


@pytest.mark.parametrize(
    "name",
    [
        *("scan.pdf", "SCAN.PDF", "a/b/scan.TIFF", "scan.jpeg", "-x.pdf", "a\nb.pdf", "scan.part.pdf", "a~b.pdf", "x.j2k"),
        *(os.fsdecode(b"scan\xe4.pdf"), "Ü.jp2", "recycle.pdf", "thumbs.pdf", "a b/c d.png"),
    ],
)
def test_name_of_a_scan_is_taken(name: str) -> None:
    """NGX#3338, Umi-OCR#1008: any bytes that end as a scan does are a scan."""
    assert why_ignored(name) is None


def test_pattern_of_the_configuration_is_named() -> None:
    """A pattern is matched against path and name, prunes directories, and is told."""
    assert "'done/*'" in str(why_ignored("done/a.pdf", _ignoring("done/*")))
    assert "'draft-*'" in str(why_ignored("a/draft-1.pdf", _ignoring("draft-*")))
    assert why_directory_ignored("a/old", _ignoring("old/"))
    assert why_ignored("a/old/b/c.pdf", _ignoring("old"))
    assert why_directory_ignored("a/new", _ignoring("old")) is None


def test_why_ignored_tells_of_the_name_that_an_upload_gets_later() -> None:
    """The answer of `why` says what happens next."""
    assert "final name" in str(why_ignored("scan.pdf.part"))


def test_is_ours_knows_what_ocrwatch_writes() -> None:
    """Events of our own making are told by the name alone."""
    assert is_ours("scan.pdf.ocr.pdf")
    assert all(is_ours(name) for name in ("a/scan.pdf.txt", "scan.json", ".ocrwatch-x.tmp", "a/.ocrwatch-moving-x/scan.pdf"))
    assert not any(is_ours(name) for name in ("scan.pdf", "a/b", "a"))


def test_searchable_pdf_of_ours_is_no_scan() -> None:
    """Else each would have a text and a PDF of its own, for ever; in capitals as a Windows client may name it."""
    for name in ("scan.pdf.ocr.pdf", "a/Scan.OCR.PDF"):
        assert "searchable" in str(why_ignored(name))
    assert why_ignored("ocr.pdf") is None


@given(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), max_size=20),
    st.sampled_from(sorted(SCAN_SUFFIXES)),
)
def test_short_way_for_ordinary_names_agrees_with_every_rule(stem: str, suffix: str) -> None:
    """A name with a scan's ending and no odd beginning is one that no rule ignores; without the ending each is ignored."""
    for name in (f"{stem}.{suffix}", f"a{stem}.{suffix.upper()}"):
        assert why_ignored(name) is None or name.startswith(ODD_BEGINNINGS) or name.lower().endswith(PDF_SUFFIX)
    assert why_ignored(stem) is not None or stem.lower().endswith(SCAN_ENDINGS)


def test_included_names_are_the_only_ones_and_the_others_hear_why() -> None:
    """By name or path; an ignored one is not taken for being included, nor one that is no scan."""
    only = Patterns(include=("invoice-*", "from-scanner/*"), ignore=("*-draft.pdf",))
    assert why_ignored("a/invoice-1.pdf", only) is None
    assert why_ignored("from-scanner/x.tif", only) is None
    assert "invoice-*" in str(why_ignored("letter.pdf", only))
    assert "'*-draft.pdf'" in str(why_ignored("invoice-1-draft.pdf", only))
    assert why_ignored("invoice-1.docx", only)
    assert why_directory_ignored("somewhere", only) is None
