"""The real model on a real GPU: its memory comes back, and where others have it, pages come out all the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.model.gpu.holders import holder
from ocrwatch.correction.driver import has_driver
from tests.faults import scans
from tests.faults.daemon import Service, wait_until
from tests.faults.models import smollm2

pytestmark = pytest.mark.acceptance

_LETTER = "A lettter about the invoic of"
_TOLERANCE_BYTES = 32 << 20
_HAS_OFFLOAD = "import llama_cpp, sys; sys.exit(0 if llama_cpp.llama_supports_gpu_offload() else 1)"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service with correction by the real model, which stays; not started yet."""
    made = Service(tmp_path, model={"path": str(smollm2()), "idle_unload": "never"}, correction={"mode": "rescore"})
    yield made
    made.end()


@pytest.fixture
def gpu(service: Service) -> str:
    """The UUID of the card that the service is to take; the test is skipped where there is none."""
    if not has_driver():
        pytest.skip("no GPU: this machine has no NVIDIA driver")
    if subprocess.run([sys.executable, "-c", _HAS_OFFLOAD], check=False, capture_output=True).returncode:
        pytest.skip("this build of llama-cpp-python puts nothing on a GPU")
    listed = subprocess.run(
        ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"], check=True, capture_output=True, text=True
    )
    uuid = listed.stdout.split()[0]
    service.settings["model"]["device"] = uuid
    service.write_config()
    return uuid


def _model(service: Service) -> dict[str, Any]:
    return dict(service.status()["model"])


def _used_bytes(uuid: str) -> int:
    """What the driver says is in use on the card."""
    query = ["nvidia-smi", f"--id={uuid}", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return int(subprocess.run(query, check=True, capture_output=True, text=True).stdout) << 20


def _correct(service: Service, name: str, text: str) -> None:
    """A scan of this text is done, and its text corrected."""
    scans.write(service.inbox / name, text)
    service.wait_for(name, "done")
    assert service.metadata(name)["corrected"] is True


def test_unloaded_model_has_left_the_gpu(service: Service, gpu: str) -> None:
    """B24. The driver lists its process no more, and no more is in use than before the load."""
    before_bytes = _used_bytes(gpu)
    service.start()
    _correct(service, "one.png", f"{_LETTER} April")
    loaded = _model(service)
    assert loaded["layers_on_gpu"] == loaded["layers"]
    assert _used_bytes(gpu) > before_bytes + _TOLERANCE_BYTES
    assert service.command("model", "unload").returncode == 0
    wait_until(lambda: _model(service)["returned"], what="the verdict")
    assert _model(service)["returned"]["verdict"] in ("verified", "unverified")  # in a container processes cannot be seen
    listed = ["nvidia-smi", "--query-compute-apps=pid", "--format=csv,noheader"]
    assert str(loaded["pid"]) not in subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split()
    assert _used_bytes(gpu) <= before_bytes + _TOLERANCE_BYTES


def test_full_gpu_costs_layers_and_no_page(service: Service, gpu: str) -> None:
    """B25. Full before the load, and in between two pages: each page comes out corrected, with less on the card if need be."""
    with holder("fill", {"leave_bytes": 300 << 20}, uuid=gpu) as other:
        other.reach("ready")
        other.reach("filled")
        service.start()
        _correct(service, "one.png", f"{_LETTER} April")
        crowded = _model(service)
        assert crowded["layers_on_gpu"] < (crowded["layers"] or 31)
        assert crowded["degraded"]
    assert service.command("model", "unload").returncode == 0
    wait_until(lambda: _model(service)["state"] == "cold", what="the unloading")
    _correct(service, "two.png", f"{_LETTER} May")
    with holder("fill", {"leave_bytes": 16 << 20}, uuid=gpu) as other:
        other.reach("ready")
        other.reach("filled")
        _correct(service, "three.png", f"{_LETTER} June")
