"""What a person may choose of Aspose.OCR, under the names of the configuration. Values only; loads nothing of the package.

Chosen by trying every one of the package (26.10): some of its modes and filters fetch a model when they are first used, which
no worker can; one that wants a number (`threshold`) left nothing of a faint page; turning and scaling is ocrwatch's own matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class DetectAreas(StrEnum):
    """How the text of a page is found."""

    UNIVERSAL = "universal"  # wherever it stands: the package's own default
    LEAN = "lean"  # as lines across the whole page, in about half the time: for letters, not for columns


class Filter(StrEnum):
    """What is done to the image of a page before it is read; in the order in which they are named."""

    AUTO_SKEW = "auto_skew"  # straightens a page; of use from 4 degrees on. Words have no boxes then
    BINARIZE = "binarize"  # black and white
    CONTRAST_CORRECTION = "contrast_correction"  # for grey on grey; leaves nothing of white text on black
    DILATE = "dilate"  # thicker strokes
    INVERT = "invert"  # black for white; the package does so by itself where it sees the need
    MEDIAN = "median"  # takes single specks away
    TO_GRAYSCALE = "to_grayscale"  # drops the colours


_FETCHES = "wants a model that the package does not hold and would fetch from the internet"
REFUSED_AREAS = dict.fromkeys(("multicolumn", "document_layout", "table", "curved_text", "formula"), _FETCHES)
REFUSED_FILTERS = {
    **dict.fromkeys(("auto_denoising", "auto_dewarping"), _FETCHES),
    **dict.fromkeys(("resize", "scale", "rotate"), "is no choice: ocrwatch renders and turns each page itself"),
    "threshold": "is no choice: one number for all pages leaves nothing of a faint one; `binarize` finds its own",
}


def offered(value: object, refused: Mapping[str, str]) -> object:
    """The value, unless it is something of the package that cannot be had here. Raises ValueError, with the reason."""
    if isinstance(value, str) and value in refused:
        raise ValueError(f"`{value}` {refused[value]}")
    return value


def refuse_metered(value: object) -> object:
    """Metered keys: their use is reported to id.aspose.cloud, first of all. Raises ValueError, with the way out."""
    if value is not None:
        raise ValueError(
            "metered keys cannot be used: with them Aspose reports its use over the internet, and no worker of ocrwatch has a "
            "network; name a licence file in `ocr.aspose.license_file`"
        )
    return value


@dataclass(frozen=True)
class AsposeOptions:
    """The choices of one worker. threads: of one page; more than one takes a core from another page."""

    detect_areas: DetectAreas = DetectAreas.UNIVERSAL
    filters: tuple[Filter, ...] = ()
    threads: int = 1

    def to_json(self) -> dict[str, Any]:
        """The choices as a JSON object, for a worker's options."""
        return {**self.shaping(), "threads": self.threads}

    def shaping(self) -> dict[str, Any]:
        """Those of them on which the text depends."""
        return {"detect_areas": self.detect_areas, "filters": list(self.filters)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> AsposeOptions:
        """The choices of `to_json`; what is not there has its default. Raises ValueError for a name that is none."""
        filters: Sequence[str] = data.get("filters") or ()
        return AsposeOptions(
            detect_areas=DetectAreas(data.get("detect_areas") or DetectAreas.UNIVERSAL),
            filters=tuple(Filter(name) for name in filters),
            threads=int(data.get("threads") or 1),
        )
