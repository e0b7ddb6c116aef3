"""A scanner's day: images, PDFs and faxes of two pages, mixed, drawn for it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from bench.ocr import scans

_KINDS = ("png", "png", "png", "pdf", "tif")


def draw(folder: Path, *, count: int, seed: int) -> list[Path]:
    """`count` documents of about 1.2 pages each, in the order in which they arrive."""
    folder.mkdir()
    chosen = list(scans.letters(count, seed=seed))
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        images, pdfs = Path(name) / "images", Path(name) / "pdfs"
        scans.draw_backlog(chosen, images=images, pdfs=pdfs, book=Path(name) / "book.pdf")
        return [_document(number, letter.name, chosen, images, pdfs, folder) for number, letter in enumerate(chosen)]


def _document(number: int, name: str, chosen: Sequence[scans.Letter], images: Path, pdfs: Path, folder: Path) -> Path:
    kind = _KINDS[number % len(_KINDS)]
    to = folder / f"{name}.{kind}"
    if kind == "tif":
        pages = [Image.open(images / f"{letter.name}.png") for letter in (chosen[number], chosen[number - 1])]
        pages[0].save(to, save_all=True, append_images=pages[1:], compression="tiff_lzw", dpi=(scans.DPI, scans.DPI))
    else:
        shutil.copyfile((pdfs if kind == "pdf" else images) / to.name, to)
    return to


def pages(documents: Sequence[Path]) -> int:
    """How many pages they have together."""
    return sum(2 if document.suffix == ".tif" else 1 for document in documents)
