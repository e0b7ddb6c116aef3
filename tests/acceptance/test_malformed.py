"""Every malformed file of the shared set through one daemon, with good scans in between: none harms another."""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.intake.ignore import why_ignored
from tests.faults import scans
from tests.faults.daemon import wait_until
from tests.faults.outside import AskedService, litter
from tests.faults.workers import is_running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

_GOOD = 12
_FINAL = frozenset({"done", "partial", "failed", "poison"})
_PAGE_MEMORY_BYTES = 1_500_000_000
_LIMIT_S = 600.0


@dataclass
class Run:
    """What became of the files, by name in the inbox; `category` is the set's own word for each."""

    service: AskedService
    category: dict[str, str]
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    good_took_s: dict[str, float] = field(default_factory=dict)
    highest_bytes: int = 0
    left_running: list[int] = field(default_factory=list)

    def state(self, name: str) -> str:
        """The final state of a file."""
        return str(self.answers[name]["state"])


@pytest.fixture(scope="module")
def run(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """One daemon that has got them all at once, until each has come to its end; stopped."""
    folder = tmp_path_factory.mktemp("malformed")
    service = AskedService(folder)
    service.settings["inboxes"][0] |= {"incomplete_max": "2s"}
    service.settings["ocr"] = {"page_timeout": "30s", "page_memory": f"{_PAGE_MEMORY_BYTES // 10**6}MB"}
    service.write_config()
    run = Run(service, _fill(service.inbox, shared_data / "malformed"))
    try:
        service.start()
        begun = time.monotonic()
        wait_until(lambda: _watch(run, begun), timeout_s=_LIMIT_S, what="the end of every file")
        children = service.children()
        service.stop()
        run.left_running = [pid for pid in children if is_running(pid)]
        _print(run)
        yield run
    finally:
        service.end()


def _fill(inbox: Path, malformed: Path) -> dict[str, str]:
    """The set with a good scan after every few of them; names are kept, with their folder in front."""
    category = {}
    rows = _manifest(malformed)
    for number, row in enumerate(rows):
        name = f"{number:03}-{row['file'].replace('/', '-')}"
        shutil.copyfile(malformed / row["set"] / row["file"], inbox / name)
        category[name] = row["category"]
        if number % (len(rows) // _GOOD) == 0:
            scans.write(inbox / f"{number:03}-good.png", f"good letter {number}")
            category[f"{number:03}-good.png"] = "good"
    return category


def _manifest(malformed: Path) -> list[dict[str, str]]:
    with (malformed / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _watch(run: Run, begun_s: float) -> bool:
    """Note what is finished; whether everything is."""
    status = run.service.status()
    run.highest_bytes = max([run.highest_bytes, *(worker["resident_bytes"] for worker in status["workers"])])
    for name in run.category.keys() - run.answers.keys():
        answer = run.service.why(name)
        if answer["state"] in _FINAL or answer["state"] == "ignored":
            run.answers[name] = answer
            if run.category[name] == "good":
                run.good_took_s[name] = time.monotonic() - begun_s
    return run.answers.keys() == run.category.keys()


def _print(run: Run) -> None:
    for name in sorted(run.category):
        answer = run.answers[name]
        print(f"{answer['state']:9} {run.category[name]:16} {name}: {answer.get('detail') or answer['meaning']}")
    longest_s = max(run.good_took_s.values())
    print(f"highest memory of a worker {run.highest_bytes / 1e6:.0f} MB; good scans after {longest_s:.1f} s at most")


def test_every_file_has_a_state_and_a_reason(run: Run) -> None:
    """`why` has an answer in words for each that has no text."""
    for name, answer in run.answers.items():
        assert answer["state"] in {"done"} or answer.get("detail") or answer["state"] == "ignored", name
        assert (answer["state"] == "ignored") == (why_ignored(name) is not None), name


def test_reason_names_nothing_of_our_own(run: Run) -> None:
    """A person knows the scan, not the copy of it in the state directory."""
    ours = ("source", str(run.service.settings["state_dir"]))
    reasons = {name: str(answer.get("detail") or "").replace(name, "") for name, answer in run.answers.items()}
    assert {name: reason for name, reason in reasons.items() if any(word in reason for word in ours)} == {}


def test_valid_but_unusual_files_get_through(run: Run) -> None:
    """Unusual is not broken: each has its text, unless its name is that of no scan."""
    missed = {
        n: run.answers[n] for n, c in run.category.items() if c == "valid, unusual" and run.state(n) not in ("done", "ignored")
    }
    assert missed == {}


def test_no_malformed_file_is_run_again_and_again(run: Run) -> None:
    """Two deaths of a worker at most, and one try unless the service was at fault."""
    assert [n for n, answer in run.answers.items() if answer.get("deaths", 0) > 2 or answer.get("tries", 0) > 1] == []


def test_good_scans_are_done_and_not_held_up(run: Run) -> None:
    """Whatever stands before and behind them."""
    good = [name for name, category in run.category.items() if category == "good"]
    assert {run.state(name) for name in good} == {"done"}
    assert all((run.service.inbox / f"{name}.txt").read_text(encoding="utf-8").strip() for name in good)
    assert max(run.good_took_s.values()) < _LIMIT_S / 2


def test_nothing_is_left_behind(run: Run) -> None:
    """No process, no temporary file in the inbox, no spool of a finished job, no worker above its limit."""
    assert run.left_running == []
    assert litter(run.service.inbox) == []
    kept = {name for name in run.category if run.state(name) == "partial"}
    jobs = Path(run.service.settings["state_dir"]) / "jobs"
    assert len(list(jobs.iterdir())) <= len(kept)
    assert run.highest_bytes <= 1.1 * _PAGE_MEMORY_BYTES


def test_originals_are_untouched(run: Run, shared_data: Path) -> None:
    """Byte for byte."""
    for number, row in enumerate(_manifest(shared_data / "malformed")):
        copy = run.service.inbox / f"{number:03}-{row['file'].replace('/', '-')}"
        assert copy.read_bytes() == (shared_data / "malformed" / row["set"] / row["file"]).read_bytes(), row["file"]
