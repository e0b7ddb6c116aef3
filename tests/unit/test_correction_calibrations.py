"""Which calibration a model has: by its file, kept over shipped, and never a broken one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.correction.calibration import STRICTEST, Calibration
from ocrwatch.correction.calibrations import Calibrations, Found, fingerprint, parse, shipped
from ocrwatch.errors import ModelUnavailable, StateUnwritable


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Three megabytes of a model."""
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + bytes(3 * 2**20))
    return path


@pytest.fixture
def calibrations(tmp_path: Path) -> Calibrations:
    """Those of an empty state folder."""
    made = Calibrations(tmp_path / "state")
    made.prepare()
    return made


@pytest.mark.parametrize("offset", [0, 2**20 - 1, 2 * 2**20 + 4, 3 * 2**20 + 3])
def test_fingerprint_changes_with_head_tail_and_size(model: Path, offset: int) -> None:
    """Another model is another; a copy under another name is the same."""
    before = fingerprint(model)
    assert fingerprint(model.rename(model.with_name("copy.gguf"))) == before
    content = bytearray(model.with_name("copy.gguf").read_bytes())
    content[offset] ^= 1
    model.write_bytes(content)
    assert fingerprint(model) != before
    content[offset] ^= 1
    model.write_bytes(bytes(content) + b"\0")
    assert fingerprint(model) != before


def test_fingerprint_of_what_cannot_be_read_names_the_file(tmp_path: Path) -> None:
    """A small file has one too; one that is not there is the surroundings' fault."""
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    assert len(fingerprint(tmp_path / "small.gguf")) == 64
    with pytest.raises(ModelUnavailable, match=r"none\.gguf"):
        fingerprint(tmp_path / "none.gguf")


def test_model_that_was_never_calibrated_gets_the_strictest_margin(calibrations: Calibrations, model: Path) -> None:
    """And says what to do."""
    found = calibrations.of(model)
    assert (found.calibration, found.origin, found.problem) == (STRICTEST, "", "")
    assert "never calibrated" in str(found)
    assert "ocrwatch correct --calibrate" in found.remedy


def test_kept_calibration_comes_back_with_its_provenance(calibrations: Calibrations, model: Path) -> None:
    """Readable by the service, whole or absent, and for people."""
    path = calibrations.keep(fingerprint(model), Calibration(1.5, 0.5), provenance={"pages": 12, "places": 300})
    found = calibrations.of(model)
    assert found.calibration == Calibration(1.5, 0.5)
    assert str(found) == f"calibrated: gain 1.5, margin +0.5, from 12 pages ({path})"
    assert path.stat().st_mode & 0o777 == 0o644
    assert json.loads(path.read_bytes())["places"] == 300
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize(
    "change",
    [
        {"gain": "much"},
        {"gain": -1.0},
        {"margin": None},
        {"margin": 99},
        {"margin": float("nan")},
        {"fingerprint": "0" * 64},
        {"pages": None},
    ],
)
def test_calibration_that_makes_no_sense_is_not_used(calibrations: Calibrations, model: Path, change: dict[str, Any]) -> None:
    """A foreign or broken file is a warning and the strictest margin."""
    path = calibrations.keep(fingerprint(model), Calibration(1.0, 0.0), provenance={"pages": 1})
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change), encoding="utf-8")
    found = calibrations.of(model)
    assert found.calibration == STRICTEST
    assert str(path) in found.problem
    assert "strictest margin" in str(found)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000])
def test_rubbish_is_not_used(calibrations: Calibrations, model: Path, content: bytes) -> None:
    """Whatever lies there, the model loads."""
    calibrations.path(fingerprint(model)).write_bytes(content)
    found = calibrations.of(model)
    assert found.calibration == STRICTEST
    assert "is broken" in found.problem


def test_folder_that_cannot_be_made_is_told_before_the_work(tmp_path: Path) -> None:
    """Not after hours of it."""
    (tmp_path / "file").touch()
    with pytest.raises(StateUnwritable, match="calibrations"):
        Calibrations(tmp_path / "file").prepare()


def test_failed_write_keeps_what_was_there(calibrations: Calibrations, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk costs the new calibration, not the old one."""
    path = calibrations.keep(fingerprint(model), Calibration(1.5, 0.5), provenance={"pages": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateUnwritable, match="No space left"):
        calibrations.keep(fingerprint(model), Calibration(1.0, 0.0), provenance={"pages": 2})
    assert calibrations.of(model).calibration == Calibration(1.5, 0.5)
    assert os.listdir(path.parent) == [path.name]


def test_shipped_table_has_the_model_of_the_weights() -> None:
    """Its gain and margin are the table's by definition; no shipped one is looser than that."""
    found = {each.origin: each.calibration for each in shipped().values()}
    assert found["shipped with ocrwatch as SmolLM2-135M-Instruct Q4_1"] == Calibration(1.0, 0.0)
    assert all(len(identity) == 64 for identity in shipped())


@pytest.mark.parametrize("line", ["abc\t1.0\t0.5", "abc\tmuch\t0.5\tx", "abc\t1.0\t9.0\tx"])
def test_table_with_a_mistake_is_refused(line: str) -> None:
    """A wrong line is not taken for a calibration."""
    with pytest.raises(ValueError, match="line 2"):
        parse(["# told", line])
    assert parse(["# told", "abc\t1.0\t0.5\tx"]) == {"abc": Found(Calibration(1.0, 0.5), origin="shipped with ocrwatch as x")}
