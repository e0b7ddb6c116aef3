"""What hooks are told, and when again: decided without a program or a journal."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest

from ocrwatch import hooks
from ocrwatch.hooks import Hook, Where, concerns, message, rest_s, wait_s
from ocrwatch.intake.entries import Identity
from ocrwatch.journal.records import Delivery, Event, Job
from ocrwatch.journal.states import ALLOWED, JobState

_JOB = Job(
    id=7,
    inbox="in",
    path="a/b\udcff.pdf",
    identity=Identity(size=10, mtime_ns=1, inode=5),
    state=JobState.ARCHIVED,
    reason="archived",
    detail="/srv/old/a/b.pdf",
    sha256="0" * 64,
    settings="s",
    pages=3,
    tries=1,
    deferrals=0,
    not_before=None,
    text_name="a/b\udcff.pdf.txt",
    text_sha256="1" * 64,
    json_sha256="2" * 64,
    created=1_700_000_000.0,
    changed=1_700_000_100.0,
    moved_to="/srv/old/a/b.pdf",
    to_review=2,
    edits=4,
)
_DONE = Event(at=1_700_000_060.0, before=JobState.SPOOLED, after=JobState.DONE, reason="", detail="")
_DELIVERY = Delivery(
    id=3, hook="done", at=1_700_000_060.0, attempts=1, job=7, event=_DONE, inbox="", path="", state="", detail=""
)
_PLACES = {"in": Where(scans="/srv/in", texts="/srv/texts")}


def _told(before: JobState | None, after: JobState, *, reason: str = "", to_review: int = 0) -> set[Hook]:
    event = Event(at=1.0, before=before, after=after, reason=reason, detail="")
    return {hook for hook in Hook if concerns(hook, event, to_review)}


@pytest.mark.parametrize("before", [JobState.QUEUED, JobState.SPOOLED, JobState.AWAITING_CORRECTION])
def test_final_text_is_told_and_pages_to_review_too(before: JobState) -> None:
    """`done` is the corrected text, or the raw one where there is no correction."""
    assert _told(before, JobState.DONE) == {Hook.DONE}
    assert _told(before, JobState.DONE, to_review=1) == {Hook.DONE, Hook.REVIEW}


def test_raw_text_that_waits_for_its_correction_is_not_told() -> None:
    """Whoever imports on `done` must not import twice."""
    assert _told(JobState.SPOOLED, JobState.AWAITING_CORRECTION, to_review=1) == set()


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.POISON, JobState.PARTIAL])
def test_what_a_person_has_to_act_on_is_told_as_failed(state: JobState) -> None:
    """A text with a page missing is no text that an import may take for whole."""
    assert _told(JobState.SPOOLED, state, to_review=1) == {Hook.FAILED}


def test_nothing_else_is_told() -> None:
    """A scan that was away and is back, a move to the archive, a text that was there before the journal: no news."""
    work = {JobState.QUEUED, JobState.SPOOLED, JobState.AWAITING_CORRECTION}
    for before, after in itertools.product([None, *JobState], JobState):
        if before not in work and (before is None or after in ALLOWED[before]):
            assert _told(before, after, to_review=1) == set(), (before, after)
    assert _told(JobState.SPOOLED, JobState.DONE, reason="adopted") == set()


def test_attempts_are_bounded_and_further_and_further_apart() -> None:
    """A program that is broken for good is not run for ever; one that is mended within hours loses nothing."""
    waits = list(itertools.takewhile(lambda wait: wait is not None, map(wait_s, itertools.count(1))))
    assert waits == sorted(waits, key=lambda wait: wait or 0)
    assert 8 <= len(waits) <= 20
    assert 3600 < sum(wait or 0 for wait in waits) < 6 * 3600
    assert max(wait or 0 for wait in waits) <= hooks.LONGEST_WAIT_S


def test_program_that_fails_rests_longer_each_time_but_is_never_run_without_a_pause() -> None:
    """Ten thousand events must not become ten thousand runs of a broken program."""
    rests = [rest_s(failures) for failures in range(12)]
    assert rests[0] > 0
    assert rests[1:] == sorted(rests[1:])
    assert rests[-1] == 60.0


def test_message_says_where_everything_is_and_what_became_of_it() -> None:
    """The state is that of the event; what became of the job since stands beside it."""
    told = json.loads(json.dumps(message(_DELIVERY, _JOB, _PLACES)))
    assert (told["schema_version"], told["event"], told["attempt"], told["at"]) == (1, "done", 2, "2023-11-14T22:14:20Z")
    assert told["delivery"] == message(replace(_DELIVERY, attempts=5), _JOB, _PLACES)["delivery"]
    job = told["job"]
    assert (job["state"], job["state_now"], job["reason"]) == ("done", "archived", "")
    assert job["scan"] == "/srv/in/a/b\udcff.pdf"
    assert (job["text"], job["json"]) == ("/srv/texts/a/b\udcff.pdf.txt", "/srv/texts/a/b\udcff.pdf.json")
    assert (job["pages"], job["pages_to_review"], job["edits"], job["seconds"]) == (3, 2, 4, 60.0)


def test_message_of_an_inbox_that_is_no_longer_configured_names_no_wrong_place() -> None:
    """An event may outlast the configuration that it came from."""
    job = message(_DELIVERY, _JOB, {})["job"]
    assert (job["scan"], job["text"], job["json"]) == (None, None, None)
    assert job["path"] == "a/b\udcff.pdf"


def test_message_of_an_inbox_that_went() -> None:
    """What is away, and why."""
    gone = replace(
        _DELIVERY, hook="inbox_offline", job=None, event=None, inbox="in", path="/srv/in/s", state="offline", detail="x"
    )
    told = message(gone, None, _PLACES)
    assert told["inbox"] == {"name": "in", "path": "/srv/in/s", "state": "offline", "problem": "x"}
    assert "job" not in told
