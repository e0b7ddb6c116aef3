"""A recognition worker that reads its part from the file: a JSON object with what each page does to it.

    {"pages": [{"text": "..."}, {"die": true}, {"die_once": "MARK"}, {"hang": true}, {"restless": true}, {"corrupt": true},
               {"wait_for": "MARK"}, {"text": "...", "boxed": true}]}

MARK is a path: `die_once` ends the worker and makes it, `wait_for` answers when it is there; `restless` says for ever that it
moves. Other first bytes are no document.
Every page that was begun leaves its number in the file named by the option `record`.
"""

from __future__ import annotations

import errno
import json
import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ocrwatch.errors import CorruptFile, EncryptedFile, MissingPart
from ocrwatch.ocr.engine import READING, PageResult, PageSource, Word
from ocrwatch.worker import child

Message = dict[str, Any]


def _document(request: Message) -> dict[str, Any]:
    try:
        with os.fdopen(request["descriptor"], "rb") as file:
            data = json.loads(file.read())
    except ValueError as error:
        raise CorruptFile("it is no document of the script") from error
    if data.get("encrypted"):
        raise EncryptedFile("it needs a password", "remove the password")
    assert isinstance(data, dict)
    return data


def _wait_for(mark: str) -> None:
    pause = threading.Event()
    while not Path(mark).exists():
        pause.wait(0.005)


def _obey(page: dict[str, Any]) -> None:
    if page.get("die"):
        os.abort()
    if "die_once" in page and not Path(page["die_once"]).exists():
        Path(page["die_once"]).touch()
        os.abort()
    if page.get("hang"):
        threading.Event().wait()
    while page.get("restless"):
        child.progress(stage="recognize")
    if page.get("corrupt"):
        raise CorruptFile("the page is damaged")
    if page.get("bug"):
        raise ValueError("nobody foresaw this page")
    if "refused_until" in page and not Path(page["refused_until"]).exists():
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "the page")
    if "lacks_until" in page and not Path(page["lacks_until"]).exists():
        raise MissingPart("the language is not installed", "install it")
    if "wait_for" in page:
        _wait_for(page["wait_for"])


def _words(text: str) -> tuple[Word, ...]:
    """The words of the text with places, for a page that is `boxed`."""
    return tuple(Word(match[0], match.start(), (match.start(), 0, match.end(), 10)) for match in re.finditer(r"\S+", text))


class _Worker:
    def __init__(self, record: str | None) -> None:
        self._record = record

    def inspect(self, request: Message) -> Message:
        data = _document(request)
        if data.get("bug"):
            raise ValueError("nobody foresaw this file")
        return {"format": "script", "pages": data.get("count", len(data["pages"]))}

    def recognize(self, request: Message) -> Message:
        number = int(request["page"])
        if self._record is not None:
            with Path(self._record).open("a", encoding="ascii") as record:
                record.write(f"{number}\n")
        page = _document(request)["pages"][number - 1]
        if page.get("source") != PageSource.TEXT_LAYER:
            child.progress(stage=READING)
        _obey(page)
        result = PageResult(
            text=page["text"],
            engine="tesseract",
            engine_version="script 1",
            source=PageSource(page.get("source", "ocr")),
            width_px=100,
            height_px=100,
            dpi=300.0,
            confidence=0.9,
            trial=bool(page.get("trial")),
            words=_words(page["text"]) if page.get("boxed") else (),
        )
        return result.to_json()


def start(options: Message) -> tuple[Message, Mapping[str, child.Handler]]:
    """`dies_until`: end before the hello, as an engine with a broken library does, while that path does not exist."""
    mark = options.get("dies_until")
    if mark is not None and not Path(str(mark)).exists():
        os.abort()
    worker = _Worker(options.get("record"))
    return {"engine": "script"}, {"inspect": worker.inspect, "recognize": worker.recognize}


if __name__ == "__main__":
    child.serve(start)
