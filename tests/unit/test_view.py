"""What `status` and `why` look like to a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.intake.entries import Entry, Identity
from ocrwatch.intake.ignore import Patterns
from ocrwatch.intake.settle import Waiting, WaitReason
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.states import JobState, PageState
from ocrwatch.service.logs import printable
from ocrwatch.service.view import status_lines, why_lines
from ocrwatch.service.why import _MEANING, Surroundings, explain
from ocrwatch.wording import duration
from tests.faults.waiting import FakeClock


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (172799, "48.0 h"), (172800, "2.0 d")],
)
def test_duration_is_in_the_unit_that_one_would_say(seconds: float, words: str) -> None:
    """Short."""
    assert duration(seconds) == words


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=())))
def test_whatever_a_file_is_called_it_is_one_line_that_can_be_printed(name: str) -> None:
    """A name must not forge a log line, nor move the cursor."""
    shown = printable(name)
    assert shown.isprintable()
    shown.encode("utf-8")
    assert len(shown.splitlines()) <= 1


def _model(**changes: Any) -> dict[str, Any]:
    return {
        "state": "cold",
        "pid": None,
        "file": "m.gguf",
        "device": None,
        "layers_on_gpu": None,
        "layers": None,
        "gpu_bytes": None,
        "calibrated": None,
        "degraded": "",
        "leases": 0,
        "fetched": None,
        "returned": None,
        "resident_bytes": 0,
        "idle_left_s": None,
        "problem": "",
        "unavailable_s": None,
    } | changes


def _status(**changes: Any) -> dict[str, Any]:
    inbox = {
        "name": "scans",
        "path": "/srv/\udcff\n",
        "state": "online",
        "problem": "",
        "below": [],
        "unread": [],
        "unread_count": 0,
        "looks_by": "events",
        "why_polling": "",
        "files": 7,
        "waiting": 1,
        "counts": {"queued": 2, "deferred": 1, "done": 3, "partial": 1, "poison": 1},
        "oldest_s": 120.0,
        "outputs": [],
        "moves": {},
    }
    common = {
        "version": "1",
        "pid": 5,
        "up_s": 30.0,
        "rss_bytes": 30e6,
        "inboxes": [inbox],
        "model": None,
        "workers": [{"state": "busy", "resident_bytes": 50e6}],
        "pages_waiting": 4,
        "jobs_active": 2,
        "last_hour": {"done": 3, "failed": 1},
        "last_hour_pages": 9,
        "last_hour_failures": {"encrypted_file": 1},
    }
    return common | changes


def test_status_counts_what_waits_is_done_and_failed() -> None:
    """One line an inbox, and what is wrong with it below."""
    text = "\n".join(status_lines(_status()))
    (line,) = [line for line in text.splitlines() if line.startswith("scans")]
    assert line.split()[:10] == ["scans", "online", "events", "7", "1", "3", "4", "1", "2", "min"]
    assert line.endswith(r"/srv/\udcff\n")
    assert "correction is off" in text
    assert "1 workers, 1 busy, 50 MB, 4 pages waiting, 2 files in work" in text
    assert "9 pages; files: 3 done, 1 failed; failed for: 1 encrypted_file" in text


def test_status_counts_folders_that_cannot_be_listed_beyond_those_that_it_names() -> None:
    """Those that have no room, and those of which the caller may not know."""

    def said(named: int, count: int) -> list[str]:
        unread = [{"path": f"sub{number}\n", "reason": "Permission denied"} for number in range(named)]
        inbox = _status()["inboxes"][0] | {"unread": unread, "unread_count": count}
        return [line for line in status_lines(_status(inboxes=[inbox])) if "cannot be listed" in line]

    assert said(0, 0) == []
    assert said(1, 1) == [r"  cannot be listed: sub0\n: Permission denied"]
    assert said(0, 2) == ["  cannot be listed: 2 folders: the log names them all"]
    assert said(12, 12)[9:] == [
        r"  cannot be listed: sub9\n: Permission denied",
        "  cannot be listed: 2 more folders: the log names them all",
    ]


def test_status_says_why_an_inbox_is_polled_and_that_an_hour_was_quiet() -> None:
    """Nobody wonders why a file takes minutes."""
    inbox = _status()["inboxes"][0] | {"looks_by": "polling", "why_polling": "nfs4 sends no events", "oldest_s": None}
    lines = list(status_lines(_status(inboxes=[inbox], last_hour={}, last_hour_pages=0, last_hour_failures={})))
    assert "  polled: nfs4 sends no events" in lines
    assert "hour     nothing finished" in lines


def test_status_names_what_is_made_beside_the_text_and_where_files_go() -> None:
    """As configured, each on a line of its own; nothing where nothing is."""
    plain = list(status_lines(_status()))
    inbox = _status()["inboxes"][0] | {"outputs": ["hOCR", "searchable PDF"], "moves": {"failed": "/srv/bad\n"}}
    lines = list(status_lines(_status(inboxes=[inbox])))
    assert [line for line in lines if line not in plain] == [
        "  beside the text: hOCR, searchable PDF",
        r"  moves failed files to /srv/bad\n",
    ]


def test_first_page_is_begun_twice_and_no_hard_one_for_that(journal: Journal) -> None:
    """It is begun for the inspection of the file too; a page that lost a worker is hard, whichever it is."""
    for number, begun in ((1, 2), (2, 1), (3, 2), (4, 1)):
        for _ in range(begun):
            journal.page_begins(1, number)
    journal.page_killed_worker(1, 4, reason="memory", detail="it took 2 GB")
    hard = _explain(journal, "queued.pdf")["hard_pages"]
    assert [(page["page"], page["tries"], page["deaths"]) for page in hard] == [(3, 2, 0), (4, 1, 1)]
    assert "  page 4: begun 1 times, workers lost 1: it took 2 GB" in list(why_lines(_explain(journal, "queued.pdf")))
    journal.close()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (_model(), "m.gguf: unloaded"),
        (_model(file=None), "not found yet: unloaded"),
        (_model(state="loading"), "m.gguf: loading"),
        (
            _model(state="ready", pid=9, device="gpu", layers_on_gpu=20, layers=36, idle_left_s=60.0),
            "loaded on gpu 20/36 layers, pid 9, 0 MB, unloads in 60 s",
        ),
        (
            _model(state="ready", pid=9, device="gpu", layers_on_gpu=24, layers=36, gpu_bytes=2_100_000_000),
            "loaded on gpu 24/36 layers, 2.1 GB, pid 9",
        ),
        (
            _model(state="ready", pid=9, device="cpu", degraded="GPU-1 has 300 MB free"),
            "degraded: cpu (GPU-1 has 300 MB free), pid 9",
        ),
        (_model(state="loading", fetched=(1_200_000_000, 3_600_000_000)), "being fetched, 1.2 GB of 3.6 GB"),
        (_model(returned={"verdict": "verified", "reason": "", "after_s": 0.3}), "unloaded, its GPU memory is free again"),
        (
            _model(returned={"verdict": "timeout", "reason": "pid 9 is still there", "after_s": 5.0}),
            "unloaded, its GPU memory was not free again in time: pid 9 is still there",
        ),
        (_model(state="ready", pid=9, device="cpu"), "loaded on cpu, pid 9, 0 MB, stays loaded"),
        (_model(state="ready", pid=9, device="cpu", calibrated=True), "stays loaded, calibrated"),
        (_model(state="ready", pid=9, device="cpu", calibrated=False), "stays loaded, not calibrated: corrects least"),
        (_model(state="busy", pid=9, device="cpu"), "in use"),
        (_model(state="ready", pid=9, device="cpu", leases=1), "in use"),
        (_model(state="stopping", problem="pid 9 does not end"), "m.gguf: stopping; its last process: pid 9 does not end"),
        (_model(state="backoff", unavailable_s=600.0, problem="no memory"), "backoff; not to be had since 10 min: no memory"),
        (_model(problem="SIGABRT"), "unloaded; its last process: SIGABRT"),
    ],
)
def test_model_is_one_line(model: dict[str, Any], words: str) -> None:
    """Where it is, or why it is not to be had."""
    (line,) = [line for line in status_lines(_status(model=model)) if line.startswith("model")]
    assert words in line


# -- why -----------------------------------------------------------------------------------------------------------------

_WAITING = Waiting("wait.pdf", WaitReason.TRUNCATED, "its end is missing", 900.0)


def _explain(journal: Journal, path: str, *, problem: str = "") -> dict[str, Any]:
    around = Surroundings(
        inbox="in",
        patterns=Patterns(ignore=("private*",)),
        text_base="/srv",
        waiting=(_WAITING,),
        problem=problem,
    )
    return explain(path, around, journal=journal, monotonic_s=1000.0, wall_s=1_700_000_010.0)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """With a file in each state."""
    made = Journal(tmp_path / "journal.db", wall_clock=FakeClock(1_700_000_000.0))
    for name in ("queued", "deferred", "failed", "partial"):
        made.add("in", [Entry(f"{name}.pdf", Identity(size=1, mtime_ns=1))])
    made.defer(2, delay_s=60, reason="share_offline", detail="no answer")
    for number, state in ((3, JobState.FAILED), (4, JobState.PARTIAL)):
        made.move(number, JobState.SPOOLED)
        made.set_pages(number, 2)
        made.page_is(number, 1, PageState.RECOGNIZED)
        made.page_is(number, 2, PageState.FAILED, reason="corrupt_file", detail="damaged\nforged line")
        text = "partial.pdf.txt" if number == 4 else None
        made.move(number, state, reason="corrupt_file", detail="it is damaged", text_name=text)
    return made


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("wait.pdf", ["waiting", "its end is missing", "first seen 2 min ago"]),
        ("private.pdf", ["ignored", "private*"]),
        ("notes.doc", ["ignored", "only these are scans"]),
        ("new.pdf", ["unknown", "never seen"]),
        ("queued.pdf", ["queued", "waits for its turn"]),
        ("deferred.pdf", ["deferred", "share_offline: no answer", "tried again in 50 s"]),
        ("failed.pdf", ["failed", "corrupt_file: it is damaged", "pages 1/2", r"page 2: damaged\nforged line"]),
        ("partial.pdf", ["partial", "not the whole text", "text: /srv/partial.pdf.txt"]),
    ],
)
def test_why_answers_for_every_file(journal: Journal, path: str, words: list[str]) -> None:
    """State, reason, what happens next and when; one line each."""
    lines = list(why_lines(_explain(journal, path)))
    text = "\n".join(lines)
    assert all(word in text for word in words), text
    assert all("\n" not in line for line in lines)
    journal.close()


def test_why_tells_that_the_inbox_is_away(journal: Journal) -> None:
    """Before anything else can happen."""
    assert any("offline: no answer" in line for line in why_lines(_explain(journal, "queued.pdf", problem="no answer")))
    journal.close()


def test_every_state_has_its_meaning() -> None:
    """In words."""
    assert set(_MEANING) == set(JobState)
