"""Aspose from outside, for real and in its trial: refused unless allowed, and never passed off as a whole result."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocrwatch.tools.openssl11 import find_openssl
from tests.faults import scans
from tests.faults.daemon import Service

pytestmark = pytest.mark.acceptance


@pytest.fixture
def openssl() -> Path:
    """The private OpenSSL 1.1; the test is skipped where it is absent."""
    folder = find_openssl()
    if folder is None:
        pytest.skip("no OpenSSL 1.1 for Aspose: python -m ocrwatch.tools.openssl11 .cache/openssl-1.1")
    return folder


def test_aspose_without_a_licence_is_refused_at_start(tmp_path: Path, openssl: Path) -> None:
    """A cut text is no result: the service says what to do, with the exit code of a missing part."""
    service = Service(tmp_path, ocr={"engine": "aspose", "aspose": {"openssl": str(openssl)}})
    refused = service.command("run")
    assert refused.returncode == 3
    assert "licence" in refused.stderr
    assert "license_file" in refused.stderr or "allow_trial" in refused.stderr


def test_aspose_without_openssl_is_one_clear_line(tmp_path: Path) -> None:
    """Its runtime would abort the process; we say what is missing and the command that mends it."""
    empty = tmp_path / "empty"
    empty.mkdir()
    aspose = {"allow_trial": True, "openssl": str(empty)}
    service = Service(tmp_path, ocr={"engine": "aspose", "aspose": aspose})
    refused = service.command("run")
    assert refused.returncode == 3
    assert "OpenSSL 1.1" in refused.stderr
    assert "ocrwatch.tools.openssl11" in refused.stderr


def test_aspose_trial_says_that_its_result_is_incomplete(tmp_path: Path, openssl: Path) -> None:
    """`allow_trial: true` runs the real engine; every result says `complete: false, reason: trial`."""
    aspose = {"allow_trial": True, "openssl": str(openssl)}
    service = Service(tmp_path, ocr={"engine": "aspose", "aspose": aspose})
    try:
        service.start()
        scans.write(service.inbox / "letter.png", "The quick brown fox\njumps over the lazy dog\nand runs away from here")
        answer = service.wait_for("letter.png", "partial", timeout_s=180)
        assert answer["reason"] == "trial"
        metadata = service.metadata("letter.png")
        assert metadata["complete"] is False
        assert metadata["incomplete_reason"] == "trial"
        assert "brown fox" in service.text("letter.png")
        assert "Trial" not in service.text("letter.png")
        assert "libcoreclr" not in service.mapped()
    finally:
        service.end()


def test_automatic_engine_without_a_licence_is_tesseract_and_says_so_once(tmp_path: Path) -> None:
    """`engine: auto` takes what gives the whole text."""
    service = Service(tmp_path)
    try:
        service.start()
        scans.write(service.inbox / "a.png", "some words")
        service.wait_for("a.png", "done")
        assert service.metadata("a.png")["engine"]["name"] == "tesseract"
        assert service.log.read_text(encoding="utf-8").count("engine auto: Tesseract") == 1
    finally:
        service.end()
