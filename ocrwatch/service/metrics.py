"""What Prometheus is told: the state of the parts at the moment of a scrape, and what was counted since the process began.

Owns the names, which administrators' rules rely on. A scrape asks no file system of scans, no driver and no worker, and takes no
lock that somebody holds while he waits for one; the journal is read from beside it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from ocrwatch import __version__
from ocrwatch.correction.leases import Unload
from ocrwatch.correction.owner import ModelOwner, ModelStatus
from ocrwatch.correction.returned import Returned
from ocrwatch.dispatch import Dispatcher
from ocrwatch.errors import (
    CorruptFile,
    EmptyDocument,
    EncryptedFile,
    ForeignFile,
    Infrastructure,
    OcrwatchError,
    OutputUnwritable,
    OversizedPage,
    PoisonFile,
    ShareOffline,
    StateUnwritable,
    UnsupportedFile,
    WorkerRefused,
)
from ocrwatch.intake.inbox import Inbox, InboxStatus
from ocrwatch.intake.surroundings import InboxState
from ocrwatch.journal.history import History, Transition
from ocrwatch.journal.states import JobState
from ocrwatch.ocr.engine import PageSource
from ocrwatch.ocr.pool import RecognitionPool
from ocrwatch.tally import BOUNDS_S, Counted, Tally, Timed
from ocrwatch.treatment import Treatment
from ocrwatch.worker.supervised import WorkerState

log = logging.getLogger(__name__)

_MOST_AT_ONCE = 20_000  # transitions that one scrape takes in, within a tenth of a second or two; the next goes on
_IN_WORK = frozenset({JobState.QUEUED, JobState.SPOOLED, JobState.AWAITING_CORRECTION})
_ENDS = (JobState.DONE, JobState.PARTIAL, JobState.FAILED, JobState.POISON)
_BAD_ENDS = frozenset({JobState.FAILED, JobState.POISON})
_LIKELY: dict[Counted, tuple[type[OcrwatchError], ...]] = {
    Counted.PAGE_FAILURES: (CorruptFile, EncryptedFile, OversizedPage, WorkerRefused),
    Counted.FAILURES: (CorruptFile, EmptyDocument, EncryptedFile, ForeignFile, OversizedPage, PoisonFile, UnsupportedFile),
    Counted.DEFERRALS: (Infrastructure, OutputUnwritable, ShareOffline, StateUnwritable),
}
_CURRENT = [state for state in JobState if state not in (JobState.SUPERSEDED, JobState.VANISHED)]

Sample = tuple[Sequence[str], float]

_COUNTS: dict[Counted, tuple[str, str, tuple[str, ...]]] = {
    Counted.PAGES: ("pages_recognized", "Pages whose text was read", ("inbox", "engine", "source")),
    Counted.PAGE_FAILURES: ("pages_failed", "Pages that could not be read, by kind of error", ("inbox", "reason")),
    Counted.CORRECTED: ("pages_corrected", "Pages that the model has judged", ("inbox",)),
    Counted.TO_REVIEW: ("pages_to_review", "Pages of final texts that a person should look at", ("inbox",)),
    Counted.EDITS: ("edits", "Changes that were applied to texts, or refused", ("inbox", "outcome")),
    Counted.FINISHED: ("files_finished", "Files that came to an end, by how", ("inbox", "state")),
    Counted.FAILURES: ("file_failures", "Files that failed or were set aside, by kind of error", ("inbox", "reason")),
    Counted.DEFERRALS: ("deferrals", "Tries put off because of the surroundings, by kind of error", ("inbox", "reason")),
    Counted.MODEL_UNLOADS: ("model_unloads", "Ends of a process that had the model loaded", ("reason",)),
}
_TIMES: dict[Timed, tuple[str, str, tuple[str, ...]]] = {
    Timed.WAIT: ("file_wait_seconds", "In the queue before it is taken up, a file", ("inbox",)),
    Timed.TO_TEXT: ("file_to_text_seconds", "From whole (settled) to its first text, a file", ("inbox",)),
    Timed.RECOGNITION: ("page_recognition_seconds", "Rendering and recognizing a page", ("engine",)),
    Timed.CORRECTION: ("page_correction_seconds", "Correcting a page", ()),
    Timed.MODEL_LOAD: ("model_load_seconds", "From the start of the model's process until it was ready", ()),
}


@dataclass(frozen=True)
class Sources:
    """What is looked at, beside the journal."""

    inboxes: Mapping[str, Inbox]
    treatments: Mapping[str, Treatment]
    tally: Tally
    pool: RecognitionPool
    model: ModelOwner | None
    dispatcher: Dispatcher
    wall_clock: Callable[[], float]


class Metrics(Collector):
    """The figures of one daemon; asked by one thread at a time. Made before the first file is looked at."""

    def __init__(self, sources: Sources, history: History) -> None:
        self._of = sources
        self._tally = sources.tally
        self._history = history
        self._last = history.last()
        self._started_s = sources.wall_clock()
        self._is_readable = True
        self._begin_at_none()

    def collect(self) -> Iterator[Metric]:
        """Every family, also those that have no sample yet."""
        yield InfoMetricFamily("ocrwatch_build", "The version that runs", value={"version": __version__})
        yield _gauge("start_time_seconds", "When it started, in seconds since the epoch", (), [((), self._started_s)])
        yield from self._files()
        yield from self._inboxes()
        yield from self._work()
        yield from self._model()
        for counted, (name, words, labels) in _COUNTS.items():
            yield _counter(name, words, labels, self._tally.counts(counted).items())
        for timed in _TIMES:
            yield self._histogram(timed)

    # -- counted -------------------------------------------------------------------------------------------------

    def _begin_at_none(self) -> None:
        """The first of a kind has to be seen as one more than none, or no rule would notice it."""
        for inbox, treatment in self._of.treatments.items():
            for state in _ENDS:
                self._tally.add(Counted.FINISHED, inbox, state, by=0)
            for source in PageSource:
                self._tally.add(Counted.PAGES, inbox, treatment.engine, source, by=0)
            for outcome in ("applied", "refused"):
                self._tally.add(Counted.EDITS, inbox, outcome, by=0)
            for counted in (Counted.CORRECTED, Counted.TO_REVIEW):
                self._tally.add(counted, inbox, by=0)
            for counted, kinds in _LIKELY.items():
                for kind in kinds:
                    self._tally.add(counted, inbox, kind("").code, by=0)
        for why in Unload if self._of.model is not None else ():
            self._tally.add(Counted.MODEL_UNLOADS, why, by=0)

    def _follow(self) -> None:
        """Count what the journal has recorded since the last time."""
        for transition in self._history.since(self._last, limit=_MOST_AT_ONCE):
            self._count(transition)
            self._last = transition.id

    def _count(self, done: Transition) -> None:
        inbox = done.inbox
        if done.before in _IN_WORK and done.after in _ENDS:
            self._tally.add(Counted.FINISHED, inbox, done.after)
            if done.after in _BAD_ENDS:
                self._tally.add(Counted.FAILURES, inbox, done.reason)
        if done.after is JobState.DEFERRED:
            self._tally.add(Counted.DEFERRALS, inbox, done.reason)
        if done.before is JobState.QUEUED and done.after is JobState.SPOOLED and done.in_before_s is not None:
            self._tally.took(Timed.WAIT, inbox, seconds=done.in_before_s)
        if done.to_text_s is not None:
            self._tally.took(Timed.TO_TEXT, inbox, seconds=done.to_text_s)

    def _histogram(self, timed: Timed) -> HistogramMetricFamily:
        name, words, labels = _TIMES[timed]
        family = HistogramMetricFamily(f"ocrwatch_{name}", words, labels=labels)
        bounds = [*map(str, BOUNDS_S[timed]), "+Inf"]
        for values, spread in self._tally.spreads(timed).items():
            family.add_metric(values, list(zip(bounds, accumulate(spread.counts), strict=True)), spread.sum_s)
        return family

    # -- as it stands --------------------------------------------------------------------------------------------

    def _files(self) -> Iterator[Metric]:
        files: list[Sample] = []
        ages: list[Sample] = []
        try:
            self._follow()
            counts = self._history.counts()
            files = [((inbox, state), float(counts.get((inbox, state), 0))) for inbox in self._of.inboxes for state in _CURRENT]
            ages = [((inbox,), self._age(inbox)) for inbox in self._of.inboxes]
            self._is_readable = True
        except OcrwatchError as error:
            if self._is_readable:
                log.warning("metrics go without the journal: %s", error)
            self._is_readable = False
        yield _gauge("journal_readable", "Whether the journal could be read for this scrape", (), [((), self._is_readable)])
        yield _gauge("files", "Files by state", ("inbox", "state"), files)
        old = "How long the oldest file without a text has been whole, 0 without one"
        yield _gauge("oldest_unprocessed_age_seconds", old, ("inbox",), ages)

    def _age(self, inbox: str) -> float:
        oldest_s = self._history.oldest_unfinished(inbox)
        return 0.0 if oldest_s is None else max(0.0, self._of.wall_clock() - oldest_s)

    def _inboxes(self) -> Iterator[Metric]:
        status = {name: inbox.status() for name, inbox in self._of.inboxes.items()}
        gauges: tuple[tuple[str, str, Callable[[InboxStatus], float]], ...] = (
            ("inbox_offline", "Whether a part of the inbox cannot be reached", _is_offline),
            ("inbox_polling", "Whether a part of the inbox is looked at from time to time, for want of events", _is_polled),
            ("files_settling", "Files that are seen but not whole yet, or still change", lambda now: len(now.waiting)),
        )
        for name, words, value in gauges:
            yield _gauge(name, words, ("inbox",), [((inbox,), value(now)) for inbox, now in status.items()])

    def _work(self) -> Iterator[Metric]:
        lives, held = self._of.pool.lives(), Counter[str]()
        for engine, _, held_bytes in self._of.pool.snapshots():
            held[engine] += held_bytes
        states = Counter((str(engine), str(worker.state)) for engine, worker in lives)
        engines = sorted({str(engine) for engine, _ in lives})
        samples = [((engine, str(state)), float(states[engine, state])) for engine in engines for state in WorkerState]
        yield _gauge("jobs_active", "Files in work", (), [((), self._of.dispatcher.active())])
        yield _gauge("pages_waiting", "Pages that no recognition worker has taken yet", (), [((), self._of.pool.waiting())])
        yield _gauge("workers", "Recognition workers by state", ("engine", "state"), samples)
        yield _gauge(
            "worker_resident_memory_bytes",
            "Memory of the recognition workers",
            ("engine",),
            [((engine,), held[engine]) for engine in engines],
        )
        starts, deaths = Counter[str](), Counter[str]()
        for engine, worker in lives:
            starts[engine] += worker.starts
            deaths[engine] += worker.deaths
        if self._of.model is not None:
            model = self._of.model.status().worker
            starts["model"], deaths["model"] = model.starts, model.deaths
        for name, words, values in (
            ("worker_starts", "Processes that were started, by what for", starts),
            ("worker_deaths", "Processes that ended by themselves or were killed at a limit", deaths),
        ):
            yield _counter(name, words, ("worker",), [((worker,), number) for worker, number in values.items()])

    def _model(self) -> Iterator[Metric]:
        status = None if self._of.model is None else self._of.model.status()
        gauges: tuple[tuple[str, str, Callable[[ModelStatus], float]], ...] = (
            ("model_unavailable", "Whether the model is not to be had", lambda now: now.unavailable_since is not None),
            ("model_degraded", "Whether less of the model is on a GPU than was wanted", lambda now: bool(now.degraded)),
            ("model_pages_waiting", "Pages that wait for the model", lambda now: now.waiting),
            ("model_resident_memory_bytes", "Memory of the model's process", lambda now: now.resident_bytes),
            ("model_device_memory_bytes", "Memory that the model holds on a GPU", _device_bytes),
        )
        states = [] if status is None else [((str(s),), float(status.worker.state is s)) for s in WorkerState]
        yield _gauge("model_state", "Which state the model is in: 1 for it, 0 for the others", ("state",), states)
        for name, words, value in gauges:
            yield _gauge(name, words, (), [] if status is None else [((), value(status))])
        verdicts = [] if status is None else [((str(v),), float(status.verdicts.get(v, 0))) for v in Returned]
        yield _counter("model_memory_returns", "Unloads from a GPU, by what became of its memory", ("verdict",), verdicts)


def _gauge(name: str, words: str, labels: tuple[str, ...], samples: Sequence[Sample]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"ocrwatch_{name}", words, labels=labels)
    for values, value in samples:
        family.add_metric(values, float(value))
    return family


def _counter(name: str, words: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"ocrwatch_{name}", words, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _is_offline(status: InboxStatus) -> bool:
    return any(part.state is InboxState.OFFLINE for part in (status.own, *status.below.values()))


def _is_polled(status: InboxStatus) -> bool:
    return any(part.why_polling for part in (status.own, *status.below.values()))


def _device_bytes(status: ModelStatus) -> float:
    return float((status.worker.hello or {}).get("gpu_bytes") or 0)
