"""How the scans of one inbox are treated: the configuration's choices as plain values for the stages. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ocrwatch.correction.protocol import Mode
from ocrwatch.ocr.engine import EngineName
from ocrwatch.output import sidecar
from ocrwatch.output.sidecar import Names, Naming
from ocrwatch.output.tree import OutputTree
from ocrwatch.worker.share import Reach


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
class MovePlan:
    """Where scans go in the end, and after how many seconds unchanged in that state."""

    tree: OutputTree
    after_s: float


@dataclass(frozen=True)
class Treatment:
    """What becomes of a scan of one inbox.

    scans, texts: how a scan of that path, and its sidecar, is reached; held to the mounts on which they were found. text_base:
    where sidecars begin, for a person; another tree than the inbox when mirrored. psm: see `Engine.recognize`. settings: digest
    of everything that shapes a result. archive, quarantine: where scans go that are done, or that cannot be processed.
    """

    inbox: str
    scans: Callable[[str], Reach]
    texts: Callable[[str], Reach]
    text_base: str
    mirrored: bool
    naming: Naming
    engine: EngineName
    languages: tuple[str, ...]
    pdf_text: str
    page_timeout_s: float
    settings: str
    correction: CorrectionPlan | None = None
    archive: MovePlan | None = None
    quarantine: MovePlan | None = None
    hocr: bool = False
    pdf: bool = False
    psm: int | None = None

    def names(self, path: str) -> Names:
        """The names of a scan's sidecar."""
        return sidecar.names(path, naming=self.naming)

    def text_path(self, path: str) -> Path:
        """Where the text of a scan is, for a person."""
        return Path(self.text_base) / self.names(path).text
