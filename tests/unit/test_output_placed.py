"""The words of a corrected page at the places of those that were read."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.correction import edits as edits_
from ocrwatch.correction.edits import Edit, Reason
from ocrwatch.ocr.engine import PageResult, PageSource, Word
from ocrwatch.output.placed import Run, runs

_HEIGHT_PX = 20


def _page(text: str, *, boxed: bool = True) -> PageResult:
    """Each word as wide as its letters, 10 pixels each, each line 20 pixels high."""
    words = []
    for match in re.finditer(r"\S+", text):
        line = text.count("\n", 0, match.start())
        left = 10 * (match.start() - (text.rfind("\n", 0, match.start()) + 1))
        box = (left, _HEIGHT_PX * line, left + 10 * len(match[0]), _HEIGHT_PX * (line + 1))
        words.append(Word(match[0], match.start(), box if boxed else None))
    size = {"width_px": 1000, "height_px": 1000, "dpi": 100.0}
    return PageResult(text=text, engine="e", engine_version="1", source=PageSource.OCR, words=tuple(words), **size)  # type: ignore[arg-type]


def _edit(text: str, before: str, after: str) -> Edit:
    return Edit(text.index(before), before, after, Reason.WORD, 1.0)


def _placed(text: str, *changes: tuple[str, str]) -> list[Run]:
    return runs(_page(text), [_edit(text, *change) for change in changes])


def test_words_stand_where_they_were_read() -> None:
    """Without edits the layer is the page as read, with its lines."""
    assert _placed("tbe cat\nsat") == [
        Run("tbe", (0, 0, 30, 20), False),
        Run("cat", (40, 0, 70, 20), True),
        Run("sat", (0, 20, 30, 40), True),
    ]


def test_corrected_word_takes_the_place_of_the_one_read() -> None:
    """What is found is what the text says."""
    assert _placed("tbe cat", ("tbe", "the"))[0] == Run("the", (0, 0, 30, 20), False)
    assert _placed("the c@t", ("@", "a"))[1] == Run("cat", (40, 0, 70, 20), True)


def test_join_takes_the_united_box() -> None:
    """Two words that are one stand where both stood, whether the edit names them or only the blank."""
    united = [Run("together", (0, 0, 90, 20), True)]
    assert _placed("toge ther", ("toge ther", "together")) == united
    assert _placed("toge ther", (" ", "")) == united


def test_split_takes_the_united_box() -> None:
    """One word that is two stays one run, with the blank in it."""
    assert _placed("ofthe end", ("ofthe", "of the")) == [Run("of the", (0, 0, 50, 20), False), Run("end", (60, 0, 90, 20), True)]


def test_vanished_word_leaves_nothing() -> None:
    """A speck that was read as a word and edited away is in no layer; its line still ends."""
    assert _placed("a ~\nb", ("~", "")) == [Run("a", (0, 0, 10, 20), True), Run("b", (0, 20, 10, 40), True)]


def test_edit_over_several_words_keeps_each_at_its_place() -> None:
    """A rewrite that only changes letters moves no word."""
    placed = _placed("tbe cut sat", ("tbe cut", "the cat"))
    assert [(run.text, run.box[0]) for run in placed] == [("the", 0), ("cat", 40), ("sat", 80)]


def test_join_over_lines_stays_on_the_first() -> None:
    """A box over two lines would cover words that do not belong to it."""
    assert _placed("a Wor-\ntung b", ("Wor-\ntung", "Wortung"))[1] == Run("Wortung", (20, 0, 60, 20), False)


def test_words_without_a_place_have_no_run() -> None:
    """An engine that tells no boxes gives no layer, and no error."""
    assert runs(_page("the cat", boxed=False)) == []
    assert runs(_page("")) == []


def test_unclean_characters_are_as_in_the_text() -> None:
    """What UTF-8 cannot hold is replaced here as there."""
    assert _placed("a\udc80b")[0].text == "a\ufffdb"


_TEXTS = st.text(st.sampled_from("ab1ßŁ€ \n"), max_size=40)


@st.composite
def _edited(draw: st.DrawFn) -> tuple[str, list[Edit]]:
    text = draw(_TEXTS)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8, unique=True)))
    made = []
    for start, end in zip(cuts[::2], cuts[1::2], strict=False):
        after = draw(st.text(st.sampled_from("xyÄ€ \n"), max_size=6))
        if after != text[start:end]:
            made.append(Edit(start, text[start:end], after, Reason.REWRITE, 1.0))
    return text, made


@given(_edited())
def test_layer_says_what_the_text_says(case: tuple[str, list[Edit]]) -> None:
    """Whatever the edits: the letters of the corrected text in their order, each run within the page's words."""
    text, made = case
    page = _page(text)
    placed = runs(page, made)
    corrected = "".join(edits_.apply(text, made).split())
    said = "".join("".join(run.text.split()) for run in placed)
    if page.words and not any(edit.before.strip() == "" for edit in made):
        assert said == corrected
    else:  # what was put where no word stood has no place
        assert len(said) <= len(corrected)
    boxes = [word.box for word in page.words if word.box is not None]
    for run in placed:
        assert run.text == " ".join(run.text.split()) != ""
        assert run.box[1] + _HEIGHT_PX == run.box[3], "on one line"
        assert any(box[0] == run.box[0] for box in boxes)
        assert any(box[2] == run.box[2] for box in boxes)


@given(_edited())
def test_unedited_words_keep_their_boxes(case: tuple[str, list[Edit]]) -> None:
    """A word that no edit touches is a run of its own."""
    text, made = case
    page = _page(text)
    placed = runs(page, made)
    for word in page.words:
        start, end = word.offset, word.offset + len(word.text)
        if all(edit.offset > end or edit.offset + len(edit.before) < start for edit in made):
            assert (word.text, word.box) in [(run.text, run.box) for run in placed]
