"""Every kind of page that scanners, cameras and programs make, read to its right text by the real worker."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from ocrwatch.ocr.engine import PageSource
from tests.contract.test_ocr_engines import LINES, Worker, likeness, options_of, page_image
from tests.faults.hostile import pdf

Write = Callable[[Path], object]


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """A worker of the engine that gives whole texts."""
    worker = Worker(options_of("tesseract"))
    yield worker
    worker.process.stop()


def saved(mode: str = "L", **options: object) -> Write:
    """Saves the page in this mode."""
    return lambda path: page_image().convert(mode).save(path, **options)  # type: ignore[arg-type]


def sixteen_bits(path: Path) -> None:
    """The page with sixteen bits a sample."""
    page_image().convert("I").point(lambda value: value * 257).convert("I;16").save(path, format=path.suffix[1:])


def transparent(path: Path) -> None:
    """Black letters on paper that is transparent and black, as exports have it."""
    image = Image.new("RGBA", page_image().size, (0, 0, 0, 0))
    image.putalpha(page_image().point(lambda value: 255 - value))
    image.save(path, **({"lossless": True} if path.suffix == ".webp" else {}))  # type: ignore[arg-type]


def held_sideways(path: Path) -> None:
    """A photo whose EXIF says how the camera was held."""
    exif = Image.Exif()
    exif[0x0112] = 6
    page_image().rotate(90, expand=True).save(path, exif=exif)


def in_fax_pixels(path: Path) -> None:
    """Half as many dots down as across."""
    image = page_image()
    image.resize((image.width, image.height // 2)).convert("1").save(path, compression="group3", dpi=(204, 98))


_IMAGES: dict[str, Write] = {
    "group3.tiff": saved("1", compression="group3"),
    "group4.tiff": saved("1", compression="group4"),
    "fax.tiff": in_fax_pixels,
    "jpeg.tiff": saved("RGB", compression="jpeg"),
    "lzw.tiff": saved("RGB", compression="tiff_lzw"),
    "deflate.tiff": saved("L", compression="tiff_adobe_deflate"),
    "packbits.tiff": saved("L", compression="packbits"),
    "cmyk.tiff": saved("CMYK"),
    "ycbcr.tiff": saved("YCbCr"),
    "palette.tiff": saved("P"),
    "alpha.tiff": transparent,
    "deep.tiff": sixteen_bits,
    "dpi-0.tiff": saved(dpi=(0, 0)),
    "dpi-1.tiff": saved(dpi=(1, 1)),
    "cmyk.jpeg": saved("CMYK", quality=95),
    "progressive.jpeg": saved("RGB", progressive=True),
    "sideways.jpeg": held_sideways,
    "grey.png": saved("L"),
    "line.png": saved("1"),
    "deep.png": sixteen_bits,
    "alpha.png": transparent,
    "interlaced.gif": saved("P", interlace=1),
    "a.bmp": saved("RGB"),
    "line.bmp": saved("1"),
    "lossy.webp": saved("RGB", quality=90),
    "alpha.webp": transparent,
    "lossless.jp2": saved("RGB"),
    "lossy.jp2": saved("L", irreversible=True, quality_mode="rates", quality_layers=[10]),
}


@pytest.mark.parametrize("name", _IMAGES)
def test_image_is_read(worker: Worker, tmp_path: Path, name: str) -> None:
    """Whatever it was packed in, the text is the page's."""
    _IMAGES[name](tmp_path / name)
    assert_read(worker.recognize(tmp_path / name).text)


def assert_read(text: str) -> None:
    """All lines of the page, and next to nothing else."""
    assert likeness(text) > 97
    assert len(text.split()) == len(" ".join(LINES).split())


