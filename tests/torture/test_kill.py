"""kill -9 at any moment, over and over, while files come and go: nothing is lost, nothing is half, nothing stays behind."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.daemon import wait_until
from tests.faults.outside import litter, tampered
from tests.faults.workers import is_running
from tests.torture import tiny_scans
from tests.torture.service import WORKERS, TorturedService
from tests.torture.stream import Stream

pytestmark = pytest.mark.acceptance

_CALLS = ("fsync", "fdatasync", "rename", "renameat2", "unlinkat", "pwrite64", "ftruncate", "sendmsg")
"""What writes, syncs, names, removes, commits or asks: the points between which a crash makes a difference."""


@pytest.fixture
def kills() -> int:
    """How often the daemon is killed: few, unless `make torture` wants more."""
    return int(os.environ.get("OCRWATCH_KILLS", "15"))


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """That of the whole run, which pytest names at its start: `--randomly-seed=N` brings it back."""
    return int(request.config.getoption("randomly_seed"))


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TorturedService]:
    """A service that is not started yet, whose pages take 5 ms."""
    service = TorturedService(tmp_path, monkeypatch, page_ms=5)
    service.settings["inboxes"][0] |= {"settle": "100ms", "rescan": "2s", "incomplete_max": "20s"}
    service.write_config()
    yield service
    service.end()


@pytest.mark.timeout(0)
def test_nothing_is_lost_or_half_however_often_it_is_killed(
    service: TorturedService, tmp_path: Path, kills: int, seed: int
) -> None:
    """After each death: only whole texts, scans as they were. In the end: the right text beside each scan, and nothing else."""
    chance = random.Random(seed)
    stream = Stream(service.inbox, seed)
    stream.start()
    worker_kills = 0
    try:
        for _ in range(kills):
            service.start()
            worker_kills += _kill_a_worker(service, chance)
            children = service.children()
            _kill(service, chance)
            wait_until(lambda left=children: not any(map(is_running, left)), timeout_s=5, what="the end of the workers")
            _check_texts(stream)
    finally:
        stream.stop()
    service.start()
    _wait_for_quiet(service)
    set_aside = service.files("poison")
    if set_aside:
        assert service.command("retry", "--all-failed").returncode == 0
        _wait_for_quiet(service)
    _check_all_is_done(service, stream, kills=kills)
    _check_no_page_was_done_twice(service.record, stream, kills=kills, worker_kills=worker_kills, again=set_aside)
    wait_until(lambda: not litter(tmp_path), timeout_s=15, what="no temporary file")
    wait_until(lambda: not list((tmp_path / "state" / "jobs").glob("*")), timeout_s=15, what="no copy in the spool")
    print(
        f"{kills} kills, {worker_kills} of workers, {len(stream.now)} scans of {len(stream.appearances)}, {set_aside} set aside"
    )
    assert service.stop() == 0


def _kill_a_worker(service: TorturedService, chance: random.Random) -> int:
    """At some moment, one time in three, where there is one by then."""
    if chance.random() < 0.67:
        return 0
    threading.Event().wait(chance.random() * 0.6)
    children = service.children()
    if not children:
        return 0
    with contextlib.suppress(ProcessLookupError):
        os.kill(chance.choice(children), signal.SIGKILL)
    return 1


def _kill(service: TorturedService, chance: random.Random) -> None:
    """At some moment, or, where there is strace, before one of the system calls that matter."""
    assert service.process is not None
    if shutil.which("strace") is not None and chance.random() < 0.3:
        with (
            tampered(service, chance.choice(_CALLS), "signal=SIGKILL", nth=chance.randint(1, 30)),
            contextlib.suppress(Exception),
        ):
            service.process.wait(timeout=4)
    else:
        threading.Event().wait(chance.random() * 1.2)
    if service.process.poll() is None:
        service.kill()


def _check_texts(stream: Stream) -> None:
    """Each text is that of a version which lay under its name, whole; each JSON can be read."""
    for text in stream.inbox.rglob("*.tif.txt"):
        name = str(text.relative_to(stream.inbox))[: -len(".txt")]
        assert _pages(text) in stream.versions[name], f"{name}: {text.read_text(encoding='utf-8')!r}"
    for metadata in stream.inbox.rglob("*.tif.json"):
        json.loads(metadata.read_bytes())


def _pages(text: Path) -> list[str]:
    return [page.strip() for page in text.read_text(encoding="utf-8").split("\f")]


def _wait_for_quiet(service: TorturedService) -> None:
    def quiet() -> bool:
        status = service.status()
        counts = status["inboxes"][0]["counts"]
        return not (
            status["inboxes"][0]["waiting"]
            or status["jobs_active"]
            or sum(counts.get(state, 0) for state in ("queued", "spooled", "deferred"))
        )

    rounds = iter(range(5))  # the next listing may bring something
    while next(rounds, None) is not None:
        wait_until(quiet, timeout_s=180, what=f"quiet ({service.log})")
        threading.Event().wait(1.0)


def _check_all_is_done(service: TorturedService, stream: Stream, *, kills: int) -> None:
    for name, data in stream.now.items():
        scan = service.inbox / name
        assert scan.read_bytes() == data, f"{name} was altered"
        answer = service.why(name)
        assert answer["state"] == "done", answer
        assert 1 <= answer["tries"] <= 1 + kills
        assert _pages(service.inbox / f"{name}.txt") == tiny_scans.texts(data), name
        metadata = service.metadata(name)
        assert metadata["complete"] is True
        assert metadata["source"]["sha256"] == hashlib.sha256(data).hexdigest()
    scans = {str(path.relative_to(service.inbox)) for path in service.inbox.rglob("*.tif")}
    assert scans == stream.now.keys(), "only people move scans"
    _check_texts(stream)
    others = {path.suffix for path in service.inbox.rglob("*") if path.is_file()} - {".tif", ".txt", ".json"}
    assert not others


def _check_no_page_was_done_twice(record: Path, stream: Stream, *, kills: int, worker_kills: int, again: int) -> None:
    """But for those in hand at a death, and files that a person let try again."""
    begun = Counter(line for line in record.read_text(encoding="ascii").splitlines())
    twice = sum(max(0, count - stream.appearances[line.split()[0]]) for line, count in begun.items())
    assert twice <= WORKERS * kills + worker_kills + 5 * again, f"{twice} pages were read again after {kills} kills"
