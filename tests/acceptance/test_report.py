"""`ocrwatch report` from outside: of scans that the real engine read and the real model corrected, seen by a real browser."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageStat

from ocrwatch.report.page import MARK
from tests.faults import hostile, scans
from tests.faults.daemon import Service
from tests.faults.models import smollm2

pytestmark = pytest.mark.acceptance

_HOSTILE = "<script>document.title=1<script>.png"
_LETTER = "The committee met on Monday and agreed that the bridge should be built before the winter begins"


def _ocrwatch(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ocrwatch", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=folder)


def _images(html: str) -> list[Image.Image]:
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall(r'src="data:image/webp;base64,([^"]+)"', html)]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A daemon with Tesseract and the small model."""
    service = Service(tmp_path, model={"path": str(smollm2())}, correction={"mode": "rescore"})
    yield service
    service.end()


@pytest.fixture(scope="module")
def chromium() -> str:
    """A browser."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no chromium here (apt install chromium)")
    return found


def test_a_day_is_one_page_of_images_and_corrected_text(service: Service, shared_data: Path, tmp_path: Path) -> None:
    """From the daemon's journal: a page of an old book with its edits, a scan with a hostile name, one that failed."""
    book = next((shared_data / "images" / "old_books").glob("*a027*.tif"))
    shutil.copy(book, service.inbox / "book.tif")
    scans.write(service.inbox / "letter.tif", _LETTER, "second page")
    scans.write(service.inbox / _HOSTILE, _LETTER)
    (service.inbox / "locked.pdf").write_bytes(hostile.pdf_with_password())
    service.start()
    for name in ("book.tif", "letter.tif", _HOSTILE):
        service.wait_for(name, "done")
    service.wait_for("locked.pdf", "failed")
    made = service.command("report", "-o", str(tmp_path / "day.html"))
    assert made.returncode == 0, made.stderr
    assert "4 files (1 failed), 4 pages (" in made.stdout
    html = (tmp_path / "day.html").read_text(encoding="utf-8")
    assert html.startswith(MARK)
    assert "<script" not in html
    assert len(_images(html)) == 4
    assert html.count('class="edit"') == sum(
        len(service.metadata(name)["edits"]) for name in ("book.tif", "letter.tif", _HOSTILE)
    )
    assert html.count('class="edit"') > 0
    assert "1 × encrypted_file" in html
    assert (tmp_path / "day.html").stat().st_mode & 0o777 == 0o600
    other = service.command("report", "--day", "2001-02-03", "-o", str(tmp_path / "old.html"))
    assert other.stdout.startswith(f"{tmp_path}/old.html: 0 files")


def test_a_folder_needs_no_configuration_and_no_daemon(tmp_path: Path) -> None:
    """Beside the scans; with the texts elsewhere; never by default where the texts are; never in place of another file."""
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "out").mkdir()
    scan = scans.write(folder / "letter.png", _LETTER)
    assert _ocrwatch(tmp_path, "process", str(scan), "-o", "out", "--mode", "off").returncode == 0
    gone = _ocrwatch(tmp_path, "report", "out", "--mode", "0640")
    assert gone.returncode == 0, gone.stderr
    assert "its owner and its group can read it" in gone.stdout
    report = tmp_path / "ocrwatch-report.html"
    assert report.stat().st_mode & 0o777 == 0o640
    assert "No image: the scan is not where it was" in report.read_text(encoding="utf-8")
    assert _ocrwatch(tmp_path, "report", "out", "--scans", "in").returncode == 0
    assert len(_images(report.read_text(encoding="utf-8"))) == 1
    assert report.stat().st_mode & 0o777 == 0o600
    inside = _ocrwatch(tmp_path / "out", "report", ".")
    assert inside.returncode == 2
    assert "name a file elsewhere with -o" in inside.stderr
    report.write_text("a page of my own", encoding="utf-8")
    refused = _ocrwatch(tmp_path, "report", "out")
    assert refused.returncode == 1
    assert "is no report of ocrwatch" in refused.stderr
    assert report.read_text(encoding="utf-8") == "a page of my own"
    for arguments in (["none"], ["out", "--day", "2026-01-01"], ["out", "-o", "none/report.html"]):
        wrong = _ocrwatch(tmp_path, "report", *arguments)
        assert wrong.returncode in (1, 2), arguments
        assert len([line for line in wrong.stderr.splitlines() if line]) == 1, wrong.stderr


@pytest.mark.parametrize(("scheme", "is_dark"), [("1", False), ("0", True)], ids=["light", "dark"])
def test_a_browser_shows_it_light_and_dark_and_refuses_nothing_of_it(
    tmp_path: Path, chromium: str, scheme: str, is_dark: bool
) -> None:
    """The policy lets the style and the images in; nothing is fetched, nothing runs, and what the system prefers is taken up."""
    folder = tmp_path / "in"
    folder.mkdir()
    scan = scans.write(folder / _HOSTILE, _LETTER)
    assert _ocrwatch(tmp_path, "process", str(scan), "--mode", "off").returncode == 0
    assert _ocrwatch(tmp_path, "report", "in").returncode == 0
    shot, html = tmp_path / "shot.png", tmp_path / "ocrwatch-report.html"
    seen = subprocess.run(
        [
            *(chromium, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"),
            *("--enable-logging=stderr", "--hide-scrollbars", "--window-size=1200,1500", f"--screenshot={shot}"),
            *(f"--blink-settings=preferredColorScheme={scheme}", html.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert shot.is_file(), seen.stderr[-2000:]
    assert "CONSOLE" not in seen.stderr, seen.stderr
    with Image.open(shot) as image:
        grey = image.convert("L")
    assert (ImageStat.Stat(grey.crop((0, 0, 6, 6))).mean[0] < 60) is is_dark
    # The scan is white paper, dimmed in the dark, and stands in the left half.
    assert ImageStat.Stat(grey.crop((60, 420, 560, 1000))).extrema[0][1] > 200