def test_tiff_of_frames_of_every_kind_is_read_frame_by_frame(worker: Worker, tmp_path: Path) -> None:
    """Scanners put a grey page between black and white ones; each has a compression of its own."""
    kinds = (("1", "group3"), ("1", "group4"), ("RGB", "jpeg"), ("RGB", "tiff_lzw"), ("CMYK", "raw"), ("L", "packbits"))
    frames = []
    for number, (mode, compression) in enumerate(kinds, start=1):
        frame = page_image((f"This is sheet number {number} of the set", *LINES)).convert(mode)
        frame.encoderinfo = {"compression": compression}
        frames.append(frame)
    frames[0].save(tmp_path / "a.tiff", save_all=True, append_images=frames[1:], **frames[0].encoderinfo)
    with Image.open(tmp_path / "a.tiff") as written:
        found = []
        for number in range(len(kinds)):
            written.seek(number)
            found.append((written.mode, written.info["compression"]))
    assert found == list(kinds)
    assert worker.inspect(tmp_path / "a.tiff")["pages"] == len(kinds)
    for number in range(1, len(kinds) + 1):
        first, *rest = worker.recognize(tmp_path / "a.tiff", page=number).text.splitlines()
        assert first == f"This is sheet number {number} of the set"
        assert likeness("\n".join(rest)) > 97


_FONT = b"/Resources<</Font<</Helv 5 0 R>>>>"
_SIZE = (500, 280)
# What sets the page upright that is to be turned so far.
_TURNS = {0: b"", 90: b"0 1 -1 0 280 0 cm ", 180: b"-1 0 0 -1 500 280 cm ", 270: b"0 -1 1 0 0 500 cm "}


def written(path: Path, content: bytes, *more: bytes, **entries: object) -> None:
    """A PDF of one page with this content. more: objects, numbered from 6. entries: see `_objects`."""
    path.write_bytes(pdf(*_objects(content, **entries), *more))  # type: ignore[arg-type]


def _objects(
    content: bytes, *, size: tuple[int, int] = _SIZE, turn: int = 0, page: bytes = _FONT, catalog: bytes = b""
) -> list[bytes]:
    """page, catalog: what these two have beside what they must have."""
    return [
        b"<</Type/Catalog/Pages 2 0 R%s>>" % catalog,
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %d %d]/Rotate %d/Contents 4 0 R%s>>" % (*size, turn, page),
        _stream(b"<<", content),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]


def _stream(entries: bytes, data: bytes) -> bytes:
    return b"%s/Length %d>>stream\n%s\nendstream" % (entries, len(data), data)


def _lines() -> bytes:
    lines = [b"1 0 0 1 40 %d Tm (%s) Tj" % (230 - 40 * number, line.encode()) for number, line in enumerate(LINES)]
    return b"BT /Helv 20 Tf %s ET" % b" ".join(lines)


@pytest.mark.parametrize("turn", _TURNS)
@pytest.mark.parametrize(
    ("pdf_text", "source"), [("auto", PageSource.TEXT_LAYER), ("always", PageSource.TEXT_LAYER), ("never", PageSource.OCR)]
)
@pytest.mark.parametrize("is_meant", [True, False], ids=["drawn-for-it", "drawn-upright"])
def test_turned_pdf_is_read_by_its_text_or_by_its_looks(
    worker: Worker, tmp_path: Path, turn: int, pdf_text: str, source: PageSource, is_meant: bool
) -> None:
    """A page that says how it is to be turned, rightly or not; its text is the same whichever way it is had."""
    if is_meant:
        size = _SIZE[::-1] if turn in (90, 270) else _SIZE
        written(tmp_path / "a.pdf", _TURNS[turn] + _lines(), turn=turn, size=size)
    else:
        written(tmp_path / "a.pdf", _lines(), turn=turn)
    result = worker.recognize(tmp_path / "a.pdf", pdf_text=pdf_text)
    assert result.source is source
    assert_read(result.text)


