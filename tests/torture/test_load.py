"""Many small scans in many inboxes at once: all done, one that comes in the middle is not forgotten, and memory stays bounded."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.daemon import wait_until
from tests.torture import tiny_scans
from tests.torture.service import TorturedService

pytestmark = pytest.mark.acceptance

_INBOXES = 20
_GROWTH_BYTES = 4_000
"""What the parent may grow by for each file that it has seen; names, counts and SQLite's pages are in it."""


@pytest.fixture
def scans() -> int:
    """How many: few, unless `make torture` wants more."""
    return int(os.environ.get("OCRWATCH_SCANS", "1000"))


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TorturedService]:
    """A service with twenty inboxes that is not started yet, whose pages take 1 ms."""
    service = TorturedService(tmp_path, monkeypatch, page_ms=1)
    folders = [service.inbox / f"{number:02}" for number in range(_INBOXES)]
    for folder in folders:
        folder.mkdir()
    service.settings["inboxes"] = [{"path": str(folder), "settle": "200ms"} for folder in folders]
    service.write_config()
    yield service
    service.end()


def _counts(service: TorturedService) -> dict[str, int]:
    inboxes = service.status()["inboxes"]
    states = {state for inbox in inboxes for state in inbox["counts"]}
    return {state: sum(inbox["counts"].get(state, 0) for inbox in inboxes) for state in states}


@pytest.mark.timeout(0)
def test_many_scans_in_many_inboxes_are_all_done(service: TorturedService, scans: int, tmp_path: Path) -> None:
    """None is lost or failed, and a single scan in the middle of the burst comes out before the last of it."""
    service.start()
    idle_bytes = service.status()["rss_bytes"]
    begun_s = time.monotonic()
    for number in range(scans):
        folder = service.inbox / f"{number % _INBOXES:02}"
        (folder / f"{number:06}.tif").write_bytes(tiny_scans.tiff([f"scan {number}"]))
    wait_until(lambda: _counts(service).get("done", 0) > scans // 3, timeout_s=3600, what="a third")
    single = service.inbox / "07" / "single.tif"
    single.write_bytes(tiny_scans.tiff(["the single one"]))
    single_s = time.monotonic()
    wait_until(single.with_name("single.tif.txt").exists, timeout_s=3600, what="the single one")
    single_s, left = time.monotonic() - single_s, scans + 1 - _counts(service).get("done", 0)
    wait_until(lambda: _counts(service).get("done", 0) == scans + 1, timeout_s=3600, what="all")
    took_s = time.monotonic() - begun_s
    assert _counts(service) == {"done": scans + 1}
    for number in range(0, scans, max(1, scans // 500)):
        text = service.inbox / f"{number % _INBOXES:02}" / f"{number:06}.tif.txt"
        assert text.read_text(encoding="utf-8").strip() == f"scan {number}"
    grown_bytes = service.status()["rss_bytes"] - idle_bytes
    assert grown_bytes < 40_000_000 + _GROWTH_BYTES * scans
    journal_bytes = sum(path.stat().st_size for path in (tmp_path / "state").glob("journal.db*"))
    print(
        f"{scans} scans in {took_s:.0f} s, {scans / took_s:.0f}/s; the single one took {single_s:.1f} s, {left} were left then; "
        f"parent {idle_bytes / 1e6:.0f} MB and {grown_bytes / 1e6:+.0f} MB; journal {journal_bytes / scans:.0f} bytes a scan"
    )
    assert not list((tmp_path / "state" / "jobs").glob("*"))
    _forgotten_a_year_after(service, tmp_path, scans)


def _forgotten_a_year_after(service: TorturedService, folder: Path, scans: int) -> None:
    """The scans are taken away; a year later the journal knows nothing of them, and is small again after the next start."""
    for scan in service.inbox.glob("*/*.tif"):
        scan.unlink()
    wait_until(lambda: _counts(service) == {"orphaned": scans + 1}, timeout_s=3600, what="all are gone")
    service.set_clock(366 * 86400.0)
    wait_until(lambda: sum(_counts(service).values()) <= 2, timeout_s=3600, what="all but the last are forgotten")
    service.end()
    service.start()
    journal_bytes = sum(path.stat().st_size for path in (folder / "state").glob("journal.db*"))
    print(f"a year after they are gone: journal of {journal_bytes / 1e6:.1f} MB")
    assert journal_bytes < 25_000_000  # below that it stays as it is
