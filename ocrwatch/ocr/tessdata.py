"""Tesseract's language data on this machine: where it is, what it holds, which package brings more. Loads no engine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ocrwatch.errors import MissingPart
from ocrwatch.ocr.languages import codes_of_tesseract, debian_package, tesseract_name

ORIENTATION = "osd"
_FOLDERS = (Path("/usr/share/tesseract-ocr/5/tessdata"), Path("/usr/share/tessdata"), Path("/usr/share/tesseract/tessdata"))
_SUFFIX = ".traineddata"


def find_tessdata(explicit: Path | None = None) -> Path:
    """The folder of the language data: `explicit`, or one within it, else where distributions put it.

    Raises MissingPart when there is none; a place that is named excludes the others.
    """
    for folder in (explicit, explicit / "tessdata") if explicit else _FOLDERS:
        if any(folder.glob(f"*{_SUFFIX}")):
            return folder
    where = f"in {explicit}" if explicit else "on this machine"
    raise MissingPart(f"there is no Tesseract language data {where}", "apt install tesseract-ocr-eng tesseract-ocr-osd")


def installed(tessdata: Path) -> set[str]:
    """Tesseract's names of the data that is there, `osd` among them."""
    return {path.name.removesuffix(_SUFFIX) for path in tessdata.glob(f"*{_SUFFIX}")}


def installed_languages(tessdata: Path) -> tuple[str, ...]:
    """The canonical codes of the languages that can be read with the data that is there."""
    return codes_of_tesseract(installed(tessdata))


def require(tessdata: Path, languages: Iterable[str]) -> tuple[str, ...]:
    """Tesseract's names of these languages. Raises MissingPart naming the packages when data is missing."""
    names = tuple(dict.fromkeys(tesseract_name(code) for code in languages))
    missing = sorted(set(names) - installed(tessdata))
    if missing:
        packages = " ".join(debian_package(name) for name in missing)
        raise MissingPart(f"Tesseract has no data for {', '.join(missing)} in {tessdata}", f"apt install {packages}")
    return names
