"""Aspose from outside, for real and in its trial: refused unless allowed, and never passed off as a whole result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocrwatch.ocr.licence import CREDENTIAL
from ocrwatch.tools.openssl11 import find_openssl
from tests.faults import scans
from tests.faults.daemon import Service
from tests.unit.test_ocr_licence import licence_text

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


CHOICES: dict[str, Any] = {"detect_areas_mode": "lean", "filters": ["median", "to_grayscale"], "threads": 2}


@pytest.mark.parametrize("choices", [{}, CHOICES], ids=["as it comes", "chosen"])
def test_aspose_trial_says_that_its_result_is_incomplete(tmp_path: Path, openssl: Path, choices: dict[str, Any]) -> None:
    """`allow_trial: true` runs the real engine; every result says `complete: false, reason: trial`, however a page is read."""
    aspose = {"allow_trial": True, "openssl": str(openssl), **choices}
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


def test_licence_that_is_refused_is_an_error_at_start(tmp_path: Path, openssl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named or a credential of the service: which file, what is wrong, and what to do; a trial that is allowed is no way out."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / CREDENTIAL).write_text(licence_text(LicenseExpiry="20270131"))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    service = Service(tmp_path, ocr={"engine": "aspose", "aspose": {"allow_trial": True, "openssl": str(openssl)}})
    refused = service.command("run")
    assert refused.returncode == 3
    assert f"refuses the licence {credentials / CREDENTIAL}: Invalid license signature" in refused.stderr
    assert "holds until 2027-01-31" in refused.stderr
    assert "as Aspose sent it" in refused.stderr


def test_automatic_engine_with_a_refused_licence_is_tesseract_and_says_why(
    tmp_path: Path, openssl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The texts go on being whole; the log and the doctor tell what has become of the licence."""
    monkeypatch.setenv("OCRWATCH_OPENSSL11", str(openssl))
    licence = tmp_path / "a.lic"
    licence.write_text(licence_text(LicenseExpiry="20270131"))
    service = Service(tmp_path, ocr={"aspose": {"license_file": str(licence)}})
    try:
        service.start()
        assert f"engine auto: Tesseract, because Aspose does not start: Aspose.OCR refuses the licence {licence}" in (
            service.log.read_text(encoding="utf-8")
        )
    finally:
        service.end()
    told = service.command("doctor")
    assert told.returncode == 3
    assert f"bad   aspose does not start: Aspose.OCR refuses the licence {licence}" in told.stdout


def test_metered_keys_are_refused_with_the_way_out(tmp_path: Path) -> None:
    """They would be reported to over the internet; the keys are not shown, and no worker has seen them."""
    keys = tmp_path / "keys"
    keys.write_text("public=topsecret\nprivate=topsecret\n")
    service = Service(tmp_path, ocr={"engine": "aspose", "aspose": {"metered_keys_file": str(keys)}})
    for command in ("check-config", "run", "doctor"):
        refused = service.command(command)
        assert refused.returncode == 2
        assert "ocr.aspose.metered_keys_file: metered keys cannot be used" in refused.stderr
        assert "topsecret" not in refused.stderr + refused.stdout


def test_language_that_aspose_does_not_have_is_told_at_start(tmp_path: Path, openssl: Path) -> None:
    """Its package would fetch a model for it from the internet; the other engine is named."""
    aspose = {"allow_trial": True, "openssl": str(openssl)}
    service = Service(tmp_path, ocr={"engine": "aspose", "aspose": aspose})
    service.settings["inboxes"][0]["languages"] = ["en", "ru"]
    service.write_config()
    refused = service.command("run")
    assert refused.returncode == 3
    assert "aspose has no data for the language ru" in refused.stderr
    assert "engine: tesseract" in refused.stderr


def test_doctor_proves_that_aspose_reads(tmp_path: Path, openssl: Path) -> None:
    """A word of a page made on the spot, the state of the licence, and where OpenSSL 1.1 is, in a line each."""
    aspose = {"allow_trial": True, "openssl": str(openssl)}
    told = Service(tmp_path, ocr={"engine": "aspose", "aspose": aspose}).command("doctor")
    assert told.returncode == 0, told.stdout
    assert f"ok    OpenSSL 1.1 for Aspose's worker is in {openssl}" in told.stdout
    (line,) = (line for line in told.stdout.splitlines() if line.strip().startswith("ok    aspose"))
    assert "reads a page made for it ('Invoice')" in line
    assert "without a licence: it cuts the text" in line


def test_doctor_tells_how_to_get_openssl(tmp_path: Path) -> None:
    """Once, with the command."""
    empty = tmp_path / "empty"
    empty.mkdir()
    told = Service(tmp_path, ocr={"engine": "aspose", "aspose": {"openssl": str(empty)}}).command("doctor")
    assert told.returncode == 3
    assert told.stdout.count("OpenSSL 1.1") == 1
    assert "python -m ocrwatch.tools.openssl11" in told.stdout


def test_doctor_proves_that_tesseract_reads(tmp_path: Path) -> None:
    """The engine that is used reads the whole page; the one that is not is only started."""
    told = Service(tmp_path).command("doctor")
    assert "reads a page made for it ('Invoice 24680 paid in full')" in told.stdout
    assert told.stdout.count("reads a page") == 1


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
