"""The kernel refuses what the daemon asks, again and again, while scans come: when it is over, each has its text."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.daemon import wait_until
from tests.faults.outside import litter, tampered
from tests.torture import tiny_scans
from tests.torture.service import TorturedService

pytestmark = pytest.mark.acceptance

_FAULTS = [
    pytest.param("pwrite64", "ENOSPC", id="the journal's disk is full"),
    pytest.param("pwrite64", "EIO", id="the journal's disk fails"),
    pytest.param("fdatasync", "EIO", id="the journal cannot be synced"),
    pytest.param("write", "ENOSPC", id="every disk is full"),
    pytest.param("fsync", "EIO", id="copies and texts cannot be synced"),
    pytest.param("fsync", "EDQUOT", id="the quota is used up when a file is synced"),
    pytest.param("renameat2", "EROFS", id="the output is read-only"),
    pytest.param("renameat2", "ENOSPC", id="the output's folder has no room for a name"),
    pytest.param("rename", "EIO", id="a copy gets no name"),
    pytest.param("unlinkat", "EROFS", id="nothing can be removed"),
    pytest.param("openat", "EMFILE", id="descriptors are used up"),
    pytest.param("openat", "ENFILE", id="the machine's descriptors are used up"),
    pytest.param("openat2", "ESTALE", id="the share has forgotten its handles"),
    pytest.param("openat2", "EIO", id="no scan can be opened"),
    pytest.param("getdents64", "EIO", id="no folder can be listed"),
    pytest.param("clone,clone3", "EAGAIN", id="threads and processes are used up"),
    pytest.param("mmap", "ENOMEM", id="memory is used up"),
]


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TorturedService]:
    """A service that is not started yet, whose pages take 5 ms."""
    service = TorturedService(tmp_path, monkeypatch, page_ms=5)
    service.settings["inboxes"][0] |= {"settle": "100ms", "rescan": "2s"}
    service.write_config()
    yield service
    service.end()


def _drop(service: TorturedService, numbers: range) -> dict[str, list[str]]:
    scans = {f"{number:03}.tif": [f"scan {number}", "its second page"] for number in numbers}
    for name, pages in scans.items():
        (service.inbox / name).write_bytes(tiny_scans.tiff(pages))
        threading.Event().wait(0.02)
    return scans


_HOW_OFTEN = {"each time": "1+"} | ({"now and then": "3+3", "rarely": "10+50"} if "OCRWATCH_KILLS" in os.environ else {})


@pytest.mark.parametrize("every", _HOW_OFTEN.values(), ids=_HOW_OFTEN.keys())
@pytest.mark.parametrize(("call", "error"), _FAULTS)
def test_scans_survive_what_the_kernel_refuses(
    service: TorturedService, tmp_path: Path, call: str, error: str, every: str
) -> None:
    """None fails for the disk's sake; a service that ends over it is started again, as the service manager does."""
    service.start()
    assert service.process is not None
    scans = _drop(service, range(5))
    with tampered(service, call, f"error={error}", nth=every):
        scans |= _drop(service, range(5, 25))
        threading.Event().wait(0.5)
    scans |= _drop(service, range(25, 30))
    if service.process.poll() is not None:
        assert service.process.returncode > 0, f"it was ended by a signal: {service.log.read_text()[-2000:]}"
        service.start()
    wait_until(
        lambda: service.files("done") == len(scans), timeout_s=100, what=f"the end of all, {service.log.read_text()[-1500:]}"
    )
    for name, pages in scans.items():
        assert [page.strip() for page in service.text(name).split("\f")] == pages
        metadata, data = service.metadata(name), tiny_scans.tiff(pages)
        assert (service.inbox / name).read_bytes() == data
        assert metadata["source"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert not {path.suffix for path in service.inbox.iterdir()} - {".tif", ".txt", ".json"}
    wait_until(lambda: not litter(tmp_path), timeout_s=15, what="no temporary file")
    assert service.stop() == 0
