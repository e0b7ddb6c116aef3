"""The parent's side of a worker, against a real child process that misbehaves as native engines do."""

from __future__ import annotations

import _thread
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.errors import EncryptedFile, MissingPart, WorkerDied, WorkerRefused, WorkerTimedOut
from ocrwatch.worker import frames
from ocrwatch.worker.process import WorkerProcess
from tests.faults.workers import is_running, scripted

_TRACER = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long] * 4
print(ctypes.get_errno() if libc.ptrace(0x4206, int(sys.argv[1]), 0, 0) else 0, flush=True)  # PTRACE_SEIZE
sys.stdin.read()
"""


def comes_true(condition: Callable[[], bool], *, within_s: float) -> bool:
    """Whether it does, soon enough."""
    limit = time.monotonic() + within_s
    pause = threading.Event()
    while not condition() and time.monotonic() < limit:
        pause.wait(0.005)
    return condition()


def is_reaped(pid: int) -> bool:
    """Whether not even a zombie is left."""
    return not Path(f"/proc/{pid}").exists()


@contextmanager
def unreapable(pid: int) -> Iterator[None]:
    """A process that is traced meanwhile: once killed it stays, to its parent, as one that waits in the kernel."""
    command = [sys.executable, "-c", _TRACER, str(pid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tracer:
        assert tracer.stdout is not None
        if (problem := int(tracer.stdout.readline())) != 0:
            tracer.kill()
            pytest.skip(f"no process may be traced here: {os.strerror(problem)}")
        yield
        tracer.kill()


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    """A scripted worker, gone at the end."""
    process = WorkerProcess(scripted())
    yield process
    process.kill()
    process.release()
    assert not is_running(process.pid)


def test_worker_answers_requests_in_order(worker: WorkerProcess) -> None:
    """One process serves many requests."""
    answers = [worker.call({"op": "echo", "text": str(n)}, deadline_s=10) for n in range(3)]
    assert [a["echo"] for a in answers] == ["0", "1", "2"]
    assert {a["pid"] for a in answers} == {worker.pid}


def test_open_file_goes_with_its_request_alone(worker: WorkerProcess, tmp_path: Path) -> None:
    """The child reads what the parent opened, though it is gone by its name; the next request has none, and none piles up."""
    (tmp_path / "scan").write_text("the content", encoding="ascii")
    with (tmp_path / "scan").open("rb") as file:
        (tmp_path / "scan").unlink()
        first = worker.call({"op": "content"}, deadline_s=10, descriptor=file.fileno())
        without = worker.call({"op": "content"}, deadline_s=10)
        file.seek(0)
        again = worker.call({"op": "content"}, deadline_s=10, descriptor=file.fileno())
    assert (first["content"], without["content"], again["content"]) == ("the content", None, "the content")
    assert first["open"] == again["open"] == without["open"] + 1


def test_worker_error_comes_back_as_its_type(worker: WorkerProcess) -> None:
    """The file's fault is told apart from everything else, with its remedy; the worker goes on."""
    with pytest.raises(EncryptedFile, match="password") as caught:
        worker.call({"op": "encrypted"}, deadline_s=10)
    assert caught.value.remedy == "remove it"
    assert worker.alive


def test_worker_bug_is_an_answer_and_not_a_death(worker: WorkerProcess) -> None:
    """An unforeseen exception names itself; the worker goes on."""
    with pytest.raises(WorkerRefused, match="ValueError: nobody foresaw this"):
        worker.call({"op": "bug"}, deadline_s=10)
    with pytest.raises(WorkerRefused, match="no operation 'fly'"):
        worker.call({"op": "fly"}, deadline_s=10)
    assert worker.call({"op": "echo", "text": "still here"}, deadline_s=10)["echo"] == "still here"


def test_noise_on_standard_output_does_not_break_the_protocol(worker: WorkerProcess) -> None:
    """Native libraries print where they like."""
    assert worker.call({"op": "noise"}, deadline_s=10) == {"said": True}
    assert worker.call({"op": "echo", "text": "x"}, deadline_s=10)["echo"] == "x"


def test_flood_on_standard_error_does_not_block_the_worker(worker: WorkerProcess) -> None:
    """100 MB of complaints are drained and forgotten."""
    assert worker.call({"op": "flood", "megabytes": 100}, deadline_s=60) == {"flooded": True}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"op": "abort"}, "was ended by SIGABRT"),
        ({"op": "exit", "status": 7}, "ended with status 7"),
        ({"op": "garbage"}, "was killed: no JSON"),
    ],
)
def test_worker_that_ends_in_mid_request_is_reported(worker: WorkerProcess, request_: dict[str, object], words: str) -> None:
    """Whatever way it ends, the caller learns how, and the child is reaped."""
    with pytest.raises(WorkerDied, match=words):
        worker.call(request_, deadline_s=10)
    assert not is_running(worker.pid)


