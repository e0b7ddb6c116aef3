"""The pages of one job: counted, recognized by whichever worker is free, checkpointed as they come, handed on in order.

Owns what a page's failure means: its own fault marks the page, a dead worker is counted, anything else ends the job's run.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from queue import SimpleQueue

from ocrwatch.errors import CorruptFile, EmptyDocument, FileRejected, PoisonFile, WorkerDied, WorkerRefused, WorkerTimedOut
from ocrwatch.journal.checkpoints import Checkpoints
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.records import Job, Page
from ocrwatch.journal.states import PageState
from ocrwatch.ocr.engine import EngineName, PageResult, PageSource
from ocrwatch.ocr.pool import PageTask, RecognitionPool
from ocrwatch.output.assemble import PageOutcome
from ocrwatch.tally import Counted, Tally, Timed
from ocrwatch.treatment import Treatment

MOST_DEATHS = 2  # of workers, at one file
MOST_PAGES = 50_000  # of a document; what claims more is a trap
MOST_INTERRUPTIONS = 4  # of the whole service, at one page


class Reader:
    """Reads the pages of jobs; one instance serves all threads."""

    def __init__(self, *, journal: Journal, checkpoints: Checkpoints, pool: RecognitionPool, tally: Tally) -> None:
        self._journal = journal
        self._checkpoints = checkpoints
        self._pool = pool
        self._tally = tally

    def is_complete(self, job: Job) -> bool:
        """Whether every page of a job was recognized before and its checkpoint is there, so that its scan is not needed."""
        pages = self._journal.pages(job.id)
        return bool(pages) and len(pages) == job.pages and all(self._kept(job, page) is not None for page in pages)

    def read(
        self, job: Job, treatment: Treatment, *, on_page: Callable[[PageOutcome], None], on_image: Callable[[], None]
    ) -> list[PageOutcome]:
        """What became of each page, in order; `on_page` is told of each as soon as all before it are there.

        on_image: called whenever an engine begins to read a page's image, from the worker's thread; not for a page that has a
        text of its own, or was read before.
        Raises FileRejected when no page can be read, PoisonFile, or what keeps recognition from working here.
        """
        pages = self._journal.pages(job.id) if self.is_complete(job) else self._counted(job, treatment)
        done: dict[int, PageOutcome] = {}
        answers: SimpleQueue[tuple[int, Future[PageResult]]] = SimpleQueue()

        def ask(number: int) -> None:
            task = replace(self._task(job, treatment, number), reads=on_image)
            future = self._pool.recognize(job.inbox, job.id, task)
            future.add_done_callback(lambda done: answers.put((number, done)))

        for page in pages:
            kept = self._kept(job, page)
            if kept is not None:
                done[page.number] = kept
            else:
                ask(page.number)
        outcomes: list[PageOutcome] = []
        while len(outcomes) < len(pages):
            outcome = done.pop(len(outcomes) + 1, None)
            if outcome is not None:
                on_page(outcome)
                outcomes.append(outcome)
            else:
                number, answer = answers.get()
                result = self._outcome(job, number, answer, treatment.engine)
                if result is not None:
                    done[number] = result
                else:
                    ask(number)
        if all(outcome.reading is None for outcome in outcomes):
            raise CorruptFile(f"no page of {job.path} can be read: {outcomes[0].failure}", "scan it again")
        return outcomes

    def _counted(self, job: Job, treatment: Treatment) -> list[Page]:
        while True:
            try:
                inspection = self._pool.inspect(job.inbox, job.id, self._task(job, treatment, 1)).result()
                if inspection.pages < 1:
                    raise EmptyDocument(f"{job.path} has no page", "scan it again")
                if inspection.pages > MOST_PAGES:
                    raise CorruptFile(f"{job.path} claims {inspection.pages} pages", f"split it: {MOST_PAGES} are read at most")
                return self._journal.set_pages(job.id, inspection.pages)
            except (WorkerDied, WorkerTimedOut) as error:
                self._count_death(job, 1, error)
            except WorkerRefused as error:
                raise CorruptFile(f"{job.path} cannot be opened: {error.message}", "scan it again") from error

    def _kept(self, job: Job, page: Page) -> PageOutcome | None:
        if page.state is PageState.FAILED:
            return PageOutcome(number=page.number, reading=None, failure=page.detail)
        if page.state is PageState.WAITING:
            return None
        result = self._checkpoints.page(job.id, page.number)
        return None if result is None else PageOutcome.of(page.number, result)

    def _outcome(self, job: Job, number: int, answer: Future[PageResult], engine: EngineName) -> PageOutcome | None:
        """The page, checkpointed; None when its worker died and it is to be tried again."""
        try:
            result = answer.result()
        except (WorkerDied, WorkerTimedOut) as error:
            self._count_death(job, number, error)
            return None
        except (FileRejected, WorkerRefused) as error:
            self._journal.page_is(job.id, number, PageState.FAILED, reason=error.code, detail=str(error))
            self._tally.add(Counted.PAGE_FAILURES, job.inbox, error.code)
            return PageOutcome(number=number, reading=None, failure=str(error))
        self._checkpoints.save_page(job.id, number, result)
        self._journal.page_is(job.id, number, PageState.RECOGNIZED)
        self._tally.add(Counted.PAGES, job.inbox, engine, result.source)
        if result.source is PageSource.OCR:
            self._tally.took(Timed.RECOGNITION, engine, seconds=result.render_s + result.recognize_s)
        return PageOutcome.of(number, result)

    def _count_death(self, job: Job, number: int, error: WorkerDied | WorkerTimedOut) -> None:
        deaths = self._journal.page_killed_worker(job.id, number, reason=error.code, detail=str(error))
        if deaths >= MOST_DEATHS:
            raise PoisonFile(
                f"page {number} of {job.path} cost {deaths} workers their life: {error}",
                "look at the file; `ocrwatch retry` runs it again",
            ) from error

    def _task(self, job: Job, treatment: Treatment, number: int) -> PageTask:
        return PageTask(
            path=str(self._checkpoints.source(job.id)),
            page=number,
            engine=treatment.engine,
            languages=treatment.languages,
            pdf_text=treatment.pdf_text,
            timeout_s=treatment.page_timeout_s,
            psm=treatment.psm,
            begins=lambda: self._begins(job, number),
        )

    def _begins(self, job: Job, number: int) -> None:
        """Count a try before it begins, so that one which takes the service down with it is known afterwards."""
        if self._journal.page_begins(job.id, number) > 2 * MOST_INTERRUPTIONS:  # the first page is counted for the inspection too
            raise PoisonFile(
                f"the service ended {MOST_INTERRUPTIONS} times while page {number} of {job.path} was in work",
                "look at the file; `ocrwatch retry` runs it again",
            )
