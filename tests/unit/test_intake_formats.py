"""Whether a file is whole by its format."""

from __future__ import annotations

import csv
import io
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ocrwatch.intake.formats import Completeness, check

FORMATS = ("PDF", "TIFF", "JPEG", "PNG", "WEBP", "BMP", "GIF", "JPEG2000")


def noise(seed: int = 1, size: tuple[int, int] = (120, 90)) -> Image.Image:
    return Image.frombytes("L", size, random.Random(seed).randbytes(size[0] * size[1]))


def made(name: str, *, pages: int = 1, **options: object) -> bytes:
    buffer = io.BytesIO()
    more = {"save_all": True, "append_images": [noise(n) for n in range(2, pages + 1)]} if pages > 1 else {}
    noise().save(buffer, name, **more, **options)
    return buffer.getvalue()


def judged(data: bytes) -> Completeness:
    return check(io.BytesIO(data), len(data))


@pytest.mark.parametrize("name", FORMATS)
def test_whole_file_is_whole_and_any_part_of_it_is_not(name: str) -> None:
    """NGX#14219, #14022, #5323; OMP#552: a file at rest but cut anywhere waits."""
    data = made(name, pages=3 if name in ("PDF", "TIFF", "GIF") else 1)
    assert judged(data).whole
    assert judged(data).format == name.lower()
    spare = {"PDF": 8, "TIFF": 16}.get(name, 1)  # a last line break, or padding, is not missed
    lengths = {len(data) * part // 100 for part in range(2, 100)} | {len(data) - spare}
    assert [length for length in sorted(lengths) if judged(data[:length]).whole and length > 16] == []


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "BMP"])
@pytest.mark.parametrize("filled", [0.0, 0.1, 0.6, 0.95])
def test_file_that_was_sized_before_it_was_filled_is_not_whole(name: str, filled: float) -> None:
    """SMB clients give a file its final size at once: what is still zeros is not there."""
    data = made(name, pages=3 if name in ("PDF", "GIF") else 1, **({"compression": "tiff_lzw"} if name == "TIFF" else {}))
    cut = int(len(data) * filled)
    assert not judged(data[:cut] + bytes(len(data) - cut)).whole


@pytest.mark.parametrize("name", ["PDF", "JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"])
def test_junk_after_the_end_is_tolerated(name: str) -> None:
    """Scanners, mail gateways and phones append; nothing is missing because of it."""
    assert judged(made(name) + b"\r\n" + b"junk" * 2000).whole


def test_pdf_with_appended_page_counts_by_its_last_end_mark() -> None:
    """NGX PR#43: a scanner that appends page by page; in mid append the earlier end mark does not count."""
    buffer = io.BytesIO(made("PDF"))
    first = len(buffer.getvalue())
    noise(5).save(buffer, "PDF", append=True)
    data = buffer.getvalue()
    assert len(data) > first
    assert judged(data).whole
    assert not judged(data[: first + (len(data) - first) // 2]).whole


def test_pdf_with_junk_before_its_header_is_whole() -> None:
    """Offsets that are off by the junk are found."""
    assert judged(b"\n\nfrom the scanner\n" + made("PDF")).whole


def test_linearized_pdf_that_is_cut_after_its_first_page_is_not_whole() -> None:
    """A linearized file has an end mark near its beginning, and says its length."""
    head = b"%PDF-1.5\n1 0 obj\n<</Linearized 1/L 90000/O 3>>\nendobj\nxref\n0 1\n0000000000 65535 f \ntrailer<<>>\n"
    data = head + b"startxref\n56\n%%EOF\n"
    assert judged(data).reason == f"the PDF has {len(data)} of 90000 bytes"


def test_big_tiff_is_walked_like_a_small_one() -> None:
    """64 bit offsets."""
    buffer = io.BytesIO()
    noise().save(buffer, "TIFF", big_tiff=True)
    data = buffer.getvalue()
    assert data[2] == 43
    assert judged(data).whole
    assert not judged(data[:-50]).whole


def test_tiff_chain_that_runs_in_circles_ends() -> None:
    """A loop is odd, but nothing is missing, and the walk ends."""
    data = bytearray(made("TIFF"))
    (offset,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, offset)
    struct.pack_into("<I", data, offset + 2 + 12 * count, offset)
    assert judged(bytes(data)).whole


def test_thumbnail_does_not_make_a_cut_jpeg_whole() -> None:
    """The end mark of the preview in a JPEG's header is not the end of the JPEG."""
    thumbnail = made("JPEG")
    whole = made("JPEG", exif=b"Exif\0\0" + thumbnail[:60_000])
    assert judged(whole).whole
    assert not judged(whole[: len(thumbnail) + 400]).whole


def test_unknown_format_is_left_to_the_worker() -> None:
    """The check only delays what it understands."""
    assert judged(b"\0\0\0\x18ftypheic" + b"x" * 100) == Completeness(whole=True, format="unknown")
    assert not judged(b"").whole
    assert not judged(bytes(5000)).whole


@given(st.sampled_from(FORMATS), st.data())
def test_damaged_file_never_raises(name: str, data: st.DataObject) -> None:
    """Whatever stands in a file, the check answers."""
    content = bytearray(CACHE[name])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, min(len(content) - 1, 400)))] = data.draw(st.integers(0, 255))
    judged(bytes(content[: data.draw(st.integers(1, len(content)))]))


