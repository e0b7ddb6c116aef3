"""How a calibration gets to the model's process, and how what the model says comes back."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrwatch import modelling
from ocrwatch.correction.calibration import STRICTEST, Calibration
from ocrwatch.correction.calibrations import Calibrations, fingerprint
from ocrwatch.correction.edits import Edit, Reason
from ocrwatch.correction.evidence import FEATURES
from ocrwatch.correction.placing import Placing
from ocrwatch.correction.protocol import Judged, JudgedPlace
from ocrwatch.correction.store import ModelFile, Source
from ocrwatch.settings import Configuration, InboxSettings

EDITS = st.builds(
    Edit,
    offset=st.integers(0, 9999),
    before=st.text(max_size=9),
    after=st.text(max_size=9),
    reason=st.sampled_from(Reason),
    score=st.floats(-9, 9),
)
NUMBERS = st.floats(-99, 99).filter(bool)
OPTIONS = st.tuples(EDITS, st.dictionaries(st.sampled_from(FEATURES), NUMBERS, max_size=5))
PLACES = st.builds(JudgedPlace, start=st.integers(0, 99), end=st.integers(0, 99), options=st.tuples(OPTIONS, OPTIONS))


@given(st.builds(Judged, places=st.tuples(PLACES), is_foreign=st.booleans(), truncated=st.booleans()))
def test_what_the_model_says_comes_back_as_it_was(judged: Judged) -> None:
    """Through JSON, to the last bit: what is fitted is what was judged."""
    assert Judged.from_json(json.loads(json.dumps(judged.to_json()))) == judged


def told(state: Path, model: Path) -> object:
    """The calibration that a worker for this model is started with."""
    settings = Configuration(state_dir=state, inboxes=(InboxSettings(path=Path("/srv"), name="srv"),))
    file = ModelFile(path=model, file=model.name, sha256="0", size_bytes=1, source=Source.PATH)
    return modelling.plan_of(settings, threads=1).load(file, Placing(0)).options["calibration"]


def test_worker_is_told_the_calibration_at_each_load(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Strictest, then what was kept; once that is broken a warning, the strictest again, and never an error."""
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")
    assert told(tmp_path, model) == {"gain": STRICTEST.gain, "margin": STRICTEST.margin}
    calibrations = Calibrations(tmp_path)
    calibrations.prepare()
    kept = calibrations.keep(fingerprint(model), Calibration(1.5, 0.5), provenance={"pages": 9})
    assert told(tmp_path, model) == {"gain": 1.5, "margin": 0.5}
    assert not caplog.records
    kept.write_text("rubbish", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        assert told(tmp_path, model) == {"gain": STRICTEST.gain, "margin": STRICTEST.margin}
    assert str(kept) in caplog.text
