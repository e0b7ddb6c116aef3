"""A folder of texts and their truth: what can be learned from, and what is told of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocrwatch.correction.edits import Edit, Reason
from ocrwatch.correction.pairs import read_pairs
from ocrwatch.errors import UsageError
from ocrwatch.intake.entries import Identity
from ocrwatch.output.document import Document, Page, PageStatus, Source, render


def put(folder: Path, **files: str) -> Path:
    """A folder with NAME.txt and NAME.gt.txt for each NAME and NAME_gt."""
    for name, content in files.items():
        (folder / f"{name.replace('_gt', '.gt')}.txt").write_text(content, encoding="utf-8")
    return folder


def test_pages_come_in_order_with_what_stands_before_them(tmp_path: Path) -> None:
    """Form feeds separate pages; blank ones teach nothing."""
    pairs = read_pairs(put(tmp_path, b="Tbe fox\f\fsaw me", b_gt="The fox\f\fsaw me", a="one", a_gt="\ufeffone"))
    assert [(pair.raw, pair.true, pair.earlier) for pair in pairs] == [
        ("one", "one", ()),
        ("Tbe fox", "The fox", ()),
        ("saw me", "saw me", ("Tbe fox", "")),
    ]
    assert pairs[1].name == f"{tmp_path / 'b.txt'}, page 1"


def test_text_that_ocrwatch_corrected_is_read_as_it_was_recognized(tmp_path: Path) -> None:
    """Whoever takes sidecars and mends them into the truth calibrates on what the engine read."""
    page = Page(raw="Tbe fox\n", status=PageStatus.OK, edits=(Edit(0, "Tbe", "The", Reason.WORD, 1.0),))
    source = Source("a.png", Identity(*[1] * len(Identity._fields)), "0" * 64)
    made = render(Document(source, (page,), "tesseract", "5", ("en",)))
    (tmp_path / "a.png.txt").write_bytes(made.text)
    (tmp_path / "a.png.json").write_bytes(made.metadata)
    (tmp_path / "a.png.gt.txt").write_text("The fox\n", encoding="utf-8")
    assert [pair.raw for pair in read_pairs(tmp_path)] == ["Tbe fox\n"]
    (tmp_path / "a.png.txt").write_text("The vox\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"a\.png\.json does not tell what was read"):
        read_pairs(tmp_path)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "there are no pairs"),
        ({"a": "\f", "a_gt": "\f"}, "there are no pairs"),
        ({"a": "x"}, r"a\.txt has no a\.gt\.txt"),
        ({"a_gt": "x"}, r"a\.gt\.txt has no a\.txt"),
        ({"a": "one\ftwo", "a_gt": "one"}, r"a\.txt has 2 pages, .*a\.gt\.txt has 1"),
        ({"a": "the fox saw me", "a_gt": "another text altogether"}, r"a\.txt, page 1: .* too little in common"),
        ({"a": "the fox saw me", "a_gt": ""}, r"a\.txt, page 1: .* too little in common"),
    ],
)
def test_folder_that_teaches_nothing_says_which_file_and_what_to_do(tmp_path: Path, files: dict[str, str], told: str) -> None:
    """One line for a person, before any model is loaded."""
    with pytest.raises(UsageError, match=told) as raised:
        read_pairs(put(tmp_path, **files))
    assert raised.value.remedy


def test_folder_or_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Absent, and in another encoding."""
    with pytest.raises(UsageError, match=r"cannot list .*none"):
        read_pairs(tmp_path / "none")
    put(tmp_path, a="x", a_gt="x")
    (tmp_path / "a.gt.txt").write_bytes("für".encode("latin-1"))
    with pytest.raises(UsageError, match=r"a\.gt\.txt is not UTF-8"):
        read_pairs(tmp_path)
