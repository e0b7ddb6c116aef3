"""The pages that the correction is learned from: their texts, their corpus, and what is counted on them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.correction import channel
from ocrwatch.ocr.engine import Alternative, PageResult, PageSource, Word

pytest.importorskip("faker", reason="the training pages need faker: pip install -e '.[dev]'")

from bench.correction import corpus, learn_channel, render, sources
from bench.correction.learn_channel import Change, changes
from bench.correction.texts import Author, Kind, wrapped

PROSE = [
    (1.0, ["The garden behind the house has been planted again. Many thanks to everybody who helped with shovel and water."] * 9)
]


def page(true: str, read: str) -> corpus.TrainingPage:
    """A page of one word that the engine was not sure of."""
    word = Word(read.split()[0], 0, (0, 0, 9, 9), 0.5, (Alternative(0, 1, "x", 0.25),))
    reading = PageResult(read, "tesseract", "5", PageSource.OCR, 90, 90, 300.0, words=(word,))
    return corpus.TrainingPage("en-00000", "en", Kind.PROSE, render.Damage.FAX, 0.5, true, reading)


@given(st.text(alphabet="abe ilnortsu", min_size=1, max_size=300), st.integers(12, 60))
def test_wrapped_loses_nothing(text: str, width: int) -> None:
    """Lines keep within the width, and are the text again once the hyphens are taken out."""
    lines = wrapped(text, width, random.Random(1), hyphens=0.5)
    longest = max(map(len, text.split()), default=0)
    assert all(len(line) <= max(width, longest) for line in lines)
    assert " ".join(lines).replace("- ", "").split() == text.split()


@pytest.mark.parametrize("language", sources.LANGUAGES)
def test_author_writes_each_kind_and_the_same_page_twice(language: str) -> None:
    """All chance comes from the seed, and each language has the words for each kind of page."""
    author, again = Author(language, PROSE), Author(language, PROSE)
    sheets = [author.page(f"{number}") for number in range(60)]
    assert {sheet.kind for sheet in sheets} == set(Kind)
    assert [again.page(f"{number}") for number in range(60)] == sheets
    assert all(len(sheet.true) > 150 for sheet in sheets)


def test_draw_gives_the_same_picture_twice() -> None:
    """Damage is drawn from the seed as well."""
    root = corpus.CACHE / "root"
    if not (root / "usr/share/fonts").is_dir():
        pytest.skip(f"no fonts in {root}: python -m bench.correction.corpus make")
    sheet = Author("en", PROSE).page("3")
    (first, plan), (second, _) = (render.draw(sheet, root, "3") for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert 0 <= plan.strength <= 1


def test_corpus_keeps_a_page_as_it_was(tmp_path: Path) -> None:
    """Words, confidences and alternatives come back from disk."""
    written = page("The quick", "Tbe quick")
    path = tmp_path / "en.jsonl"
    path.write_text(corpus.line(written), encoding="utf-8")
    assert list(corpus.load(path)) == [written]
    assert written.error_rate == pytest.approx(1 / 9)


def test_load_all_leaves_out_pages_that_cannot_be_aligned(tmp_path: Path) -> None:
    """A page whose lines were lost teaches nothing of letters."""
    path = tmp_path / "en.jsonl"
    path.write_text(corpus.line(page("The quick brown fox", "x y")) + corpus.line(page("The fox", "Thc fox")), encoding="utf-8")
    assert [p.true for p in corpus.load_all([path])] == ["The fox"]


@pytest.mark.parametrize(
    ("true", "read", "expected"),
    [
        ("modern art", "modem art", [Change("rn", "m")]),
        ("of the", "ofthe", [Change(" ", "")]),
        ("letter", "let ter", [Change("", " ")]),
        ("same", "same", []),
    ],
)
def test_changes_are_the_stretches_that_differ(true: str, read: str, expected: list[Change]) -> None:
    """Substitutions, joins and splits."""
    assert list(changes(true, read)) == expected


def test_learned_table_makes_usual_confusions_cheap(tmp_path: Path) -> None:
    """What is counted comes out of the file as costs, for blanks too."""
    pages = [page("the modern age of the art", "the modem age ofthe art")] * 50 + [page("the hash # key", "the hash # key")]
    path = tmp_path / "channel.tsv"
    learn_channel.write(path, learn_channel.count(pages), head=["Learned here."])
    learned = channel.parse(path.read_text(encoding="utf-8").splitlines())
    assert learned.cost("modem", "modern") < learned.cost("modan", "modern")
    assert learned.cost("ofthe", "of the") < learned.cost("agethe", "xx the")
