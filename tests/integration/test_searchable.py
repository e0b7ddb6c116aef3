"""Searchable PDFs by the real worker: read back by PDFium and by poppler, and seen as the original is seen."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from ctypes import byref, c_int
from pathlib import Path
from typing import Any

import pikepdf
import pypdfium2
import pypdfium2.raw as pdfium
import pytest
from PIL import Image, ImageChops, ImageDraw, ImageOps

from ocrwatch.ocr.engine import Box, PageResult, PageSource
from ocrwatch.output.placed import Run
from ocrwatch.output.searchable import LaidPage, PdfMaker

_DPI = 100
_SIZE = (850, 1100)
_MARK = (120, 200, 320, 240)  # black in the image, and where the word is
_WORDS = ["Größe", "Łódź", "příliš", "€12,50", "Ωμέγα", "𝔘x"]


@pytest.fixture
def maker() -> PdfMaker:
    """A maker with room for one document."""
    return PdfMaker(memory_bytes=10**9)


def _image(size: tuple[int, int] = _SIZE, mark: Box = _MARK) -> Image.Image:
    image = Image.new("L", size, 255)
    ImageDraw.Draw(image).rectangle(mark, fill=0)
    return image


def _turned(image: Image.Image, degrees: int) -> Image.Image:
    """Clockwise."""
    return image.rotate(-degrees, expand=True)


def _laid(*runs: Run, number: int = 1, size: tuple[int, int] = _SIZE, turn_deg: int = 0) -> LaidPage:
    page = PageResult("", "e", "1", PageSource.OCR, *size, float(_DPI), rotation_deg=turn_deg)
    return LaidPage(number, page, list(runs))


def _word(text: str = "Größe", box: Box = _MARK, *, ends_line: bool = True) -> Run:
    return Run(text, box, ends_line)


def _made(maker: PdfMaker, source: Path, *laid: LaidPage, count: int = 1) -> Path:
    target = source.with_name("made.pdf")
    assert maker.make(source, target, laid, count=count) == ""
    return target


def _rendered(path: Path, page: int = 0) -> Image.Image:
    document = pypdfium2.PdfDocument(path)
    image: Image.Image = document[page].render(scale=_DPI / 72, grayscale=True).to_pil().convert("L").copy()
    document.close()
    return image


def _found(path: Path, text: str, page: int = 0) -> Box:
    """Where PDFium finds the text, in pixels of the page as it is shown; a search as a person does it."""
    document = pypdfium2.PdfDocument(path)
    loaded = document[page]
    text_page = loaded.get_textpage()
    at = text_page.search(text).get_next()
    assert at is not None, text_page.get_text_range()
    boxes = [text_page.get_charbox(index, loose=True) for index in range(at[0], at[0] + at[1])]
    corners = [_shown_at(loaded, x, y) for left, bottom, right, top in boxes for x, y in ((left, bottom), (right, top))]
    document.close()
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _shown_at(page: pypdfium2.PdfPage, x: float, y: float) -> tuple[int, int]:
    """A point of the page in pixels of its rendering."""
    width, height = (round(side * _DPI / 72) for side in page.get_size())
    across, down = c_int(), c_int()
    pdfium.FPDF_PageToDevice(page, 0, 0, width, height, 0, x, y, byref(across), byref(down))
    return across.value, down.value


def _is_near(found: Box, wanted: Box, *, tolerance_px: int = 4) -> bool:
    return all(abs(a - b) <= tolerance_px for a, b in zip(found, wanted, strict=True))


def _saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, dpi=(_DPI, _DPI), **options)
    return path


# -- images ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
@pytest.mark.parametrize("mode", ["L", "RGB", "1", "P"])
def test_image_is_there_pixel_by_pixel_and_its_word_is_found(tmp_path: Path, maker: PdfMaker, suffix: str, mode: str) -> None:
    """The page has the paper's size and the scan's pixels; the word is where it stands."""
    source = _saved(tmp_path / f"scan.{suffix}", _image().convert(mode))
    made = _made(maker, source, _laid(_word()))
    assert pypdfium2.PdfDocument(made)[0].get_size() == pytest.approx((612, 792), abs=0.1)
    assert ImageChops.difference(_rendered(made), _image()).getbbox() is None
    assert _is_near(_found(made, "Größe"), _MARK)


def test_jpeg_is_embedded_as_it_is(tmp_path: Path, maker: PdfMaker) -> None:
    """Not decoded and encoded anew: the very bytes are in the PDF."""
    source = _saved(tmp_path / "scan.jpg", _image().convert("RGB"), quality=80)
    made = _made(maker, source, _laid(_word()))
    with pikepdf.open(made) as pdf:
        (image,) = (item for item in pdf.pages[0].resources.XObject.values() if item.Subtype == pikepdf.Name.Image)
        assert image.read_raw_bytes() == source.read_bytes()
    assert _is_near(_found(made, "Größe"), _MARK)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_image_is_upright_by_exif(tmp_path: Path, maker: PdfMaker, suffix: str, orientation: int) -> None:
    """Mirrored ones as well; the box counts on the upright page."""
    stored = _image(mark=(100, 150, 400, 200))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.getexif()[0x0112] = orientation
    upright = ImageOps.exif_transpose(stored)
    mark = ImageOps.invert(upright).getbbox()
    assert mark is not None
    source = _saved(tmp_path / f"scan.{suffix}", _image(mark=(100, 150, 400, 200)), exif=exif)
    made = _made(maker, source, _laid(_word(box=mark), size=upright.size))
    difference = ImageChops.difference(_rendered(made), upright)
    assert difference.point(lambda value: 255 * (value > 40)).getbbox() is None, "but for what JPEG costs"
    assert _is_near(_found(made, "Größe"), mark)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_image_is_turned_as_recognition_found(tmp_path: Path, maker: PdfMaker, turn: int) -> None:
    """A page that was put in the wrong way round is read and shown the right way."""
    source = _saved(tmp_path / "scan.png", _turned(_image(), -turn))
    made = _made(maker, source, _laid(_word(), turn_deg=turn))
    assert ImageChops.difference(_rendered(made), _image()).getbbox() is None
    assert _is_near(_found(made, "Größe"), _MARK)


def test_every_page_of_a_tiff_has_its_words(tmp_path: Path, maker: PdfMaker) -> None:
    """Fax-compressed pages among them; one that was not recognized is there without a layer."""
    pages = [_image(mark=(100, 100 * n, 300, 100 * n + 40)).convert("1") for n in range(1, 4)]
    source = _saved(tmp_path / "scan.tif", pages[0], save_all=True, append_images=pages[1:], compression="group4")
    laid = [_laid(_word(f"page{n}", (100, 100 * n, 300, 100 * n + 40)), number=n) for n in (1, 3)]
    made = _made(maker, source, *laid, count=3)
    for number in (1, 3):
        assert _is_near(_found(made, f"page{number}", number - 1), (100, 100 * number, 300, 100 * number + 40))
    for number, page in enumerate(pages):
        assert ImageChops.difference(_rendered(made, number), page.convert("L")).getbbox() is None
    assert made.stat().st_size < 20_000


# -- PDF ---------------------------------------------------------------------------------------------------------------


def _pdf(path: Path, *, box: Sequence[float] = (0, 0, 612, 792), change: Callable[[pikepdf.Pdf], None] | None = None) -> Path:
    """A PDF page with a black mark at the place of the word, as it would be in an upright page that begins at 0, 0."""
    pdf = pikepdf.new()
    pdf.add_blank_page(page_size=(612, 792))
    page = pdf.pages[0]
    page.mediabox = pikepdf.Array(list(box))
    left, top, right, bottom = (edge * 72 / _DPI for edge in _MARK)
    content = f"0 g {box[0] + left} {box[3] - bottom} {right - left} {bottom - top} re f 2 0 0 2 50 50 cm"
    page.obj.Contents = pdf.make_stream(content.encode())
    if change is not None:
        change(pdf)
    pdf.save(path)
    return path


@pytest.mark.parametrize("origin", [(0, 0), (-100, 50)])
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_pdf_page_looks_as_before_and_its_word_is_found(
    tmp_path: Path, maker: PdfMaker, turn: int, origin: tuple[int, int]
) -> None:
    """However the page is turned and wherever it begins; its content leaves the graphics state changed."""
    x, y = origin

    def turned(pdf: pikepdf.Pdf) -> None:
        pdf.Root.Pages.Rotate = turn

    source = _pdf(tmp_path / "scan.pdf", box=(x, y, x + 612, y + 792), change=turned)
    before = _rendered(source)
    mark = ImageOps.invert(before).getbbox()
    assert mark is not None
    made = _made(maker, source, _laid(_word(box=mark), size=before.size))
    assert _rendered(made).tobytes() == before.tobytes()
    assert _is_near(_found(made, "Größe"), mark)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_pdf_page_that_was_turned_to_be_read_stays_as_it_is(tmp_path: Path, maker: PdfMaker, turn: int) -> None:
    """Only the layer is turned."""
    source = _pdf(tmp_path / "scan.pdf")
    before = _rendered(source)
    upright = _turned(before, turn)
    mark = ImageOps.invert(upright).getbbox()
    assert mark is not None
    made = _made(maker, source, _laid(_word(box=mark), size=upright.size, turn_deg=turn))
    assert _rendered(made).tobytes() == before.tobytes()
    assert _is_near(_found(made, "Größe"), _MARK)


def test_page_without_a_layer_of_ours_stays_as_it_is(tmp_path: Path, maker: PdfMaker) -> None:
    """A page that was born digital: its content is byte for byte the same."""
    source = _pdf(tmp_path / "scan.pdf")
    made = _made(maker, source)
    with pikepdf.open(source) as before, pikepdf.open(made) as after:
        assert after.pages[0].Contents.read_bytes() == before.pages[0].Contents.read_bytes()
        assert "/Resources" not in after.pages[0].obj or not after.pages[0].resources.keys()


def test_layer_of_an_earlier_recognition_is_replaced(tmp_path: Path, maker: PdfMaker) -> None:
    """A scanner's own text would be found twice, and with its mistakes."""
    first = _made(maker, _pdf(tmp_path / "scan.pdf"), _laid(_word("Gr0sse")))
    again = first.rename(tmp_path / "again.pdf")
    before = _rendered(again)
    made = _made(maker, again, _laid(_word("Größe")))
    text = pypdfium2.PdfDocument(made)[0].get_textpage().get_text_range()
    assert text.split() == ["Größe"]
    assert _rendered(made).tobytes() == before.tobytes()


