"""One job from claimed to done. Owns the order of the steps and what each failure means for the file.

    spooled -> inspected -> pages read (each checkpointed) -> pages corrected (in order, beside the reading) -> published

Runs in a thread of its own a job; the work itself happens in the workers. Everything is resumable: a step that finds its
result on the disk does not do it again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from ocrwatch.correction.leases import Lease
from ocrwatch.correction.owner import ModelOwner
from ocrwatch.correction.pages import NoCorrections, PageCorrections
from ocrwatch.errors import (
    FileRejected,
    ForeignFile,
    Infrastructure,
    OcrwatchError,
    PoisonFile,
    SourceChanged,
    SourceVanished,
)
from ocrwatch.intake.spool import Spooled
from ocrwatch.journal.checkpoints import Checkpoints
from ocrwatch.journal.journal import Journal, directory_of
from ocrwatch.journal.records import Job
from ocrwatch.journal.states import IllegalTransition, JobState
from ocrwatch.log_events import LogEvent
from ocrwatch.ocr.pool import RecognitionPool
from ocrwatch.ocr.reader import Reader
from ocrwatch.output import hocr
from ocrwatch.output.assemble import PageOutcome, assemble
from ocrwatch.output.document import DOUBTFUL, Document, Source
from ocrwatch.output.files import Likeness
from ocrwatch.output.searchable import PdfMaker, laid_pages
from ocrwatch.output.sidecar import Published, SidecarState
from ocrwatch.tally import Counted, Tally
from ocrwatch.treatment import CorrectionPlan, Treatment
from ocrwatch.worker.supervised import backoff_s

log = logging.getLogger(__name__)

_DEFER_S = 5.0  # before the first new try; doubles
_OVERTAKEN = frozenset({JobState.SUPERSEDED, JobState.VANISHED, JobState.ORPHANED})  # the inbox saw more than this job knows


@dataclass(frozen=True)
class Parts:
    """What all jobs share."""

    journal: Journal
    checkpoints: Checkpoints
    pool: RecognitionPool
    model: ModelOwner | None
    clock: Callable[[], float]
    pdfs: PdfMaker | None = None
    tally: Tally = field(default_factory=Tally)


class Pipeline:
    """Runs jobs; one instance serves all threads."""

    def __init__(self, parts: Parts) -> None:
        self._journal = parts.journal
        self._checkpoints = parts.checkpoints
        self._pool = parts.pool
        self._model = parts.model
        self._clock = parts.clock
        self._pdfs = parts.pdfs
        self._tally = parts.tally
        # Mirrored folders in which a crash before this start may have left temporary files are found by no listing.
        self._tidied: set[tuple[str, str]] = set()
        self._reader = Reader(journal=parts.journal, checkpoints=parts.checkpoints, pool=parts.pool, tally=parts.tally)

    def run(self, job: Job, treatment: Treatment) -> None:
        """Bring a queued, spooled or awaiting job as far as it goes now; every outcome is in the journal when this returns.

        A job that the daemon's end cuts off stays as it is and goes on at the next start.
        """
        begin = self._clock()
        try:
            self._process(job, treatment)
        except CancelledError:
            return
        except OcrwatchError as error:
            self._failed(job, error)
        finally:
            self._forget(job)
        after = self._journal.job(job.id)
        log.info("%s/%s: %s", job.inbox, job.path, after.state, extra=_log_fields(after, self._clock() - begin))

    def _process(self, job: Job, treatment: Treatment) -> None:
        spooled = self._spooled(job, treatment)
        if self._adopted(job, treatment, spooled):
            return
        twin = self._read_before(job, treatment, spooled)
        if twin is not None:
            self._published(job, treatment, spooled, twin, final=True)
            return
        corrections = self._corrections(job, treatment)
        with self._lease(treatment.correction) as lease:
            outcomes = self._reader.read(job, treatment, on_page=corrections.start, on_image=lease.take)
            in_time = corrections.finish()
        document = self._document(job, treatment, spooled, corrections.applied(outcomes))
        self._published(job, treatment, spooled, document, final=in_time)

    # -- steps ---------------------------------------------------------------------------------------------------

    def _spooled(self, job: Job, treatment: Treatment) -> Spooled:
        """The scan's copy in the spool; made now unless it is there from before."""
        kept = self._checkpoints.spooled(job.id, treatment.settings)
        source = self._checkpoints.source(job.id)
        if kept is not None and (source.is_file() or (self._reader.is_complete(job) and not treatment.pdf)):
            spooled = kept
        else:
            if kept is None:
                self._checkpoints.drop_pages(job.id)
            scan = treatment.scans(job.path)
            spooled = scan.share.spool(scan.root, job.path, expected=job.identity, destination=source)
            if kept is not None and kept.sha256 != spooled.sha256:
                self._checkpoints.drop_pages(job.id)
            self._checkpoints.save_spooled(job.id, spooled, treatment.settings)
        self._journal.spooled(job.id, sha256=spooled.sha256, settings=treatment.settings)
        return spooled

    def _adopted(self, job: Job, treatment: Treatment, spooled: Spooled) -> bool:
        """Whether a whole sidecar of this very content is there already, from before the journal was lost."""
        if job.tries or self._journal.published_hashes(job.inbox, job.path):
            return False
        texts = treatment.texts(job.path)
        found = texts.share.examine(texts.root, treatment.names(job.path))
        is_whole = found.state is SidecarState.OURS and found.complete and (found.corrected or treatment.correction is None)
        is_whole &= bool(found.hocr_sha256) or not treatment.hocr
        is_whole &= bool(found.pdf_sha256 or found.pdf_reason) or not treatment.pdf
        if not is_whole or found.source_sha256 != spooled.sha256:
            return False
        self._journal.move(
            job.id,
            JobState.DONE,
            reason="adopted",
            detail="its sidecar was there already, whole",
            text_name=treatment.names(job.path).text,
            text_sha256=found.text_sha256,
            json_sha256=found.metadata_sha256,
        )
        self._checkpoints.drop(job.id)
        return True

    def _read_before(self, job: Job, treatment: Treatment, spooled: Spooled) -> Document | None:
        """The whole result of the same content, under another name or touched, if its sidecar is still the one we published."""
        if treatment.hocr or treatment.pdf:
            return None  # where its words stand is in no sidecar that is read back
        for twin in self._journal.finished_like(job, sha256=spooled.sha256, settings=treatment.settings):
            try:
                texts = treatment.texts(twin.path)
                found = texts.share.read_back(texts.root, treatment.names(twin.path), published=twin.published)
            except Infrastructure:
                continue  # it lies on another mount, which is away: no reason to wait
            if found is not None and found.source.sha256 == spooled.sha256 and found.is_final:
                log.debug("%s has the content of %s", job.path, twin.path)
                return replace(found, source=Source(path=job.path, identity=job.identity, sha256=spooled.sha256))
        return None

    def _document(self, job: Job, treatment: Treatment, spooled: Spooled, outcomes: list[PageOutcome]) -> Document:
        plan = treatment.correction if self._model is not None else None
        return assemble(
            Source(path=job.path, identity=job.identity, sha256=spooled.sha256),
            outcomes,
            languages=treatment.languages,
            engine=treatment.engine,
            model=self._checkpoints.model(job.id) if plan else None,
            mode=plan.mode if plan else "off",
            profile=plan.profile if plan else "",
        )

    def _published(self, job: Job, treatment: Treatment, spooled: Spooled, document: Document, *, final: bool) -> None:
        """The sidecar is on the disk and the journal says so; a scan that changed meanwhile gets none of its old text."""
        state = _final_state(document) if final else JobState.AWAITING_CORRECTION
        if state is JobState.AWAITING_CORRECTION and job.state is state:
            return  # its raw text is there already
        self._unchanged(job, treatment)
        published = self._write(job, treatment, spooled, document)
        self._not_overtaken(job)  # on a slow disk: what was written is the newer version's to replace
        reason = "trial" if document.incomplete_reason.startswith("trial") else ""
        to_review = sum(bool(page.review) or page.status in DOUBTFUL for page in document.pages)
        try:
            self._journal.move(
                job.id,
                state,
                reason=reason or ("partial" if state is JobState.PARTIAL else ""),
                detail=document.incomplete_reason or ("" if final else document.uncorrected_reason),
                text_name=published.names.text,
                text_sha256=published.text_sha256,
                json_sha256=published.metadata_sha256,
                deferrals=0,
                to_review=to_review,
                edits=sum(len(page.edits) for page in document.pages),
            )
        except IllegalTransition:
            self._not_overtaken(job)  # between the question before and this
            raise
        if final:
            self._tally.add(Counted.TO_REVIEW, job.inbox, by=to_review)
        if state is JobState.DONE:
            self._checkpoints.drop(job.id)
        else:
            self._checkpoints.drop_source(job.id)  # its pages are wanted again: by the model, or by `retry`

    def _unchanged(self, job: Job, treatment: Treatment) -> None:
        scan = treatment.scans(job.path)
        seen = scan.share.look(scan.root, job.path, closely=scan.closely)
        if seen is None:
            raise SourceVanished(f"{job.path} is gone")
        if seen.identity is None or not seen.identity.matches(job.identity):
            raise SourceChanged(f"{job.path} changed while it was in work")
        self._not_overtaken(job)

    def _not_overtaken(self, job: Job) -> None:
        if self._journal.job(job.id).state in _OVERTAKEN:
            raise SourceChanged(f"{job.path} went or changed while it was in work")

    def _write(self, job: Job, treatment: Treatment, spooled: Spooled, document: Document) -> Published:
        names, texts = treatment.names(job.path), treatment.texts(job.path)
        folder = (treatment.text_base, directory_of(names.text))
        if treatment.mirrored and folder not in self._tidied:
            texts.share.tidy(texts.root, folder[1])
            self._tidied.add(folder)
        pdf, pdf_reason = self._pdf(job, treatment, document)
        published = texts.share.publish(
            texts.root,
            names,
            replace(document, pdf_reason=pdf_reason),
            like=Likeness(mode=spooled.mode, gid=spooled.gid),
            known=self._journal.published_hashes(job.inbox, job.path),
            make_directories=treatment.mirrored,
            hocr=self._hocr(job, treatment),
            pdf=pdf,
        )
        for note in published.notes:
            log.debug("%s: %s", job.path, note)
        return published

    def _hocr(self, job: Job, treatment: Treatment) -> Path | None:
        """A file with the hOCR of all pages, made of their checkpoints one at a time; None where it is not wanted."""
        if not treatment.hocr:
            return None
        pages = self._journal.pages(job.id)
        results = (self._checkpoints.page(job.id, page.number) for page in pages)
        return self._checkpoints.save_hocr(job.id, hocr.render(results, count=len(pages), languages=treatment.languages))

    def _pdf(self, job: Job, treatment: Treatment, document: Document) -> tuple[Path | None, str]:
        """A file with the searchable PDF, or why there is none; neither where it is not wanted."""
        if not treatment.pdf or self._pdfs is None:
            return None, ""
        file = self._checkpoints.pdf(job.id)
        laid = laid_pages(document, lambda number: self._checkpoints.page(job.id, number))
        why_not = self._pdfs.make(self._checkpoints.source(job.id), file, laid, count=len(document.pages))
        return (None, why_not) if why_not else (file, "")

    # -- failures ------------------------------------------------------------------------------------------------

    def _failed(self, job: Job, error: OcrwatchError) -> None:
        """What an error means for the file. One place for the three budgets: infrastructure, file, poison."""
        now = self._journal.job(job.id)
        fate = _fate(error, now)
        if now.state in _OVERTAKEN:
            self._checkpoints.drop(job.id)
        elif now.state is JobState.AWAITING_CORRECTION:
            self._failed_while_awaiting(now, error)
        elif fate is JobState.DEFERRED:
            self._journal.defer(job.id, delay_s=_DEFER_S * backoff_s(now.deferrals + 1), reason=error.code, detail=str(error))
        else:
            self._journal.move(job.id, fate, reason=error.code, detail=str(error))
            self._checkpoints.drop(job.id)

    def _failed_while_awaiting(self, job: Job, error: OcrwatchError) -> None:
        """The raw text is published already; only its correction is at stake."""
        if isinstance(error, SourceVanished):
            self._journal.move(job.id, JobState.ORPHANED)
        elif isinstance(error, SourceChanged):
            self._journal.move(job.id, JobState.SUPERSEDED, reason=error.code, detail=str(error))
        elif isinstance(error, ForeignFile):
            self._journal.move(job.id, JobState.DONE, reason=error.code, detail=f"left as it is: {error.message}")
        elif isinstance(error, FileRejected | PoisonFile):
            self._journal.move(job.id, JobState.DONE, reason=error.code, detail=f"its raw text stays: {error.message}")
        else:
            return  # tried again with the model
        self._checkpoints.drop(job.id)

    def _forget(self, job: Job) -> None:
        """Nobody waits any more for what the workers have not begun."""
        self._pool.forget(job.inbox, job.id)
        if self._model is not None:
            self._model.forget(job.inbox, job.id)

    def _lease(self, plan: CorrectionPlan | None) -> AbstractContextManager[Lease]:
        return nullcontext(Lease(lambda: None)) if plan is None or self._model is None else self._model.soft_lease()

    def _corrections(self, job: Job, treatment: Treatment) -> PageCorrections | NoCorrections:
        if treatment.correction is None or self._model is None:
            return NoCorrections()
        return PageCorrections(
            job,
            treatment.correction,
            languages=treatment.languages,
            model=self._model,
            checkpoints=self._checkpoints,
            clock=self._clock,
            tally=self._tally,
        )


def _fate(error: OcrwatchError, job: Job) -> JobState:
    match error:
        case SourceChanged():
            return JobState.SUPERSEDED
        case SourceVanished():  # a text of before, when it was tried again, stays
            return JobState.VANISHED if job.text_name is None else JobState.ORPHANED
        case PoisonFile():
            return JobState.POISON
        case FileRejected() | ForeignFile():
            return JobState.FAILED
        case _:  # share, disk, engine, model: the surroundings
            return JobState.DEFERRED


def _final_state(document: Document) -> JobState:
    return JobState.PARTIAL if document.incomplete_reason else JobState.DONE


def _log_fields(job: Job, seconds: float) -> dict[str, object]:
    return {
        "event": LogEvent.JOB_STATE,
        "inbox": job.inbox,
        "file": job.path,
        "job": job.id,
        "state": str(job.state),
        "reason": job.reason,
        "detail": job.detail,
        "pages": job.pages or 0,
        "seconds": round(seconds, 2),
    }
