"""One run of somebody else's program: what it gets, and that nothing of it stays."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ocrwatch.service.hook_process import Outcome, run
from tests.faults.waiting import wait_until
from tests.faults.workers import is_running


def _run(
    code: str, *arguments: str, data: bytes = b"{}\n", timeout_s: float = 30.0, is_ending: Callable[[], bool] = lambda: False
) -> Outcome:
    argv = (sys.executable, "-c", code, *arguments)
    return run(argv, data, environment={"OCRWATCH_EVENT": "done"}, timeout_s=timeout_s, is_ending=is_ending)


def test_program_gets_the_message_and_a_clean_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session of its own, `/`, no descriptor and no variable of ours: the service's may hold a token."""
    monkeypatch.setenv("HF_TOKEN", "secret")
    held = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(held, True)
    code = (
        "import json, os, sys\n"
        "told = {'env': dict(os.environ), 'cwd': os.getcwd(), 'own': os.getsid(0) == os.getpid() == os.getpgid(0),\n"
        "        'fds': sorted(map(int, os.listdir('/proc/self/fd')))[:4], 'input': sys.stdin.read()}\n"
        "open(sys.argv[1], 'w').write(json.dumps(told))"
    )
    outcome = _run(code, str(tmp_path / "told"), data=b'{"a": 1}\n')
    os.close(held)
    assert outcome == Outcome("")
    told = json.loads((tmp_path / "told").read_text())
    assert told["env"].pop("OCRWATCH_EVENT") == "done"
    assert set(told["env"]) <= {"PATH", "LANG", "HOME", "LC_CTYPE"}
    assert (told["cwd"], told["own"], told["input"]) == ("/", True, '{"a": 1}\n')
    assert told["fds"] == [0, 1, 2, 3]  # the last one lists the folder


def test_program_that_does_not_read_is_no_trouble() -> None:
    """A message larger than any pipe, and nobody to take it."""
    assert _run("pass", data=b"x" * (4 << 20)) == Outcome("")


def test_program_that_fails_says_how_and_is_quoted_briefly() -> None:
    """The first lines, cut; the log is no place for a novel."""
    outcome = _run("import sys; print('x' * 100_000); [print('line', n, file=sys.stderr) for n in range(100_000)]; sys.exit(3)")
    assert outcome.problem == "ended with status 3"
    assert 0 < len(outcome.lines) <= 8
    assert all(len(line) <= 200 for line in outcome.lines)
    assert _run("import os; os.kill(os.getpid(), 11)").problem == "was ended by signal 11"


@pytest.mark.parametrize("argv", [("/nowhere/at/all",), ("/etc/hostname",), ("/bin/e\0cho",)])
def test_program_that_cannot_be_run_says_why(argv: tuple[str, ...]) -> None:
    """It may have been removed since the configuration was read."""
    assert run(argv, b"", environment={}, timeout_s=5.0, is_ending=lambda: False).problem.startswith("cannot be run: ")


_HANGS = """
import os, signal, subprocess, sys, time
if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"])
with open(sys.argv[1] + ".new", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
if sys.argv[2] != "leaves":
    time.sleep(600)
"""


@pytest.mark.parametrize("how", ["obeys", "stubborn", "leaves"])
def test_program_ends_with_all_that_it_started(tmp_path: Path, how: str) -> None:
    """At its deadline by TERM, then KILL; and what it left behind goes too when it ends in time."""
    begin = time.monotonic()
    outcome = _run(_HANGS, str(tmp_path / "pids"), how, timeout_s=600.0 if how == "leaves" else 1.5)
    assert outcome.problem == ("" if how == "leaves" else "took longer than 1.5 s and was ended")
    assert time.monotonic() - begin < 10
    wait_until(lambda: not any(is_running(int(pid)) for pid in (tmp_path / "pids").read_text().split()))


def test_program_is_ended_with_the_service(tmp_path: Path) -> None:
    """No stop of the service waits for a hook's deadline."""
    pids = tmp_path / "pids"
    outcome = _run(_HANGS, str(pids), "obeys", timeout_s=600.0, is_ending=pids.exists)
    assert outcome.problem == "was ended with the service"
    wait_until(lambda: not any(is_running(int(pid)) for pid in pids.read_text().split()))


def test_program_may_close_its_output_and_go_on() -> None:
    """That is no end, and costs no processor time while it lasts."""
    used = time.process_time()
    assert _run("import os, time; os.close(1); os.close(2); time.sleep(0.7)") == Outcome("")
    assert time.process_time() - used < 0.3


def test_no_descriptor_is_left_behind() -> None:
    """A service lives for years."""
    before = len(os.listdir("/proc/self/fd"))
    for code in ("pass", "import sys; sys.exit(1)", "import time; time.sleep(9)"):
        _run(code, timeout_s=0.5)
    run(("/nowhere",), b"", environment={}, timeout_s=1.0, is_ending=lambda: False)
    assert len(os.listdir("/proc/self/fd")) == before
