"""Files opened by their content and rendered within bounds, with the real readers."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pypdfium2
import pypdfium2.raw as pdfium
import pytest
from PIL import Image, ImageDraw

from ocrwatch.errors import (
    CorruptFile,
    EmptyDocument,
    EncryptedFile,
    FileRejected,
    Infrastructure,
    OversizedPage,
    UnsupportedFile,
)
from ocrwatch.ocr.engine import PdfText
from ocrwatch.ocr.pages import DEFAULT_MAX_PIXELS, MAX_SIDE_PX, Bounds, Document, TextLayer, open_document
from tests.faults import hostile

INK, PAPER = 0, 255
Opener = Callable[[Path], Document]


@pytest.fixture
def opened() -> Iterator[Opener]:
    """Opens documents and closes them when the test is over."""
    with contextlib.ExitStack() as stack:

        def open_(path: Path) -> Document:
            document = open_document(stack.enter_context(path.open("rb")))
            stack.callback(document.close)
            return document

        yield open_


def sheet(mode: str = "L", size: tuple[int, int] = (300, 200)) -> Image.Image:
    """A white page with a black bar in its upper left."""
    image = Image.new("L", size, PAPER)
    ImageDraw.Draw(image).rectangle((10, 10, size[0] // 2, 40), fill=INK)
    return image.convert(mode)


def looks_like_the_sheet(image: Image.Image) -> bool:
    """Whether the bar is where it was drawn, black on white."""
    grey = image.convert("L")
    return int(grey.getpixel((20, 20))) < 60 and int(grey.getpixel((grey.width - 20, grey.height - 20))) > 200  # type: ignore[arg-type]


def sixteen_bits() -> Image.Image:
    """The sheet with sixteen bits a sample."""
    return sheet().convert("I").point(lambda value: value * 257).convert("I;16")


def with_alpha() -> Image.Image:
    """The sheet where the paper is transparent black, as screenshots and exports have it."""
    image = Image.new("RGBA", (300, 200), (0, 0, 0, 0))
    ImageDraw.Draw(image).rectangle((10, 10, 150, 40), fill=(0, 0, 0, 255))
    return image


@pytest.mark.parametrize(
    ("name", "image", "options", "format_"),
    [
        ("g4", lambda: sheet("1"), {"format": "TIFF", "compression": "group4"}, "tiff"),
        ("g3", lambda: sheet("1"), {"format": "TIFF", "compression": "group3"}, "tiff"),
        ("lzw", sheet, {"format": "TIFF", "compression": "tiff_lzw"}, "tiff"),
        ("jpeg-in-tiff", lambda: sheet("RGB"), {"format": "TIFF", "compression": "jpeg"}, "tiff"),
        ("cmyk", lambda: sheet("CMYK"), {"format": "TIFF"}, "tiff"),
        ("cmyk-jpeg", lambda: sheet("CMYK"), {"format": "JPEG"}, "jpeg"),
        ("16-bit", sixteen_bits, {"format": "TIFF"}, "tiff"),
        ("16-bit-png", sixteen_bits, {"format": "PNG"}, "png"),
        ("float", lambda: sheet().convert("F"), {"format": "TIFF"}, "tiff"),
        ("alpha", with_alpha, {"format": "PNG"}, "png"),
        ("alpha-webp", with_alpha, {"format": "WEBP", "lossless": True}, "webp"),
        ("palette", lambda: sheet("P"), {"format": "GIF"}, "gif"),
        ("bmp", lambda: sheet("RGB"), {"format": "BMP"}, "bmp"),
        ("jpeg2000", lambda: sheet("RGB"), {"format": "JPEG2000"}, "jpeg2000"),
    ],
)
def test_image_is_dark_on_light_whatever_its_kind(
    opened: Opener, tmp_path: Path, name: str, image: Callable[[], Image.Image], options: dict[str, object], format_: str
) -> None:
    """Each kind of image that scanners and people bring becomes grey or RGB on white; its name does not matter."""
    path = tmp_path / f"{name}.pdf"
    image().save(path, **options)  # type: ignore[arg-type]
    document = opened(path)
    rendered = document.render(1, Bounds())
    assert (document.format, document.pages) == (format_, 1)
    assert rendered.image.mode in {"L", "RGB"}
    assert looks_like_the_sheet(rendered.image)
    assert document.text_layer(1, PdfText.ALWAYS) is None


def test_blank_deep_page_stays_blank(opened: Opener, tmp_path: Path) -> None:
    """Noise of a few steps on a white 16-bit page is not stretched to black and white."""
    image = Image.new("I;16", (100, 100), 65000)
    image.putpixel((5, 5), 64000)
    image.save(tmp_path / "blank.tif")
    low, _ = opened(tmp_path / "blank.tif").render(1, Bounds()).image.convert("L").getextrema()
    assert int(low) > 240  # type: ignore[arg-type]


def test_tiff_frames_are_pages(opened: Opener, tmp_path: Path) -> None:
    """Three frames are three pages, each with its own size."""
    frames = [sheet("1"), sheet("1", (300, 220)), sheet("1", (300, 240))]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:], compression="group4")
    document = opened(tmp_path / "a.tif")
    assert [document.render(page, Bounds()).image.height for page in (3, 1, 2)] == [240, 200, 220]


def test_thumbnail_in_a_tiff_is_no_page(opened: Opener, tmp_path: Path) -> None:
    """A frame that says it is a smaller copy of another one is not recognized a second time."""
    small = sheet("L", (80, 60))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    sheet().save(tmp_path / "a.tif", save_all=True, append_images=[small])
    assert opened(tmp_path / "a.tif").pages == 1


def test_animation_is_one_page(opened: Opener, tmp_path: Path) -> None:
    """The frames of a GIF are moments of one picture."""
    sheet("P").save(tmp_path / "a.gif", save_all=True, append_images=[sheet("P").rotate(180)])
    document = opened(tmp_path / "a.gif")
    assert document.pages == 1
    assert looks_like_the_sheet(document.render(1, Bounds()).image)


@pytest.mark.parametrize(("orientation", "turn"), [(3, 180), (6, 90), (8, 270)])
@pytest.mark.parametrize("format_", ["JPEG", "TIFF"])
def test_photo_is_turned_as_its_exif_says(opened: Opener, tmp_path: Path, format_: str, orientation: int, turn: int) -> None:
    """A camera stores how it was held; the page comes upright."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    sheet("RGB").rotate(turn, expand=True).save(tmp_path / "a", format=format_, exif=exif)
    assert looks_like_the_sheet(opened(tmp_path / "a").render(1, Bounds()).image)