def test_stray_letters_of_a_scan_are_not_its_text(worker: Worker, tmp_path: Path) -> None:
    """`auto` reads a scan with a page number in its text layer; `always` takes the page number, `never` nothing of it."""
    picture = page_image()
    image = b"<</Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/DeviceGray/BitsPerComponent 8" % picture.size
    content = b"q 500 0 0 177 0 100 cm /I Do Q BT /Helv 12 Tf 3 Tr 10 10 Td (Page 7) Tj ET"
    resources = b"/Resources<</Font<</Helv 5 0 R>>/XObject<</I 6 0 R>>>>"
    written(tmp_path / "a.pdf", content, _stream(image, picture.tobytes()), page=resources)
    texts = {mode: worker.recognize(tmp_path / "a.pdf", pdf_text=mode).text for mode in ("auto", "always", "never")}
    assert texts["always"] == "Page 7\n"
    assert_read(texts["auto"])
    assert texts["never"] == texts["auto"]


@pytest.mark.parametrize("is_drawn", [True, False], ids=["drawn", "left-to-the-viewer"])
def test_what_was_filled_into_a_form_is_read(worker: Worker, tmp_path: Path, is_drawn: bool) -> None:
    """A field's value is in no text layer, whether it brings its looks along or not: the page is recognized, value and all."""
    value = b"Filled in by Margaret"
    looks = _stream(b"<</Type/XObject/Subtype/Form/BBox[0 0 300 30]" + _FONT, b"BT /Helv 20 Tf 2 8 Td (%s) Tj ET" % value)
    style = b"/DA(/Helv 20 Tf 0 g)"
    field = b"<</Type/Annot/Subtype/Widget/FT/Tx/T(name)/V(%s)/Rect[40 50 340 80]/F 4/P 3 0 R" % value + style
    form = b"/AcroForm<</Fields[6 0 R]/DR<</Font<</Helv 5 0 R>>>>/NeedAppearances %s" % (b"false" if is_drawn else b"true")
    written(
        tmp_path / "a.pdf",
        _lines(),
        field + (b"/AP<</N 7 0 R>>>>" if is_drawn else b">>"),
        looks,
        page=_FONT + b"/Annots[6 0 R]",
        catalog=form + style + b">>",
    )
    result = worker.recognize(tmp_path / "a.pdf")
    assert result.source is PageSource.OCR
    *lines, last = result.text.splitlines()
    assert last == value.decode()
    assert likeness("\n".join(lines)) > 97


def test_pdf_that_only_restricts_what_may_be_done_is_read(worker: Worker, tmp_path: Path) -> None:
    """Encrypted with an empty user password, as banks send statements: whoever opens it reads it, and so do we."""
    (tmp_path / "a.pdf").write_bytes(_locked_with_nothing())
    assert b"quick" not in (tmp_path / "a.pdf").read_bytes()
    for pdf_text in ("auto", "never"):
        assert_read(worker.recognize(tmp_path / "a.pdf", pdf_text=pdf_text).text)


_PADDING = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")


def _locked_with_nothing() -> bytes:
    """The page encrypted by the standard handler, revision 2 (ISO 32000-1, 7.6.3), with an empty user password."""
    owner, permissions, name = bytes(range(32)), -4, bytes(16)
    key = hashlib.md5(_PADDING + owner + permissions.to_bytes(4, "little", signed=True) + name).digest()[:5]
    of_content = hashlib.md5(key + (4).to_bytes(3, "little") + bytes(2)).digest()[:10]
    entry = b"<</Filter/Standard/V 1/R 2/P %d/O<%s>/U<%s>>>"
    lock = entry % (permissions, owner.hex().encode(), _rc4(key, _PADDING).hex().encode())
    identity = b"<%s>" % name.hex().encode()
    return pdf(*_objects(_rc4(of_content, _lines())), lock, trailer=b"/Encrypt 6 0 R/ID[%s%s]" % (identity, identity))


def _rc4(key: bytes, data: bytes) -> bytes:
    """The cipher of old PDFs."""
    state, j = list(range(256)), 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    result, i, j = bytearray(), 0, 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        result.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(result)
