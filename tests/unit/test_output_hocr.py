"""hOCR: what any reader of XML finds in it again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.ocr.engine import Box, PageResult, PageSource, Word
from ocrwatch.ocr.text import typeset
from ocrwatch.output import hocr

_side = st.integers(0, 3000)
_boxes = st.tuples(_side, _side, _side, _side)
_read = st.tuples(
    st.sampled_from([" ", "  ", "\n", "\n\n"]),
    st.builds(Word, st.text(min_size=1, max_size=6), st.just(0), st.none() | _boxes, st.none() | st.floats(0, 1)),
)


def page(*words: tuple[str, Word]) -> PageResult:
    """A page of these words, each after what parts it from the one before."""
    text, placed = typeset(words)
    return PageResult(text, "tesseract", "5", PageSource.OCR, width_px=2480, height_px=3508, dpi=299.9, words=placed)


def word(text: str, box: Box | None = None, confidence: float | None = None) -> Word:
    """A word by itself."""
    return Word(text, 0, box, confidence)


def parsed(pages: Sequence[PageResult | None]) -> Element:
    """The document, read again."""
    return ElementTree.fromstring(b"".join(hocr.render(pages, count=len(pages), languages=("en", "de"))))


def of_class(element: Element, name: str) -> list[Element]:
    """The elements of a class of hOCR."""
    return [found for found in element.iter() if found.get("class") == name]


def title(element: Element) -> dict[str, str]:
    """The properties of an element."""
    properties = (item.strip().partition(" ") for item in element.get("title", "").split(";") if item.strip())
    return {name: value for name, _, value in properties}


def test_document_says_what_it_is() -> None:
    """The system, what it tells, how many pages and which languages stand in the head, where readers look for them."""
    head = {meta.get("name"): meta.get("content") for meta in parsed([None, None]).iter("{http://www.w3.org/1999/xhtml}meta")}
    assert str(head["ocr-system"]).startswith("ocrwatch ")
    assert (head["ocr-number-of-pages"], head["ocr-langs"]) == ("2", "en de")
    assert str(head["ocr-capabilities"]).split() == ["ocr_page", "ocr_par", "ocr_line", "ocrx_word", "ocrp_wconf"]


def test_page_line_and_word_have_their_places() -> None:
    """Boxes in pixels of the page, confidence in per cent, a line around its words."""
    document = parsed(
        [
            page(
                ("", word("one", (10, 20, 30, 40), 0.954)),
                ("  ", word("two", (50, 18, 70, 41))),
                ("\n", word("three", (1, 2, 3, 4))),
            )
        ]
    )
    (sheet,), lines, words = (of_class(document, name) for name in ("ocr_page", "ocr_line", "ocrx_word"))
    assert title(sheet) == {"bbox": "0 0 2480 3508", "ppageno": "0", "scan_res": "300 300"}
    assert [title(line) for line in lines] == [{"bbox": "10 18 70 41"}, {"bbox": "1 2 3 4"}]
    assert [title(found) for found in words] == [
        {"bbox": "10 20 30 40", "x_wconf": "95"},
        {"bbox": "50 18 70 41"},
        {"bbox": "1 2 3 4"},
    ]
    assert [found.text for found in words] == ["one", "two", "three"]


def test_paragraphs_are_those_of_the_text() -> None:
    """A blank line begins a paragraph, a line end a line."""
    document = parsed([page(("", word("a")), (" ", word("b")), ("\n", word("c")), ("\n\n", word("d")))])
    found = [[["".join(w.itertext()) for w in line] for line in paragraph] for paragraph in of_class(document, "ocr_par")]
    assert found == [[["a", "b"], ["c"]], [["d"]]]


def test_page_that_was_not_read_is_a_page_without_words() -> None:
    """Pages in are pages out: the numbers of those after it hold."""
    sheets = of_class(parsed([None, page(("", word("two"))), page()]), "ocr_page")
    assert [title(sheet)["ppageno"] for sheet in sheets] == ["0", "1", "2"]
    assert [len(of_class(sheet, "ocrx_word")) for sheet in sheets] == [0, 1, 0]


def test_text_of_unknown_words_is_there_all_the_same() -> None:
    """A text layer whose lines could not be told apart has words without places, on lines as large as the page."""
    document = parsed([PageResult("two words\n", "pdfium", "1", PageSource.TEXT_LAYER, width_px=9, height_px=8, dpi=300.0)])
    assert [found.text for found in of_class(document, "ocrx_word")] == ["two", "words"]
    assert [title(line) for line in of_class(document, "ocr_line")] == [{"bbox": "0 0 9 8"}]


@given(st.lists(st.none() | st.lists(_read, max_size=8).map(lambda words: page(*words)), max_size=4))
def test_any_words_make_a_whole_document(pages: list[PageResult | None]) -> None:
    """Whatever was read, readers of XML take it and find every word once, in order, but for characters that XML cannot hold."""
    document = parsed(pages)
    assert len(of_class(document, "ocr_page")) == len(pages)
    words = [found.text or "" for found in of_class(document, "ocrx_word")]
    read = [word.text for result in pages if result for word in result.words]
    # A parser of XML makes every line end a newline.
    assert words == [
        re.sub("\r\n?", "\n", re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text)) for text in read
    ]
    names = [element.get("id") for element in document.iter() if element.get("id")]
    assert len(names) == len(set(names))