@pytest.mark.parametrize(
    ("size", "stated", "expected"),
    [
        ((300, 200), (200, 200), 200),
        ((300, 200), None, 70),
        ((300, 200), (0, 0), 70),
        ((300, 200), (1, 1), 70),
        ((3510, 2480), (72, 72), 300),
    ],
)
def test_resolution_is_the_stated_one_where_it_can_be(
    opened: Opener, tmp_path: Path, size: tuple[int, int], stated: tuple[int, int] | None, expected: int
) -> None:
    """Absent, zero, one, or a camera's 72 dots per inch give way to a guess from the size of a sheet of paper."""
    image = sheet("L", size)
    image.save(tmp_path / "a.tif", dpi=stated) if stated else image.save(tmp_path / "a.tif")
    assert opened(tmp_path / "a.tif").render(1, Bounds()).dpi == pytest.approx(expected, rel=0.01)


def test_fax_has_square_pixels(opened: Opener, tmp_path: Path) -> None:
    """A standard fax has twice as many dots across as down and would be read as squashed letters."""
    sheet("1", (1728, 1100)).save(tmp_path / "fax.tif", compression="group4", dpi=(204, 98))
    rendered = opened(tmp_path / "fax.tif").render(1, Bounds())
    assert rendered.dpi == pytest.approx(204)
    assert rendered.image.size == pytest.approx((1728, 1100 * 204 / 98), abs=1)


@pytest.mark.parametrize(
    ("size", "stated", "bound_px"),
    [((1240, 877), (1200, 600), 600_000), ((844, 738), (600, 150), 600_000), ((100, 20_000), (2400, 600), DEFAULT_MAX_PIXELS)],
)
def test_oblong_pixels_stay_within_the_bounds(
    opened: Opener, tmp_path: Path, size: tuple[int, int], stated: tuple[int, int], bound_px: int
) -> None:
    """Made square they are up to four times as many: a fax of a few kilobytes must not take all memory."""
    Image.new("1", size, 1).save(tmp_path / "fax.tif", compression="group4", dpi=stated)
    rendered = opened(tmp_path / "fax.tif").render(1, Bounds(max_pixels=bound_px))
    width, height = rendered.image.size
    width_in, height_in = size[0] / stated[0], size[1] / stated[1]
    assert width * height <= bound_px * 1.01
    assert max(width, height) <= MAX_SIDE_PX
    assert width / height == pytest.approx(width_in / height_in, rel=0.01)
    assert rendered.dpi == pytest.approx(width / width_in, rel=0.01)
    assert rendered.warnings == (f"scaled from {size[0]} x {size[1]} pixels to {width} x {height}",)


