"""What the service remembers is damaged, lost or told another time: scans and texts are what it goes by then."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.daemon import wait_until
from tests.faults.outside import litter, tampered
from tests.torture import tiny_scans
from tests.torture.service import TorturedService

pytestmark = pytest.mark.acceptance

_DAY_S = 86400.0


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
    return scans


def _wait_for_all(service: TorturedService, scans: dict[str, list[str]], *, timeout_s: float = 60) -> None:
    wait_until(
        lambda: service.files("done") == len(scans), timeout_s=timeout_s, what=f"all texts, {service.log.read_text()[-1500:]}"
    )
    for name, pages in scans.items():
        assert [page.strip() for page in service.text(name).split("\f")] == pages
    assert not {path.suffix for path in service.inbox.iterdir()} - {".tif", ".txt", ".json"}


def _begun(service: TorturedService) -> list[str]:
    """Every page that an engine was given, as often as it was."""
    return service.record.read_text(encoding="ascii").split("\n")[:-1]


def _journal(service: TorturedService, ending: str = "") -> Path:
    return Path(service.settings["state_dir"]) / f"journal.db{ending}"


def _most_often(service: TorturedService) -> int:
    return max(Counter(_begun(service)).values())


def _zeros(path: Path) -> None:
    """As an unclean shutdown leaves it on a file system that knew the size and not the content."""
    path.write_bytes(bytes(path.stat().st_size))


def _half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _noise(path: Path) -> None:
    """A bad memory or disk: a tenth of the bytes of every page but the first."""
    data, chance = bytearray(path.read_bytes()), random.Random(7)
    for place in range(4096, len(data)):
        if chance.random() < 0.1:
            data[place] = chance.randrange(256)
    path.write_bytes(data)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _deleted(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [_zeros, _half, _noise, _empty, _deleted])
def test_journal_is_rebuilt_from_scans_and_texts(service: TorturedService, damage: Callable[[Path], None]) -> None:
    """What has its whole text is not read again; what had none, and what comes, is."""
    service.start()
    scans = _drop(service, range(20))
    _wait_for_all(service, scans)
    assert service.stop() == 0
    texts = {name: (service.inbox / f"{name}.txt").stat() for name in scans}
    before = _begun(service)
    for path in (_journal(service, "-wal"), _journal(service, "-shm")):
        path.unlink(missing_ok=True)
    damage(_journal(service))
    scans |= _drop(service, range(20, 25))
    service.start_again()
    _wait_for_all(service, scans)
    assert len(_begun(service)) - len(before) == 5 * 2
    for name, was in texts.items():
        now = (service.inbox / f"{name}.txt").stat()
        assert (now.st_ino, now.st_mtime_ns) == (was.st_ino, was.st_mtime_ns)
    kept = list(_journal(service).parent.glob("journal.db.damaged-*"))
    assert bool(kept) == (damage in {_zeros, _half, _noise})
    assert service.stop() == 0
    assert not litter(service.inbox.parent)


def test_service_whose_journal_was_taken_away_ends_and_begins_another(service: TorturedService) -> None:
    """What it would go on to write, nobody could find: it ends, says so, and the next one goes by the texts."""
    service.start()
    scans = _drop(service, range(20))
    _wait_for_all(service, scans)
    assert service.process is not None
    _journal(service).unlink()
    scans |= _drop(service, range(20, 40))
    assert service.process.wait(timeout=60) == 1
    assert "was taken away" in service.log.read_text(encoding="utf-8")
    service.start_again()
    _wait_for_all(service, scans)
    assert _most_often(service) <= 2, "beyond the pages in hand, one was read again"
    assert service.stop() == 0


def test_journal_that_a_crash_left_is_looked_through(service: TorturedService) -> None:
    """Machine and disk may have gone down together: nothing of it is believed before."""
    service.start()
    scans = _drop(service, range(20))
    _wait_for_all(service, scans)
    assert service.stop() == 0  # with that, all is in the file, and no longer in its log
    service.start()
    scans |= _drop(service, range(20, 22))
    _wait_for_all(service, scans)
    service.kill()
    _noise(_journal(service))
    service.start_again(times=1)
    _wait_for_all(service, scans)
    assert _most_often(service) == 1
    assert list(_journal(service).parent.glob("journal.db.damaged-*"))
    assert service.stop() == 0


@pytest.mark.parametrize("jump_s", [_DAY_S, -_DAY_S])
def test_clock_that_jumps_a_day_holds_nothing_up(service: TorturedService, jump_s: float) -> None:
    """Neither what waits for another try nor what comes; and nothing is done again because it looks older or newer."""
    service.start()
    scans = _drop(service, range(5))
    _wait_for_all(service, scans)
    with tampered(service, "renameat2", "error=EROFS", nth="1+"):
        scans |= _drop(service, range(5, 10))
        wait_until(lambda: service.files("deferred") == 5, what="files that wait for the output")
        service.set_clock(jump_s)
    scans |= _drop(service, range(10, 15))
    _wait_for_all(service, scans, timeout_s=90)
    service.set_clock(0)
    scans |= _drop(service, range(15, 20))
    _wait_for_all(service, scans)
    assert service.why("007.tif")["state"] == "done"
    assert _most_often(service) == 1
    assert service.stop() == 0
