"""`correct --calibrate`: pages with their truth make a model that nobody knows one that is used as it deserves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from PIL import ImageFilter

from tests.conftest import PROJECT
from tests.faults import scans
from tests.faults.models import smollm2

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

_PAGES, _PAGE_WORDS, _FIRST_WORD = 10, 135, 20
_FEW_PAGES, _COMPARED_PAGES = 2, 4


@dataclass(frozen=True)
class Place:
    """A folder with a configuration, a model that nobody has calibrated, and pairs."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "unknown.gguf"

    @property
    def pairs(self) -> Path:
        return self.folder / "pairs"

    @property
    def kept(self) -> list[Path]:
        return list((self.folder / "state" / "calibrations").glob("*"))

    def run(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """A command, with the configuration."""
        return subprocess.run(
            [sys.executable, "-m", "ocrwatch", *arguments, "--config", str(self.folder / "config.yaml")],
            input=text,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env={**os.environ, "XDG_CONFIG_HOME": str(self.folder), "HF_HOME": str(self.folder / "hub")},
        )

    def edits(self) -> tuple[set[tuple[int, int, str]], str]:
        """What `correct` changes on the first pages, and what it says on standard error."""
        text = "\f".join((self.pairs / "book.txt").read_text(encoding="utf-8").split("\f")[:_COMPARED_PAGES])
        done = self.run("correct", "--json", text=text)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)["pages"]
        return {(page["page"], edit["offset"], edit["after"]) for page in found for edit in page["edits"]}, done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Blurred pages of the project's own licence as Tesseract reads them, and a copy of the model with other bytes at its end."""
    made = Place(tmp_path_factory.mktemp("calibrate"))
    (made.folder / "inbox").mkdir()
    settings = {
        "state_dir": str(made.folder / "state"),
        "inboxes": [{"path": str(made.folder / "inbox"), "engine": "tesseract"}],
        "model": {"path": str(made.model)},
    }
    (made.folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    shutil.copy(smollm2(), made.model)
    with made.model.open("ab") as file:
        file.write(b"another model")
    made.pairs.mkdir()
    words = (PROJECT / "LICENSE").read_text(encoding="utf-8").split()[_FIRST_WORD:]
    texts = [" ".join(words[first : first + _PAGE_WORDS]) for first in range(0, _PAGES * _PAGE_WORDS, _PAGE_WORDS)]
    images = [scans.page(text, size_px=20, width_px=700).filter(ImageFilter.GaussianBlur(2.0)) for text in texts]
    images[0].save(made.folder / "book.tif", save_all=True, append_images=images[1:], dpi=(100, 100))
    read = made.run("ocr", str(made.folder / "book.tif"))
    assert read.returncode == 0, read.stderr
    (made.pairs / "book.txt").write_text(read.stdout, encoding="utf-8")
    (made.pairs / "book.gt.txt").write_text("\f".join(texts), encoding="utf-8")
    return made


def test_calibration_is_found_kept_and_used(place: Place) -> None:
    """From never calibrated, with the strictest margin, to a margin of its own; the copy's is no other than the original's."""
    before, told = place.edits()
    assert told == ""
    unknown = place.run("model", "verify")
    assert "never calibrated; the strictest margin holds; run: ocrwatch correct --calibrate" in unknown.stdout

    done = place.run("correct", "--calibrate", str(place.pairs))
    assert done.returncode == 0, done.stderr
    (kept,) = place.kept
    assert str(kept) in done.stdout
    found = json.loads(kept.read_bytes())
    assert found["pages"] == _PAGES
    assert found["places"] >= 100
    assert found["calibrated"]["edits"] >= found["uncalibrated"]["edits"] > 0
    assert 0.3 < found["gain"] < 3.0

    after, told = place.edits()
    assert told == ""
    assert len(after) >= len(before) > 0
    calibrated = f"calibrated: gain {found['gain']:g}, margin +{found['margin']:g}, from {_PAGES} pages ({kept})"
    assert calibrated in place.run("model", "verify").stdout
    assert calibrated in place.run("doctor").stdout

    kept.write_text(json.dumps(found | {"margin": -5.0}), encoding="utf-8")
    strict, told = place.edits()
    assert strict == before
    assert f"the calibration {kept} is broken" in told
    assert "is broken" in place.run("doctor").stdout


def test_model_that_was_never_calibrated_makes_at_most_the_edits_of_the_known_one(place: Place) -> None:
    """The same model under another fingerprint: nothing passes that did not before."""
    shutil.rmtree(place.folder / "state" / "calibrations", ignore_errors=True)
    unknown, _ = place.edits()
    content = (place.folder / "config.yaml").read_text(encoding="utf-8")
    (place.folder / "config.yaml").write_text(content.replace(str(place.model), str(smollm2())), encoding="utf-8")
    try:
        known, _ = place.edits()
    finally:
        (place.folder / "config.yaml").write_text(content, encoding="utf-8")
    assert unknown < known


def test_too_few_pages_keep_what_was_there(place: Place) -> None:
    """Two pages tell how many more are needed; exit code 2, and nothing is written."""
    few = place.folder / "few"
    few.mkdir()
    for name in ("book.txt", "book.gt.txt"):
        pages = (place.pairs / name).read_text(encoding="utf-8").split("\f")
        (few / name).write_text("\f".join(pages[:_FEW_PAGES]), encoding="utf-8")
    before = place.kept
    refused = place.run("correct", "--calibrate", str(few))
    assert refused.returncode == 2
    assert "are too few" in refused.stderr
    assert "more pages like these" in refused.stderr
    assert place.kept == before


def test_pages_in_another_language_are_told(place: Place) -> None:
    """German pages teach nothing of English."""
    foreign = place.folder / "foreign"
    foreign.mkdir()
    text = "Die Lieferung ging gestern mit grosser Verspätung bei uns ein und wurde sofort geprüft\n" * 9
    for name in ("a.txt", "a.gt.txt"):
        (foreign / name).write_text(text, encoding="utf-8")
    refused = place.run("correct", "--calibrate", str(foreign))
    assert refused.returncode == 2
    assert "a.txt, page 1" in refused.stderr
    assert "--language" in refused.stderr


def test_calibrate_takes_no_text(place: Place) -> None:
    """A file beside the folder is a mistake, and is told before any work."""
    refused = place.run("correct", str(place.pairs / "book.txt"), "--calibrate", str(place.pairs))
    assert refused.returncode == 2
    assert "takes no text" in refused.stderr