def test_visible_text_stays(tmp_path: Path, maker: PdfMaker) -> None:
    """Only what is invisible is a layer."""

    def stamped(pdf: pikepdf.Pdf) -> None:
        font = pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
        pdf.pages[0].obj.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F1=font))
        content = b"q BT 3 Tr /F1 12 Tf 50 50 Td (old) Tj ET Q BT /F1 12 Tf 50 700 Td (RECEIVED) Tj ET"
        pdf.pages[0].obj.Contents = pdf.make_stream(content)

    source = _pdf(tmp_path / "scan.pdf", change=stamped)
    made = _made(maker, source, _laid(_word()))
    text = pypdfium2.PdfDocument(made)[0].get_textpage().get_text_range()
    assert sorted(text.split()) == ["Größe", "RECEIVED"]
    assert _rendered(made).tobytes() == _rendered(source).tobytes()


def test_words_of_many_languages_are_read_back_in_order(tmp_path: Path, maker: PdfMaker) -> None:
    """By PDFium as by poppler, as whole words in their lines."""
    runs = [_word(text, (100 + 120 * n, 100, 200 + 120 * n, 130), ends_line=n in (2, 5)) for n, text in enumerate(_WORDS[:3])]
    runs += [_word(text, (100 + 120 * n, 150, 200 + 120 * n, 180), ends_line=n == 2) for n, text in enumerate(_WORDS[3:])]
    made = _made(maker, _saved(tmp_path / "scan.png", _image()), _laid(*runs))
    text = pypdfium2.PdfDocument(made)[0].get_textpage().get_text_range()
    assert [line.split() for line in text.splitlines()] == [_WORDS[:3], _WORDS[3:]]
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed (apt install poppler-utils): only PDFium read the words back")
    told = subprocess.run(["pdftotext", "-layout", str(made), "-"], capture_output=True, check=True, encoding="utf-8")
    assert [line.split() for line in told.stdout.strip("\f\n").splitlines() if line.strip()] == [_WORDS[:3], _WORDS[3:]]
    assert told.stderr == ""


