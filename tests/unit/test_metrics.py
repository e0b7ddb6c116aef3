"""What a scrape says of a real journal; the parts around it only tell their status."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from ocrwatch.errors import StateUnwritable
from ocrwatch.intake.entries import Entry, Identity
from ocrwatch.intake.inbox import InboxStatus
from ocrwatch.intake.settle import Waiting, WaitReason
from ocrwatch.intake.surroundings import InboxState, TerritoryStatus
from ocrwatch.journal.history import History
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.states import ALLOWED, JobState
from ocrwatch.ocr.engine import EngineName
from ocrwatch.service import metrics
from ocrwatch.service.metrics import Metrics, Sources
from ocrwatch.tally import Counted, Tally
from ocrwatch.worker.supervised import Snapshot, WorkerState

_WAITING = Waiting("a.pdf", WaitReason.SETTLING, "", 0.0)


class Parts:
    """An inbox, its treatment, the workers and the dispatcher, as far as a scrape asks them."""

    def __init__(self) -> None:
        self.engine = EngineName.TESSERACT
        self.own = TerritoryStatus(InboxState.ONLINE, "", (_WAITING,), "")
        self.below: dict[str, TerritoryStatus] = {}
        self.workers = [Snapshot(), Snapshot(state=WorkerState.BUSY, starts=3, deaths=1)]

    def status(self) -> InboxStatus:
        return InboxStatus(self.own, self.below)

    def lives(self) -> list[tuple[EngineName, Snapshot]]:
        return [(EngineName.TESSERACT, worker) for worker in self.workers]

    def snapshots(self) -> list[tuple[EngineName, Snapshot, int]]:
        return [(EngineName.TESSERACT, self.workers[1], 1000)]

    def waiting(self) -> int:
        return 7

    def active(self) -> int:
        return 2


class Scraped:
    """A journal, and the figures of a service on it."""

    def __init__(self, path: Path) -> None:
        self.now_s = 1000.0
        self.path = path
        self.journal = Journal(path, wall_clock=lambda: self.now_s)
        self.parts = Parts()
        self.tally = Tally()
        self.history: History
        self.begin()

    def begin(self) -> None:
        """The service starts."""
        self.history = History(self.path, wall_clock=lambda: self.now_s, read_only=True)
        parts = cast(Any, self.parts)
        sources = Sources(
            inboxes={"letters": parts},
            treatments={"letters": parts},
            tally=self.tally,
            pool=parts,
            model=None,
            dispatcher=parts,
            wall_clock=lambda: self.now_s,
        )
        self.registry = CollectorRegistry()
        self.registry.register(Metrics(sources, self.history))

    def close(self) -> None:
        """Both connections."""
        self.history.close()
        self.journal.close()

    def job(self, name: str = "a.pdf") -> int:
        """A file has settled."""
        (job,) = self.journal.add("letters", [Entry(name, Identity(size=1, mtime_ns=int(self.now_s), inode=1))])
        return job.id

    def finish(self, job: int, **why: str) -> None:
        """Its text is there."""
        self.journal.move(job, JobState.SPOOLED)
        self.journal.move(job, JobState.DONE, **why)

    def value(self, name: str, **labels: str) -> float | None:
        """A sample of a scrape that is made now."""
        return self.registry.get_sample_value(f"ocrwatch_{name}", labels)

    def finished(self, state: str) -> float | None:
        """How many files came to that end, by a scrape that is made now."""
        return self.value("files_finished_total", inbox="letters", state=state)

    def growing(self) -> dict[Any, float]:
        """Every sample that must never fall."""
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.registry.collect()
            if family.type in ("counter", "histogram")
            for sample in family.samples
        }


@pytest.fixture
def scraped(tmp_path: Path) -> Iterator[Scraped]:
    """A service that has just started on an empty journal."""
    scraped = Scraped(tmp_path / "journal.db")
    yield scraped
    scraped.close()


def test_only_what_happens_from_the_start_on_is_counted(scraped: Scraped) -> None:
    """Counts begin at none with the process, states are as they are."""
    scraped.finish(scraped.job("old.pdf"))
    scraped.history.close()
    scraped.tally = Tally()
    scraped.begin()
    assert scraped.finished("done") == 0
    assert scraped.value("files", inbox="letters", state="done") == 1
    scraped.finish(scraped.job("new.pdf"))
    assert scraped.finished("done") == 1
    assert scraped.finished("done") == 1


def test_failures_and_tries_put_off_are_told_by_kind_of_error(scraped: Scraped) -> None:
    """A file that is tried again and done counts as both."""
    job = scraped.job()
    scraped.journal.defer(job, delay_s=1.0, reason="share_offline", detail="the NAS is away")
    scraped.journal.wake(longest_s=0.0)
    scraped.journal.move(job, JobState.SPOOLED)
    scraped.journal.move(job, JobState.FAILED, reason="encrypted_file", detail="letters/secret.pdf needs a password")
    scraped.journal.retry(job)
    scraped.finish(job)
    assert scraped.value("deferrals_total", inbox="letters", reason="share_offline") == 1
    assert scraped.value("file_failures_total", inbox="letters", reason="encrypted_file") == 1
    assert (scraped.finished("failed"), scraped.finished("done")) == (1, 1)
    assert "secret" not in str(list(scraped.registry.collect()))


def test_way_to_a_text_is_timed_once_a_version(scraped: Scraped) -> None:
    """From whole to the first text, raw or not; what comes later by the model or by hand is no wait for a text."""
    job = scraped.job()
    scraped.now_s += 4
    scraped.journal.move(job, JobState.SPOOLED)
    scraped.now_s += 6
    scraped.journal.move(job, JobState.AWAITING_CORRECTION)
    scraped.now_s += 5000
    scraped.journal.move(job, JobState.PARTIAL)
    scraped.journal.retry(job)
    scraped.journal.move(job, JobState.SPOOLED)
    scraped.journal.move(job, JobState.DONE)
    assert scraped.value("file_to_text_seconds_count", inbox="letters") == 1
    assert scraped.value("file_to_text_seconds_sum", inbox="letters") == 10
    assert scraped.value("file_to_text_seconds_bucket", inbox="letters", le="5.0") == 0
    assert scraped.value("file_to_text_seconds_bucket", inbox="letters", le="10.0") == 1
    assert scraped.value("file_to_text_seconds_bucket", inbox="letters", le="+Inf") == 1
    assert scraped.value("file_wait_seconds_sum", inbox="letters") == 4


def test_text_that_was_found_took_no_time_to_make(scraped: Scraped) -> None:
    """After the loss of a journal thousands of them would hide what real files take."""
    scraped.finish(scraped.job(), reason="adopted", detail="")
    assert scraped.finished("done") == 1
    assert scraped.value("file_to_text_seconds_count", inbox="letters") is None


def test_scan_that_went_and_came_back_is_not_finished_anew(scraped: Scraped) -> None:
    """A share that lost its files for a day is no day's work."""
    scraped.finish(scraped.job())
    scraped.journal.gone("letters", "a.pdf")
    scraped.job()
    assert scraped.finished("done") == 1
    assert scraped.value("files", inbox="letters", state="done") == 1


