"""What `status --watch` puts on a screen."""

from __future__ import annotations

import threading

from ocrwatch.cli_options import Tenths
from ocrwatch.errors import OcrwatchError
from ocrwatch.service.control import NoDaemon
from ocrwatch.service.watching import Latest, fitted, lines_of, styled
from tests.faults.waiting import FakeClock


def _gone() -> dict[str, object]:
    raise NoDaemon("/run/x\n.sock")


def _broken() -> dict[str, object]:
    raise OcrwatchError("the daemon broke off", "see its log")


def test_without_a_daemon_it_waits_for_one() -> None:
    """A restart is no reason to end."""
    assert lines_of(_gone) == [r"no daemon listens at /run/x\n.sock: waiting for one"]
    assert lines_of(_broken) == ["the daemon broke off; see its log"]


def test_what_has_no_room_is_counted() -> None:
    """Nothing is below the screen without a word."""
    lines = [f"row {number}" for number in range(10)]
    assert fitted(lines, width=80, height=10) == lines
    assert fitted(lines, width=80, height=4) == ["row 0", "row 1", "row 2", "... 7 more lines: make the window higher"]
    assert len(fitted(lines, width=80, height=1)) == 1


def test_sentences_are_folded_and_rows_are_not() -> None:
    """The remedy is at the end of a sentence; a row of a table would fall apart."""
    row, sentence = "scans            online " + "x" * 90, "  it cannot be entered; " + "check that it is mounted " * 4
    shown = fitted([row, sentence, "", "model    " + "word " * 20], width=40, height=99)
    assert shown[0] == row
    assert all(len(line) <= 40 for line in shown[1:])
    assert [line[:4] for line in shown[1:3]] == ["  it", "    "]
    assert "".join(shown[1:]).count("mounted") == 4
    assert shown[-1].startswith(" " * 9 + "word")


def test_colours_follow_the_state_and_not_a_path() -> None:
    """A folder called `offline` is no alarm."""
    styles = [str(span.style) for span in styled(f"{'scans':<16} offline  polling       0  /srv/failed for: x").spans]
    assert styles == ["red", "magenta"]
    assert [str(span.style) for span in styled(f"{'scans':<16} online   events       0  /srv/offline").spans] == ["green", "cyan"]


def test_progress_in_a_pipe_is_a_line_for_each_tenth() -> None:
    """A log of ten thousand files has ten lines of it; of three files three."""
    lines: list[str] = []
    for total in (10_000, 3):
        tell = Tenths("files", tell=lines.append)
        for done in range(total + 1):
            tell(done, total)
    assert lines[:10] == [f"files: {number}000 of 10000" for number in range(1, 11)]
    assert lines[10:] == ["files: 1 of 3", "files: 2 of 3", "files: 3 of 3"]
    Tenths("files", tell=lines.append)(0, 0)


def test_old_answer_is_shown_as_an_old_one() -> None:
    """A daemon that hangs does not look like one that is idle."""
    clock, asked, never = FakeClock(100.0), threading.Event(), threading.Event()

    def ask() -> dict[str, object]:
        if asked.is_set():
            never.wait()
        asked.set()
        raise NoDaemon("/run/x.sock")

    latest = Latest(ask, clock=clock)
    latest.wait(10.0)
    waiting = ["no daemon listens at /run/x.sock: waiting for one"]
    assert latest.lines() == waiting
    clock.now += 9.0
    assert latest.lines() == waiting
    clock.now += 3.0
    assert latest.lines() == [*waiting, "no answer for 12 s: what stands here may no longer be so"]
