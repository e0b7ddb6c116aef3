"""The invisible layer of a page: words that are found and copied, and never seen. Worker-side; by pikepdf and fontTools.

One font serves a document. It has a box for every character, so it is small whatever the language, and what each means is told
by the font's own table (ToUnicode). The box is never painted, but it is what readers take for the place of a character: PDFium
passes over text without any extent. Every run of text is stretched to its box, as wide and as high.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from decimal import Decimal

import pikepdf
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib.tables._g_l_y_f import Glyph
from pikepdf.canvas import ContentStreamBuilder

from ocrwatch.output.placed import Run

_EM = 1000
_ASCENT, _DESCENT, _WIDTH = 800, -200, 500  # thousandths of the size; together a line is as high as its size
_INVISIBLE = 3
_MIN_SIZE_PT = 1.0
_STRETCH = (1.0, 10_000.0)  # per cent
_NARROWEST_BLANK = 0.05  # of the size: where words touch or overlap there still is one
_MOST_CODES = 0xFFFF
_CODES_PER_LIST = 100  # the format's own bound
_FONT_NAME = "/OcrwatchInvisible"


class InvisibleFont:
    """The font of one document: gives each character a code as it comes; `finish` writes what the codes mean."""

    def __init__(self, pdf: pikepdf.Pdf) -> None:
        self._pdf = pdf
        self._codes: dict[str, int] = {}
        self.object = pdf.make_indirect(pikepdf.Dictionary(Type=pikepdf.Name.Font))

    def encoded(self, text: str) -> bytes:
        """The text in the codes of this font."""
        return b"".join(self._code(character).to_bytes(2, "big") for character in text)

    def finish(self) -> None:
        """Write the font, when all text is known."""
        name = pikepdf.Name(_FONT_NAME)
        descriptor = pikepdf.Dictionary(
            Type=pikepdf.Name.FontDescriptor,
            FontName=name,
            Flags=5,  # all characters as wide, and none of the standard ones
            FontBBox=[0, _DESCENT, _WIDTH, _ASCENT],
            ItalicAngle=0,
            Ascent=_ASCENT,
            Descent=_DESCENT,
            CapHeight=_ASCENT,
            StemV=80,
            FontFile2=self._stream(_boxes_font()),
        )
        descendant = pikepdf.Dictionary(
            Type=pikepdf.Name.Font,
            Subtype=pikepdf.Name.CIDFontType2,
            BaseFont=name,
            CIDSystemInfo=pikepdf.Dictionary(Registry=pikepdf.String("Adobe"), Ordering=pikepdf.String("Identity"), Supplement=0),
            FontDescriptor=self._pdf.make_indirect(descriptor),
            DW=_WIDTH,
            CIDToGIDMap=self._stream(b"\0\1" * (len(self._codes) + 1)),
        )
        self.object.Subtype = pikepdf.Name.Type0
        self.object.BaseFont = name
        self.object.Encoding = pikepdf.Name("/Identity-H")
        self.object.DescendantFonts = pikepdf.Array([self._pdf.make_indirect(descendant)])
        self.object.ToUnicode = self._stream(_meanings(list(self._codes)))

    def _code(self, character: str) -> int:
        if len(self._codes) >= _MOST_CODES and character not in self._codes:
            character = next(iter(self._codes))  # no script has so many; a hostile page may
        return self._codes.setdefault(character, len(self._codes) + 1)

    def _stream(self, data: bytes) -> pikepdf.Object:
        return self._pdf.make_stream(data)


def layer(font: InvisibleFont, runs: Sequence[Run], *, scale: tuple[float, float], height_pt: float) -> bytes:
    """The content of the layer, for an upright page with its origin at the bottom left.

    scale: points per pixel of the boxes, across and down. It uses the font as /F.
    """
    content = ContentStreamBuilder()
    content.begin_text().set_text_rendering(_INVISIBLE)
    for number, run in enumerate(runs):
        left, top, right, bottom = (edge * scale[n % 2] for n, edge in enumerate(run.box))
        size = max(bottom - top, _MIN_SIZE_PT)
        baseline = height_pt - bottom - size * _DESCENT / _EM
        content.set_text_font(pikepdf.Name.F, _rounded(size))
        content.set_text_matrix(pikepdf.Matrix(1, 0, 0, 1, round(left, 3), round(baseline, 3)))
        content.set_text_horizontal_scaling(_stretch(right - left, size, len(run.text)))
        content.show_text(font.encoded(run.text))
        if not run.ends_line and number + 1 < len(runs):
            gap = max(runs[number + 1].box[0] * scale[0] - right, size * _NARROWEST_BLANK)
            content.set_text_horizontal_scaling(_stretch(gap, size, 1))
            content.show_text(font.encoded(" "))
    content.end_text()
    return content.build()


def _stretch(width_pt: float, size_pt: float, characters: int) -> float:
    low, high = _STRETCH
    natural = size_pt * _WIDTH / _EM * characters
    return round(min(max(100 * width_pt / natural, low), high), 2)


def _rounded(value: float) -> Decimal:
    return Decimal(f"{value:.3f}")


def _boxes_font() -> bytes:
    """A TrueType font with one glyph beside the one that every font has, both a box as large as a character."""
    names = [".notdef", "box"]
    builder = FontBuilder(_EM, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({0x20: "box"})
    builder.setupGlyf({name: _box() for name in names})
    builder.setupHorizontalMetrics(dict.fromkeys(names, (_WIDTH, 0)))
    builder.setupHorizontalHeader(ascent=_ASCENT, descent=_DESCENT)
    builder.setupNameTable({"familyName": _FONT_NAME[1:], "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=_ASCENT, sTypoDescender=_DESCENT, usWinAscent=_ASCENT, usWinDescent=-_DESCENT)
    builder.setupPost()
    builder.updateHead(created=0, modified=0)  # the same document gives the same file
    builder.font.recalcTimestamp = False
    file = io.BytesIO()
    builder.save(file)
    return file.getvalue()


def _box() -> Glyph:
    pen = TTGlyphPen(None)
    pen.moveTo((0, _DESCENT))
    for corner in ((0, _ASCENT), (_WIDTH, _ASCENT), (_WIDTH, _DESCENT)):
        pen.lineTo(corner)
    pen.closePath()
    return pen.glyph()


def _meanings(characters: Sequence[str]) -> bytes:
    """The ToUnicode table: code n means the nth character."""
    return "\n".join(
        [
            "/CIDInit /ProcSet findresource begin 12 dict begin begincmap",
            "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def",
            "/CMapName /Adobe-Identity-UCS def /CMapType 2 def",
            "1 begincodespacerange <0000> <FFFF> endcodespacerange",
            *_meaning_lists(characters),
            "endcmap CMapName currentdict /CMap defineresource pop end end",
        ]
    ).encode("ascii")


def _meaning_lists(characters: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(characters), _CODES_PER_LIST):
        part = characters[start : start + _CODES_PER_LIST]
        yield f"{len(part)} beginbfchar"
        for code, character in enumerate(part, start=start + 1):
            yield f"<{code:04X}> <{character.encode('utf-16-be').hex().upper()}>"
        yield "endbfchar"
