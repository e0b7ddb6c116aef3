"""Draws the training pages and wears them, from clean prints to bad copies. Owns letters, layout in pixels, and damage.

The same picture each time: all chance comes from the seed of the page.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from bench.correction.texts import Kind, Row, Sheet

_FONTS = Path("usr/share/fonts")
_PAPER = 255
_SERIF = (
    *("truetype/dejavu/DejaVuSerif.ttf", "truetype/dejavu/DejaVuSerifCondensed.ttf", "truetype/dejavu/DejaVuSerif-Italic.ttf"),
    *("truetype/liberation/LiberationSerif-Regular.ttf", "truetype/liberation/LiberationSerif-Italic.ttf"),
    *("truetype/freefont/FreeSerif.ttf", "truetype/crosextra/Caladea-Regular.ttf", "truetype/gentium-basic/GenBasR.ttf"),
    *("opentype/linux-libertine/LinLibertine_R.otf", "truetype/liberation/LiberationSerif-Bold.ttf"),
)
_BOOK = ("truetype/fonts-oldstandard/OldStandard-Regular.ttf", "truetype/fonts-oldstandard/OldStandard-Italic.ttf")
_SANS = (
    *("truetype/dejavu/DejaVuSans.ttf", "truetype/dejavu/DejaVuSansCondensed.ttf", "truetype/crosextra/Carlito-Regular.ttf"),
    *("truetype/liberation/LiberationSans-Regular.ttf", "truetype/liberation/LiberationSansNarrow-Regular.ttf"),
    *(
        "truetype/liberation/LiberationSans-Bold.ttf",
        "truetype/freefont/FreeSans.ttf",
        "opentype/linux-libertine/LinBiolinum_R.otf",
    ),
    *("opentype/roboto/slab/RobotoSlab-Regular.otf", "truetype/dejavu/DejaVuSans-Oblique.ttf"),
)
_TYPED = (
    *("opentype/courier-prime/Courier Prime.otf", "truetype/freefont/FreeMono.ttf", "truetype/freefont/FreeMonoBold.ttf"),
    *("truetype/liberation/LiberationMono-Regular.ttf", "truetype/dejavu/DejaVuSansMono.ttf"),
)
_FACES: dict[Kind, tuple[str, ...]] = {
    Kind.LETTER: (*_SERIF, *_SANS, *_TYPED),
    Kind.PROSE: (*_SERIF, *_BOOK, *_BOOK, *_SERIF, *_SANS[:4]),
    Kind.NEWSPAPER: (*_SERIF, *_BOOK, *_BOOK),
    Kind.INVOICE: (*_SANS, *_SANS, *_SERIF, *_TYPED),
    Kind.TABLE: (*_SANS, *_SERIF[:4], *_TYPED),
    Kind.FORM: (*_SANS, *_SERIF[:4]),
}
_WITHOUT_LONG_S = {"truetype/gentium-basic/GenBasR.ttf": "truetype/freefont/FreeSerif.ttf"}
_INCH_POINTS = 72
_SAMPLE = "a row of usual words, names and 120 digits"


class Damage(StrEnum):
    """What a page went through; each with a strength from 0 to 1."""

    CLEAN = "clean"  # a good scan
    COARSE = "coarse"  # of low resolution
    NOISY = "noisy"
    BLURRED = "blurred"
    FAX = "fax"  # black and white, at a level that eats or fattens
    FADED = "faded"  # thin and pale
    BOLD = "bold"  # letters that run together
    JPEG = "jpeg"  # compressed hard


_SHARES = {
    **{Damage.CLEAN: 12, Damage.COARSE: 22, Damage.NOISY: 12, Damage.BLURRED: 10},
    **{Damage.FAX: 14, Damage.FADED: 10, Damage.BOLD: 10, Damage.JPEG: 10},
}
_Spoil = Callable[[Image.Image, float, "Print"], Image.Image]


@dataclass(frozen=True)
class Print:
    """How one page is printed and worn. size_px: of its letters, as drawn and in the end. damage, strength: see `Damage`."""

    face: str
    typed_face: str
    size_px: int
    dpi: float
    damage: Damage
    strength: float
    seed: int

    @property
    def noise(self) -> np.random.Generator:
        """Grain of this page's own."""
        return np.random.default_rng(self.seed)


