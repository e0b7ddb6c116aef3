"""Letters, drawn and worn like scans of 300 dpi, and what was meant by them. Owns what the benchmark reads; measures nothing.

The same pictures each time: all chance comes from the seed and the number of the page. No two pages are alike.
"""

from __future__ import annotations

import os
import re
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from bench.demo.scans import FONTS, LETTERS, MINUTES

DPI = 300
BOOK_PAGES = 100
_PAGE_PX = (2480, 3508)  # A4
_MARGIN_PX = 260
_FACES = {"DejaVuSans.ttf": 46, "DejaVuSerif.ttf": 46, "DejaVuSansMono.ttf": 42}
_LEADING_PX = 26  # between two lines
_LINE_CHARACTERS = 62
_SENTENCES = 14
_MISPRINTS = 8  # a page: something for correction to find
_MISTAKEN = {"l": "1", "o": "0", "e": "c", "m": "rn", "i": "l"}
_PAPER, _INK = 246, 45
_GRAIN_PX = 900
_MADE = time.gmtime(0)  # a PDF bears the time it was made at


@dataclass(frozen=True)
class Letter:
    """One page. name: of its file, without a suffix. printed: the text with the misprints that stand on the paper."""

    name: str
    printed: str
    face: str
    seed: tuple[int, int]


def letters(count: int, *, seed: int) -> Iterator[Letter]:
    """`count` letters, each with a number and an amount of its own and its own choice of sentences."""
    sentences = _sentences((*LETTERS, *MINUTES))
    faces = list(_FACES)
    for number in range(count):
        chance = np.random.default_rng((seed, number))
        chosen = [sentences[index] for index in chance.permutation(len(sentences))[:_SENTENCES]]
        paragraphs = [" ".join(chosen[begin : begin + 4]) for begin in range(0, len(chosen), 4)]
        head = f"Letter {1000 + number}, page 1 of 1, amount ${chance.integers(10, 9999)}.{chance.integers(10, 99)}"
        text = "\n\n".join(textwrap.fill(paragraph, _LINE_CHARACTERS) for paragraph in (head, *paragraphs)) + "\n"
        yield Letter(f"scan-{number:05}", _misprinted(text, chance), faces[number % len(faces)], (seed, number))


def _sentences(texts: Sequence[str]) -> list[str]:
    joined = " ".join(" ".join(text.split()) for text in texts)
    return [f"{sentence}." for sentence in joined.rstrip(".").split(". ")]


def _misprinted(text: str, chance: np.random.Generator) -> str:
    words = [found for found in re.finditer(r"[a-z]{6,}", text) if set(found[0][1:]) & set(_MISTAKEN)]
    for index in sorted(chance.permutation(len(words))[:_MISPRINTS], reverse=True):
        begin, end = words[index].span()
        place = next(place for place in range(begin + 1, end) if text[place] in _MISTAKEN)
        text = text[:place] + _MISTAKEN[text[place]] + text[place + 1 :]
    return text


def draw_backlog(chosen: Sequence[Letter], *, images: Path, pdfs: Path, book: Path) -> None:
    """Each letter as a PNG and as a PDF that holds one picture; the first hundred also as the pages of one PDF."""
    images.mkdir()
    pdfs.mkdir()

    def draw(letter: Letter) -> None:
        drawn = _picture(letter)
        drawn.save(images / f"{letter.name}.png", dpi=(DPI, DPI), compress_level=1)
        _save_pdf(pdfs / f"{letter.name}.pdf", [drawn])

    _each(chosen, draw)
    _save_pdf(book, [_picture(letter) for letter in chosen[:BOOK_PAGES]])


def draw_slips(folder: Path, *, count: int) -> None:
    """Slips of paper with a few words each, as small as is read well: many pages in little time."""
    folder.mkdir()
    face = ImageFont.truetype(str(FONTS / "DejaVuSans.ttf"), 34)

    def draw(number: int) -> None:
        slip = Image.new("L", (620, 110), _PAPER)
        ImageDraw.Draw(slip).text((30, 30), f"This is the slip number {number}", fill=_INK, font=face)
        slip.save(folder / f"slip-{number:05}.png", dpi=(DPI, DPI))

    _each(range(count), draw)


def _each(items: Sequence[object], draw: Callable[..., None]) -> None:
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as threads:
        for _ in threads.map(draw, items):
            pass


def _picture(letter: Letter) -> Image.Image:
    """The letter on paper, turned by a hair, a little out of focus, with grain."""
    chance = np.random.default_rng((*letter.seed, 1))
    face = ImageFont.truetype(str(FONTS / letter.face), _FACES[letter.face])
    page = Image.new("L", _PAGE_PX, _PAPER)
    ImageDraw.Draw(page).multiline_text((_MARGIN_PX, _MARGIN_PX), letter.printed, fill=_INK, font=face, spacing=_LEADING_PX)
    turned = page.rotate(chance.uniform(-0.3, 0.3), Image.Resampling.BICUBIC, fillcolor=_PAPER)
    blurred = np.asarray(turned.filter(ImageFilter.GaussianBlur(1.6)), dtype=np.float32)
    patch = chance.normal(0, 6, (_GRAIN_PX, _GRAIN_PX)).astype(np.float32)
    grain = np.tile(patch, (4, 3))[: _PAGE_PX[1], : _PAGE_PX[0]]
    return Image.fromarray(np.clip(blurred + grain, 0, 255).astype(np.uint8))


def _save_pdf(path: Path, pages: Sequence[Image.Image]) -> None:
    pages[0].save(
        path,
        save_all=True,
        append_images=pages[1:],
        resolution=float(DPI),
        quality=85,
        creationDate=_MADE,
        modDate=_MADE,
    )
