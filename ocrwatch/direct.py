"""`process`, `ocr` and `correct`: the daemon's parts put together for a few files, in a state folder that goes afterwards."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ocrwatch import composition, modelling
from ocrwatch.correction.edits import Edit, apply
from ocrwatch.correction.owner import ModelOwner
from ocrwatch.correction.protocol import EARLIER_PAGES, Correction, CorrectionRequest, Mode
from ocrwatch.dispatch import Dispatcher
from ocrwatch.errors import OcrwatchError, UsageError
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Entry, Kind
from ocrwatch.intake.ignore import PDF_SUFFIX
from ocrwatch.intake.mounts import MountTable
from ocrwatch.journal.checkpoints import Checkpoints
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.records import WHOLE_INBOX, Job
from ocrwatch.journal.states import JobState
from ocrwatch.ocr.engine import EngineName, PageResult
from ocrwatch.ocr.pool import PageTask, RecognitionPool
from ocrwatch.output.searchable import PdfMaker
from ocrwatch.output.tree import OutputTree
from ocrwatch.pipeline import Parts, Pipeline
from ocrwatch.scratch import scratch
from ocrwatch.settings import After, Configuration, CorrectionMode, InboxSettings, ModelSettings
from ocrwatch.treatment import Treatment
from ocrwatch.worker.access import MountAccess
from ocrwatch.worker.share import Reach, Share

_STILL_AT_WORK = frozenset({JobState.QUEUED, JobState.SPOOLED})
_MOST_RESTS = 2  # after which a file is given up that came to nothing, for a reason that nobody foresaw
_MISSED = frozenset({JobState.FAILED, JobState.POISON, JobState.DEFERRED, JobState.VANISHED, JobState.SUPERSEDED})


@dataclass(frozen=True)
class Reported:
    """What became of one file of `process`."""

    path: str
    line: str
    failed: bool


@dataclass(frozen=True)
class Corrected:
    """A corrected text: what `correct` prints."""

    text: str
    pages: tuple[Correction, ...]

    @property
    def notes(self) -> list[str]:
        """What a person should know of the result."""
        return [f"page {n}: {page.why}" for n, page in enumerate(self.pages, start=1) if page.why]

    def to_json(self) -> dict[str, Any]:
        """The text with every edit; offsets count within each page."""
        return {
            "text": self.text,
            "pages": [{"page": n, **page.to_json()} for n, page in enumerate(self.pages, start=1)],
        }


def bare_settings() -> Configuration:
    """The defaults, for commands that work without a configuration file."""
    return _with_inboxes(None, [InboxSettings(path=Path("/"), name="files")])


def settings_for(paths: Sequence[Path], *, base: Configuration | None, **choices: Any) -> Configuration:
    """Settings in which each folder of `paths` is an inbox: as the inbox of `base` that it is in, else the first one's languages,
    with what the command line chose over that. Nothing is archived.
    """
    _refuse_collisions(paths, choices.get("output"))
    folders = sorted({Path(os.path.abspath(path)).parent for path in paths}) or [Path("/")]
    inboxes = [_chosen(_inbox_at(folder, base), number, choices) for number, folder in enumerate(folders)]
    settings = _with_inboxes(base, inboxes)
    model = choices.get("model")
    return settings if model is None else settings.model_copy(update={"model": _model_at(settings.model, model)})


def _inbox_at(folder: Path, base: Configuration | None) -> InboxSettings:
    """The folder as an inbox: like the nearest one of `base` that holds it."""
    inboxes = base.inboxes if base else ()
    holding = [inbox for inbox in inboxes if folder == inbox.path or inbox.path in folder.parents]
    if not holding:
        return InboxSettings(path=folder, languages=inboxes[0].languages if inboxes else ("en",))
    inbox = max(holding, key=lambda inbox: len(inbox.path.parts))
    mirror = inbox.output.directory
    output = inbox.output.model_copy(update={"directory": mirror and mirror / folder.relative_to(inbox.path)})
    named = {"path": folder, "output": output, "ignore": (), "include": ()}
    return inbox.model_copy(update={**named, "after": After.KEEP, "archive_to": None})


def _chosen(inbox: InboxSettings, number: int, choices: Mapping[str, Any]) -> InboxSettings:
    """The inbox with what the command line says; that is examined as a configuration is."""
    output, mode = choices.get("output"), choices.get("mode")
    said = InboxSettings(
        path=inbox.path,
        languages=tuple(choices.get("languages") or inbox.languages),
        engine=choices.get("engine") or inbox.engine,
    )
    update = {
        "name": f"files-{number}",
        "languages": said.languages,
        "engine": said.engine,
        "output": inbox.output.model_copy(update={"directory": Path(os.path.abspath(output))} if output else {}),
        "correction": inbox.correction.model_copy(update={"mode": CorrectionMode(mode)} if mode else {}),
    }
    return inbox.model_copy(update=update)


def _refuse_collisions(paths: Sequence[Path], output: Path | None) -> None:
    """Two scans of one name would write one text."""
    names: dict[str, str] = {}
    for whole in {os.path.abspath(path) for path in paths} if output else ():
        other = names.setdefault(os.path.basename(whole), whole)
        if other != whole:
            raise UsageError(f"{other} and {whole} would have the same text in {output}", "process them one after the other")


def _with_inboxes(base: Configuration | None, inboxes: list[InboxSettings]) -> Configuration:
    if base is None:
        return Configuration(inboxes=tuple(inboxes))
    return base.model_copy(update={"inboxes": tuple(inboxes)})


def _model_at(model: ModelSettings, path: Path) -> ModelSettings:
    if not path.is_file():
        raise UsageError(f"no model at {path}", "name a .gguf file")
    return model.model_copy(update={"path": Path(os.path.abspath(path)), "sha256": None})


@dataclass(frozen=True)
class _Bench:
    """The parts for one command."""

    journal: Journal
    pool: RecognitionPool
    model: ModelOwner | None
    dispatcher: Dispatcher
    treatments: dict[str, Treatment]


@contextlib.contextmanager
def _bench(settings: Configuration) -> Iterator[_Bench]:
    with scratch() as state:
        specs = composition.engine_specs(settings)
        engines = composition.choose_engines(settings, specs)
        journal = Journal(state / "journal.db", wall_clock=time.time)  # noqa: TID251 - the command line hands it out
        pool = RecognitionPool(specs, workers=composition.cores(), clock=time.monotonic)
        plans = [composition.correction_plan(settings, inbox) for inbox in settings.inboxes]
        model = _owner(settings, state) if any(plans) else None
        table = MountTable()
        share = Share(MountAccess("files", mounts=table, clock=time.monotonic))
        treatments = {
            inbox.name: _treatment(settings, inbox, engines.of_inbox[inbox.name], share, journal) for inbox in settings.inboxes
        }
        pdfs = PdfMaker(memory_bytes=settings.ocr.page_memory)
        parts = Parts(journal, Checkpoints(state / "jobs"), pool, model, time.monotonic, pdfs)
        dispatcher = Dispatcher(
            Pipeline(parts),
            journal=journal,
            treatments=treatments,
            clock=time.monotonic,
            scopes=lambda _: [WHOLE_INBOX],
            may_correct=lambda: False,
        )
        try:
            yield _Bench(journal, pool, model, dispatcher, treatments)
        finally:
            dispatcher.begin_stop()
            pdfs.stop()
            pool.stop(drain_s=0.0)
            if model is not None:
                model.stop(drain_s=0.0)
            share.close()
            dispatcher.finish_stop()
            table.close()
            journal.close()


def _owner(settings: Configuration, state: Path) -> ModelOwner:
    # Calibrations come from the true state folder; what the fetcher remembers goes with this one.
    plan = replace(
        composition.model_plan(settings),
        fetch=modelling.fetch_spec(state),
    )
    return ModelOwner(plan, clock=time.monotonic, on_back=lambda: None)


def _treatment(settings: Configuration, inbox: InboxSettings, engine: EngineName, share: Share, journal: Journal) -> Treatment:
    reach = Reach(share, Root(str(inbox.path)))
    texts = inbox.output.directory
    return composition.treatment(
        settings,
        inbox,
        engine=engine,
        scans=lambda _: reach,
        texts=None if texts is None else OutputTree(str(texts), share=share, remembered=journal, clock=time.monotonic),
        archive=None,
    )


def process(settings: Configuration, paths: Sequence[Path], *, progress: Callable[[int, int], None] | None) -> list[Reported]:
    """Bring each file through the pipeline; what became of each. `progress` is told how many of how many are finished."""
    with _bench(settings) as bench:
        entered = [_enter(bench, settings, path) for path in paths]
        bench.dispatcher.feed_all()
        pause = threading.Event()
        while True:
            # Counted, not asked for one by one: thousands of questions ten times a second would take a core from recognition.
            at_work = sum(count for (_, state), count in bench.journal.counts().items() if state in _STILL_AT_WORK)
            if progress is not None:
                progress(len(entered) - at_work, len(entered))
            given_up = sum(bench.journal.job(job).state in _STILL_AT_WORK for job in bench.dispatcher.weary(_MOST_RESTS))
            if at_work <= given_up:
                break
            if not bench.dispatcher.active():
                bench.dispatcher.feed_all()
            pause.wait(0.1)
        jobs = [bench.journal.job(job.id) if isinstance(job, Job) else job for job in entered]
        return [_reported(path, job, bench) for path, job in zip(paths, jobs, strict=True)]


def _enter(bench: _Bench, settings: Configuration, path: Path) -> Job | Reported:
    whole = Path(os.path.abspath(path))
    inbox = next(i for i in settings.inboxes if i.path == whole.parent)
    treatment = bench.treatments[inbox.name]
    if treatment.pdf and whole.name.lower().endswith(PDF_SUFFIX):  # named by a pattern of the shell, beside its scan
        return Reported(str(path), "left out: a searchable PDF", failed=False)
    try:
        scan = treatment.scans(whole.name)
        seen = scan.share.look(scan.root, whole.name, closely=False)
    except OcrwatchError as error:
        return Reported(str(path), str(error), failed=True)
    if seen is None or seen.kind is not Kind.REGULAR or seen.identity is None or seen.identity.size == 0:
        what = "no such file" if seen is None else "empty" if seen.kind is Kind.REGULAR else f"no regular file, but {seen.kind}"
        return Reported(str(path), what, failed=True)
    added = bench.journal.add(inbox.name, [Entry(whole.name, seen.identity)])
    if added:
        return added[0]
    known = bench.journal.current(inbox.name, whole.name)
    assert known is not None
    return known  # named twice on the command line


def _reported(path: Path, job: Job | Reported, bench: _Bench) -> Reported:
    if isinstance(job, Reported):
        return job
    text = bench.treatments[job.inbox].text_path(job.path)
    if job.state in _STILL_AT_WORK:
        return Reported(str(path), "given up: what went wrong stands in the log", failed=True)
    if job.state in _MISSED:
        return Reported(str(path), f"{job.state}: {job.detail}", failed=True)
    note = f" ({job.detail})" if job.detail else ""
    return Reported(str(path), f"{job.state}: {text}{note}", failed=False)


def recognize(settings: Configuration, path: Path) -> list[PageResult]:
    """The pages of a file as the engine reads them. Raises what keeps any page from being read."""
    whole = Path(os.path.abspath(path))
    if not whole.is_file():
        raise UsageError(f"no file at {path}", "name a scan")
    with _bench(settings) as bench:
        treatment = next(iter(bench.treatments.values()))
        task = PageTask(
            path=str(whole),
            page=1,
            engine=treatment.engine,
            languages=treatment.languages,
            pdf_text=treatment.pdf_text,
            timeout_s=treatment.page_timeout_s,
            psm=treatment.psm,
        )
        count = bench.pool.inspect("files", 1, task).result().pages
        pages = [PageTask(**(vars(task) | {"page": number})) for number in range(1, count + 1)]
        return [future.result() for future in [bench.pool.recognize("files", 1, page) for page in pages]]


def correct(settings: Configuration, text: str, *, mode: str | None, profile: str | None) -> Corrected:
    """The text, page by page, corrected by the configured model. Raises what keeps the model from being had."""
    common = settings.correction
    plan = composition.correction_plan(settings, settings.inboxes[0])
    prompt = composition.profile_prompt(settings, profile or common.profile)
    pages = text.split("\f")
    results: list[Correction] = []
    with scratch() as folder, modelling.loaded_model(settings, folder) as (_, model_worker):
        for number, page in enumerate(pages):
            request = CorrectionRequest(
                text=page,
                languages=settings.inboxes[0].languages,
                mode=Mode(mode) if mode else plan.mode if plan else Mode.RESCORE,
                prompt=prompt,
                caution=common.caution,
                earlier=tuple(pages[max(0, number - EARLIER_PAGES) : number]),
                letter_to_digit=common.letter_to_digit,
                digit_to_letter=common.digit_to_letter,
            )
            results.append(Correction.from_json(model_worker.call(request.to_json(), deadline_s=600.0)))
    edits: list[tuple[Edit, ...]] = [result.edits for result in results]
    return Corrected("\f".join(apply(page, page_edits) for page, page_edits in zip(pages, edits, strict=True)), tuple(results))
