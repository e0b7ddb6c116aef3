"""The corrections of one job's pages: asked for in order beside the reading, waited for as long as is allowed.

Owns what a page without correction says of itself. When the model runs is its owner's matter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from ocrwatch.correction.owner import ModelOwner, model_of
from ocrwatch.correction.protocol import EARLIER_PAGES, Correction, CorrectionRequest
from ocrwatch.errors import OcrwatchError, WorkerDied, WorkerTimedOut
from ocrwatch.journal.checkpoints import Checkpoints
from ocrwatch.journal.records import Job
from ocrwatch.ocr.engine import PageSource
from ocrwatch.output.assemble import PageOutcome
from ocrwatch.tally import Counted, Tally, Timed
from ocrwatch.treatment import CorrectionPlan
from ocrwatch.worker.supervised import WorkerState

_MOST_DEATHS = 2  # of correction workers, at one page
_LOOK_S = 0.5


@dataclass
class _Asked:
    """A page in the model's hands."""

    request: Callable[[], CorrectionRequest]
    answer: Future[Correction]
    deaths: int = 0


class PageCorrections:
    """The corrections of one job. Used by the job's thread alone."""

    def __init__(
        self,
        job: Job,
        plan: CorrectionPlan,
        *,
        languages: tuple[str, ...],
        model: ModelOwner,
        checkpoints: Checkpoints,
        clock: Callable[[], float],
        tally: Tally,
    ) -> None:
        self._job = job
        self._plan = plan
        self._languages = languages
        self._model = model
        self._checkpoints = checkpoints
        self._clock = clock
        self._tally = tally
        self._earlier: deque[str] = deque(maxlen=EARLIER_PAGES)
        self._asked: dict[int, _Asked] = {}
        self._done: dict[int, Correction] = {}
        self._left_raw: dict[int, str] = {}

    def start(self, outcome: PageOutcome) -> None:
        """Ask for a page; pages come in order. What needs no correction is not asked for."""
        reading = outcome.reading
        if reading is None or not reading.text.strip():
            return
        kept = self._checkpoints.correction(self._job.id, outcome.number)
        if reading.source is PageSource.TEXT_LAYER:
            pass  # born digital: there is no misreading to mend
        elif kept is not None:
            self._done[outcome.number] = kept
        else:
            request = self._request(outcome.number, tuple(self._earlier))
            self._asked[outcome.number] = _Asked(request, self._model.correct(self._job.inbox, self._job.id, request))
        self._earlier.append(reading.text)
        self._collect()

    def finish(self) -> bool:
        """Wait for what was asked; False when the model was not to be had in time, and the rest stays raw for now."""
        ready_s = self._clock()
        while self._asked:
            self._collect()
            asked = next(iter(self._asked.values()), None)
            if asked is None:
                break
            patience_s = self._model.patience_s(self._plan.wait_s, since=ready_s)
            if patience_s <= 0 and not asked.answer.done():
                self._give_up()
                return False
            try:
                asked.answer.exception(timeout=min(patience_s, _LOOK_S))
            except TimeoutError:
                continue
        return True

    def applied(self, outcomes: Sequence[PageOutcome]) -> list[PageOutcome]:
        """The pages with what became of their correction."""
        return [replace(o, correction=self._done.get(o.number), uncorrected=self._left_raw.get(o.number, "")) for o in outcomes]

    def _request(self, number: int, earlier: tuple[str, ...]) -> Callable[[], CorrectionRequest]:
        def make() -> CorrectionRequest:
            page = self._checkpoints.page(self._job.id, number)
            if page is None:
                raise WorkerDied(f"the checkpoint of page {number} is gone")
            return CorrectionRequest(
                text=page.text,
                languages=self._languages,
                mode=self._plan.mode,
                prompt=self._plan.prompt,
                caution=self._plan.caution,
                earlier=earlier,
                words=page.words,
                dictionary=self._plan.dictionary,
                letter_to_digit=self._plan.letter_to_digit,
                digit_to_letter=self._plan.digit_to_letter,
            )

        return make

    def _collect(self) -> None:
        """Take in every answer that is there, in order of the pages."""
        for number, asked in list(self._asked.items()):
            if not asked.answer.done():
                return
            try:
                correction = asked.answer.result()
            except (WorkerDied, WorkerTimedOut) as error:
                asked.deaths += 1
                if asked.deaths < _MOST_DEATHS:
                    asked.answer = self._model.correct(self._job.inbox, self._job.id, asked.request)
                    return
                self._left_raw[number] = f"the page cost {asked.deaths} correction workers their life: {error.message}"
            except OcrwatchError as error:
                self._left_raw[number] = str(error)
            else:
                self._save(number, correction)
                self._done[number] = correction
            del self._asked[number]

    def _save(self, number: int, correction: Correction) -> None:
        model = model_of(self._model.status().file)
        if model is not None and model != self._checkpoints.model(self._job.id):
            self._checkpoints.save_model(self._job.id, model)
        self._checkpoints.save_correction(self._job.id, number, correction)
        inbox = self._job.inbox
        self._tally.add(Counted.CORRECTED, inbox)
        self._tally.add(Counted.EDITS, inbox, "applied", by=len(correction.edits))
        self._tally.add(Counted.EDITS, inbox, "refused", by=len(correction.refused))
        self._tally.took(Timed.CORRECTION, seconds=correction.seconds)

    def _give_up(self) -> None:
        self._model.forget(self._job.inbox, self._job.id)
        self._left_raw |= dict.fromkeys(self._asked, self._why_not())
        for asked in self._asked.values():
            asked.answer.cancel()
        self._asked.clear()

    def _why_not(self) -> str:
        now = self._model.status().worker
        if now.problem:
            return f"the model is not to be had: {now.problem}"
        doing = "still being fetched or loaded" if now.state is WorkerState.LOADING else "busy"
        return f"the model was {doing} after {self._plan.wait_s:.0f} s"


class NoCorrections:
    """What stands in for `PageCorrections` where correction is off."""

    def start(self, outcome: PageOutcome) -> None:
        """Nothing is asked."""

    def finish(self) -> bool:
        """Nothing is waited for."""
        return True

    def applied(self, outcomes: Sequence[PageOutcome]) -> list[PageOutcome]:
        """The pages as they were read."""
        return list(outcomes)
