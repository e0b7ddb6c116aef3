"""Recognition on real worker processes that die, hang and refuse as real engines do."""

from __future__ import annotations

import errno
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.errors import CorruptFile, EncryptedFile, Infrastructure, StateUnwritable, WorkerDied, WorkerRefused, WorkerTimedOut
from ocrwatch.ocr.engine import EngineName
from ocrwatch.ocr.pool import Inspection, PageTask, RecognitionPool, _then
from ocrwatch.worker.process import WorkerProcess, WorkerSpec
from ocrwatch.worker.supervised import Supervised, WorkerState, spawning
from tests.faults.calls import failing
from tests.faults.waiting import FakeClock, wait_until
from tests.faults.workers import is_running, scripted, scripted_ocr

Make = Callable[..., RecognitionPool]


@pytest.fixture
def make_pool() -> Iterator[Make]:
    """Pools that are stopped at the end, with every process gone."""
    pools: list[RecognitionPool] = []
    pids: list[int] = []

    def make(spec: WorkerSpec | None = None, *, workers: int = 1, clock: Callable[[], float] = time.monotonic) -> RecognitionPool:
        chosen = spec or scripted_ocr()
        pools.append(RecognitionPool({EngineName.TESSERACT: lambda: chosen}, workers=workers, clock=clock))
        return pools[-1]

    yield make
    for pool in pools:
        pids += [worker.pid for _, worker, _ in pool.snapshots() if worker.pid is not None]
        pool.stop(drain_s=0.2)
        assert pool.snapshots() == []
    assert not any(is_running(pid) for pid in pids)


def _task(folder: Path, document: Mapping[str, Any], page: int = 1, **options: Any) -> PageTask:
    path = folder / f"{abs(hash(json.dumps(document)))}.script"
    if not path.exists():  # a worker may be reading it
        path.write_text(json.dumps(document), encoding="ascii")
    defaults: dict[str, Any] = {"languages": ("en",), "pdf_text": "auto", "timeout_s": 20.0}
    return PageTask(path=str(path), page=page, engine=EngineName.TESSERACT, **(defaults | options))


def test_copy_that_cannot_be_opened_is_never_the_fault_of_the_scan(make_pool: Make, tmp_path: Path) -> None:
    """Rights or a disk: the scan is tried again, not set aside as corrupt; the worker has nothing to do with it."""
    pool, task = make_pool(), _task(tmp_path, {"pages": [{"text": "fine"}]})
    for path in (tmp_path / "gone", tmp_path):
        with pytest.raises(Infrastructure, match=f"{path}, cannot be read"):
            pool.recognize("in", 1, replace(task, path=str(path))).result(20)
    assert pool.recognize("in", 1, task).result(20).text == "fine"


def test_pages_are_counted_and_read(make_pool: Make, tmp_path: Path) -> None:
    """Whatever worker does them."""
    pool = make_pool(workers=2)
    document = {"pages": [{"text": f"page {n}\n"} for n in range(1, 6)]}
    assert pool.inspect("in", 1, _task(tmp_path, document)).result(20) == Inspection(format="script", pages=5)
    pages = [pool.recognize("in", 1, _task(tmp_path, document, n)) for n in range(1, 6)]
    assert [page.result(20).text for page in pages] == [f"page {n}\n" for n in range(1, 6)]


@pytest.mark.parametrize(
    ("page", "error"),
    [
        ({"corrupt": True}, CorruptFile),
        ({"bug": True}, WorkerRefused),
        ({"die": True}, WorkerDied),
        ({"hang": True}, WorkerTimedOut),
        ({"restless": True}, WorkerTimedOut),
    ],
)
def test_page_that_fails_says_how_and_the_next_is_read(
    make_pool: Make, tmp_path: Path, page: dict[str, Any], error: type[Exception]
) -> None:
    """A fault harms its own page only."""
    pool = make_pool()
    document = {"pages": [page, {"text": "fine"}]}
    with pytest.raises(error):
        pool.recognize("in", 1, _task(tmp_path, document, timeout_s=1.0)).result(20)
    assert pool.recognize("in", 1, _task(tmp_path, document, 2)).result(20).text == "fine"


def test_file_that_cannot_be_opened_says_why(make_pool: Make, tmp_path: Path) -> None:
    """As its type, so that it is told from the engine's trouble."""
    with pytest.raises(EncryptedFile, match="password"):
        make_pool().inspect("in", 1, _task(tmp_path, {"encrypted": True})).result(20)


def test_engine_that_does_not_start_is_not_the_pages_fault(make_pool: Make, tmp_path: Path) -> None:
    """A broken library must not set every file in the queue aside; nor is the page counted as begun."""
    pool, begun = make_pool(scripted_ocr(dies_until=str(tmp_path / "mended"))), []
    document = {"pages": [{"text": "fine"}]}
    for _ in range(2):  # the start itself, and then the back-off
        with pytest.raises(Infrastructure, match="does not start"):
            pool.recognize("in", 1, _task(tmp_path, document, begins=lambda: begun.append(1))).result(20)
    assert begun == []


