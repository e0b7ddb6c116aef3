"""Every choice that ocrwatch offers of Aspose, asked of the real engine in its worker; none of the package's is forgotten."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ocrwatch.errors import MissingPart
from ocrwatch.ocr.aspose_options import REFUSED_AREAS, REFUSED_FILTERS, AsposeOptions, DetectAreas, Filter
from tests.contract.test_ocr_engines import LINES, Worker, likeness, options_of, page_image
from tests.unit.test_ocr_licence import licence_text

pytestmark = pytest.mark.slow


@contextmanager
def aspose(**options: Any) -> Iterator[Worker]:
    """A worker with these choices, which leaves at the end."""
    worker = Worker({**options_of("aspose"), **options})
    try:
        yield worker
    finally:
        worker.process.stop()


@pytest.mark.parametrize("areas", DetectAreas)
def test_areas_that_are_offered_are_found(areas: DetectAreas, tmp_path: Path) -> None:
    """Without a model that would have to be fetched; no part of a trial's notice is text."""
    page_image().save(tmp_path / "a.png")
    page_image(LINES[:1]).save(tmp_path / "short.png")
    with aspose(**AsposeOptions(areas).to_json()) as worker:
        assert likeness(worker.recognize(tmp_path / "a.png").text) > 95
        short = worker.recognize(tmp_path / "short.png")
        assert short.trial
        assert "*" not in short.text
        assert LINES[0].startswith(short.text.strip())


@pytest.mark.parametrize("chosen", Filter)
def test_filters_that_are_offered_work(chosen: Filter, tmp_path: Path) -> None:
    """A clean page is read as without them."""
    page_image().convert("RGB").save(tmp_path / "a.png")
    with aspose(**AsposeOptions(filters=(chosen,), threads=2).to_json()) as worker:
        assert likeness(worker.recognize(tmp_path / "a.png").text) > 95


def test_slanted_page_is_straightened_and_its_words_have_no_boxes(tmp_path: Path) -> None:
    """The package does not tell by how much it turned the page: no box is better than a wrong one."""
    slanted = page_image().rotate(4, fillcolor=255, resample=Image.Resampling.BICUBIC)
    slanted.save(tmp_path / "a.png")
    with aspose(**AsposeOptions(filters=(Filter.AUTO_SKEW,)).to_json()) as worker:
        page = worker.recognize(tmp_path / "a.png")
    assert likeness(page.text) > 90
    assert {word.box for word in page.words} == {None}


def test_worker_proves_that_its_engine_reads() -> None:
    """On a page of its own making, as far as a trial shows it."""
    with aspose() as worker:
        proof = worker.process.call({"op": "prove", "languages": ["en"]}, deadline_s=120)
    assert proof["proven"]
    assert proof["shown"].startswith(proof["read"])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (licence_text(SubscriptionExpiry="20300101"), r"signature.*by its own account it holds with updates until 2030-01-01"),
        (licence_text(LicenseExpiry="20200201"), r"signature.*by its own account it holds until 2020-02-01"),
        ("public=topsecret\n", "is no licence of Aspose's"),
    ],
)
def test_licence_that_is_refused_is_an_error_even_where_a_trial_is_allowed(content: str, why: str, tmp_path: Path) -> None:
    """Which file, what is wrong with it, and what to do; nobody gets cut texts who thinks that they are licensed."""
    licence = tmp_path / "a.lic"
    licence.write_text(content)
    with pytest.raises(MissingPart, match=why) as refusal, aspose(license_file=str(licence)):
        pass
    assert str(licence) in refusal.value.message
    assert "as Aspose sent it" in refusal.value.remedy
    assert "topsecret" not in str(refusal.value)


def test_every_choice_of_the_package_is_offered_or_refused_by_name() -> None:
    """A version of the package with another mode or filter shows here."""
    asked = (
        "import json, sys, pathlib\n"
        "from ocrwatch.ocr import aspose\n"
        "aspose.prepare(pathlib.Path(sys.argv[1]))\n"
        "from aspose import ocr\n"
        "from aspose.ocr.models.preprocessingfilters import PreprocessingFilter\n"
        "filters = [name for name in dir(PreprocessingFilter) if not name.startswith('_')]\n"
        "print(json.dumps([list(ocr.DetectAreasMode.__members__), filters]))\n"
    )
    openssl = str(options_of("aspose")["openssl"])
    answer = subprocess.run([sys.executable, "-c", asked, openssl], capture_output=True, text=True, timeout=60, check=True)
    areas, filters = json.loads(answer.stdout)
    assert {name.lower() for name in areas} == {*DetectAreas, *REFUSED_AREAS}
    # The others are of the list itself, not what it may hold.
    named = {name.removesuffix("_filter") for name in filters} - {"add", "default", "empty", "get_type"}
    assert named == {*Filter, *REFUSED_FILTERS}
