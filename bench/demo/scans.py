"""The scans of the demo: an invoice, letters of three pages, minutes of two; drawn, then worn like a bad copy of a fax.

Owns the texts and their damage, nothing else. The same bytes each time: all chance comes from a fixed seed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

FONTS = Path("/usr/share/fonts/truetype/dejavu")
_SEED = 20
_SIZE_PX = 36
_LEADING_PX = 54
_MARGIN_PX = 110
_WIDTH_PX = 1654
_COLUMN_PX = 860
_DPI = 200

# What was meant, and what stands on the paper instead where the print itself is damaged. Tesseract reads an O among digits as
# the zero that was meant by itself; an S it does not read as a five.
INVOICE = """\
Example Supplies Ltd
12 Market Street, Springfield

Invoice # 12345                          Date: 2023-07-15
Customer: Example Company              Due: 2023-08-14

Thank you for your order. The following goods were
delivered to your warehouse in good condition:

10 boxes of copy paper, white                 $ 45.00
 2 printer cartridges, black                  $ 38.50
 1 office chair, adjustable height           $ 66.50

Total: $150.00

Please transfer the amount within thirty days and quote
the invoice number with your payment. We reserve the
right to charge interest on late payments.
"""
INVOICE_DAMAGE = {"Invoice #": "Invoic #", "$150.00": "$1S0.00", "delivered": "de1ivered", "condition": "conditlon"}

LETTERS = (
    """\
To all members of the housing association

Dear neighbours,

the annual meeting will take place on Thursday evening in
the library on the second floor. The board will report on
the repairs of the roof, which were finished before the
winter, and on the state of our savings.

The garden behind the house has been planted again. Many
thanks to everybody who helped with shovel and water.
""",
    """\
We would like to remind you that bicycles must not be left
in the staircase. The fire brigade has complained twice
about the blocked passage, and the insurance company will
not pay if somebody stumbles there.

There is enough room in the cellar. If you need another
key, please speak to the caretaker, who is in his office
every morning between eight and ten.
""",
    """\
The heating will be replaced during the summer. For about
four weeks there will be no warm water in the afternoon.
We have agreed with the company that the work begins after
the school holidays and ends before the first cold nights.

If you have any questions, write to the board or leave a
note in the letter box beside the entrance.

With kind regards
The board of the association
""",
)
LETTERS_DAMAGE = {"everybody": "everyb0dy", "complained": "cornplained", "questions": "qucstions"}

MINUTES = (
    """\
Minutes of the meeting of the library committee

Present were seven members and two guests. The chairman
opened the meeting and thanked the volunteers for their
work during the past year.

The number of readers has grown since the opening hours
were extended. Children borrow more books than adults,
and the shelves for picture books are nearly empty at the
end of every week.
""",
    """\
The committee decided to buy new books for children and to
repair the old ones. A local company offered to pay half
of the costs.

The reading evenings will be continued. Authors from the
neighbourhood are invited to read from their work, and the
entrance remains free.

The next meeting will be held after the holidays.
""",
)
MINUTES_DAMAGE = {"volunteers": "vo1unteers", "decided": "dec1ded", "continued": "contlnued"}


@dataclass(frozen=True)
class Scan:
    """A file of the demo. pages: the text that was meant, a page each."""

    path: Path
    pages: tuple[str, ...]


def write_scans(folder: Path) -> list[Scan]:
    """Draw the three files into the folder. Raises OSError where the DejaVu fonts are missing."""
    chance = np.random.default_rng(_SEED)
    invoice = [_page(INVOICE, INVOICE_DAMAGE, font="DejaVuSerif.ttf", wear=0.36, chance=chance)]
    letters = [_page(text, LETTERS_DAMAGE, font="DejaVuSans.ttf", wear=0.203, chance=chance) for text in LETTERS]
    minutes = [_page(text, MINUTES_DAMAGE, font="DejaVuSansMono.ttf", wear=0.193, chance=chance) for text in MINUTES]
    return [
        _save(folder / "invoice.png", invoice, (INVOICE,)),
        _save(folder / "letters.tif", letters, LETTERS),
        _save(folder / "minutes.pdf", minutes, MINUTES),
    ]


def _save(path: Path, images: Sequence[Image.Image], pages: tuple[str, ...]) -> Scan:
    options: dict[str, Any] = {"dpi": (_DPI, _DPI)}
    if path.suffix == ".pdf":
        made = time.gmtime(0)  # a PDF bears the time it was made at
        options = {"resolution": float(_DPI), "creationDate": made, "modDate": made}
    if len(images) > 1:
        options |= {"save_all": True, "append_images": images[1:]}
    images[0].save(path, **options)
    return Scan(path, pages)


def _page(text: str, damage: dict[str, str], *, font: str, wear: float, chance: np.random.Generator) -> Image.Image:
    for meant, printed in damage.items():
        text = text.replace(meant, printed)
    lines = text.splitlines()
    face = ImageFont.truetype(str(FONTS / font), _SIZE_PX)
    page = Image.new("L", (_WIDTH_PX, 2 * _MARGIN_PX + len(lines) * _LEADING_PX), 248)
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        for column, part in enumerate(re.split(" {3,}", line)):
            place = (_MARGIN_PX + column * _COLUMN_PX, _MARGIN_PX + number * _LEADING_PX)
            draw.text(place, part, fill=40, font=face)
    return _worn(page, wear, chance)


def _worn(page: Image.Image, wear: float, chance: np.random.Generator) -> Image.Image:
    """The page turned by a hair, sent through a coarse fax line, with noise; as large as before."""
    size = page.size
    turned = page.rotate(chance.uniform(-0.25, 0.25), Image.Resampling.BICUBIC, fillcolor=248)
    coarse = turned.resize((int(size[0] * wear), int(size[1] * wear)), Image.Resampling.BILINEAR)
    noisy = np.asarray(coarse, dtype=np.float32) + chance.normal(0, 14, (coarse.height, coarse.width))
    fax = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    return fax.resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(0.8))