def test_machine_without_another_process_to_give_ends_no_thread(
    make_pool: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of memory or descriptors for a moment: told as such, and the pool goes on afterwards."""
    clock = FakeClock()
    pool, document = make_pool(clock=clock), {"pages": [{"text": "fine"}]}
    with monkeypatch.context() as patch:
        failing(patch, "Popen", errno.EAGAIN, module=subprocess)
        with pytest.raises(Infrastructure, match="cannot be started"):
            pool.recognize("in", 1, _task(tmp_path, document)).result(20)
    clock.now += 10
    assert pool.recognize("in", 1, _task(tmp_path, document)).result(20).text == "fine"


def test_what_begins_raises_is_the_answer(make_pool: Make, tmp_path: Path) -> None:
    """Nothing is recognized that could not be counted."""

    def begins() -> None:
        raise StateUnwritable("the disk is full")

    with pytest.raises(StateUnwritable):
        make_pool().recognize("in", 1, _task(tmp_path, {"pages": [{"die": True}]}, begins=begins)).result(20)


def test_forgotten_pages_are_not_read(make_pool: Make, tmp_path: Path) -> None:
    """Those of other jobs are."""
    pool, mark = make_pool(), tmp_path / "go"
    document = {"pages": [{"text": "first", "wait_for": str(mark)}, {"text": "second"}]}
    in_hand = pool.recognize("in", 1, _task(tmp_path, document))
    wait_until(lambda: pool.waiting() == 0)
    forgotten, other = (
        pool.recognize("in", 1, _task(tmp_path, document, 2)),
        pool.recognize("in", 2, _task(tmp_path, document, 2)),
    )
    pool.forget("in", 1)
    mark.touch()
    assert in_hand.result(20).text == "first"
    assert other.result(20).text == "second"
    assert forgotten.cancelled()


def test_workers_go_when_idle(make_pool: Make, tmp_path: Path) -> None:
    """Their memory goes with them."""
    clock = FakeClock()
    pool = make_pool(clock=clock)
    pool.recognize("in", 1, _task(tmp_path, {"pages": [{"text": "fine"}]})).result(20)
    ((engine, worker, held),) = pool.snapshots()
    assert (engine, worker.state, held > 10**6) == (EngineName.TESSERACT, WorkerState.READY, True)
    clock.now += 61
    pool._queue.nudge()
    wait_until(lambda: pool.snapshots() == [])
    assert worker.pid is not None
    assert not is_running(worker.pid)


def test_stop_lets_the_page_in_hand_finish(make_pool: Make, tmp_path: Path) -> None:
    """And takes no more."""
    pool, mark = make_pool(), tmp_path / "go"
    document = {"pages": [{"text": "first", "wait_for": str(mark)}, {"text": "second"}]}
    first = pool.recognize("in", 1, _task(tmp_path, document))
    wait_until(lambda: bool(pool.snapshots()) and pool.snapshots()[0][1].state is WorkerState.BUSY)
    second = pool.recognize("in", 1, _task(tmp_path, document, 2))
    second.add_done_callback(lambda _: mark.touch())
    pool.stop(drain_s=20)
    assert first.result(0).text == "first"
    for page in (second, pool.recognize("in", 1, _task(tmp_path, document, 2))):
        with pytest.raises(CancelledError):
            page.result(5)


def test_stop_kills_what_does_not_finish_in_one_limit_for_all(make_pool: Make, tmp_path: Path) -> None:
    """Four pages that hang cost the time of one, and are not to blame."""
    pool = make_pool(workers=4)
    document = {"pages": [{"hang": True}]}
    pages = [pool.recognize("in", n, _task(tmp_path, document)) for n in range(4)]
    wait_until(lambda: sum(worker.state is WorkerState.BUSY for _, worker, _ in pool.snapshots()) == 4)
    begin = time.monotonic()
    pool.stop(drain_s=0.5)
    assert time.monotonic() - begin < 1.5
    for page in pages:
        with pytest.raises(CancelledError):
            page.result(5)


def test_stop_does_not_wait_for_a_worker_that_never_starts(make_pool: Make, tmp_path: Path) -> None:
    """A model takes minutes to load, and the service manager waits less."""
    pool = make_pool(scripted(hang_start=True, start_s=600.0))
    page = pool.recognize("in", 1, _task(tmp_path, {"pages": [{"text": "x"}]}))
    wait_until(lambda: bool(pool.snapshots()) and pool.snapshots()[0][1].state is WorkerState.LOADING)
    begin = time.monotonic()
    pool.stop(drain_s=0.2)
    assert time.monotonic() - begin < 5
    with pytest.raises(CancelledError):
        page.result(5)


def test_worker_whose_progress_nobody_could_take_is_replaced() -> None:
    """What it still has to say must not be taken for the answer to the next request."""
    worker = Supervised(spawning(lambda: scripted()), idle_s=None, clock=time.monotonic)

    def full(_: dict[str, Any]) -> None:
        raise StateUnwritable("the disk is full")

    with pytest.raises(StateUnwritable):
        worker.call({"op": "steps", "count": 3, "pause_s": 0.0}, deadline_s=10, progress=full)
    assert worker.call({"op": "echo", "text": "mine"}, deadline_s=10)["echo"] == "mine"
    assert worker.snapshot().starts == 2
    worker.stop()


@pytest.mark.parametrize("frame", [{"error": "a word"}, {"error": None}, {"ok": [1]}, {}, {"ok": None}])
def test_frame_that_is_no_answer_ends_its_worker(frame: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Hostile files live there: whatever comes back, the parent knows what to do."""
    process = WorkerProcess(scripted())
    monkeypatch.setattr(process, "_await_reply", lambda *_: frame)
    with pytest.raises(WorkerDied, match="no answer"):
        process.call({"op": "echo", "text": "x"}, deadline_s=10)
    assert not is_running(process.pid)
    process.release()


def test_answer_that_cannot_be_read_for_whatever_reason_is_the_workers_failure() -> None:
    """A future that nobody answers would be waited for without end."""
    answer: Future[dict[str, Any]] = Future()
    page = _then(answer, lambda said: int(said["pages"]))
    answer.set_result({"pages": float("inf")})
    with pytest.raises(WorkerDied, match="nonsense: OverflowError"):
        page.result(timeout=1)