@pytest.mark.parametrize("format_", ["JPEG", "TIFF", "PNG"])
def test_large_image_is_scaled_down_and_says_so(opened: Opener, tmp_path: Path, format_: str) -> None:
    """Within Pillow's bound a page of too many pixels is still read, at a lower resolution."""
    sheet("L", (2000, 1000)).save(tmp_path / "a", format=format_, dpi=(300, 300))
    rendered = opened(tmp_path / "a").render(1, Bounds(max_pixels=500_000))
    assert rendered.image.size == (1000, 500)
    assert rendered.dpi == pytest.approx(150, rel=0.01)
    assert "scaled from 2000 x 1000" in rendered.warnings[0]


@pytest.mark.parametrize("bound_px", [20_000, 50_000], ids=["error", "warning"])
def test_bomb_is_an_error(opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound_px: int) -> None:
    """An image beyond Pillow's bound is refused before it is decoded, also where Pillow only warns."""
    sheet().save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", bound_px)
    with pytest.raises(OversizedPage, match="too large"):
        opened(tmp_path / "bomb.png").render(1, Bounds())


@pytest.mark.parametrize(("format_", "share"), [("JPEG", 0.5), ("TIFF", 0.7), ("PNG", 0.5)])
def test_truncated_image_is_an_error(opened: Opener, tmp_path: Path, format_: str, share: float) -> None:
    """Half an image is no page, rather than half a page of grey."""
    noise = Image.effect_noise((400, 400), 90)
    data = io.BytesIO()
    noise.save(data, format=format_)
    (tmp_path / "cut").write_bytes(data.getvalue()[: int(len(data.getvalue()) * share)])
    with pytest.raises(CorruptFile):
        opened(tmp_path / "cut").render(1, Bounds())


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", EmptyDocument),
        (b"hello, world", UnsupportedFile),
        (b"PK\3\4zip", UnsupportedFile),
        (b"%PDF-1.7 no more", CorruptFile),
        (b"\xff\xd8\xff\xe0nothing", CorruptFile),
        (b"II*\0\xff\xff\xff\xff", CorruptFile),
    ],
)
def test_what_is_no_document_is_named(opened: Opener, tmp_path: Path, content: bytes, error: type[FileRejected]) -> None:
    """Foreign content and broken content are different reasons; none names our copy."""
    (tmp_path / "source").write_bytes(content)
    with pytest.raises(error, match=r"^the scan ") as caught:
        opened(tmp_path / "source")
    assert "source" not in str(caught.value)


