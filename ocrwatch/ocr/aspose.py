"""Aspose.OCR (the package aspose-ocr-python-net): text, alternatives, the boxes of lines. Worker-side, and in no other process.

The package embeds a .NET runtime that aborts the process when OpenSSL 1.1 or its environment is not as it wants: call
`prepare` first, which tells what is missing instead. It opens no network connection: the download of models is switched off.

Without a licence the package cuts each page's text and appends a notice. Here the notice goes and the cut stays, marked as
`trial`; nothing beyond the cut is read, from whatever part of its answer.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL.Image import Image

from ocrwatch.errors import CorruptFile, MissingPart, OversizedPage
from ocrwatch.ocr.aspose_options import AsposeOptions, DetectAreas, Filter
from ocrwatch.ocr.engine import Alternative, Box, EngineName, Recognized, Word
from ocrwatch.ocr.languages import aspose_name, codes_of_aspose
from ocrwatch.ocr.licence import AS_SENT, read_licence
from ocrwatch.ocr.orientation import OrientationFinder, turned
from ocrwatch.ocr.text import printable, tidy
from ocrwatch.tools.openssl11 import LIBRARIES, fetch_command, find_openssl

_ENVIRONMENT = {
    "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1",  # else it wants ICU and aborts
    "COMPlus_EnableDiagnostics": "0",  # no debugger pipes; only this spelling works
    # Hexadecimal, 512 MiB. 128 MiB, which serves small pages, fails at A4 and 300 dpi with an out-of-memory error.
    "COMPlus_GCHeapHardLimit": "20000000",
}
_NOTICE = re.compile(r"\n?[^\S\n]*\*{5,}[^\S\n]*Trial Licenses[^\S\n]*\*{5,}[^\S\n]*\n?")
_NOTICE_LINE = f"\n {'*' * 13} Trial Licenses {'*' * 13} \n"
_WORD = re.compile(r"\S+")
_AREAS = {DetectAreas.UNIVERSAL: "UNIVERSAL", DetectAreas.LEAN: "LEAN"}
_FILTERS = {filter_: filter_.value for filter_ in Filter} | {Filter.CONTRAST_CORRECTION: "contrast_correction_filter"}
_AS_IT_COMES = AsposeOptions()
_NO_ORIENTATION = "the orientation was not looked for: apt install tesseract-ocr-osd"


def prepare(openssl: Path | None) -> None:
    """Set the environment and load OpenSSL 1.1 for this process; before anything of the package is imported.

    openssl: folder of the two libraries, None to search. Raises MissingPart, with the command that mends it.
    """
    folder = find_openssl(openssl)
    if folder is None:
        where = f"in {openssl}" if openssl else "on this machine"
        raise MissingPart(
            f"Aspose needs OpenSSL 1.1, and it is not {where}",
            f"run `{fetch_command(openssl)}`, or use Tesseract",
        )
    os.environ.update(_ENVIRONMENT)
    try:
        # Loaded for all, so that the runtime finds them by name without a library path.
        for name in LIBRARIES:
            ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise MissingPart(
            f"OpenSSL 1.1 in {folder} cannot be loaded: {error}", f"run `{fetch_command(folder)}`, or use Tesseract"
        ) from error


class AsposeEngine:
    """The engine that needs a licence.

    license_file: the licence, None for none; one that is refused is an error, whatever else is allowed.
    allow_trial: go on without one, with cut texts. options: how pages are read.
    tessdata: where Tesseract's orientation data lies (Aspose's own answer was wrong on 2 of 22 upright pages); None for none.
    """

    name = EngineName.ASPOSE
    max_pixels = 20_000_000  # 830 MB at its peak; 40 megapixels took 1.5 GB

    def __init__(
        self, *, license_file: Path | None, allow_trial: bool, tessdata: Path | None, options: AsposeOptions = _AS_IT_COMES
    ) -> None:
        try:
            from aspose import ocr  # the import starts the runtime
        except ImportError as error:
            raise MissingPart(f"Aspose.OCR cannot be imported: {error}", "pip install aspose-ocr-python-net") from error
        self._package: Any = ocr
        self.version = str(ocr.VERSION)
        self._options = options
        if license_file is not None:
            self._license(license_file)
        self.licensed: bool | None = self._is_licensed()
        if not self.licensed and not allow_trial:
            raise MissingPart(
                "Aspose.OCR has no licence and would cut every text",
                "set `ocr.aspose.license_file`, or `ocr.aspose.allow_trial: true` to try it, or `ocr.engine: tesseract`",
            )
        ocr.Resources.allow_automatic_downloads(False)
        self._engine = ocr.AsposeOcr()
        self._orientation = OrientationFinder(tessdata) if tessdata else None

    def languages(self) -> tuple[str, ...]:
        """The canonical codes of the languages that can be read here."""
        return codes_of_aspose()

    def recognize(self, image: Image, *, languages: tuple[str, ...], dpi: float, psm: int | None = None) -> Recognized:
        """See `Engine.recognize`."""
        settings = self._settings(languages)
        degrees, warnings = self._turn(image, dpi)
        try:
            results = self._engine.recognize(self._input(turned(image, degrees)), settings)
            text = str(results[0].recognition_text)
            lines = [(str(line.text_in_line), self._box(line.line)) for line in results[0].recognition_lines_result]
            choices = [[str(text) for text in choice] for choice in results[0].recognition_characters_list]
        except RuntimeError as error:
            raise _translated(error) from error
        whole = without_notice(text)
        page = tidy(whole)
        return Recognized(
            text=page,
            words=with_alternatives(words_of_lines(page, lines), page, choices),
            trial=whole != text or not self._is_licensed(),  # a temporary licence may end while the worker lives
            rotation_deg=degrees,
            warnings=warnings,
        )

    def _license(self, license_file: Path) -> None:
        licence = read_licence(license_file)
        own_account = f" (by its own account it holds {licence})" if str(licence) else ""
        try:
            self._package.License().set_license(str(license_file))
        except RuntimeError as error:
            why = _detail(error).removeprefix("Failed to set license. Details: ").removesuffix(".")
            raise MissingPart(f"Aspose.OCR refuses the licence {license_file}: {why}{own_account}", AS_SENT) from error
        if not self._is_licensed():
            raise MissingPart(f"the licence {license_file} does not license Aspose.OCR now{own_account}", AS_SENT)

    def _is_licensed(self) -> bool:
        return bool(self._package.License().is_licensed)

    def _settings(self, languages: tuple[str, ...]) -> Any:
        names = [aspose_name(code) for code in languages]
        settings = self._package.RecognitionSettings()
        # It reads one language at a time; its model of the extended Latin alphabet is the one that has the letters of all.
        settings.language = getattr(self._package.Language, names[0] if len(names) == 1 else "EXT_LATIN")
        settings.threads_count = self._options.threads
        settings.detect_areas_mode = getattr(self._package.DetectAreasMode, _AREAS[self._options.detect_areas])
        settings.retain_image_for_export = False
        return settings

    def _turn(self, image: Image, dpi: float) -> tuple[int, tuple[str, ...]]:
        if self._orientation is None or not self._orientation.available:
            return 0, (_NO_ORIENTATION,)
        turn = self._orientation.find(image, dpi)
        return (turn.degrees if turn.sure else 0), ()

    def _input(self, image: Image) -> Any:
        pixels = self._package.PixelType.BYTE if image.mode == "L" else self._package.PixelType.RGB
        page = self._package.OcrInput(self._package.InputType.SINGLE_IMAGE, self._filters())
        page.add(image.tobytes(), image.width, image.height, pixels)
        return page

    def _box(self, rectangle: Any) -> Box | None:
        # Straightened by the package, a page has other coordinates than its image, and the package does not tell the turn.
        if rectangle is None or rectangle.is_empty or Filter.AUTO_SKEW in self._options.filters:
            return None
        return int(rectangle.left), int(rectangle.top), int(rectangle.right), int(rectangle.bottom)

    def _filters(self) -> Any:
        from aspose.ocr.models.preprocessingfilters import PreprocessingFilter

        chain = PreprocessingFilter()
        for name in self._options.filters:
            chain.add(getattr(PreprocessingFilter, _FILTERS[name])())
        return chain


def without_notice(text: str) -> str:
    """The text without the notice that a trial appends; a short page has it twice, and the first one is cut as well."""
    whole = _NOTICE.sub("", text)
    if whole == text:
        return text
    cut = next((length for length in range(len(_NOTICE_LINE), 0, -1) if whole.endswith(_NOTICE_LINE[:length])), 0)
    return whole[: len(whole) - cut]


def words_of_lines(page: str, lines: list[tuple[str, Box | None]]) -> tuple[Word, ...]:
    """The words of the page's text, each with its share of its line's box; the package tells no boxes of words, no confidences.

    lines: text and box of each line, in the order of the text; a line that is not in the text is passed over.
    """
    boxes: list[tuple[int, int, Box | None]] = []
    position = 0
    for text, box in lines:
        line = tidy(text).rstrip("\n")
        start = page.find(line, position) if line else -1
        if start >= 0:
            position = start + len(line)
            boxes.append((start, position, box))
    return tuple(Word(match[0], match.start(), _box_of(match.span(), boxes)) for match in _WORD.finditer(page))


def _box_of(span: tuple[int, int], lines: list[tuple[int, int, Box | None]]) -> Box | None:
    start, end, box = next((line for line in lines if line[0] <= span[0] < line[1]), (0, 0, None))
    if box is None:
        return None
    left, top, right, bottom = box
    a, b = (left + (right - left) * (min(offset, end) - start) // (end - start) for offset in span)
    return a, top, b, bottom


def with_alternatives(words: Sequence[Word], page: str, choices: Sequence[Sequence[str]]) -> tuple[Word, ...]:
    """The words with what else their characters may be.

    choices: of each character of the text but the line ends what was read and, after it, what might have been, likeliest first.
    Where they are not those of the text, its rest has none.
    """
    of_offset: dict[int, tuple[str, ...]] = {}
    number = 0
    for offset, char in enumerate(page):
        if char == "\n":
            continue
        while number < len(choices) and choices[number][0] != char and choices[number][0].isspace():
            number += 1  # a blank that our form of a text does not have
        if number == len(choices) or choices[number][0] != char:
            break
        of_offset[offset] = tuple(choices[number][1:])
        number += 1
    return tuple(replace(word, alternatives=_alternatives(word, of_offset)) for word in words)


def _alternatives(word: Word, choices: Mapping[int, Sequence[str]]) -> tuple[Alternative, ...]:
    texts = ((at, printable(text).strip()) for at in range(len(word.text)) for text in choices.get(word.offset + at, ()))
    return tuple(Alternative(at, at + 1, text, None) for at, text in texts if text)


def _translated(error: RuntimeError) -> Exception:
    detail = _detail(error)
    if "OutOfMemory" in str(error):
        return OversizedPage("Aspose.OCR has no memory for the page")
    if ".ocr" in detail and ("Resources" in detail or "download" in detail):
        return MissingPart(f"Aspose.OCR lacks a model: {detail}", "use Tesseract for this language")
    return CorruptFile(f"Aspose.OCR cannot take the page image: {detail}")


def _detail(error: RuntimeError) -> str:
    """What the package says, without its frame: `Proxy error(Kind): what`."""
    text = " ".join(str(error).split())
    return text.partition("): ")[2] or text
