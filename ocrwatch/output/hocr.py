"""The words of a document with their places on the page, as hOCR 1.2 (XHTML). Pure: pages in, bytes out, one page at a time.

The words are those that the engine read, whatever was corrected since. Boxes are in pixels of the upright page, at the resolution
that `scan_res` tells; where an engine tells none, a word has none and its line has the page's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from ocrwatch import __version__
from ocrwatch.ocr.engine import Box, PageResult, Word

_CAPABILITIES = "ocr_page ocr_par ocr_line ocrx_word ocrp_wconf"
_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml">
 <head>
  <title>hOCR</title>
  <meta charset="utf-8"/>
  <meta name="ocr-system" content={system}/>
  <meta name="ocr-capabilities" content={capabilities}/>
  <meta name="ocr-number-of-pages" content="{pages}"/>
  <meta name="ocr-langs" content={languages}/>
 </head>
 <body>
"""
_TAIL = " </body>\n</html>\n"
_WORD = re.compile(r"\S+")
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(pages: Iterable[PageResult | None], *, count: int, languages: Sequence[str]) -> Iterator[bytes]:
    """The document in pieces, one for each page, and what stands before and after them.

    pages: in order; None for one that could not be read, which is a page without words and size. count: of all pages.
    """
    head = _HEAD.format(
        system=quoteattr(f"ocrwatch {__version__}"),
        capabilities=quoteattr(_CAPABILITIES),
        pages=count,
        languages=quoteattr(" ".join(languages)),
    )
    yield head.encode()
    for number, page in enumerate(pages, start=1):
        yield "".join(_page(number, page)).encode()
    yield _TAIL.encode()


def _page(number: int, page: PageResult | None) -> Iterator[str]:
    size = (0, 0, page.width_px, page.height_px) if page else (0, 0, 0, 0)
    resolution = f"; scan_res {page.dpi:.0f} {page.dpi:.0f}" if page else ""
    yield f'  <div class="ocr_page" id="page_{number}" title="{_bbox(size)}; ppageno {number - 1}{resolution}">\n'
    lines = words = 0
    for paragraphs, paragraph in enumerate(_paragraphs(page) if page else (), start=1):
        yield f'   <p class="ocr_par" id="par_{number}_{paragraphs}">\n'
        for line in paragraph:
            lines += 1
            box = _around([word.box for word in line if word.box]) or size
            yield f'    <span class="ocr_line" id="line_{number}_{lines}" title="{_bbox(box)}">'
            yield " ".join(_word(f"word_{number}_{word_number}", word) for word_number, word in enumerate(line, start=words + 1))
            yield "</span>\n"
            words += len(line)
        yield "   </p>\n"
    yield "  </div>\n"


def _paragraphs(page: PageResult) -> Iterator[list[list[Word]]]:
    """The words in lines in paragraphs, as line ends and blank lines of the text part them."""
    paragraph: list[list[Word]] = []
    end = 0
    for word in page.words or _words_of(page.text):
        ends_before = page.text.count("\n", end, word.offset)
        if ends_before > 1 and paragraph:
            yield paragraph
            paragraph = []
        if ends_before or not paragraph:
            paragraph.append([])
        paragraph[-1].append(word)
        end = word.offset + len(word.text)
    if paragraph:
        yield paragraph


def _words_of(text: str) -> Iterator[Word]:
    """The words of a text of which nothing else is known."""
    return (Word(match[0], match.start()) for match in _WORD.finditer(text))


def _word(name: str, word: Word) -> str:
    properties = [_bbox(word.box)] if word.box else []
    if word.confidence is not None:
        properties.append(f"x_wconf {word.confidence * 100:.0f}")
    title = f' title="{"; ".join(properties)}"' if properties else ""
    return f'<span class="ocrx_word" id="{name}"{title}>{escape(_NO_XML.sub("", word.text))}</span>'


def _around(boxes: Sequence[Box]) -> Box | None:
    if not boxes:
        return None
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _bbox(box: Box) -> str:
    return "bbox " + " ".join(map(str, box))
