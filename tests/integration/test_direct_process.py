"""`process` from end to end in one process, and what becomes of it when something goes wrong that nobody foresaw."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ocrwatch import direct, dispatch
from ocrwatch.pipeline import Pipeline
from tests.faults import scans


def test_file_that_comes_to_nothing_again_and_again_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends and says which; the others are done."""
    monkeypatch.setattr(dispatch, "_REST_S", 0.05)
    real = Pipeline._process

    def process(pipeline: Pipeline, job: Any, treatment: Any) -> None:
        if job.path == "bad.png":
            raise ValueError("unforeseen")
        real(pipeline, job, treatment)

    monkeypatch.setattr(Pipeline, "_process", process)
    paths = [scans.write(tmp_path / name, "some text") for name in ("bad.png", "good.png")]
    bad, good = direct.process(direct.settings_for(paths, base=None, mode="off", engine="tesseract"), paths, progress=None)
    assert (bad.path, bad.failed) == (str(paths[0]), True)
    assert "given up" in bad.line
    assert not good.failed
    assert (tmp_path / "good.png.txt").read_text(encoding="utf-8") == "some text\n"
    assert sorted(os.listdir(tmp_path)) == ["bad.png", "good.png", "good.png.json", "good.png.txt"]