def test_same_scan_and_words_give_the_same_bytes(tmp_path: Path, maker: PdfMaker) -> None:
    """A job that is resumed publishes what it would have published."""
    source = _pdf(tmp_path / "scan.pdf")
    first = _made(maker, source, _laid(_word())).read_bytes()
    assert _made(maker, source, _laid(_word())).read_bytes() == first
    image = _saved(tmp_path / "scan.png", _image())
    first = _made(maker, image, _laid(_word())).read_bytes()
    assert _made(maker, image, _laid(_word())).read_bytes() == first


# -- what is left alone ------------------------------------------------------------------------------------------------


def _signed(pdf: pikepdf.Pdf) -> None:
    value = pikepdf.Dictionary(Type=pikepdf.Name.Sig, ByteRange=pikepdf.Array([0, 1, 2, 3]))
    field = pikepdf.Dictionary(Kids=pikepdf.Array([pdf.make_indirect(pikepdf.Dictionary(V=value))]), FT=pikepdf.Name.Sig)
    pdf.Root.AcroForm = pikepdf.Dictionary(Fields=pikepdf.Array([pdf.make_indirect(field)]), SigFlags=3)


def _certified(pdf: pikepdf.Pdf) -> None:
    pdf.Root.Perms = pikepdf.Dictionary(DocMDP=pikepdf.Dictionary())


