"""The pages that a model is calibrated on: texts as recognized beside what truly stands there. Owns how they lie in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ocrwatch.correction.truth import MOST_WRONG, error_rate
from ocrwatch.errors import UsageError
from ocrwatch.output import document

_TRUTH, _TEXT = ".gt.txt", ".txt"
_FORM = "a text NAME.txt as it was recognized needs its truth NAME.gt.txt beside it"


@dataclass(frozen=True)
class Pair:
    """One page. name: of its text's file and the page in it, for people. earlier: the pages before it in that file, raw."""

    name: str
    raw: str
    true: str
    earlier: tuple[str, ...] = ()


def read_pairs(folder: Path) -> list[Pair]:
    """The pages of a folder that are not empty. Raises UsageError, naming the file, for what cannot be learned from."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(_TEXT))
    except OSError as error:
        raise UsageError(f"cannot list {folder}: {error.strerror}", f"name a folder: {_FORM}") from error
    truths = {name.removesuffix(_TRUTH) for name in names if name.endswith(_TRUTH)}
    texts = {name.removesuffix(_TEXT) for name in names if not name.endswith(_TRUTH)}
    for stem in sorted(texts ^ truths):
        lacking = f"{stem}{_TRUTH}" if stem in texts else f"{stem}{_TEXT}"
        there = f"{stem}{_TEXT}" if stem in texts else f"{stem}{_TRUTH}"
        raise UsageError(f"{folder / there} has no {lacking} beside it", f"{_FORM}; add it, or take the other away")
    pairs = [pair for stem in sorted(texts) for pair in _pages(folder, stem)]
    if not pairs:
        raise UsageError(f"there are no pairs in {folder}", _FORM)
    return pairs


def _pages(folder: Path, stem: str) -> Iterator[Pair]:
    text, truth = folder / f"{stem}{_TEXT}", folder / f"{stem}{_TRUTH}"
    raw, true = _raw(text, folder / f"{stem}.json"), _read(truth).split(document.PAGE_SEPARATOR)
    if len(raw) != len(true):
        raise UsageError(
            f"{text} has {len(raw)} pages, {truth} has {len(true)}", "separate the pages of both by form feeds, in one order"
        )
    for number, (read, meant) in enumerate(zip(raw, true, strict=True), start=1):
        name = f"{text}, page {number}"
        if not read.strip() and not meant.strip():
            continue
        if error_rate(read, meant) > MOST_WRONG:
            raise UsageError(
                f"{name}: what was read and its truth in {truth.name} have too little in common"
                f" ({error_rate(read, meant):.0%} of the characters differ)",
                "both have to be of the same page, its lines in the same order; mend the truth, or take the page away",
            )
        yield Pair(name, read, meant, earlier=tuple(raw[: number - 1]))


def _raw(text: Path, metadata: Path) -> list[str]:
    """The pages as recognized; of a text that ocrwatch itself has corrected, with its metadata beside it, before that."""
    if not metadata.exists():
        return _read(text).split(document.PAGE_SEPARATOR)
    try:
        return list(document.raw_pages(text.read_bytes(), metadata.read_bytes()))
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}", "mend its permissions") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{metadata} does not tell what was read in {text.name}: {error}",
            f"take both as ocrwatch wrote them and put the truth into NAME{_TRUTH}, or take the metadata away",
        ) from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: {error}", "convert it first, for instance with iconv") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "mend its permissions") from error
