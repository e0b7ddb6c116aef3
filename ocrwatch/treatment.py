"""How the scans of one inbox are treated: the configuration's choices as plain values for the stages. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ocrwatch.correction.protocol import Mode
from ocrwatch.intake.beneath import Root
from ocrwatch.ocr.engine import EngineName
from ocrwatch.output import sidecar
from ocrwatch.output.sidecar import Names, Naming
from ocrwatch.worker.share import Share


@dataclass(frozen=True)
class CorrectionPlan:
    """How the pages of an inbox are corrected. wait_s: how long a sidecar waits for the model."""

    mode: Mode
    profile: str
    prompt: str | None
    caution: float
    wait_s: float
    letter_to_digit: bool
    digit_to_letter: bool
    dictionary: tuple[str, ...] = ()


@dataclass(frozen=True)
class ArchivePlan:
    """Where scans go, and after how many seconds unchanged in the final state."""

    root: Root
    after_s: float


@dataclass(frozen=True)
class Treatment:
    """What becomes of a scan of one inbox.

    root: the inbox, pinned to its mount once it was found. output_root: where sidecars go, the same or another tree (`mirrored`).
    closely: the inbox's mount caches attributes. settings: digest of everything that shapes a result.
    """

    inbox: str
    root: Callable[[], Root]
    share: Share
    output_root: Callable[[], Root]
    output_share: Share
    mirrored: bool
    naming: Naming
    closely: bool
    engine: EngineName
    languages: tuple[str, ...]
    pdf_text: str
    page_timeout_s: float
    settings: str
    correction: CorrectionPlan | None = None
    archive: ArchivePlan | None = None

    def names(self, path: str) -> Names:
        """The names of a scan's sidecar."""
        return sidecar.names(path, naming=self.naming)

    def text_path(self, path: str) -> Path:
        """Where the text of a scan is, for a person."""
        return Path(self.output_root().path) / self.names(path).text
