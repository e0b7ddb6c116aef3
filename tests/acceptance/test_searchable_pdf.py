"""Searchable PDFs as an administrator gets them: by the installed command, with the real engine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pypdfium2
import pytest
import yaml
from PIL import Image

from tests.faults import scans
from tests.faults.outside import beside

pytestmark = pytest.mark.acceptance


def _process(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    inbox = folder / "inbox"
    settings = {
        "state_dir": str(folder / "state"),
        "inboxes": [{"path": str(inbox), "output": {"pdf": True}}],
        "correction": {"mode": "off"},
    }
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "ocrwatch", "process", *(str(inbox / name) for name in names), "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "HF_HOME": str(folder / "hub")},
    )


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """An empty inbox."""
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.mark.parametrize("name", ["scan.pdf", "scan.tif", "scan.jpg", "scan.png"])
def test_scan_gets_a_searchable_pdf(tmp_path: Path, inbox: Path, name: str) -> None:
    """Each page says what its text says, at the place where that stands on the page."""
    pages = ["the first page", "and the second"] if name.endswith((".pdf", ".tif")) else ["the first page"]
    scan = scans.write(inbox / name, *pages)
    before = scan.read_bytes()
    done = _process(tmp_path, name)
    assert done.returncode == 0, done.stderr
    assert beside(scan) == {f"{name}.txt", f"{name}.json", f"{name}.ocr.pdf"}
    assert scan.read_bytes() == before
    made = scan.with_name(f"{name}.ocr.pdf")
    said = json.loads(scan.with_name(f"{name}.json").read_bytes())
    assert (said["pdf"], said["pdf_reason"]) == (made.name, "")
    assert said["pdf_sha256"] == hashlib.sha256(made.read_bytes()).hexdigest()
    texts = scan.with_name(f"{name}.txt").read_text(encoding="utf-8").split("\f")
    document = pypdfium2.PdfDocument(made)
    assert len(document) == len(pages)
    for page, text in zip(document, texts, strict=True):
        text_page = page.get_textpage()
        assert text_page.get_text_range().split() == text.split()
        image = page.render(scale=2, grayscale=True).to_pil()
        for word in text.split():
            at, count = text_page.search(word).get_next()
            assert _darkest(image, text_page, at, count) < 100, f"nothing is written where {word!r} is said to be"


def _darkest(image: Image.Image, text_page: pypdfium2.PdfTextPage, at: int, count: int) -> int:
    boxes = [text_page.get_charbox(index, loose=True) for index in range(at, at + count)]
    left, right = min(box[0] for box in boxes), max(box[2] for box in boxes)
    bottom, top = min(box[1] for box in boxes), max(box[3] for box in boxes)
    darkest = image.crop((round(2 * left), image.height - round(2 * top), round(2 * right), image.height - round(2 * bottom)))
    return int(darkest.convert("L").getextrema()[0])  # type: ignore[arg-type] # of one channel


def test_searchable_pdf_is_never_taken_for_a_scan(tmp_path: Path, inbox: Path) -> None:
    """Else it would be read, and have a PDF, and so on; a second run changes nothing."""
    scan = scans.write(inbox / "scan.png", "the only page")
    assert _process(tmp_path, "scan.png").returncode == 0
    first = scan.with_name("scan.png.ocr.pdf").read_bytes()
    assert _process(tmp_path, "scan.png").returncode == 0
    assert scan.with_name("scan.png.ocr.pdf").read_bytes() == first
    assert "left out" in _process(tmp_path, "scan.png.ocr.pdf").stdout
    assert beside(scan) == {"scan.png.txt", "scan.png.json", "scan.png.ocr.pdf"}
