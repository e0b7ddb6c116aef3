"""What an OCR engine takes and gives. Owns the values and their JSON form; imports no engine.

Alternatives are four values in a list in JSON: a page has thousands, and named they would be most of a checkpoint.

Boxes are (left, top, right, bottom) in pixels of the upright page image as it was recognized, origin top left.
Confidences are 0..1; None where the engine has none.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # the parent reads these values and must not load an image library
    from PIL.Image import Image

Box = tuple[int, int, int, int]


class EngineName(StrEnum):
    """The engines that ocrwatch has."""

    TESSERACT = "tesseract"  # complete text without a licence
    ASPOSE = "aspose"  # needs a licence; without one its text is cut


class PdfText(StrEnum):
    """What to do with the text layer of a PDF page that was born digital."""

    AUTO = "auto"  # take it where it covers the page, recognize the others
    ALWAYS = "always"  # take whatever there is
    NEVER = "never"  # recognize every page


class PageSource(StrEnum):
    """Where the text of a page comes from."""

    OCR = "ocr"
    TEXT_LAYER = "text_layer"


@dataclass(frozen=True)
class Alternative:
    """What the engine would have read instead of `word.text[start:end]`, with its own confidence (not a probability)."""

    start: int
    end: int
    text: str
    confidence: float


@dataclass(frozen=True)
class Word:
    """One word as read. `offset` is its first code point in the page's text; `text == page.text[offset:offset+len(text)]`.

    box: the word's own, or that of its line where the engine tells no better.
    """

    text: str
    offset: int
    box: Box | None = None
    confidence: float | None = None
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True)
class PageResult:
    """One page: its whole text (lines end in a newline, no form feed), and what is known of each word.

    rotation_deg: by how much the image was turned clockwise to stand upright (0, 90, 180, 270).
    words: empty for a text layer, which is the text itself and no reading of it.
    trial: the engine cut the text because it has no licence.
    """

    text: str
    engine: str
    engine_version: str
    source: PageSource
    width_px: int
    height_px: int
    dpi: float
    rotation_deg: int = 0
    confidence: float | None = None
    trial: bool = False
    words: tuple[Word, ...] = ()
    warnings: tuple[str, ...] = ()
    render_s: float = 0.0
    recognize_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The page as a JSON object, for a frame and for the checkpoint."""
        return _shallow(self) | {"words": [_word_to_json(word) for word in self.words], "warnings": list(self.warnings)}

    @staticmethod
    def from_json(data: dict[str, Any]) -> PageResult:
        """The page of `to_json`. Raises KeyError, TypeError or ValueError on anything else."""
        words = tuple(_word(w) for w in data["words"])
        fixed = {"words": words, "warnings": tuple(data["warnings"]), "source": PageSource(data["source"])}
        return PageResult(**(data | fixed))


def _shallow(value: PageResult | Word) -> dict[str, Any]:
    # `asdict` copies deeply, which costs more than the frame itself for a page with thousands of alternatives.
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _word_to_json(word: Word) -> dict[str, Any]:
    alternatives = [[a.start, a.end, a.text, a.confidence] for a in word.alternatives]
    return _shallow(word) | {"box": list(word.box) if word.box else None, "alternatives": alternatives}


def _word(data: dict[str, Any]) -> Word:
    left_top_right_bottom = data["box"]
    box = tuple(int(n) for n in left_top_right_bottom) if left_top_right_bottom is not None else None
    if box is not None and len(box) != 4:
        raise ValueError(f"a box has four numbers, this one {len(box)}")
    alternatives = tuple(Alternative(*a) for a in data["alternatives"])
    return Word(**(data | {"box": box, "alternatives": alternatives}))


@dataclass(frozen=True)
class Recognized:
    """What an engine gives for one image: the text and its words; the rest of a PageResult is known to the caller."""

    text: str
    words: tuple[Word, ...] = ()
    confidence: float | None = None
    trial: bool = False
    rotation_deg: int = 0
    warnings: tuple[str, ...] = ()


class Engine(Protocol):
    """An OCR engine in its worker. Built once, used for one page at a time."""

    name: EngineName
    version: str
    licensed: bool | None
    """True or False where a licence matters, None where it does not."""
    max_pixels: int
    """The largest page image that it takes within the memory of a worker; larger pages are scaled down to it."""

    def recognize(self, image: Image, *, languages: tuple[str, ...], dpi: float) -> Recognized:
        """The text of one upright or turned page image; finds and undoes a turn by 90, 180 or 270 degrees where it can.

        image: a Pillow image, mode L or RGB. languages: ISO 639 codes as in the configuration (`en`, `deu`).
        dpi: resolution of the image, for the engine's own heuristics.
        Raises MissingPart for a language that is not installed, CorruptFile when the engine cannot take the image,
        OversizedPage when it has no memory for it.
        """
        ...

    def languages(self) -> tuple[str, ...]:
        """The canonical codes of the languages that can be read here."""
        ...
