"""The copy in the spool where a file system shares blocks: no byte is written, and it is one version all the same."""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocrwatch.errors import SourceChanged
from ocrwatch.intake import spool, syscalls
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Identity
from ocrwatch.intake.spool import Spooled
from tests.faults.calls import after_call, failing
from tests.faults.disks import formatted
from tests.faults.writers import replace, rewrite_in_place

_DATA = os.urandom(3_000_000)
_FIEMAP = 0xC020660B
_SYNC = 1
_LAST, _SHARED = 0x1, 0x2000
_MOST_EXTENTS = 512


@pytest.fixture(scope="module", params=[("btrfs", 128), ("xfs", 320)], ids=lambda param: str(param[0]))
def disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system that can share blocks."""
    kind, megabytes = request.param
    with formatted(tmp_path_factory.mktemp(kind) / "disk", kind, megabytes=megabytes) as point:
        yield point


@pytest.fixture
def scan(disk: Path, request: pytest.FixtureRequest) -> Path:
    """A settled scan, with a spool on the same disk."""
    folder = disk / hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
    (folder / "inbox").mkdir(parents=True)
    path = folder / "inbox" / "scan.pdf"
    path.write_bytes(_DATA)
    return path


def _copy(scan: Path) -> tuple[Spooled, Path]:
    destination = scan.parent.parent / "spool"
    expected = Identity.of(scan.stat())
    return spool.copy(Root(str(scan.parent)), scan.name, expected=expected, destination=destination), destination


def _extents(path: Path) -> list[int]:
    """The flags of each extent of a file, from the file system itself."""
    head = struct.pack("=QQLLLL", 0, 2**64 - 1, _SYNC, 0, _MOST_EXTENTS, 0)
    with path.open("rb") as file:
        answer = bytearray(head + bytes(56 * _MOST_EXTENTS))
        fcntl.ioctl(file, _FIEMAP, answer)
    count = struct.unpack_from("=L", answer, 20)[0]
    return [struct.unpack_from("=L", answer, 32 + 56 * number + 40)[0] for number in range(count)]


def test_copy_shares_the_blocks_of_the_scan(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashed to the last byte, and not one of them written."""
    written = failing(monkeypatch, "write", 0, times=0)
    spooled, copy = _copy(scan)
    assert written == []
    assert spooled.sha256 == hashlib.sha256(_DATA).hexdigest()
    assert copy.read_bytes() == _DATA
    for path in (scan, copy):
        extents = _extents(path)
        assert extents != []
        assert extents[-1] & _LAST
        assert all(flags & _SHARED for flags in extents)


@pytest.mark.parametrize("change", [rewrite_in_place, replace])
def test_later_writes_to_the_scan_do_not_reach_the_copy(scan: Path, change: object) -> None:
    """What shares blocks shares no content."""
    _, copy = _copy(scan)
    change(scan, os.urandom(len(_DATA)))  # type: ignore[operator]
    assert copy.read_bytes() == _DATA


@pytest.mark.parametrize("change", [rewrite_in_place, replace])
@pytest.mark.parametrize("moment", ["shared", "hashed"])
def test_scan_that_changes_while_its_copy_is_made_is_not_spooled(
    scan: Path, monkeypatch: pytest.MonkeyPatch, change: object, moment: str
) -> None:
    """Right after its blocks were shared, or while the copy is hashed: the file under that name is another then."""
    other = os.urandom(len(_DATA))
    call, module = ("reflink", syscalls) if moment == "shared" else ("pread", os)
    after_call(monkeypatch, call, lambda: change(scan, other), module=module)  # type: ignore[operator]
    with pytest.raises(SourceChanged):
        _copy(scan)
    assert not (scan.parent.parent / "spool").exists()
    assert scan.read_bytes() == other


def test_bytes_that_are_not_on_the_disk_yet_are_in_the_copy(scan: Path) -> None:
    """A scanner closed the file a moment ago and nothing was synced."""
    data = os.urandom(1_000_001)
    with scan.open("wb") as file:
        file.write(data)
    spooled, copy = _copy(scan)
    assert (spooled.size, copy.read_bytes()) == (len(data), data)
