"""The figures of a whole service with a real engine and a real model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import scans
from tests.faults.daemon import wait_until
from tests.faults.models import smollm2
from tests.faults.outside import AskedService
from tests.torture.measured import asked, free_port, parsed

pytestmark = pytest.mark.acceptance


@pytest.fixture
def service(tmp_path: Path) -> Iterator[AskedService]:
    """A running service whose model goes after two seconds without a page."""
    service = AskedService(
        tmp_path,
        ocr={"engine": "tesseract"},
        model={"path": str(smollm2()), "idle_unload": "2s"},
        correction={"mode": "rescore"},
        metrics={"listen": f"127.0.0.1:{free_port()}"},
    )
    service.start()
    yield service
    service.end()


def _value(service: AskedService, sample_name: str, **labels: str) -> float | None:
    host, _, port = service.settings["metrics"]["listen"].rpartition(":")
    samples = [s for f in parsed(asked((host, int(port)))[1]) for s in f.samples if s.name == f"ocrwatch_{sample_name}"]
    return next((s.value for s in samples if s.labels == labels), None)


def test_model_is_told_from_its_load_to_its_unload(service: AskedService) -> None:
    """Edits as in the texts, one load with its time, its memory while it is there, and why it went."""
    assert _value(service, "model_state", state="cold") == 1
    for number in range(2):
        scans.write(service.inbox / f"{number}.png", f"The quick brown fox jumps ovcr the lazy dog number {number}.")
    wait_until(lambda: (_value(service, "model_resident_memory_bytes") or 0) > 50e6, what="the model's memory")
    wait_until(lambda: _value(service, "files_finished_total", inbox="inbox", state="done") == 2, what="the texts")
    edits = sum(len(service.metadata(f"{number}.png")["edits"]) for number in range(2))
    assert edits > 0
    assert _value(service, "edits_total", inbox="inbox", outcome="applied") == edits
    assert _value(service, "pages_corrected_total", inbox="inbox") == 2
    assert _value(service, "page_correction_seconds_count") == 2
    assert (_value(service, "page_recognition_seconds_sum", engine="tesseract") or 0) > 0
    wait_until(lambda: _value(service, "model_unloads_total", reason="idle") == 1, what="the unload")
    assert _value(service, "model_state", state="cold") == 1
    assert _value(service, "model_resident_memory_bytes") == 0
    assert _value(service, "model_load_seconds_count") == 1
    assert (_value(service, "model_load_seconds_sum") or 0) > 0
    assert _value(service, "model_unavailable") == 0
