"""The model from outside: loaded for work, never in the way of a sidecar, gone when idle."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.correction.edits import Edit, undo
from tests.faults import scans
from tests.faults.daemon import Service, wait_until
from tests.faults.models import smollm2
from tests.faults.workers import is_running

pytestmark = pytest.mark.acceptance

_INVOICE = "Invoic # 12345\nTotal: $1O0.00\nDate: 2023-07-15"
_LETTER = "A second lettter about the invoic of May"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service with correction by the real model, which goes after two idle seconds; not started yet."""
    service = Service(tmp_path, model={"path": str(smollm2()), "idle_unload": "2s"}, correction={"mode": "rescore"})
    yield service
    service.end()


def _model(service: Service) -> dict[str, Any]:
    return dict(service.status()["model"])


def _raw(service: Service, name: str) -> str:
    """The raw text that the sidecar's own edits lead back to."""
    edits = [Edit.from_json(e) for e in service.metadata(name)["edits"]]
    return undo(service.text(name), edits)


def test_scan_is_corrected_and_its_edits_can_be_undone(service: Service) -> None:
    """Words and damaged amounts are mended, dates and numbers stay, and every edit is listed."""
    service.start()
    scans.write(service.inbox / "invoice.png", _INVOICE)
    service.wait_for("invoice.png", "done")
    text = service.text("invoice.png")
    assert text.splitlines() == ["Invoice # 12345", "Total: $100.00", "Date: 2023-07-15"]
    metadata = service.metadata("invoice.png")
    assert metadata["corrected"] is True
    assert metadata["correction"]["model"]["file"].startswith("SmolLM2")
    assert {"12345", "2023-07-15"} <= set(_raw(service, "invoice.png").split())
    assert _raw(service, "invoice.png") != text


def test_model_is_unloaded_when_idle_and_loaded_again_for_the_next_page(service: Service) -> None:
    """Idle means idle: the process is gone, and nothing of llama is in the parent at any time."""
    service.start()
    scans.write(service.inbox / "one.png", _INVOICE)
    service.wait_for("one.png", "done")
    first = wait_until(lambda: _model(service)["pid"] or _model(service)["starts"], what="a loaded model")
    wait_until(lambda: _model(service)["state"] == "cold", timeout_s=30, what="the unloading")
    assert first == 1 or not is_running(int(first))
    assert "libllama" not in service.mapped()
    scans.write(service.inbox / "two.png", _LETTER)
    service.wait_for("two.png", "done")
    assert _model(service)["starts"] == 2


def test_model_can_be_unloaded_by_hand(service: Service) -> None:
    """An administrator wants the memory now."""
    service.settings["model"]["idle_unload"] = "never"
    service.write_config()
    service.start()
    scans.write(service.inbox / "one.png", _INVOICE)
    service.wait_for("one.png", "done")
    pid = _model(service)["pid"]
    assert is_running(pid)
    assert service.command("model", "unload").returncode == 0
    wait_until(lambda: not is_running(pid), timeout_s=15, what="the end of the model's process")


def test_raw_text_is_published_without_a_model_and_replaced_when_it_is_there(service: Service, tmp_path: Path) -> None:
    """A sidecar never waits for a model that is not there, and says so; the correction follows."""
    models = tmp_path / "models"
    models.mkdir()
    service.settings["model"] = {"directory": str(models), "idle_unload": "2s"}
    service.write_config()
    service.start()
    scans.write(service.inbox / "invoice.png", _INVOICE)
    service.wait_for("invoice.png", "awaiting_correction")
    assert "Invoic #" in service.text("invoice.png")
    metadata = service.metadata("invoice.png")
    assert metadata["corrected"] is False
    assert "the model is not to be had" in metadata["uncorrected_reason"]
    shutil.copy(smollm2(), models / "model.gguf")
    service.wait_for("invoice.png", "done", timeout_s=120)
    assert service.text("invoice.png").splitlines()[0] == "Invoice # 12345"
    assert service.metadata("invoice.png")["corrected"] is True


def test_model_process_that_is_killed_is_replaced(service: Service) -> None:
    """A death in mid page costs a new process, not the page."""
    service.settings["model"]["idle_unload"] = "never"
    service.write_config()
    service.start()
    scans.write(service.inbox / "one.png", _INVOICE)
    pid = wait_until(lambda: _model(service)["pid"], what="a loaded model")
    os.kill(pid, signal.SIGKILL)
    service.wait_for("one.png", "done")
    scans.write(service.inbox / "two.png", _INVOICE)
    service.wait_for("two.png", "done")
    assert service.metadata("two.png")["corrected"] is True
    assert _model(service)["pid"] != pid


def test_idle_daemon_holds_nothing_of_a_model(service: Service) -> None:
    """After the last lease plus the idle time: no child that has a model, and no library of a GPU or a model in the parent."""
    service.start()
    scans.write(service.inbox / "one.png", _INVOICE)
    service.wait_for("one.png", "done")
    wait_until(lambda: _model(service)["state"] == "cold", timeout_s=30, what="the unloading")
    assert _model_pids(service) == []
    mapped = service.mapped()
    assert not [library for library in ("libllama", "libcuda", "libnvidia-ml", "libggml") if library in mapped]


def test_a_cold_model_stays_cold_however_often_it_is_asked_for(service: Service) -> None:
    """Watching the service must not keep the device busy."""
    service.start()
    for _ in range(20):
        assert _model(service)["starts"] == 0
    assert _model_pids(service) == []


@pytest.mark.parametrize("moment", ["loading", "busy", "stopping"])
def test_stop_in_any_state_of_the_model_ends_in_time_and_loses_no_job(service: Service, moment: str) -> None:
    """B18. The worst case: its process heeds no signal but KILL. The page in hand is corrected after the next start."""
    service.settings["model"]["idle_unload"] = "never"
    service.write_config()
    service.start()
    if moment != "loading":
        scans.write(service.inbox / "one.png", _INVOICE)
        service.wait_for("one.png", "done")
    else:
        scans.write(service.inbox / "two.png", _LETTER)
    (pid,) = wait_until(lambda: _model_pids(service), what="the model's process")
    os.kill(pid, signal.SIGSTOP)
    if moment == "stopping":
        assert service.command("model", "unload").returncode == 0
    if moment != "loading":
        scans.write(service.inbox / "two.png", _LETTER)
    wait_until(lambda: _model(service)["state"] == moment, what=moment)
    children = service.children()
    assert service.stop(timeout_s=30) == 0
    assert not any(is_running(child) for child in children)
    service.start()
    service.wait_for("two.png", "done")
    assert service.text("two.png").startswith("A second letter about")
    assert service.metadata("two.png")["corrected"] is True


def test_page_whose_model_was_killed_is_corrected_by_the_next(service: Service) -> None:
    """A death costs a process, not the page: the same one, begun again."""
    service.settings["model"]["idle_unload"] = "never"
    service.write_config()
    service.start()
    scans.write(service.inbox / "one.png", _INVOICE)
    service.wait_for("one.png", "done")
    (pid,) = _model_pids(service)
    os.kill(pid, signal.SIGSTOP)
    scans.write(service.inbox / "two.png", _LETTER)
    wait_until(lambda: _model(service)["state"] == "busy", what="busy")
    os.kill(pid, signal.SIGKILL)
    service.wait_for("two.png", "done")
    assert service.metadata("two.png")["corrected"] is True
    assert _model(service)["starts"] == 2


def _model_pids(service: Service) -> list[int]:
    """The daemon's children that have, or load, a model."""
    return [pid for pid in service.children() if "ocrwatch.correction.worker" in _command_line(pid)]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""
