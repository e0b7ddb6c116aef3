"""A page that is made on the spot, by which an engine proves that it reads. Worker-side: it draws."""

from __future__ import annotations

import difflib

from PIL import Image, ImageDraw, ImageFont

SHOWN = "Invoice 24680 paid in full"
_SIZE_PX = 48
_LIKE_ENOUGH = 0.8  # by an engine of another language, or at a bad moment: a letter may be off
_LEAST_CHARS = 6  # a trial shows 60 % of the lines, and of their characters; nothing of a single line


def page() -> Image.Image:
    """The words, black on white, in the font that the image library brings."""
    image = Image.new("L", (900, 320), 255)
    lines = SHOWN.replace(" paid", "\npaid")
    ImageDraw.Draw(image).multiline_text((90, 80), lines, fill=0, font=ImageFont.load_default(_SIZE_PX), spacing=40)
    return image


def is_read(text: str) -> bool:
    """Whether the text is what the page shows, as far as a trial lets it be seen."""
    read = " ".join(text.split())
    likeness = difflib.SequenceMatcher(None, read.lower(), SHOWN[: len(read)].lower(), autojunk=False).ratio()
    return len(read) >= _LEAST_CHARS and likeness >= _LIKE_ENOUGH