def draw(sheet: Sheet, root: Path, seed: str, *, mildness: float = 1.0) -> tuple[Image.Image, Print]:
    """The page as a scan, and how it came about. root: where the packages of `sources` are unpacked.

    mildness: a factor of the damage's strength.
    """
    rng = random.Random(seed)
    size_px, points = rng.randint(26, 40), rng.uniform(8.5, 12)
    face = rng.choice(_FACES[sheet.kind])
    if sheet.old_print:
        face = _WITHOUT_LONG_S.get(face, face)
    plan = Print(
        face=face,
        typed_face=rng.choice(_TYPED),
        size_px=size_px,
        dpi=size_px * _INCH_POINTS / points,
        damage=rng.choices(list(_SHARES), list(_SHARES.values()))[0],
        strength=rng.random() ** 0.75 * mildness,
        seed=rng.getrandbits(32),
    )
    page = _printed(sheet, plan, root, rng)
    turned = page.rotate(rng.gauss(0, 0.25), Image.Resampling.BICUBIC, fillcolor=_PAPER)
    return _SPOILS[plan.damage](turned, plan.strength, plan), plan


def _printed(sheet: Sheet, plan: Print, root: Path, rng: random.Random) -> Image.Image:
    font, typed = (ImageFont.truetype(str(root / _FONTS / face), plan.size_px) for face in (plan.face, plan.typed_face))
    margin, step = round(plan.size_px * 1.6), round(plan.size_px * rng.uniform(1.25, 1.7))
    rows = [_old(row) for row in sheet.rows] if sheet.old_print else list(sheet.rows)
    needed = [room for row in rows if not row.heading for room in _room(row, font=font, typed=typed)]
    width = round(max([sheet.columns * font.getlength(_SAMPLE) / len(_SAMPLE), *needed]))
    widest = max([1.0, *(font.getlength(row.cells[0].text) for row in rows if row.heading)])
    heading_px = int(plan.size_px * min(width / widest, rng.choice((1.0, 1.25, 1.6))))
    heading = ImageFont.truetype(str(root / _FONTS / plan.face), heading_px)
    ink = rng.choice((0, 0, 20, 50))
    page = Image.new("L", (width + 2 * margin, len(rows) * step + 3 * margin), _PAPER)
    canvas = ImageDraw.Draw(page)
    top = margin
    for row in rows:
        _draw_row(canvas, row, (margin, top, width), ink=ink, font=heading if row.heading else font, typed=typed)
        top += round(step * 1.3) if row.heading else step
    return page


def _room(row: Row, *, font: ImageFont.FreeTypeFont, typed: ImageFont.FreeTypeFont) -> list[float]:
    """How wide the page has to be, so that no cell of the row runs into the next or off the paper."""
    lefts = [cell for cell in row.cells if not cell.right]
    ends = [*(cell.at for cell in lefts[1:]), 1.0]
    gap = 0.6 * font.size
    return [
        ((typed if cell.typed else font).getlength(cell.text) + gap) / (end - cell.at)
        for cell, end in zip(lefts, ends, strict=False)
    ]


def _draw_row(
    canvas: ImageDraw.ImageDraw,
    row: Row,
    place: tuple[int, int, int],
    *,
    ink: int,
    font: ImageFont.FreeTypeFont,
    typed: ImageFont.FreeTypeFont,
) -> None:
    left, top, width = place
    for cell in row.cells:
        face = typed if cell.typed else font
        words = cell.text.split(" ")
        if row.justified and len(words) > 1:
            gap = (width - sum(face.getlength(word) for word in words)) / (len(words) - 1)
            x = float(left)
            for word in words:
                canvas.text((x, top), word, fill=ink, font=face)
                x += face.getlength(word) + gap
        else:
            begin = left + cell.at * width - (face.getlength(cell.text) if cell.right else 0)
            canvas.text((begin, top), cell.text, fill=ink, font=face)
    if row.ruled:
        bottom = top + font.size * 1.25
        canvas.line((left, bottom, left + width, bottom), fill=ink, width=2)