def pdf(path: Path, *pages: list[str], size: tuple[float, float] = (595, 842), image: float = 0, hidden: bool = False) -> Path:
    """A PDF with these lines on its pages; `image` is the share of the page that a picture covers."""
    document = pypdfium2.PdfDocument.new()
    for lines in pages:
        page = document.new_page(*size)
        if image:
            picture = pypdfium2.PdfImage.new(document)
            picture.set_bitmap(pypdfium2.PdfBitmap.from_pil(Image.new("RGB", (50, 50), "lightgrey")))
            picture.set_matrix(pypdfium2.PdfMatrix().scale(size[0], size[1] * image))
            page.insert_obj(picture)
        for number, line in enumerate(lines):
            text = pdfium.FPDFPageObj_NewTextObj(document, b"Helvetica", 12.0)
            encoded = (line + "\0").encode("utf-16-le")
            pdfium.FPDFText_SetText(text, (pdfium.FPDF_WCHAR * (len(encoded) // 2)).from_buffer_copy(encoded))
            pdfium.FPDFPageObj_Transform(text, 1, 0, 0, 1, 50, size[1] - 60 - 20 * number)
            if hidden:
                pdfium.FPDFTextObj_SetTextRenderMode(text, pdfium.FPDF_TEXTRENDERMODE_INVISIBLE)
            pdfium.FPDFPage_InsertObject(page, text)
        page.gen_content()
    document.save(path)
    return path


LETTER = ["Dear Sir or Madam, we thank you for your order of 12 March", "and send you the goods that you have asked for today."]


def test_pdf_pages_are_rendered_at_the_resolution(opened: Opener, tmp_path: Path) -> None:
    """A4 at 300 dots per inch has 2480 by 3508 of them."""
    document = opened(pdf(tmp_path / "a.pdf", LETTER, ["second"]))
    rendered = document.render(2, Bounds())
    assert (document.format, document.pages) == ("pdf", 2)
    assert rendered.image.size == pytest.approx((2480, 3509), abs=1)
    assert rendered.dpi == pytest.approx(300)
    assert rendered.image.getextrema()[0] < 60  # type: ignore[operator]


def test_pdf_poster_is_scaled_down_and_says_so(opened: Opener, tmp_path: Path) -> None:
    """A page of two metres is rendered within the bound of pixels."""
    rendered = opened(pdf(tmp_path / "a.pdf", LETTER, size=(6000, 6000))).render(1, Bounds(max_pixels=4_000_000))
    assert rendered.image.width * rendered.image.height <= 4_100_000
    assert "dpi" in rendered.warnings[0]


@pytest.mark.parametrize(
    ("options", "lines", "taken"),
    [
        ({}, LETTER, True),
        ({}, ["x"], False),
        ({"image": 1.0}, LETTER, False),
        ({"image": 0.1}, LETTER, True),
        ({"hidden": True}, LETTER, False),
    ],
    ids=["born-digital", "stray-letter", "scan-with-an-old-recognition", "with-a-logo", "not-drawn"],
)
def test_text_layer_counts_when_it_is_the_pages_text(
    opened: Opener, tmp_path: Path, options: dict[str, float], lines: list[str], taken: bool
) -> None:
    """`auto` takes the text of born-digital pages only; `never` and `always` are what they say."""
    document = opened(pdf(tmp_path / "a.pdf", lines, **options))  # type: ignore[arg-type]
    layer = document.text_layer(1, PdfText.AUTO)
    assert (layer is not None) == taken
    assert document.text_layer(1, PdfText.NEVER) is None
    always = document.text_layer(1, PdfText.ALWAYS)
    assert always is not None
    assert always.text.split() == " ".join(lines).split()


def test_text_layer_is_not_enough_for_a_page_that_was_stamped(opened: Opener, tmp_path: Path) -> None:
    """What a form, a stamp or a note holds is drawn on the page and is in no text layer: the page is recognized."""
    document = pypdfium2.PdfDocument(pdf(tmp_path / "a.pdf", LETTER))
    page = document[0]
    pdfium.FPDFPage_CloseAnnot(pdfium.FPDFPage_CreateAnnot(page, pdfium.FPDF_ANNOT_STAMP))
    document.save(tmp_path / "b.pdf")
    document.close()
    assert opened(tmp_path / "a.pdf").text_layer(1, PdfText.AUTO) is not None
    assert opened(tmp_path / "b.pdf").text_layer(1, PdfText.AUTO) is None


def test_encrypted_pdf_opens_with_the_empty_password_or_is_named(opened: Opener, shared_data: Path) -> None:
    """A PDF that only restricts copying opens; one that needs a password says so."""
    folder = shared_data / "malformed" / "format_corpus"
    assert opened(folder / "encryption_nocopy.pdf").pages > 0
    with pytest.raises(EncryptedFile, match="password"):
        opened(folder / "encryption_openpassword.pdf")


def test_huge_page_stays_within_the_bound(opened: Opener, shared_data: Path) -> None:
    """A page of 35,000 by 35,000 pixels is rendered at what the bound allows."""
    document = opened(shared_data / "malformed" / "ocrmypdf" / "hugemono.pdf")
    image = document.render(1, Bounds(max_pixels=16_000_000)).image
    assert image.width * image.height <= 16_100_000


def drawn(path: Path, content: str) -> Path:
    """A PDF of one page with this content, in Helvetica (F1) and Courier (F2)."""
    stream = content.encode("latin-1")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources "
        b"<< /Font << /F1 5 0 R /F2 6 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier /Encoding /WinAnsiEncoding >>",
    ]
    body, offsets = b"%PDF-1.4\n", []
    for number, item in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, item)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer << /Size 7 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(body)
    path.write_bytes(body + b"xref\n0 7\n0000000000 65535 f \n" + table + trailer)
    return path


def lines_of(layer: TextLayer | None) -> list[str]:
    """The lines of a text layer."""
    assert layer is not None
    return layer.text.splitlines()


def test_parts_of_a_line_that_were_drawn_apart_stand_two_blanks_apart(opened: Opener, tmp_path: Path) -> None:
    """A quantity of 12 beside a price of 345,00 must not read as 12 345,00, in whatever order they were drawn."""
    rows = [f"1 0 0 1 60 {700 - 20 * n} Tm (Goods of kind {n} for the house 12) Tj" for n in range(4)]
    prices = [f"1 0 0 1 460 {700 - 20 * n} Tm (345,0{n}) Tj" for n in range(4)]
    by_columns = drawn(tmp_path / "a.pdf", f"BT /F1 12 Tf {' '.join([*prices, *rows])} ET")
    by_rows = drawn(tmp_path / "b.pdf", f"BT /F1 12 Tf {' '.join(p for pair in zip(rows, prices, strict=True) for p in pair)} ET")
    for path in (by_columns, by_rows):
        layer = opened(path).text_layer(1, PdfText.AUTO)
        assert lines_of(layer) == [f"Goods of kind {n} for the house 12  345,0{n}" for n in range(4)]


def test_table_that_lies_on_its_side_is_read_as_it_stands(opened: Opener, tmp_path: Path) -> None:
    """Whatever the page says of its turn, or says nothing: its letters tell which way is up, rows stay rows and columns apart."""
    rows = [f"1 0 0 1 60 {300 - 20 * n} Tm (Goods of kind {n} for the house 12) Tj" for n in range(4)]
    prices = [f"1 0 0 1 460 {300 - 20 * n} Tm (345,0{n}) Tj" for n in range(4)]
    expected = [f"Goods of kind {n} for the house 12  345,0{n}" for n in range(4)]
    for turned in ("0 1 -1 0 595 0 cm", "0 -1 1 0 0 842 cm", "-1 0 0 -1 595 842 cm"):
        path = drawn(tmp_path / "a.pdf", f"{turned} BT /F1 12 Tf {' '.join([*prices, *rows])} ET")
        assert lines_of(opened(path).text_layer(1, PdfText.AUTO)) == expected


def test_blanks_that_were_drawn_are_kept(opened: Opener, tmp_path: Path) -> None:
    """Two blanks of a typewriter part two numbers, though they are no wider than a gap may be."""
    content = "BT /F2 12 Tf 60 700 Td (To the house of Smith and Sons we send) Tj 0 -20 Td (12  345,00) Tj ET"
    layer = opened(drawn(tmp_path / "a.pdf", content)).text_layer(1, PdfText.ALWAYS)
    assert lines_of(layer) == ["To the house of Smith and Sons we send", "12  345,00"]


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_words_of_a_text_layer_stand_where_they_are_drawn(opened: Opener, tmp_path: Path, turn: int) -> None:
    """Offsets are those in the text, boxes hold the ink of the page as it is rendered, turned and cropped as it may be."""
    document = pypdfium2.PdfDocument(pdf(tmp_path / "a.pdf", LETTER))
    document[0].set_rotation(turn)
    document[0].set_cropbox(30, 300, 595, 820)
    document.save(tmp_path / "b.pdf")
    document.close()
    turned = opened(tmp_path / "b.pdf")
    layer, image = turned.text_layer(1, PdfText.AUTO, dpi=150), turned.render(1, Bounds(dpi=150)).image
    assert layer is not None
    assert [word.text for word in layer.words] == layer.text.split()
    assert sorted(layer.text.split()) == sorted(" ".join(LETTER).split())
    assert (layer.width_px, layer.height_px) == pytest.approx(image.size, abs=1)
    for word in layer.words:
        assert layer.text[word.offset : word.offset + len(word.text)] == word.text
        assert word.confidence is None
        assert word.box is not None
        left, top, right, bottom = word.box
        assert dark(image.crop(word.box))
        ImageDraw.Draw(image).rectangle((left - 2, top - 2, right + 2, bottom + 2), fill=PAPER)
    assert not dark(image)


def dark(image: Image.Image) -> bool:
    """Whether there is ink on it."""
    return int(image.getextrema()[0]) < 128  # type: ignore[arg-type]


def test_broken_pdf_does_not_hear_of_the_password_of_the_one_before(opened: Opener, tmp_path: Path) -> None:
    """PDFium keeps its last error: one worker opens many files, and each gets its own reason."""
    (tmp_path / "locked.pdf").write_bytes(hostile.pdf_with_password())
    (tmp_path / "none.pdf").write_bytes(hostile.pdf_without_pages())
    for _ in range(2):
        with pytest.raises(EncryptedFile):
            opened(tmp_path / "locked.pdf")
        with pytest.raises(CorruptFile):
            opened(tmp_path / "none.pdf")


def test_copy_that_cannot_be_read_is_never_the_fault_of_the_scan() -> None:
    """A disk that fails: the scan is tried again, not set aside as corrupt."""
    told = pytest.raises(Infrastructure, match="cannot be read: Input/output error")
    with Path("/proc/self/mem").open("rb", buffering=0) as unreadable, told as caught:  # nothing is at its start
        open_document(unreadable)
    assert not isinstance(caught.value, FileRejected)
