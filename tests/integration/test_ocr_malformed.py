"""Hostile and broken files against the real worker: each ends in a text or in an error by name, in time."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from ocrwatch.errors import FileRejected, WorkerDied
from ocrwatch.ocr.engine import PageResult
from ocrwatch.worker.process import WorkerProcess, WorkerSpec

PAGE_LIMIT_S = 60
MEMORY_LIMIT_BYTES = 1_500_000_000


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_malformed_file_ends_in_a_text_or_an_error_by_name(shared_data: Path, tmp_path: Path) -> None:
    """No file of the corpus hangs the worker, gets past its memory limit, or brings an error that nobody foresaw.

    And none is told by the name or the place of the copy that the worker sees.
    """
    copy = tmp_path / "jobs" / "1" / "source"
    copy.parent.mkdir(parents=True)
    spec = WorkerSpec("ocrwatch.ocr.worker", options={"engine": "tesseract"}, memory_bytes=MEMORY_LIMIT_BYTES)
    outcomes: Counter[str] = Counter()
    unforeseen: list[str] = []
    reasons: dict[str, str] = {}
    worker = WorkerProcess(spec)
    try:
        for path in sorted(path for path in (shared_data / "malformed").rglob("*") if path.is_file() and path.suffix != ".tsv"):
            shutil.copyfile(path, copy)
            begun = time.monotonic()
            try:
                outcome = first_page(worker, copy)
            except FileRejected as error:
                outcome = error.code
                reasons[path.name] = str(error)
            except WorkerDied as error:
                outcome = error.code
                worker = WorkerProcess(spec)
            except Exception as error:  # noqa: BLE001 - the test is that there is no other
                outcome = "unforeseen"
                unforeseen.append(f"{path.name}: {type(error).__name__}: {error}")
                if not worker.alive:
                    worker = WorkerProcess(spec)
            took_s = time.monotonic() - begun
            print(f"{took_s:6.2f} s {worker.resident_bytes() // 10**6:5} MB  {outcome:18} {path.parent.name}/{path.name}")
            outcomes[outcome] += 1
        assert worker.alive
    finally:
        worker.stop()
    print(outcomes)
    assert not unforeseen
    assert outcomes["worker_died"] == 0
    assert outcomes["text"] > 0
    assert {name: why for name, why in reasons.items() if "source" in why or str(tmp_path) in why} == {}


def first_page(worker: WorkerProcess, path: Path) -> str:
    """Inspect a file and recognize its first page."""
    with path.open("rb") as file:
        call = partial(worker.call, deadline_s=PAGE_LIMIT_S, descriptor=file.fileno())
        assert call({"op": "inspect"})["pages"] >= 1
        PageResult.from_json(call({"op": "recognize", "page": 1, "languages": ["en"]}))
    return "text"