def _without(maker: PdfMaker, source: Path, *laid: LaidPage, count: int = 1) -> str:
    target = source.with_name("made.pdf")
    why_not = maker.make(source, target, laid, count=count)
    assert why_not
    assert not list(source.parent.glob("*made.pdf"))
    return why_not


@pytest.mark.parametrize("change", [_signed, _certified])
def test_signed_scan_has_no_searchable_pdf(tmp_path: Path, maker: PdfMaker, change: Callable[[pikepdf.Pdf], None]) -> None:
    """A copy with a layer would be a signed document whose signature is broken."""
    assert "signed" in _without(maker, _pdf(tmp_path / "scan.pdf", change=change), _laid(_word()))


def test_form_with_an_empty_signature_field_is_not_signed(tmp_path: Path, maker: PdfMaker) -> None:
    """A blank form is a scan like any other."""

    def blank(pdf: pikepdf.Pdf) -> None:
        _signed(pdf)
        del pdf.Root.AcroForm.Fields[0].Kids[0].V

    _made(maker, _pdf(tmp_path / "scan.pdf", change=blank), _laid(_word()))


@pytest.mark.parametrize("user", ["", "secret"])
def test_restricted_scan_has_no_searchable_pdf(tmp_path: Path, maker: PdfMaker, user: str) -> None:
    """What its owner restricted is not copied without the restrictions."""
    plain = _pdf(tmp_path / "plain.pdf")
    with pikepdf.open(plain) as pdf:
        pdf.save(tmp_path / "scan.pdf", encryption=pikepdf.Encryption(owner="owner", user=user))
    assert "encrypted" in _without(maker, tmp_path / "scan.pdf", _laid(_word()))


def test_page_of_another_shape_is_not_laid_under(tmp_path: Path, maker: PdfMaker) -> None:
    """Where two readers see a damaged file differently the words would stand anywhere."""
    source = _pdf(tmp_path / "scan.pdf")
    assert "shape" in _without(maker, source, _laid(_word(), size=(1100, 850)))
    assert "pages" in _without(maker, source, _laid(_word()), count=2)


def test_hostile_file_costs_only_its_pdf(tmp_path: Path, maker: PdfMaker, shared_data: Path) -> None:
    """Every malformed file ends in a PDF or a reason, never in an error, and leaves nothing half made."""
    (tmp_path / "work").mkdir()
    files = sorted(path for path in (shared_data / "malformed").rglob("*") if path.is_file() and path.stat().st_size < 10**6)
    assert files
    for path in files[:: max(1, len(files) // 25)]:
        source = tmp_path / "work" / "source"
        shutil.copyfile(path, source)
        target = source.with_name("made.pdf")
        why_not = maker.make(source, target, [_laid(_word())], count=1)
        assert target.exists() == (not why_not)
        assert not source.with_name(".made.pdf").exists()


def test_worker_out_of_memory_is_a_reason(tmp_path: Path) -> None:
    """The limit is that of a page's recognition."""
    maker = PdfMaker(memory_bytes=10 * 10**6)
    assert _without(maker, _pdf(tmp_path / "scan.pdf"), _laid(_word()))


def test_stop_is_no_reason(tmp_path: Path, maker: PdfMaker) -> None:
    """A service that ends has not found that the scan has no PDF: the job goes on at the next start."""
    source = _pdf(tmp_path / "scan.pdf")
    maker.stop()
    with pytest.raises(CancelledError):
        maker.make(source, tmp_path / "made.pdf", [_laid(_word())], count=1)


def test_pdf_bytes_are_whole(tmp_path: Path, maker: PdfMaker) -> None:
    """No reader has to mend what we wrote."""
    made = _made(maker, _pdf(tmp_path / "scan.pdf"), _laid(_word()))
    with pikepdf.open(io.BytesIO(made.read_bytes())) as pdf:
        assert pdf.check_pdf_syntax() == []
