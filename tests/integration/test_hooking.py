"""Hooks and their programs: told once, told again when they fail, and never more than they can take."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.hooks import Hook, Program, Where
from ocrwatch.intake.entries import Entry, Identity
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.states import JobState
from ocrwatch.service.hooking import Hooks, Teller
from tests.faults.waiting import FakeClock, wait_until

_TELLS = "import sys; open(sys.argv[1], 'ab').write(sys.stdin.buffer.read())"
_FAILS = "import sys; open(sys.argv[1], 'ab').write(sys.stdin.buffer.read()); sys.exit('no\\x1b[31m way')"


class Bench:
    """A journal, one hook and its program, which notes what it is told."""

    def __init__(self, folder: Path, code: str = _TELLS, *, timeout_s: float = 30.0) -> None:
        self.folder, self.told = folder, folder / "told"
        self.clock, self.wall = FakeClock(), FakeClock(1_700_000_000.0)
        self.stopping = threading.Event()
        self.journal = Journal(folder / "journal.db", wall_clock=self.wall)
        self.journal.listen([Hook.DONE])
        self.program = Program((sys.executable, "-c", code, str(self.told)), timeout_s=timeout_s)
        self.teller = self.make_teller()

    def make_teller(self) -> Teller:
        """As after a start."""
        places = {"in": Where("/srv/in", "/srv/in")}
        return Teller(Hook.DONE, self.program, journal=self.journal, places=places, clock=self.clock, stopping=self.stopping)

    def finish(self, path: str) -> None:
        """A file is done."""
        (job,) = self.journal.add("in", [Entry(path, Identity(size=1, mtime_ns=1))])
        self.journal.move(job.id, JobState.SPOOLED, sha256="s")
        self.journal.move(job.id, JobState.DONE)

    def messages(self) -> list[dict[str, Any]]:
        """What the program was told."""
        return [json.loads(line) for line in self.told.read_bytes().splitlines()] if self.told.exists() else []

    def paths(self) -> list[str]:
        """The files that it was told of."""
        return [message["job"]["path"] for message in self.messages()]

    def pass_by(self, seconds: float) -> None:
        """Time passes, on both clocks, and the teller looks whenever it wants to."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            rest_s = max(0.01, self.teller.step())
            self.clock.now += rest_s
            self.wall.now += rest_s


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """One whose program does as it should."""
    bench = Bench(tmp_path)
    yield bench
    bench.journal.close()


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[Bench]:
    """One whose program fails."""
    bench = Bench(tmp_path, _FAILS)
    yield bench
    bench.journal.close()


def test_program_is_told_once_of_each_file(bench: Bench) -> None:
    """In the order in which they were done; with the same message format each time."""
    for name in ("a", "b", "c"):
        bench.finish(name)
    bench.pass_by(10)
    assert bench.paths() == ["a", "b", "c"]
    assert len({message["delivery"] for message in bench.messages()}) == 3
    bench.pass_by(60)
    assert len(bench.paths()) == 3


def test_program_that_fails_is_told_again_and_given_up_in_the_end(failing: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Bounded, and said; what it said itself can forge no line of the log."""
    failing.finish("a")
    with caplog.at_level(logging.INFO):
        failing.pass_by(12 * 3600)
    messages = failing.messages()
    assert [message["attempt"] for message in messages] == list(range(1, 13))
    assert len({message["delivery"] for message in messages}) == 1
    assert failing.journal.waiting_deliveries(Hook.DONE) == 0
    assert "given up after 12 attempts" in caplog.text
    assert "no\\x1b[31m way" in caplog.text


def test_program_that_was_mended_is_told_of_everything(failing: Bench) -> None:
    """Of what it had failed at, and of what came meanwhile."""
    failing.finish("a")
    failing.pass_by(60)
    failing.finish("b")
    failing.told.unlink()
    failing.program = Program((sys.executable, "-c", _TELLS, str(failing.told)), timeout_s=30.0)
    failing.teller = failing.make_teller()
    failing.pass_by(3600)
    assert sorted(failing.paths()) == ["a", "b"]


def test_broken_program_is_run_once_a_minute_however_much_there_is_to_tell(failing: Bench) -> None:
    """Three hundred files an hour, a program that was removed: the machine has better things to do."""
    for number in range(50):
        failing.finish(str(number))
    failing.pass_by(600)
    assert len(failing.messages()) <= 6 + 10
    assert failing.journal.waiting_deliveries(Hook.DONE) == 50


def test_program_that_hangs_is_ended_and_told_again(tmp_path: Path) -> None:
    """And it is told what it was told before."""
    code = (
        "import os, sys, time\n"
        "new = not os.path.exists(sys.argv[1])\n"
        "open(sys.argv[1], 'ab').write(sys.stdin.buffer.read())\n"
        "time.sleep(600 * new)"
    )
    bench = Bench(tmp_path, code, timeout_s=1.0)
    bench.finish("a")
    bench.pass_by(30)
    assert [message["attempt"] for message in bench.messages()] == [1, 2]
    bench.journal.close()


def test_run_in_hand_at_the_end_of_the_service_may_finish(tmp_path: Path) -> None:
    """A stop or a reload tells nobody twice whose program takes its second."""
    code = "import sys, time; open(sys.argv[1] + '.began', 'w'); time.sleep(1); " + _TELLS.partition("; ")[2]
    bench = Bench(tmp_path, code)
    bench.finish("a")
    thread = threading.Thread(target=bench.teller.run_for_ever)
    thread.start()
    wait_until((tmp_path / "told.began").exists)
    bench.stopping.set()
    thread.join(timeout=10)
    assert bench.paths() == ["a"]
    assert bench.journal.waiting_deliveries(Hook.DONE) == 0
    bench.journal.close()


_KILLED = """
import os, signal, sys
from pathlib import Path
from ocrwatch.journal.journal import Journal
from ocrwatch.service import hook_process
from tests.integration.test_hooking import Bench

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

bench = Bench(Path(sys.argv[1]))
bench.finish("a")
point = sys.argv[2]
if point == "while it runs":
    real = hook_process.run
    hook_process.run = lambda *arguments, **options: (real(*arguments, **options), kill())
else:
    setattr(Journal, point, kill)
bench.pass_by(10)
"""


@pytest.mark.parametrize(
    ("point", "times"), [("note_events", 1), ("due_delivery", 1), ("delivery_begins", 1), ("while it runs", 2), ("delivered", 2)]
)
def test_nothing_is_lost_by_a_kill(tmp_path: Path, point: str, times: int) -> None:
    """kill -9 at each step: told once where the program had not been run, and a second time where it had."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path), point],
        check=False,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    bench = Bench(tmp_path)
    bench.wall.now += 60
    bench.pass_by(60)
    assert bench.paths() == ["a"] * times
    assert len({message["delivery"] for message in bench.messages()}) == 1
    bench.journal.close()


def test_hooks_have_a_thread_each_and_none_without_a_program(bench: Bench) -> None:
    """What is not configured costs nothing."""
    program = Program(("/bin/true",), timeout_s=1.0)

    def threads(*wanted: Hook) -> set[str]:
        hooks = Hooks(dict.fromkeys(wanted, program), bench.journal, places={}, clock=bench.clock, stopping=bench.stopping)
        return {thread.name for thread in hooks.threads()}

    assert threads() == set()
    assert threads(Hook.DONE, Hook.FAILED) == {"hook-done", "hook-failed"}
