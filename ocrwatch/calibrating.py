"""`correct --calibrate`: pages with their truth are put before the model in use, what it needs is fitted, and kept."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocrwatch import __version__, modelling
from ocrwatch.correction import calibration
from ocrwatch.correction.calibration import Fitted, Sample, Tally
from ocrwatch.correction.calibrations import Calibrations, fingerprint
from ocrwatch.correction.pairs import Pair, read_pairs
from ocrwatch.correction.protocol import EARLIER_PAGES, CorrectionRequest, Judged
from ocrwatch.correction.truth import Alignment, Place
from ocrwatch.correction.weights import weights_for
from ocrwatch.errors import UsageError, WorkerDied

if TYPE_CHECKING:
    from ocrwatch.settings import Configuration
    from ocrwatch.worker.process import WorkerProcess

_PAGE_S = 600.0
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Calibrated:
    """What came of a calibration. model: its file. kept: where the calibration is. foreign: pages that were passed over."""

    model: Path
    pages: int
    foreign: tuple[str, ...]
    fitted: Fitted
    kept: Path

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        facts = {"model": str(self.model), "pages": self.pages, "passed_over": self.foreign, "kept": str(self.kept)}
        return asdict(self.fitted) | facts

    def lines(self) -> Iterator[str]:
        """What a person should know of it."""
        found, used = self.fitted, self.fitted.calibration
        yield from (f"passed over, most words are in none of its languages: {name}" for name in self.foreign)
        yield f"{self.model.name}: {self.pages} pages, {found.places} places judged"
        yield f"  uncalibrated  {_told(found.before)}"
        yield f"  calibrated    {_told(found.after)}"
        yield f"  its gain counts {used.gain:g} times, the margin is {used.margin:g} above the table's"
        if not found.is_held:
            yield (
                f"  not even the strictest margin keeps wrong edits surely below {calibration.WRONG_SHARE:.1%}:"
                " give more pages, or take another model"
            )
        yield f"  kept in {self.kept}; a daemon uses it from the model's next load on (at once: ocrwatch model unload)"


def _told(found: Tally) -> str:
    return f"{found.edits} edits, {found.right} right, {found.wrong} wrong ({found.wrong_share:.1%})"


def calibrate(settings: Configuration, folder: Path, *, progress: Progress | None) -> Calibrated:
    """Calibrate the configured model on the pairs of a folder, and keep that in the state folder; progress is told of pages.

    Raises UsageError for pairs that are none or too few, and what keeps the model from being had; then nothing is changed.
    """
    pairs = read_pairs(folder)
    languages = settings.inboxes[0].languages
    calibrations = Calibrations(settings.state_dir)
    calibrations.prepare()
    with (
        tempfile.TemporaryDirectory(prefix="ocrwatch-") as scratch,
        modelling.loaded_model(settings, Path(scratch)) as (file, worker),
    ):
        identity = fingerprint(file.path)
        places: list[Place] = []
        foreign: list[str] = []
        for done, pair in enumerate(pairs, start=1):
            judged = _judge(worker, pair, languages)
            if judged.is_foreign:
                foreign.append(pair.name)
            places += Alignment(pair.raw, pair.true).places(((p.start, p.end), p.options) for p in judged.places)
            if progress is not None:
                progress(done, len(pairs))
    _refuse_foreign(foreign, of=len(pairs), languages=languages)
    pages = len(pairs) - len(foreign)
    fitted = calibration.fit([Sample(places, weights_for(languages))], pages=pages)
    provenance = {
        "model": file.file,
        "languages": list(languages),
        "pages": pages,
        "places": fitted.places,
        "uncalibrated": _facts(fitted.before),
        "calibrated": _facts(fitted.after),
        "ocrwatch": __version__,
    }
    kept = calibrations.keep(identity, fitted.calibration, provenance=provenance)
    return Calibrated(file.path, pages, tuple(foreign), fitted, kept)


def _facts(found: Tally) -> dict[str, float]:
    return asdict(found) | {"wrong_share": round(found.wrong_share, 4)}


def _judge(worker: WorkerProcess, pair: Pair, languages: Sequence[str]) -> Judged:
    """What the model says of a page."""
    request = CorrectionRequest(pair.raw, languages=tuple(languages), earlier=pair.earlier[-EARLIER_PAGES:])
    reply = worker.call(request.to_json() | {"op": "judge"}, deadline_s=_PAGE_S)
    try:
        return Judged.from_json(reply)
    except (KeyError, TypeError, ValueError) as error:
        raise WorkerDied(f"the correction worker answered nonsense: {error}") from error


def _refuse_foreign(foreign: Sequence[str], *, of: int, languages: Sequence[str]) -> None:
    """A page of names or figures may seem to be in no language, but not most of them."""
    if 2 * len(foreign) > of:
        raise UsageError(
            f"most words on {len(foreign)} of {of} pages, as on {foreign[0]}, are not in {' or '.join(languages)}",
            "name the pages' languages with --language, and calibrate on pages in these alone",
        )