def test_worker_that_hangs_is_killed_at_its_deadline(worker: WorkerProcess) -> None:
    """A page in native code ignores TERM; it is killed all the same."""
    with pytest.raises(WorkerTimedOut, match=r"0\.3 s"):
        worker.call({"op": "hang"}, deadline_s=0.3)
    assert not is_running(worker.pid)


def test_progress_restarts_the_deadline(worker: WorkerProcess) -> None:
    """Slow but moving is not hanging."""
    seen: list[object] = []
    reply = worker.call({"op": "steps", "count": 9, "pause_s": 0.25}, deadline_s=2, progress=lambda p: seen.append(p["step"]))
    assert reply == {"steps": 9}
    assert seen == list(range(9))


def test_answer_beyond_its_bound_ends_the_worker_before_it_is_held() -> None:
    """As JSON, 64 MB of brackets are 1.7 GB in the parent: what a page may answer is a fraction of that."""
    worker = WorkerProcess(scripted(answer_bytes=10_000))
    assert len(worker.call({"op": "echo", "text": "x" * 9_000}, deadline_s=10)["echo"]) == 9_000
    with pytest.raises(WorkerDied, match=r"was killed: a frame of 11\d\d\d bytes was announced, and 10000 are the most"):
        worker.call({"op": "echo", "text": "x" * 11_000}, deadline_s=10)
    worker.release()
    assert not is_running(worker.pid)


def test_progress_for_ever_ends_at_the_total(worker: WorkerProcess) -> None:
    """Whoever says without end that it moves, at any pace, is hanging all the same."""
    begun = time.monotonic()
    with pytest.raises(WorkerTimedOut, match=r"no answer within 1 s"):
        worker.call({"op": "steps", "count": 10**9, "pause_s": 0.0}, deadline_s=60, total_s=1.0)
    assert time.monotonic() - begun < 20
    assert not is_running(worker.pid)


def test_worker_beyond_its_memory_limit_is_killed() -> None:
    """A page that eats memory costs its worker, not the machine."""
    worker = WorkerProcess(scripted(memory_bytes=200 * 10**6))
    with pytest.raises(WorkerDied, match="more than the limit of 200 MB"):
        worker.call({"op": "grow"}, deadline_s=60)
    worker.release()
    assert not is_running(worker.pid)


def test_start_that_fails_raises_what_the_worker_said() -> None:
    """A missing engine is one clear line, and its process is gone."""
    with pytest.raises(MissingPart, match="apt install engine") as caught:
        WorkerProcess(scripted(fail_start=True))
    assert caught.value.left_behind is None


def test_start_that_hangs_is_killed() -> None:
    """A library that hangs while it loads does not hang the daemon."""
    with pytest.raises(WorkerTimedOut):
        WorkerProcess(scripted(hang_start=True, start_s=0.5))


def test_slow_start_that_moves_outlives_its_limit() -> None:
    """A model may take as long as it needs, while it tells that it is being read."""
    seen: list[object] = []
    begun = time.monotonic()
    worker = WorkerProcess(scripted(start_steps=18, start_s=4.0), progress=lambda p: seen.append(p["step"]))
    assert time.monotonic() - begun > 4.0
    assert seen == list(range(18))
    worker.stop()


