"""Puts a report together, page by page, in a folder of its own: at no time is more than one document and one image in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from ocrwatch.errors import OcrwatchError
from ocrwatch.output.document import Document
from ocrwatch.report.content import Collection, FileResult, Shown, shown
from ocrwatch.report.page import Bulk, Heading, Templates
from ocrwatch.report.pictures import Absent, PictureMaker
from ocrwatch.report.reaching import Reaching

_BLOCK_CHARACTERS = 1 << 16
Progress = Callable[[int, int], None]
_NO_TEXT = Absent("its text was not there to say of what")


class Composer:
    """One report. folder: where its parts are written; they are its owner's."""

    def __init__(self, folder: Path, *, reaching: Reaching, maker: PictureMaker) -> None:
        self._folder = folder
        self._reaching = reaching
        self._maker = maker
        self._templates = Templates()

    def write(self, heading: Heading, collection: Collection, *, most_pages: int, progress: Progress) -> tuple[Path, int]:
        """The report's file, and how many pages it shows."""
        files = collection.files()
        pages = shown(files, most_pages)
        review, others, whole = (self._folder / name for name in ("review", "others", "report"))
        without_image = self._write_articles(files, pages, review=review, others=others, progress=progress)
        first = {file: number for file, number, _ in sorted(pages, reverse=True)}
        bulk = Bulk(_blocks(review), _blocks(others), len(pages), without_image, first)
        with _writing(whole) as out:
            out.writelines(self._templates.whole(heading, collection, files, bulk))
        return whole, len(pages)

    def _write_articles(
        self, files: Sequence[FileResult], pages: Sequence[Shown], *, review: Path, others: Path, progress: Progress
    ) -> int:
        """Each page into one of the two; how many have no image."""
        without_image = 0
        with _writing(review) as to_review, _writing(others) as rest:
            for count, each in enumerate(pages, start=1):
                article, has_image = self._article(each, files[each.file - 1])
                (to_review if each.is_to_review else rest).write(article)
                without_image += not has_image
                progress(count, len(pages))
        return without_image

    def _article(self, each: Shown, file: FileResult) -> tuple[str, bool]:
        outline = file.outline
        assert outline is not None
        document = self._document(file)
        picture = self._maker.picture(outline.source, outline.places, each.number) if document is not None else _NO_TEXT
        return self._templates.article(each, file, document, picture), not isinstance(picture, Absent)

    def _document(self, file: FileResult) -> Document | None:
        """The document, if it is still of the scan that the report counted."""
        assert file.outline is not None
        try:
            document = self._reaching.document(file.outline.text)
        except OcrwatchError:
            return None
        return document if document is not None and document.source.sha256 == file.outline.source.sha256 else None


def _writing(path: Path) -> TextIO:
    # Half a surrogate, from a file system or a JSON, must not end the report.
    return path.open("w", encoding="utf-8", errors="replace", newline="\n")


def _blocks(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", newline="\n") as file:
        while block := file.read(_BLOCK_CHARACTERS):
            yield block
