"""What a job in work has on the disk of the state directory: the spooled copy, each page's result as it comes, the hOCR of all.

A folder a job, 0700. Every file is written under a temporary name, synced and renamed, so that it is whole or absent; what
cannot be read back counts as absent. The folder goes when the job is done; the pages of one that awaits its correction, or lacks
some, stay.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from ocrwatch.correction.protocol import Correction
from ocrwatch.errors import StateUnwritable
from ocrwatch.intake.spool import Spooled
from ocrwatch.ocr.engine import PageResult
from ocrwatch.output.document import Model

Value = TypeVar("Value")


class Checkpoints:
    """The folders of all jobs below one directory of the state."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def source(self, job: int) -> Path:
        """Where the copy of a job's scan is, or is to be; its folder is made."""
        folder = self._folder(job)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(folder, error) from error
        return folder / "source"

    def save_spooled(self, job: int, spooled: Spooled, settings: str) -> None:
        """The copy is there, and whole; `settings` is the digest of what will shape its pages."""
        self._save(job, "spooled.json", {"settings": settings, "spooled": spooled.to_json()})

    def spooled(self, job: int, settings: str) -> Spooled | None:
        """What `save_spooled` said, if that was with the same settings."""

        def read(data: dict[str, Any]) -> Spooled | None:
            return Spooled.from_json(data["spooled"]) if data["settings"] == settings else None

        return self._load(job, "spooled.json", read)

    def save_page(self, job: int, number: int, result: PageResult) -> None:
        """A page as the engine read it."""
        self._save(job, f"page-{number:06}.json", result.to_json())

    def page(self, job: int, number: int) -> PageResult | None:
        """The page of `save_page`."""
        return self._load(job, f"page-{number:06}.json", PageResult.from_json)

    def save_correction(self, job: int, number: int, correction: Correction) -> None:
        """What the model made of a page."""
        self._save(job, f"correction-{number:06}.json", correction.to_json())

    def correction(self, job: int, number: int) -> Correction | None:
        """The correction of `save_correction`."""
        return self._load(job, f"correction-{number:06}.json", Correction.from_json)

    def save_model(self, job: int, model: Model) -> None:
        """Which model corrected what there is of a job."""
        self._save(job, "model.json", asdict(model))

    def model(self, job: int) -> Model | None:
        """The model of `save_model`."""
        return self._load(job, "model.json", lambda data: Model(**data))

    def save_hocr(self, job: int, pieces: Iterable[bytes]) -> Path:
        """The hOCR of the document, in a file from which it is published."""
        return self._write(job, "hocr", pieces)

    def pdf(self, job: int) -> Path:
        """Where the searchable PDF of the document is to be made, from which it is published."""
        return self._folder(job) / "searchable.pdf"

    def drop_pages(self, job: int) -> None:
        """What was read belongs to other content or other settings. Raises StateUnwritable when some of it stays."""
        folder = self._folder(job)
        try:
            for pattern in ("spooled.json", "page-*.json", "correction-*.json", "model.json"):
                for path in folder.glob(pattern):
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(folder, error) from error

    def drop_source(self, job: int) -> None:
        """The copy is not needed any more; the pages stay."""
        with contextlib.suppress(OSError):  # it goes with the folder then
            (self._folder(job) / "source").unlink()

    def drop(self, job: int) -> None:
        """Nothing of the job is needed any more."""
        shutil.rmtree(self._folder(job), ignore_errors=True)

    def jobs(self) -> list[int]:
        """The jobs that have a folder."""
        if not self._directory.is_dir():
            return []
        return sorted(int(entry.name) for entry in self._directory.iterdir() if entry.name.isdigit())

    def _folder(self, job: int) -> Path:
        return self._directory / str(job)

    def _save(self, job: int, name: str, data: dict[str, Any]) -> None:
        self._write(job, name, [json.dumps(data, separators=(",", ":")).encode("ascii")])

    def _write(self, job: int, name: str, pieces: Iterable[bytes]) -> Path:
        folder = self._folder(job)
        temporary = folder / f".{name}"
        try:
            with temporary.open("wb") as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            return temporary.rename(folder / name)
        except OSError as error:
            with contextlib.suppress(OSError):  # a disk that turned read-only refuses this as well
                temporary.unlink()
            raise _unwritable(folder, error) from error

    def _load(self, job: int, name: str, read: Callable[[dict[str, Any]], Value | None]) -> Value | None:
        try:
            return read(json.loads((self._folder(job) / name).read_bytes()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return None  # not there, or not as it was written: made again


def _unwritable(folder: Path, error: OSError) -> StateUnwritable:
    return StateUnwritable(f"cannot write to {folder}: {error.strerror}", "free space there, or mend its permissions")
