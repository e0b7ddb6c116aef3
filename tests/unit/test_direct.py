"""The settings of `process` and `ocr`: those of the inbox that a file is in, with what the command line chose over them."""

from __future__ import annotations

from pathlib import Path

from ocrwatch.direct import settings_for
from ocrwatch.settings import After, Configuration, CorrectionMode, InboxCorrection, InboxSettings, OutputSettings

LETTERS = InboxSettings(
    path=Path("/srv/letters"),
    languages=("de",),
    psm=6,
    ignore=("*.pdf",),
    output=OutputSettings(directory=Path("/srv/texts"), hocr=True),
    after=After.ARCHIVE,
    archive_to=Path("/srv/archive"),
    correction=InboxCorrection(profile="medical"),
)
BASE = Configuration(inboxes=(InboxSettings(path=Path("/srv"), languages=("fr",)), LETTERS))


def test_file_in_an_inbox_is_treated_as_there_but_not_archived() -> None:
    """The nearest inbox counts; its mirrored tree is kept, also for a folder below it; a file that is named is not ignored."""
    (inbox,) = settings_for((Path("/srv/letters/may/a.pdf"),), base=BASE).inboxes
    assert (inbox.path, inbox.languages, inbox.psm, inbox.output.hocr) == (Path("/srv/letters/may"), ("de",), 6, True)
    assert inbox.output.directory == Path("/srv/texts/may")
    assert (inbox.after, inbox.ignore, inbox.correction.profile) == (After.KEEP, (), "medical")


def test_file_elsewhere_has_the_first_languages_and_nothing_else_of_an_inbox() -> None:
    """What an inbox says of its own files says nothing of others."""
    (inbox,) = settings_for((Path("/home/a.pdf"),), base=BASE).inboxes
    assert (inbox.languages, inbox.psm, inbox.output) == (("fr",), None, OutputSettings())
    assert settings_for((Path("/home/a.pdf"),), base=None).inboxes[0].languages == ("en",)


def test_command_line_has_the_last_word() -> None:
    """Options are over the inbox's settings."""
    chosen = {"languages": ("en", "de"), "output": Path("/tmp/out"), "mode": "off", "engine": "tesseract"}
    (inbox,) = settings_for((Path("/srv/letters/a.pdf"),), base=BASE, **chosen).inboxes
    assert (inbox.languages, inbox.output.directory, inbox.output.hocr) == (("en", "de"), Path("/tmp/out"), True)
    assert (inbox.correction.mode, inbox.correction.profile) == (CorrectionMode.OFF, "medical")
