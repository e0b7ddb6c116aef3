"""Tesseract through tesserocr: text, words, confidences, alternatives. Worker-side.

OMP_THREAD_LIMIT=1 must be in the environment before this module is imported: the library reads it once, and its own threads
waste cores beside other workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import tesserocr
from PIL.Image import Image

from ocrwatch.errors import CorruptFile, MissingPart, OversizedPage
from ocrwatch.ocr.engine import Alternative, Box, EngineName, Recognized, Word
from ocrwatch.ocr.layout import Run, in_words, line_of, paragraphs_in_reading_order, separators_of
from ocrwatch.ocr.orientation import OrientationFinder, turned
from ocrwatch.ocr.tessdata import installed_languages, require
from ocrwatch.ocr.text import printable, typeset

MAX_SIDE_PX = 32767  # Tesseract's coordinates are 16 bits
_AUTOMATIC = int(tesserocr.PSM.AUTO)
_WORD, _SYMBOL, _LINE, _PARAGRAPH = (
    tesserocr.RIL.WORD,
    tesserocr.RIL.SYMBOL,
    tesserocr.RIL.TEXTLINE,
    tesserocr.RIL.PARA,
)
_CLEAR = 0.7  # mean square confidence of a page that is read the right way up: 0.75 to 0.93 on print
_LONG = 4  # letters of a word that is wider than high in any script whose lines run from side to side
_NO_ORIENTATION = "the orientation was not looked for: apt install tesseract-ocr-osd"


class TesseractEngine:
    """The engine that needs no licence.

    tessdata: folder of the language data. alternatives: gather them (10 % more time).
    """

    name = EngineName.TESSERACT
    version: str = tesserocr.tesseract_version().split()[1]
    licensed: bool | None = None
    max_pixels = 100_000_000

    def __init__(self, tessdata: Path, *, alternatives: bool = True) -> None:
        self._tessdata = tessdata
        self._alternatives = alternatives
        self._apis: dict[tuple[str, ...], Any] = {}
        self._orientation = OrientationFinder(tessdata)

    def languages(self) -> tuple[str, ...]:
        """The canonical codes of the languages that can be read here."""
        return installed_languages(self._tessdata)

    def recognize(self, image: Image, *, languages: tuple[str, ...], dpi: float, psm: int | None = None) -> Recognized:
        """See `Engine.recognize`."""
        if max(image.size) > MAX_SIDE_PX:
            raise OversizedPage(f"the page image of {image.width} x {image.height} pixels is longer than Tesseract can take")
        api = self._api(languages)
        api.SetPageSegMode(_AUTOMATIC if psm is None else psm)
        best = self._read(api, image, dpi=dpi, degrees=0)
        if best.is_upright or not self._orientation.available:
            return best.result  # the look at the orientation would cost a third of the reading
        turn = self._orientation.find(image, dpi)
        if turn.sure:
            return self._read(api, image, dpi=dpi, degrees=turn.degrees).result if turn.degrees else best.result
        # Short texts tell the orientation data too little; what reads best is upright.
        for degrees in (turn.degrees, 180, 90, 270):
            if best.is_upright or best.is_blank:
                break
            if degrees != best.result.rotation_deg:
                best = max(best, self._read(api, image, dpi=dpi, degrees=degrees), key=lambda reading: reading.rank)
        return best.result

    def _api(self, languages: tuple[str, ...]) -> Any:
        names = require(self._tessdata, languages)
        if names not in self._apis:
            try:
                api = tesserocr.PyTessBaseAPI(path=str(self._tessdata), lang="+".join(names))
            except RuntimeError as error:
                raise MissingPart(
                    f"Tesseract cannot load its data for {', '.join(names)} from {self._tessdata}",
                    "install the language packages again",
                ) from error
            # Other readings of each character, from the whole line's beam: at hand for correction.
            api.SetVariable("lstm_choice_mode", "2" if self._alternatives else "0")
            self._apis[names] = api
        return self._apis[names]

    def _read(self, api: Any, image: Image, *, dpi: float, degrees: int) -> _Reading:
        try:
            api.SetImage(turned(image, degrees))
            api.SetSourceResolution(round(dpi))
            if not api.Recognize():
                raise CorruptFile("Tesseract could not recognize the page image")
            page = _Page()
            for word in self._words(api.GetIterator()):
                page.add(word)
        except RuntimeError as error:
            raise CorruptFile(f"Tesseract cannot take the page image: {error}") from error
        finally:
            api.Clear()
        warnings = () if self._orientation.available else (_NO_ORIENTATION,)
        return _Reading(page.result(degrees, warnings), page.upright_weight, page.upright_letters, page.is_level)

    def _words(self, iterator: Any) -> Iterator[_RawWord]:
        """The words in reading order, in one pass over the symbols."""
        if iterator is None or iterator.Empty(_SYMBOL):
            return
        word: _RawWord | None = None
        while True:
            if word is None or iterator.IsAtBeginningOf(_WORD):
                if word is not None:
                    yield word
                word = _RawWord(iterator)
            word.add_symbol(iterator, alternatives=self._alternatives)
            if not iterator.Next(_SYMBOL):
                break
        yield word


@dataclass(frozen=True)
class _Reading:
    """What was read of the image in one orientation; weight: letters that stand upright, by the square of confidence.

    Tesseract reads lines that run up or down by itself, equally well: only those that stand upright speak for the orientation.
    """

    result: Recognized
    weight: float
    letters: int
    is_level: bool

    @property
    def is_clear(self) -> bool:
        """Whether it is so good that no other orientation can be meant."""
        return self.weight >= _CLEAR * self.letters > 0

    @property
    def is_upright(self) -> bool:
        """Whether it needs no look at the orientation: all is clear, and the words lie as words do that are not turned."""
        return self.is_clear and self.is_level

    @property
    def rank(self) -> tuple[bool, float]:
        """By which the upright one among readings of the same image is told."""
        return self.is_level, self.weight

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing to read, in any orientation."""
        return not self.result.words


