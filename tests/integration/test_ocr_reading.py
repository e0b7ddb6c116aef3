"""What the recognition worker tells of a page before it reads it, so that the model may load meanwhile: the real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pypdfium2
import pypdfium2.raw as pdfium
import pytest

from ocrwatch.errors import MissingPart
from ocrwatch.ocr.engine import READING, PageResult, PageSource
from ocrwatch.ocr.tessdata import find_tessdata
from ocrwatch.worker.process import WorkerProcess, WorkerSpec
from tests.faults import scans

_LETTER = "Dear Sir or Madam, we thank you for your order of 12 March and send you the goods that you have asked for."


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    """A worker of Tesseract."""
    try:
        find_tessdata()
    except MissingPart as error:
        pytest.skip(str(error))
    worker = WorkerProcess(WorkerSpec("ocrwatch.ocr.worker", options={"engine": "tesseract"}))
    yield worker
    worker.stop()


def _recognize(worker: WorkerProcess, path: Path) -> tuple[PageResult, list[dict[str, Any]]]:
    """The page, and what was told before it came."""
    told: list[dict[str, Any]] = []
    request = {"op": "recognize", "page": 1, "languages": ["en"], "pdf_text": "auto"}
    with path.open("rb") as file:
        reply = worker.call(request, deadline_s=60, progress=told.append, descriptor=file.fileno())
    return PageResult.from_json(reply), told


def _born_digital(path: Path) -> Path:
    document = pypdfium2.PdfDocument.new()
    page = document.new_page(1200, 300)
    text = pdfium.FPDFPageObj_NewTextObj(document, b"Helvetica", 12.0)
    encoded = (_LETTER + "\0").encode("utf-16-le")
    pdfium.FPDFText_SetText(text, (pdfium.FPDF_WCHAR * (len(encoded) // 2)).from_buffer_copy(encoded))
    pdfium.FPDFPageObj_Transform(text, 1, 0, 0, 1, 50, 200)
    pdfium.FPDFPage_InsertObject(page, text)
    page.gen_content()
    document.save(path)
    return path


def test_reading_of_an_image_is_told_before_it(worker: WorkerProcess, tmp_path: Path) -> None:
    """Also of a scan in a PDF."""
    scans.write(tmp_path / "a.pdf", "A letter about the invoice of May")
    result, told = _recognize(worker, tmp_path / "a.pdf")
    assert (result.source, told) == (PageSource.OCR, [{"stage": READING}])


def test_page_with_a_text_of_its_own_is_not_read(worker: WorkerProcess, tmp_path: Path) -> None:
    """Nothing is corrected there, and nothing has to be loaded for it."""
    result, told = _recognize(worker, _born_digital(tmp_path / "a.pdf"))
    assert (result.source, told) == (PageSource.TEXT_LAYER, [])
