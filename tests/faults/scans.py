"""Scans that tests make: pages of text as images, multi-page TIFFs and PDFs, and files that are broken on purpose."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")


def page(text: str, *, width_px: int = 1000, size_px: int = 36) -> Image.Image:
    """An image with the lines of a text, black on white."""
    font = ImageFont.truetype(str(_FONT), size_px)
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, 48) or [""]]
    image = Image.new("L", (width_px, 120 + len(lines) * (size_px + 20)), 255)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((60, 60 + number * (size_px + 20)), line, fill=0, font=font)
    return image


def write(path: Path, *pages: str) -> Path:
    """A scan of these pages in the format of the name, written under another name first and moved in whole."""
    images = [page(text) for text in pages]
    temporary = path.parent / f".making-{path.name}"
    images[0].save(temporary, format=_format(path), **_more(path, images[1:]), dpi=(200, 200))
    return temporary.rename(path)


def _format(path: Path) -> str:
    return {".png": "PNG", ".tif": "TIFF", ".pdf": "PDF", ".jpg": "JPEG"}[path.suffix]


def _more(path: Path, images: Sequence[Image.Image]) -> dict[str, object]:
    return {"save_all": True, "append_images": list(images)} if images and path.suffix in (".tif", ".pdf") else {}