def test_parent_without_a_thread_to_give_cannot_start_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told as every other want of the machine, before there is a process."""

    def none_left(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", none_left)
    with pytest.raises(OSError, match="can't start new thread"):
        WorkerProcess(scripted())


def test_last_words_of_a_worker_are_kept_and_bounded(worker: WorkerProcess) -> None:
    """What it wrote last tells why it died; what it writes beyond that costs no memory."""
    with pytest.raises(WorkerDied, match="complaint 29") as caught:
        worker.call({"op": "complain", "lines": 30}, deadline_s=10)
    words = caught.value.last_words
    assert words[-30:] == tuple(f"complaint {number}" for number in range(30))
    assert len(words) == 40
    assert max(map(len, words)) == 4096


def test_stop_ends_a_worker_that_waits() -> None:
    """Closing its channel is enough; nothing is killed."""
    worker = WorkerProcess(scripted())
    worker.stop()
    assert not is_running(worker.pid)


def test_stop_ends_a_worker_that_ignores_it() -> None:
    """Neither the end of its channel nor TERM moves it: it is killed, within three times of grace, and leaves no zombie."""
    worker = WorkerProcess(replace(scripted(), grace_s=0.5))
    worker.call({"op": "deaf"}, deadline_s=10)
    begun = time.monotonic()
    worker.stop()
    assert 1.0 <= time.monotonic() - begun < 5.0  # the third step, a KILL, takes next to nothing
    assert worker.is_gone()
    with pytest.raises(ChildProcessError):
        os.waitpid(worker.pid, os.WNOHANG)


@pytest.mark.parametrize("end", [WorkerProcess.stop, WorkerProcess.kill])
def test_process_that_outlasts_its_kill_is_known_as_such_and_reaped_later(end: Callable[[WorkerProcess], None]) -> None:
    """The parent neither waits for it without end nor takes it for gone; nobody has to ask for it to be reaped."""
    worker = WorkerProcess(replace(scripted(), grace_s=0.3))
    worker.call({"op": "deaf"}, deadline_s=10)
    with unreapable(worker.pid):
        begun = time.monotonic()
        end(worker)
        assert time.monotonic() - begun < 10.0
        assert not worker.is_gone()
        assert not is_reaped(worker.pid)
    assert comes_true(worker.is_gone, within_s=5)
    assert is_reaped(worker.pid)
    worker.release()


@pytest.mark.parametrize("options", [{"hang_start": True, "start_s": 0.5}, {"fail_start": True}])
def test_start_that_outlasts_its_kill_is_not_lost_sight_of(options: dict[str, Any]) -> None:
    """It has a device or a mount in its hands: whoever wanted it can see when it is gone."""
    with ExitStack() as traced:
        with pytest.raises((WorkerTimedOut, MissingPart)) as caught:
            WorkerProcess(
                replace(scripted(says_pid=True, **options), grace_s=0.3),
                progress=lambda said: traced.enter_context(unreapable(said["pid"])),
            )
        process = caught.value.left_behind
        assert process.alive
    assert comes_true(process.is_gone, within_s=5)


def test_worker_that_dies_while_nobody_asks_is_reaped(worker: WorkerProcess) -> None:
    """No zombie waits for the next request."""
    os.kill(worker.pid, signal.SIGKILL)
    assert comes_true(lambda: is_reaped(worker.pid), within_s=5)
    assert not worker.alive


def test_kill_from_another_thread_ends_the_request() -> None:
    """Shutdown does not wait for a page that hangs."""
    worker = WorkerProcess(scripted())
    timer = threading.Timer(0.3, worker.kill)
    timer.start()
    with pytest.raises(WorkerDied):
        worker.call({"op": "hang"}, deadline_s=60)
    timer.join()
    worker.release()


def test_worker_inherits_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hostile file in a worker finds no credentials in the environment."""
    monkeypatch.setenv("HF_TOKEN", "secret")
    worker = WorkerProcess(scripted())
    environment = Path(f"/proc/{worker.pid}/environ").read_bytes()
    worker.stop()
    assert b"secret" not in environment


def test_worker_outlives_the_thread_that_wanted_it() -> None:
    """The kernel's signal at the end of a parent is bound to a thread: not to one that comes and goes."""
    started: list[WorkerProcess] = []
    thread = threading.Thread(target=lambda: started.append(WorkerProcess(scripted())))
    thread.start()
    thread.join()
    assert comes_true(lambda: not Path(f"/proc/self/task/{thread.native_id}").exists(), within_s=5)
    (worker,) = started
    assert worker.call({"op": "echo", "text": "still here"}, deadline_s=10)["echo"] == "still here"
    worker.stop()


@pytest.mark.parametrize("operation", ["hang", "hold"])
def test_worker_goes_with_its_parent_though_it_hangs_in_native_code(operation: str) -> None:
    """A parent that is killed leaves no worker behind, whatever the worker is doing and whichever thread wanted it."""
    program = (
        "import sys, threading, time\n"
        "from tests.faults.workers import scripted\n"
        "from ocrwatch.worker.process import WorkerProcess\n"
        "def ask():\n"
        "    w.call({'op': sys.argv[1]}, deadline_s=600, progress=lambda _: print('held', flush=True))\n"
        "def start():\n"
        "    global w\n"
        "    w = WorkerProcess(scripted())\n"
        "starter = threading.Thread(target=start)\n"
        "starter.start()\n"
        "starter.join()\n"
        "print(w.pid, flush=True)\n"
        "threading.Thread(target=ask, daemon=True).start()\n"
        "time.sleep(600)\n"
    )
    project = Path(__file__).resolve().parent.parent.parent
    with subprocess.Popen([sys.executable, "-c", program, operation], stdout=subprocess.PIPE, cwd=project) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        if operation == "hold":
            assert parent.stdout.readline() == b"held\n"
        assert is_running(pid)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    assert comes_true(lambda: not is_running(pid), within_s=1)


def test_request_that_is_too_large_to_send_costs_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it was sent, and whoever asks learns why; a share would be taken for one that gives no answer."""
    worker = WorkerProcess(scripted())
    monkeypatch.setattr(frames, "MAX_FRAME_BYTES", 100)
    with pytest.raises(WorkerRefused, match="larger than 100"):
        worker.call({"op": "echo", "text": "x" * 100}, deadline_s=10)
    monkeypatch.undo()
    assert worker.alive
    worker.stop()
