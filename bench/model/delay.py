"""The first page after idle beside a page with the model kept loaded: recognized by Tesseract, corrected by the model; in turns.

The model is asked for as the pipeline asks: from the moment that the engine begins to read the page.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.model import life
from ocrwatch.correction.owner import ModelOwner
from ocrwatch.ocr.engine import EngineName
from ocrwatch.ocr.pool import PageTask, RecognitionPool

_PAGE_S = 120.0


@dataclass(frozen=True)
class Page:
    """Seconds of one page: in recognition, and from its end to the correction."""

    read_s: float
    corrected_s: float

    @property
    def whole_s(self) -> float:
        """From its begin to the correction."""
        return self.read_s + self.corrected_s


@dataclass(frozen=True)
class Delays:
    """Pages of each round. load_s: that the process said its loads took, its own start left out."""

    after_idle: tuple[Page, ...]
    kept: tuple[Page, ...]
    load_s: tuple[float, ...]

    @property
    def added_s(self) -> float:
        """How much later the whole page is there, round by round; the median."""
        return median(idle.whole_s - kept.whole_s for idle, kept in zip(self.after_idle, self.kept, strict=True))

    @property
    def added_after_reading_s(self) -> float:
        """How much longer the text waits for its correction once it is read; the median."""
        return median(idle.corrected_s - kept.corrected_s for idle, kept in zip(self.after_idle, self.kept, strict=True))


def measure(model: Path, folder: Path, *, scan: Path, rounds: int) -> Delays:
    """So many rounds, each way first in every other one; one more before that is not counted."""
    after_idle, kept, load_s = list[Page](), list[Page](), list[float]()
    pool = RecognitionPool({EngineName.TESSERACT: life.recognition(folder)}, workers=1, clock=time.monotonic)
    try:
        with life.owned(life.real_plan(model, folder)) as owner:
            _page(pool, owner, scan)
            for number in range(rounds):
                for is_idle in (True, False)[:: -1 if number % 2 else 1]:
                    life.unload(owner)
                    if not is_idle:  # another page: what a process has looked up for this one it would remember
                        life.corrected(owner, life.PAGE)
                    page = _page(pool, owner, scan)
                    (after_idle if is_idle else kept).append(page)
                    if is_idle:
                        load_s.append(float((owner.status().worker.hello or {})["load_s"]))
    finally:
        pool.stop(drain_s=1.0)
    return Delays(tuple(after_idle), tuple(kept), tuple(load_s))


def _page(pool: RecognitionPool, owner: ModelOwner, scan: Path) -> Page:
    with owner.soft_lease() as lease:
        task = PageTask(
            path=str(scan),
            page=1,
            engine=EngineName.TESSERACT,
            languages=("en",),
            pdf_text="never",
            timeout_s=_PAGE_S,
            reads=lease.take,
        )
        begun = time.perf_counter()
        reading = pool.recognize(life.INBOX, 1, task).result(timeout=_PAGE_S)
        read = time.perf_counter()
        life.corrected(owner, reading.text, reading.words)
        return Page(read - begun, time.perf_counter() - read)