def _old(row: Row) -> Row:
    """With the long s wherever a letter follows."""

    def spelled(text: str) -> str:
        following = [*text[1:], " "]
        return "".join("ſ" if c == "s" and n.isalpha() else c for c, n in zip(text, following, strict=True))

    cells = tuple(type(cell)(spelled(cell.text), cell.at, cell.right, cell.typed) for cell in row.cells)
    return Row(cells, row.justified, row.ruled, row.heading)


def _grained(page: Image.Image, sigma: float, plan: Print) -> Image.Image:
    pixels = np.asarray(page, dtype=np.float32)
    return Image.fromarray(np.clip(pixels + plan.noise.normal(0, sigma, pixels.shape), 0, 255).astype(np.uint8))


def _coarse(page: Image.Image, size_px: float, plan: Print) -> Image.Image:
    """As scanned so that letters are `size_px` high, still of that size."""
    scale = size_px / plan.size_px
    return page.resize((round(page.width * scale), round(page.height * scale)), Image.Resampling.BILINEAR)


def _large(page: Image.Image, like: Image.Image) -> Image.Image:
    return page.resize(like.size, Image.Resampling.BICUBIC)


def _clean(page: Image.Image, strength: float, plan: Print) -> Image.Image:
    return _grained(page.filter(ImageFilter.GaussianBlur(0.4 + 0.6 * strength)), 3 + 5 * strength, plan)


def _low_resolution(page: Image.Image, strength: float, plan: Print) -> Image.Image:
    small = _coarse(page, 10.4 - 2.9 * strength, plan)
    return _large(_grained(small, 4 + 10 * strength, plan), page)


def _noisy(page: Image.Image, strength: float, plan: Print) -> Image.Image:
    small = _coarse(page, 15 - 2 * strength, plan)
    return _large(_grained(small, 14 + 16 * strength, plan), page)


def _blurred(page: Image.Image, strength: float, plan: Print) -> Image.Image:
    return _grained(page.filter(ImageFilter.GaussianBlur(plan.size_px * (0.048 + 0.04 * strength))), 5, plan)


def _fax(page: Image.Image, strength: float, plan: Print) -> Image.Image:
    level = (150 - 38 * strength) if plan.seed % 2 else (150 + 48 * strength)  # eaten, or fattened
    grey = _grained(_coarse(page, 17 - 5 * strength, plan), 10, plan)
    return _large(grey.point(lambda value: 255 if value > level else 0), page)


def _faded(page: Image.Image, strength: float, plan: Print) -> Image.Image:
    small = _coarse(page, 14.5 - 1.2 * strength, plan)
    pale = small.point(lambda value: round(255 - (255 - value) * (0.47 - 0.14 * strength)))
    return _large(_grained(pale, 6 + 5 * strength, plan), page)


def _bold(page: Image.Image, strength: float, plan: Print) -> Image.Image:
    small = _coarse(page.filter(ImageFilter.MinFilter(3)), 14 - 4.5 * strength, plan)
    thick = small.point(lambda value: round(255 * (value / 255) ** (1.2 + 1.3 * strength)))
    return _large(_grained(thick, 5 + 8 * strength, plan), page)


def _jpeg(page: Image.Image, strength: float, plan: Print) -> Image.Image:
    small = _grained(_coarse(page, 14.4 - 2 * strength, plan), 6, plan)
    packed = io.BytesIO()
    small.save(packed, "JPEG", quality=round(22 - 9 * strength))
    return _large(Image.open(packed), page)


_SPOILS: dict[Damage, _Spoil] = {
    Damage.CLEAN: _clean,
    Damage.COARSE: _low_resolution,
    Damage.NOISY: _noisy,
    Damage.BLURRED: _blurred,
    Damage.FAX: _fax,
    Damage.FADED: _faded,
    Damage.BOLD: _bold,
    Damage.JPEG: _jpeg,
}
