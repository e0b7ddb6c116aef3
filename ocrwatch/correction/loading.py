"""From a wished model to a running process: find the file, decide where it runs, start it, step down where it does not fit.

Owns the order of these steps and each try in a process of its own. Where the layers go is `placing`'s decision; when the
process starts and ends is the owner's.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ocrwatch.correction.finding import find_or_fetch
from ocrwatch.correction.placing import GpuPolicy, Placer, Placing, Survey, is_shortage
from ocrwatch.correction.returned import Proof, Returned
from ocrwatch.correction.store import PULL, Doing, Download, ModelFile, ModelWish
from ocrwatch.errors import DeviceFull, MissingPart, ModelUnavailable, OcrwatchError
from ocrwatch.log_events import LogEvent
from ocrwatch.tally import Tally, Timed
from ocrwatch.worker.process import Progress, WorkerProcess, WorkerSpec

log = logging.getLogger(__name__)

_LOOK_S = 20.0  # for a question to the driver; on a machine that is just up its first answer takes seconds
_RETURN_S = 5.0  # for a device to show less in use after a process has ended
_FREED_S = 2.0  # beyond that, for the questioner itself
_LONGEST_REST_S = 86_400.0  # that a hub gets which says when it wants to be asked again
_SILENT = "the GPU's driver could not be asked"


@dataclass(frozen=True)
class ModelPlan:
    """How to find, place and load the model.

    fetch: the worker that finds or downloads it. devices: the worker that asks the GPUs' driver; None where there is no driver.
    gpu: what is wanted of a GPU. load: the worker for a found file and its place.
    idle_s: None keeps the model loaded. page_timeout_s: without an answer for this long, the worker is replaced.
    """

    wish: ModelWish
    fetch: WorkerSpec
    devices: WorkerSpec | None
    gpu: GpuPolicy
    load: Callable[[ModelFile, Placing], WorkerSpec]
    idle_s: float | None
    page_timeout_s: float


@dataclass(frozen=True)
class _Stay:
    """A process on a device, and what was in use there before it came. device: None where nobody could tell which."""

    device: str | None
    before_bytes: int | None


class Loader:
    """Finds, places and starts the model's process; used by one thread, but for `returned` and what is only read.

    file: the model that was found last. placed: why the process that runs is not where it was wanted, empty where it is.
    fetched: bytes done and of how many, while a download lasts.
    """

    def __init__(
        self,
        plan: ModelPlan,
        *,
        clock: Callable[[], float],
        start: Callable[..., WorkerProcess] = WorkerProcess,
        tally: Tally | None = None,
    ) -> None:
        self._plan = plan
        self._start = start
        self._tally = tally or Tally()
        self._placer = Placer(plan.gpu, look=None if plan.devices is None else self._look, clock=clock)
        self._survey: Survey | None = None
        self._stays: dict[int, _Stay] = {}
        self._ended = threading.Event()
        self._clock = clock
        self._hub_said = ""  # when it wanted to be left alone
        self._hub_at = -math.inf  # until when
        self.file: ModelFile | None = None
        self.placed = ""
        self.fetched: tuple[int, int] | None = None

    def load(self, ended: threading.Event, progress: Progress | None) -> WorkerProcess:
        """A process that has the model loaded. ended: once set, whatever is under way is killed.

        Raises MissingPart, ModelUnavailable or DeviceFull, saying what keeps the model from being had.
        """
        self._ended = ended
        if self.file is None or not self.file.is_unchanged():
            self.file = None
            self.file = self._find()
        while True:
            placing = self._placer.next(self.file)
            begun_s = self._clock()
            try:
                process = self._start(replace(self._plan.load(self.file, placing), ended=ended), progress=progress)
            except OcrwatchError as error:
                is_short = not ended.is_set() and is_shortage(error) and self._placer.failed()
                if not is_short or error.left_behind is not None:  # that one still has its memory
                    raise
                log.warning("the model did not fit: %s; trying with less on the GPU", error)
                continue
            self._settle(process, placing)
            self._tally.took(Timed.MODEL_LOAD, seconds=self._clock() - begun_s)
            return process

    def died(self, error: OcrwatchError) -> bool:
        """A loaded process ended so: whether its device was short of memory, and less of it is to be tried at once."""
        return is_shortage(error) and self._placer.failed()

    def forget(self) -> None:
        """Trust nothing of what was found: it may have been moved, or replaced by a right one."""
        self.file = None

    def returned(self, pid: int) -> Proof | None:
        """What the driver says of the memory that an ended process held, within seconds; None where it held none there.

        For a thread of its own: nobody's request waits for this.
        """
        stay = self._stays.pop(pid, None)
        if stay is None or self._plan.devices is None:
            return None
        question = {
            "op": "gone",
            "uuid": stay.device,
            "pid": pid,
            "before_bytes": stay.before_bytes,
            "within_s": _RETURN_S,
        }
        try:
            return Proof.from_json(self._ask(self._plan.devices, question, within_s=_RETURN_S + _FREED_S))
        except (OcrwatchError, KeyError, TypeError, ValueError) as error:
            return Proof(Returned.UNVERIFIED, f"{_SILENT}: {error}", used_bytes=None, after_s=0.0)

    def _settle(self, process: WorkerProcess, placing: Placing) -> None:
        try:
            placed = self._placer.loaded(process.hello)
        except DeviceFull:
            process.stop()
            raise
        if placed and placed != self.placed:
            log.warning(
                "the model runs with less of the GPU than was wanted: %s", placed, extra={"event": LogEvent.MODEL_DEGRADED}
            )
        self.placed = placed
        if process.hello.get("layers_on_gpu"):
            self._stays[process.pid] = _Stay(placing.device, self._in_use(placing.device))

    def _in_use(self, device: str | None) -> int | None:
        seen = self._survey.devices if self._survey is not None else ()
        return next((each.used_bytes for each in seen if each.uuid == device), None)

    def _find(self) -> ModelFile:
        """A hub that wants to be left alone is; what a person brought here meanwhile is found all the same."""
        left_s, wish = self._hub_at - self._clock(), self._plan.wish
        try:
            fetch = replace(self._plan.fetch, ended=self._ended)  # a download may take hours
            asked = replace(wish, download=Download.NEVER) if left_s > 0 else wish
            return find_or_fetch(fetch, asked, progress=self._on_fetched)
        except (MissingPart, ModelUnavailable) as error:
            if left_s > 0:
                raise ModelUnavailable(self._hub_said, f"it is asked again in {left_s:.0f} s; or {PULL}") from error
            if isinstance(error, ModelUnavailable):
                self._hub_said, self._hub_at = error.message, self._clock() + min(error.wait_s, _LONGEST_REST_S)
            raise
        finally:
            self.fetched = None

    def _on_fetched(self, details: Mapping[str, Any]) -> None:
        is_download = details.get("doing") == Doing.DOWNLOADING
        self.fetched = (int(details["done_bytes"]), int(details["total_bytes"])) if is_download else None

    def _look(self, file: ModelFile) -> Survey:
        assert self._plan.devices is not None
        question = {"op": "look", "model_path": str(file.path)}
        try:
            spec = replace(self._plan.devices, ended=self._ended)
            self._survey = Survey.from_json(self._ask(spec, question, within_s=_LOOK_S))
        except (OcrwatchError, KeyError, TypeError, ValueError) as error:
            if self._ended.is_set():
                raise
            self._survey = Survey(devices=(), shape=None, problem=f"{_SILENT}: {error}")
        return self._survey

    def _ask(self, spec: WorkerSpec, question: Mapping[str, Any], *, within_s: float) -> dict[str, Any]:
        worker = self._start(spec)
        try:
            return worker.call(question, deadline_s=within_s)
        finally:
            worker.stop()