class _RawWord:
    """A word as the iterator tells it. Boxes, breaks and confidence are read at its first symbol."""

    def __init__(self, iterator: Any) -> None:
        self.text = printable(iterator.GetUTF8Text(_WORD)).strip()
        self.box: Box = iterator.BoundingBox(_WORD)
        self.confidence = _share(iterator.Confidence(_WORD))
        self.starts_line = iterator.IsAtBeginningOf(_LINE)
        self.starts_paragraph = iterator.IsAtBeginningOf(_PARAGRAPH)
        self.is_upright = iterator.Orientation()[0] == tesserocr.Orientation.PAGE_UP
        self._symbols: list[str] = []
        self._alternatives: list[Alternative] = []
        self._length = 0

    def add_symbol(self, iterator: Any, *, alternatives: bool) -> None:
        """Take the symbol at which the iterator stands, and what else it might have been."""
        symbol = printable(iterator.GetUTF8Text(_SYMBOL))
        start, self._length = self._length, self._length + len(symbol)
        self._symbols.append(symbol)
        if not alternatives or not symbol:
            return
        seen = {symbol}
        for choice in iterator.GetChoiceIterator():
            text = printable(choice.GetUTF8Text() or "").strip()
            if text and text not in seen:
                seen.add(text)
                self._alternatives.append(Alternative(start, self._length, text, _share(choice.Confidence())))

    @property
    def word(self) -> Word:
        """The word by itself; with alternatives where its symbols are its letters (marks of direction may stand between)."""
        alternatives = tuple(self._alternatives) if "".join(self._symbols) == self.text else ()
        return Word(self.text, 0, self.box, self.confidence, alternatives)


class _Page:
    """Puts the words together to the text of the page, so that offsets hold by construction."""

    def __init__(self) -> None:
        self._lines: list[list[Word]] = []
        self._starts: list[int] = []  # the lines that begin a paragraph
        self._starts_paragraph = self._starts_line = True
        self.upright_weight = 0.0
        self.upright_letters = 0

    def add(self, raw: _RawWord) -> None:
        """Append a word, in the engine's order."""
        # A paragraph that starts with a blank "word" (a picture, a speck) still starts here.
        self._starts_paragraph |= raw.starts_paragraph
        self._starts_line |= raw.starts_line
        if not raw.text:
            return
        if self._starts_paragraph:
            self._starts.append(len(self._lines))
        if self._starts_paragraph or self._starts_line:
            self._lines.append([])
        self._lines[-1].append(raw.word)
        self._starts_paragraph = self._starts_line = False
        if raw.is_upright:
            self.upright_letters += len(raw.text)
            self.upright_weight += len(raw.text) * raw.confidence**2

    @property
    def is_level(self) -> bool:
        """Whether most words are wider than high. Tesseract reads a page on its side as well as one that stands."""
        long = [word.box for line in self._lines for word in line if len(word.text) >= _LONG and word.box]
        return 2 * sum(right - left > bottom - top for left, top, right, bottom in long) > len(long)

    def result(self, degrees: int, warnings: tuple[str, ...]) -> Recognized:
        """The page as recognized, its lines in the order of reading."""
        runs = [[_run(word) for word in line] for line in self._lines]
        lines = [line_of(line, number) for number, line in enumerate(runs)]
        rows = paragraphs_in_reading_order([lines[start:end] for start, end in pairwise([*self._starts, len(lines)])])
        text, words = typeset(in_words(rows, self._lines, separators=separators_of(runs), starts=self._starts))
        return Recognized(text, words, _mean_confidence(words), rotation_deg=degrees, warnings=warnings)


def _run(word: Word) -> Run:
    left, top, right, bottom = word.box or (0, 0, 0, 0)
    return Run(left, -bottom, right, -top, word.text)


def _share(percent: float) -> float:
    return round(min(max(percent / 100, 0.0), 1.0), 4)


def _mean_confidence(words: Sequence[Word]) -> float | None:
    """The mean over the letters: a long word counts for more than a stray mark."""
    letters = sum(len(word.text) for word in words)
    return round(sum(len(word.text) * (word.confidence or 0.0) for word in words) / letters, 4) if letters else None