def test_clock_that_is_set_back_makes_no_time_negative(scraped: Scraped) -> None:
    """Prometheus would take a sum that falls for a restart; an age is at least none."""
    job = scraped.job()
    scraped.now_s -= 500
    assert scraped.value("oldest_unprocessed_age_seconds", inbox="letters") == 0
    scraped.journal.move(job, JobState.SPOOLED)
    scraped.journal.move(job, JobState.DONE)
    assert scraped.value("file_to_text_seconds_sum", inbox="letters") == 0


def test_oldest_file_without_a_text_has_an_age(scraped: Scraped) -> None:
    """Of the files that have none; 0 when all have one."""
    assert scraped.value("oldest_unprocessed_age_seconds", inbox="letters") == 0
    job = scraped.job()
    scraped.now_s += 90
    assert scraped.value("oldest_unprocessed_age_seconds", inbox="letters") == 90
    scraped.finish(job)
    assert scraped.value("oldest_unprocessed_age_seconds", inbox="letters") == 0


def test_inbox_is_offline_when_a_part_of_it_is(scraped: Scraped) -> None:
    """Also when only a mount below it is away."""
    assert scraped.value("inbox_offline", inbox="letters") == 0
    scraped.parts.below["nas"] = TerritoryStatus(InboxState.OFFLINE, "no answer", (), "nfs4: no events of all changes")
    assert scraped.value("inbox_offline", inbox="letters") == 1
    assert scraped.value("inbox_polling", inbox="letters") == 1
    assert scraped.value("files_settling", inbox="letters") == 1


