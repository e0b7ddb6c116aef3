"""Where a path lies among the folders of the configuration."""

from __future__ import annotations

import pytest

from ocrwatch.errors import UsageError
from ocrwatch.service.whereabouts import Place, Role, locate, result_of

_PLACES = (
    Place("scans", Role.INBOX, "/srv/scans"),
    Place("scans", Role.TEXTS, "/srv/scans/texts"),
    Place("scans", Role.ARCHIVE, "/srv/archive"),
    Place("mail", Role.INBOX, "/srv/scans/mail"),
    Place("mail", Role.QUARANTINE, "/srv/bad"),
    Place("all", Role.INBOX, "/nas/"),
)


@pytest.mark.parametrize(
    ("path", "inbox", "role", "relative"),
    [
        ("/srv/scans/a.pdf", "scans", Role.INBOX, "a.pdf"),
        ("/srv/scans/sub/a.pdf", "scans", Role.INBOX, "sub/a.pdf"),
        ("/srv/scans/texts/a.pdf.txt", "scans", Role.TEXTS, "a.pdf.txt"),
        ("/srv/scans/mail/a.pdf", "mail", Role.INBOX, "a.pdf"),
        ("/srv/scans/mailing/a.pdf", "scans", Role.INBOX, "mailing/a.pdf"),
        ("/srv/archive/sub/a.pdf", "scans", Role.ARCHIVE, "sub/a.pdf"),
        ("/srv/bad/a.pdf", "mail", Role.QUARANTINE, "a.pdf"),
        ("/nas/x/a.pdf", "all", Role.INBOX, "x/a.pdf"),
    ],
)
def test_path_lies_in_the_innermost_place(path: str, inbox: str, role: Role, relative: str) -> None:
    """An inbox may lie in an inbox, and texts too."""
    spot = locate(path, _PLACES)
    assert (spot.place.inbox, spot.place.role, spot.relative) == (inbox, role, relative)


def test_texts_that_are_beside_the_scans_are_of_the_inbox() -> None:
    """Where both are the same folder, scans count."""
    spot = locate("/srv/in/a.pdf", [Place("in", Role.TEXTS, "/srv/in"), Place("in", Role.INBOX, "/srv/in")])
    assert spot.place.role is Role.INBOX


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/srv/elsewhere/a.pdf", "the nearest is /srv/scans"),
        ("/etc/passwd", "the inboxes are /srv/scans, /srv/scans/mail, /nas/"),
        ("/srv/scans", "it is an inbox itself"),
        ("/srv/scans/../secret/a.pdf", "without detours"),
        ("/srv/scans/./a.pdf", "without detours"),
        ("srv/scans/a.pdf", "without detours"),
        ("/srv/scans/a\0.pdf", "without detours"),
    ],
)
def test_path_in_no_place_is_told_which_there_are(path: str, words: str) -> None:
    """A slip of the finger is seen at once; a path with `..` leads nowhere else."""
    with pytest.raises(UsageError) as caught:
        locate(path, _PLACES)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sub/a.pdf.txt", ("text", "sub/a.pdf")),
        ("a.txt", ("text", "a.pdf")),
        ("a.tif.json", ("description", "a.tif")),
        ("a.PNG.hocr", ("hOCR", "a.PNG")),
        ("a.pdf.ocr.pdf", ("searchable PDF", "a.pdf")),
        ("a.ocr.pdf", ("searchable PDF", "a.pdf")),
        ("a.pdf.reason.json", ("reason for the failure", "a.pdf")),
        ("a.pdf", None),
        ("a.doc", None),
    ],
)
def test_result_is_told_by_its_name(name: str, told: tuple[str, str] | None) -> None:
    """With either naming."""
    assert result_of(name) == told