CACHE = {name: made(name) for name in FORMATS}


@given(
    st.binary(max_size=400), st.sampled_from([b"II*\0", b"MM\0+", b"\xff\xd8\xff", b"GIF89a", b"BM", b"RIFF1234WEBP", b"%PDF-"])
)
def test_hostile_file_never_raises(tail: bytes, magic: bytes) -> None:
    """A header and then anything."""
    judged(magic + tail)


class Counted(io.BytesIO):
    """Counts the bytes that are read."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


@pytest.mark.parametrize("name", ["PDF", "TIFF", "JPEG", "PNG", "WEBP", "BMP"])
def test_large_file_is_not_read_as_a_whole(name: str) -> None:
    """The check is cheap on a share, however large the scan is."""
    buffer = io.BytesIO()
    noise(size=(2000, 2000)).save(buffer, name, **({"quality": 95} if name in ("PDF", "JPEG") else {}))
    file = Counted(buffer.getvalue())
    assert check(file, len(buffer.getvalue())).whole
    assert file.taken < 200_000


def hostile_tiff() -> bytes:
    """Twenty thousand pages, each with the same table of a hundred thousand strips."""
    table_at, pages_count, strips = 8, 20_000, 100_000
    table = struct.pack("<I", 1) * strips
    data, at = bytearray(table), table_at + len(table)
    for _ in range(pages_count):
        entries = b"".join(struct.pack("<HHII", tag, 4, strips, table_at) for tag in (273, 279))
        data += struct.pack("<H", 2) + entries + struct.pack("<I", at + 2 + 24 + 4)
        at += 2 + 24 + 4
    data[-4:] = bytes(4)
    return b"II*\0" + struct.pack("<I", table_at + len(table)) + bytes(data)


@pytest.mark.parametrize("data", [hostile_tiff(), b"GIF89a" + bytes(7) + b"\x21\xff" + b"\x01x" * 2_000_000], ids=["tiff", "gif"])
def test_hostile_file_costs_bounded_work(data: bytes) -> None:
    """A small file that asks for gigabytes of reading is answered all the same."""
    file = Counted(data)
    check(file, len(data))
    assert file.taken < 20_000_000


def test_every_real_scan_is_whole(shared_data: Path) -> None:
    """Valid scans, however unusual, never wait."""
    with (shared_data / "malformed" / "manifest.tsv").open(encoding="utf-8", newline="") as manifest:
        rows = list(csv.DictReader(manifest, delimiter="\t"))
    unusual = [shared_data / "malformed" / r["set"] / r["file"] for r in rows if r["category"] == "valid, unusual"]
    images = [p for p in (shared_data / "images").glob("*/*") if p.suffix in (".pdf", ".tif", ".jpg", ".png")]
    assert len(unusual) > 10
    assert len(images) > 30
    assert {path.name: judged(path.read_bytes()).reason for path in unusual + images if not judged(path.read_bytes()).whole} == {}


def test_every_real_scan_that_is_cut_waits(shared_data: Path) -> None:
    """60 % of a real scan is told from the whole of it."""
    images = [p for p in (shared_data / "images").glob("*/*") if p.suffix in (".pdf", ".tif", ".jpg", ".png")]
    parts = {p.name: p.read_bytes()[: p.stat().st_size * 6 // 10] for p in images}
    assert [name for name, data in parts.items() if judged(data).whole] == []


def test_malformed_files_never_raise(shared_data: Path) -> None:
    """Crashers of other readers are only bytes here."""
    files = [p for p in (shared_data / "malformed").glob("*/*") if p.is_file()]
    assert len(files) > 50
    for path in files:
        judged(path.read_bytes())
