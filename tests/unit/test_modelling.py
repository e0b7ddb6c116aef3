"""What the settings of the model become: which devices its process sees, and what it is asked to do there."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocrwatch import modelling
from ocrwatch.config import parse
from ocrwatch.correction.placing import Placing
from ocrwatch.correction.store import ModelFile, Source
from ocrwatch.settings import Configuration
from ocrwatch.worker.process import WorkerSpec


def _settings(model: str, tmp_path: Path) -> Configuration:
    return parse(f"state_dir: {tmp_path}/state\ninboxes: [{{path: {tmp_path}/in}}]\nmodel: {model}", source="c.yaml")


def _load(placing: Placing, tmp_path: Path) -> WorkerSpec:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    file = ModelFile(path=path, file=path.name, sha256="0" * 64, size_bytes=4, source=Source.PATH)
    return modelling.plan_of(_settings("{}", tmp_path), threads=2).load(file, placing)


@pytest.mark.parametrize(
    ("placing", "visible"),
    [
        (Placing(None), None),
        (Placing(7, device="GPU-1"), "GPU-1"),
        (Placing(0), ""),
        (Placing(0, device="GPU-1"), ""),
    ],
)
def test_process_sees_the_gpu_that_was_chosen_and_none_where_it_is_to_use_none(
    placing: Placing, visible: str | None, tmp_path: Path
) -> None:
    """A model on the CPU must not take memory of a card that is full, or that others need."""
    spec = _load(placing, tmp_path)
    assert spec.environment.get("CUDA_VISIBLE_DEVICES") == visible
    assert spec.options["gpu_layers"] == placing.layers


def test_settings_of_the_gpu_are_handed_on(tmp_path: Path) -> None:
    """`auto` is no number and no device; a requirement stays one."""
    gpu = modelling.plan_of(_settings("{}", tmp_path), threads=1).gpu
    assert (gpu.layers, gpu.device, gpu.require) == (None, None, False)
    gpu = modelling.plan_of(_settings("{gpu_layers: 20, device: GPU-12345678, require_gpu: true}", tmp_path), threads=1).gpu
    assert (gpu.layers, gpu.device, gpu.require) == (20, "GPU-12345678", True)


def test_token_of_the_service_reaches_only_the_worker_that_asks_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential is for the hub; whoever meets documents has no use for it."""
    (tmp_path / "hf-token").write_text("secret")
    for name in ("HF_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert modelling.fetch_spec(tmp_path).environment["HF_TOKEN_PATH"] == str(tmp_path / "hf-token")
    assert not {name for name in _load(Placing(0), tmp_path).environment if name.startswith("HF_")}
