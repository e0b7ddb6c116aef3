"""What an OCR engine takes and gives. Owns the values and their JSON form; imports no engine.

Words and alternatives are lists of values in JSON: a page has thousands, and named they would be most of a checkpoint.

Boxes are (left, top, right, bottom) in pixels of the upright page image as it was recognized, origin top left.
Confidences are 0..1; None where the engine has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # the parent reads these values and must not load an image library
    from PIL.Image import Image

Box = tuple[int, int, int, int]


READING = "reading"
"""The stage of a page that a worker tells of: its engine is about to read the image, for there was no text layer to take."""


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
    confidence: float | None


@dataclass(frozen=True)
class Word:
    """One word as read. `offset` is its first code point in the page's text; `text == page.text[offset:offset+len(text)]`.

    box: the word's own, or its share of its line's where the engine tells no better.
    """

    text: str
    offset: int
    box: Box | None = None
    confidence: float | None = None
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True)
class PageResult:
    """One page: its whole text (lines end in a newline, no form feed), and what is known of each word.

    width_px, height_px: of the upright page. rotation_deg: by how much its image was turned clockwise (0, 90, 180, 270) for that.
    words: all of the text, in its order; without a confidence in a text layer, which is the text itself and no reading of it.
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
        text = _text(data["text"])
        fixed = {
            "words": tuple(_word(text, values) for values in data["words"]),
            "warnings": tuple(map(_text, data["warnings"])),
            "source": PageSource(data["source"]),
            "confidence": _share(data.get("confidence")),
        }
        for name in ("engine", "engine_version"):
            _text(data[name])
        for name in data.keys() & _NUMBERS.keys():
            _number(data[name], _NUMBERS[name])
        return PageResult(**(data | fixed))


_NUMBERS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("width_px", "height_px", "rotation_deg"), (int,)),
    **dict.fromkeys(("dpi", "render_s", "recognize_s"), (int, float)),
    "trial": (bool,),
}


_GREATEST = 1 << 53  # of what is a number everywhere


def _number(value: Any, kinds: tuple[type, ...] = (int,)) -> Any:
    if type(value) not in kinds or not -_GREATEST <= value <= _GREATEST:  # no NaN is
        raise TypeError(f"{value!r} is no number of this kind")
    return value


def _share(value: Any) -> float | None:
    return None if value is None else float(_number(value, (int, float)))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _shallow(page: PageResult) -> dict[str, Any]:
    # `asdict` copies deeply, which costs more than the frame itself for a page with thousands of alternatives.
    return {field.name: getattr(page, field.name) for field in fields(page)}


def _word_to_json(word: Word) -> list[Any]:
    alternatives = [[a.start, a.end, a.text, a.confidence] for a in word.alternatives]
    return [word.offset, len(word.text), word.box, word.confidence, alternatives]


def _word(text: str, values: Sequence[Any]) -> Word:
    offset, length, box, confidence, alternatives = values
    offset, length = _number(offset), _number(length)
    if not 0 <= offset <= offset + length <= len(text):
        raise ValueError(f"a word of {length} characters at {offset} is not in a text of {len(text)}")
    return Word(
        text[offset : offset + length], offset, _box(box), _share(confidence), tuple(_alternative(*a) for a in alternatives)
    )


def _alternative(start: Any, end: Any, text: Any, confidence: Any) -> Alternative:
    return Alternative(_number(start), _number(end), _text(text), _share(confidence))


def _box(numbers: Sequence[int] | None) -> Box | None:
    if numbers is None:
        return None
    left, top, right, bottom = map(_number, numbers)
    return left, top, right, bottom


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

    def recognize(self, image: Image, *, languages: tuple[str, ...], dpi: float, psm: int | None = None) -> Recognized:
        """The text of one upright or turned page image; finds and undoes a turn by 90, 180 or 270 degrees where it can.

        image: a Pillow image, mode L or RGB. languages: ISO 639 codes as in the configuration (`en`, `deu`).
        dpi: resolution of the image, for the engine's own heuristics. psm: how Tesseract takes the page apart, in its own
        numbers; with None it finds out, as other engines always do.
        Raises MissingPart for a language that is not installed, CorruptFile when the engine cannot take the image,
        OversizedPage when it has no memory for it.
        """
        ...

    def languages(self) -> tuple[str, ...]:
        """The canonical codes of the languages that can be read here."""
        ...
