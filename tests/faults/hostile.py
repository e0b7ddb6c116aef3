"""Files meant to break whoever opens them, made small by hand: no tool writes such files."""

from __future__ import annotations

import zlib
from collections.abc import Sequence


def pdf(*objects: bytes, trailer: bytes = b"") -> bytes:
    """A PDF of these objects (numbered from 1, the first is the catalog), with a right cross-reference."""
    data, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    end = b"trailer\n<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n" % (size, trailer, len(data))
    return data + b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table) + end


def pdf_without_pages() -> bytes:
    """Whole by its format, and empty."""
    return pdf(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[]/Count 0>>")


def pdf_with_password() -> bytes:
    """Encrypted; nobody knows with what."""
    lock = b"<</Filter/Standard/V 1/R 2/P -4/O<%s>/U<%s>>>" % (b"5a" * 32, b"a5" * 32)
    tree = (b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>")
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>"
    return pdf(*tree, page, lock, trailer=b"/Encrypt 4 0 R/ID[<00><00>]")


def pdf_bomb(*, side_px: int = 30_000) -> bytes:
    """One page with an image of a gigabyte, deflated twice to a few kilobytes."""
    deflate = zlib.compressobj(9)
    row = bytes(side_px)
    once = b"".join(deflate.compress(row) for _ in range(side_px)) + deflate.flush()
    image = b"<</Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/DeviceGray/BitsPerComponent 8" % (side_px, side_px)
    return _one_page(image, zlib.compress(once, 9))


def pdf_without_end() -> bytes:
    """Three pages with a line each; the second is painted with a tile of a thousandth of a point, 40,000 million times."""
    tile = b"<</Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 .01 .01]/XStep .001/YStep .001/Resources<<>>"
    drawn = b"/Resources<</Font<</T 9 0 R>>/Pattern<</P 10 0 R>>>>"
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 100]/Contents %d 0 R" + drawn + b">>"
    line = b"BT /T 24 Tf 40 40 Td (this is page %s) Tj ET"
    return pdf(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R 4 0 R 5 0 R]/Count 3>>",
        *(page % number for number in (6, 7, 8)),
        _stream(b"<<", line % b"one"),
        _stream(b"<<", line % b"two" + b" /Pattern cs /P scn 0 0 400 100 re f"),
        _stream(b"<<", line % b"three"),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        _stream(tile, b"0 0 .01 .01 re f"),
    )


def _stream(entries: bytes, data: bytes) -> bytes:
    return b"%s/Length %d>>stream\n%s\nendstream" % (entries, len(data), data)


def _one_page(image: bytes, data: bytes) -> bytes:
    draw = b"200 0 0 200 0 0 cm /I Do"
    parts: Sequence[bytes] = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R/Resources<</XObject<</I 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(draw), draw),
        image + b"/Filter[/FlateDecode/FlateDecode]/Length %d>>stream\n%s\nendstream" % (len(data), data),
    )
    return pdf(*parts)
