"""A recognition worker for `tiny_scans` that takes as long as it is told, and notes each page that it begins.

Options beside those of a real worker come by the environment: OCRWATCH_TORTURE_RECORD, a file that gets a line `SHA256 PAGE`;
OCRWATCH_TORTURE_PAGE_MS, what a page takes.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping
from typing import Any

from ocrwatch.errors import CorruptFile
from ocrwatch.ocr.engine import READING, PageResult, PageSource
from ocrwatch.worker import child
from tests.torture import tiny_scans

Message = dict[str, Any]


def _content(request: Message) -> bytes:
    with os.fdopen(request["descriptor"], "rb") as file:
        return file.read()


def _texts(data: bytes) -> list[str]:
    try:
        return tiny_scans.texts(data)
    except ValueError as error:
        raise CorruptFile(str(error)) from error


class _Worker:
    def __init__(self, record: str, page_s: float) -> None:
        self._record = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._page_s = page_s
        self._pause = threading.Event()

    def inspect(self, request: Message) -> Message:
        return {"format": "tiff", "pages": len(_texts(_content(request)))}

    def recognize(self, request: Message) -> Message:
        data, number = _content(request), int(request["page"])
        os.write(self._record, f"{hashlib.sha256(data).hexdigest()} {number}\n".encode("ascii"))
        child.progress(stage=READING)
        self._pause.wait(self._page_s)
        result = PageResult(
            text=_texts(data)[number - 1],
            engine="tesseract",
            engine_version="torture 1",
            source=PageSource.OCR,
            width_px=1,
            height_px=1,
            dpi=300.0,
            confidence=0.9,
            trial=False,
        )
        return result.to_json()


def start(_: Message) -> tuple[Message, Mapping[str, child.Handler]]:
    worker = _Worker(os.environ["OCRWATCH_TORTURE_RECORD"], float(os.environ["OCRWATCH_TORTURE_PAGE_MS"]) / 1000)
    hello: Message = {"engine": "tesseract", "version": "torture 1", "languages": ["en"], "sandbox": {"lacking": []}}
    return hello, {"inspect": worker.inspect, "recognize": worker.recognize}


if __name__ == "__main__":
    child.serve(start)