def test_workers_are_told_by_state_and_their_lives_add_up(scraped: Scraped) -> None:
    """Deaths of those that have no process now count too."""
    scraped.parts.workers[0] = Snapshot(starts=2, deaths=2)
    assert scraped.value("workers", engine="tesseract", state="busy") == 1
    assert scraped.value("workers", engine="tesseract", state="cold") == 1
    assert scraped.value("worker_starts_total", worker="tesseract") == 5
    assert scraped.value("worker_deaths_total", worker="tesseract") == 3
    assert (scraped.value("pages_waiting"), scraped.value("jobs_active")) == (7, 2)


def test_flood_of_transitions_is_taken_in_by_parts(scraped: Scraped, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape after an hour without one costs no more than another; nothing is lost."""
    monkeypatch.setattr(metrics, "_MOST_AT_ONCE", 6)
    for number in range(5):
        scraped.finish(scraped.job(f"{number}.pdf"))
    assert [scraped.finished("done") for _ in range(4)] == [2, 4, 5, 5]


def test_scrape_waits_for_no_writer(scraped: Scraped) -> None:
    """A transaction that is open, as on a disk that hangs, holds up no look at what was before."""
    job = scraped.job()
    with scraped.journal._transaction():
        scraped.finish(job)
        assert scraped.value("files", inbox="letters", state="queued") == 1
        assert scraped.finished("done") == 0
    assert scraped.finished("done") == 1


def test_journal_that_cannot_be_read_takes_only_its_own_figures(scraped: Scraped, caplog: pytest.LogCaptureFixture) -> None:
    """What it would say is absent instead of wrong, the rest is told, and the log has it once."""
    scraped.finish(scraped.job())
    assert scraped.finished("done") == 1
    scraped.history.close()
    for _ in range(3):
        assert scraped.value("journal_readable") == 0
    assert scraped.value("files", inbox="letters", state="done") is None
    assert scraped.value("oldest_unprocessed_age_seconds", inbox="letters") is None
    assert scraped.finished("done") == 1
    assert scraped.value("pages_waiting") == 7
    assert caplog.text.count("metrics go without the journal") == 1
    with pytest.raises(StateUnwritable):
        scraped.history.last()


def test_what_was_counted_elsewhere_is_told_with_its_labels(scraped: Scraped) -> None:
    """One line for each combination that there was."""
    scraped.tally.add(Counted.EDITS, "letters", "refused", by=3)
    assert scraped.value("edits_total", inbox="letters", outcome="refused") == 3
    assert scraped.value("edits_total", inbox="letters", outcome="applied") == 0


@settings(max_examples=25)
@given(seed=st.integers(min_value=0, max_value=2**32))
def test_no_counter_ever_falls(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever becomes of the files, in whatever order, whatever the clock does."""
    chance = random.Random(seed)
    scraped = Scraped(tmp_path_factory.mktemp("journal") / "journal.db")
    try:
        jobs = [scraped.job(f"{number}.pdf") for number in range(3)]
        before = scraped.growing()
        for _ in range(10):
            job = scraped.journal.job(chance.choice(jobs))
            scraped.now_s += chance.uniform(-50, 500)
            if after := sorted(ALLOWED[job.state]):
                scraped.journal.move(job.id, chance.choice(after), reason="some_error")
            now = scraped.growing()
            assert all(now[name] >= value for name, value in before.items())
            before = now
    finally:
        scraped.close()
