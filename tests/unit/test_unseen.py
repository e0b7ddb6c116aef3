"""Why a file that is neither waiting nor in the journal is not taken: every reason there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.errors import ShareOffline
from ocrwatch.intake.entries import Entry, Identity, Kind
from ocrwatch.intake.ignore import Patterns
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.states import JobState
from ocrwatch.output.sidecar import Names
from ocrwatch.service.unseen import Surroundings, why_unseen
from ocrwatch.service.view import why_lines
from ocrwatch.service.whereabouts import Place, Role, Spot
from ocrwatch.service.why import explain, tell
from ocrwatch.worker.lookout import Sight
from tests.faults.waiting import FakeClock


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """One scan is done."""
    made = Journal(tmp_path / "journal.db", wall_clock=FakeClock(1_700_000_000.0))
    made.add("in", [Entry("scan.pdf", Identity(size=1, mtime_ns=1))])
    made.move(1, JobState.SPOOLED)
    made.move(1, JobState.DONE, text_name="scan.pdf.txt")
    yield made
    made.close()


def _around(look: Callable[[str], Sight] | None = None, **changes: Any) -> Surroundings:
    patterns = Patterns(ignore=("private*", "old/"), include=("*.pdf",))
    return Surroundings(inbox="in", patterns=patterns, text_base="/srv/in", look=look, **changes)


def _never(path: str) -> Sight:
    raise AssertionError(f"{path} is looked at, though the rules decide")


@pytest.mark.parametrize(
    ("path", "reason", "words"),
    [
        ("private.pdf", "rule", "it matches the pattern 'private*' that the configuration ignores"),
        ("old/a.pdf", "rule", "it matches the pattern 'old/' that the configuration ignores"),
        ("a.png", "rule", "it matches none of the patterns that the configuration includes: *.pdf"),
        (".a.pdf", "rule", "is hidden"),
        (".git/a.pdf", "rule", "is hidden"),
        ("a.pdf.part", "rule", "upload or edit in progress"),
        ("@eaDir/a.pdf", "rule", "housekeeping"),
        ("other.ocr.pdf", "rule", "searchable PDFs"),
        ("a.doc", "rule", "only these are scans"),
        ("scan.pdf.txt", "ours", "it is the text of 'scan.pdf' in inbox in, which is done"),
        ("scan.txt", "ours", "it is the text of 'scan.pdf'"),
        ("scan.pdf.ocr.pdf", "ours", "it is the searchable PDF of 'scan.pdf'"),
    ],
)
def test_rule_is_named_without_a_look(journal: Journal, path: str, reason: str, words: str) -> None:
    """The first rule that it meets, whether or not there is such a file."""
    hindrance = why_unseen(path, _around(_never), journal)
    assert (hindrance.state, hindrance.reason) == ("ignored", reason)
    assert words in hindrance.meaning


def test_file_in_a_folder_is_not_reached_where_folders_are_not_watched(journal: Journal) -> None:
    """`recursive: false`, with what to change."""
    hindrance = why_unseen("sub/a.pdf", _around(_never, recursive=False), journal)
    assert (hindrance.state, hindrance.reason) == ("ignored", "not_recursive")
    assert "recursive: true" in hindrance.remedy
    assert why_unseen("a.pdf", _around(lambda path: _file(path), recursive=False), journal).reason == ""


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"problem": "no answer"}, "offline", "its inbox is offline"),
        ({"unread": [("sub", "Permission denied")]}, "unread", "its folder 'sub' cannot be listed: Permission denied"),
    ],
)
def test_place_that_cannot_be_listed_is_told_without_a_look(
    journal: Journal, changes: dict[str, Any], reason: str, words: str
) -> None:
    """A look at a dead mount would only take time."""
    hindrance = why_unseen("sub/a.pdf", _around(_never, **changes), journal)
    assert (hindrance.state, hindrance.reason) == ("unknown", reason)
    assert words in hindrance.meaning


def _file(path: str, **changes: Any) -> Sight:
    return Sight(**{"at": path, "kind": Kind.REGULAR, "size_bytes": 9, "mode": 0o600, "readable": True, **changes})


@pytest.mark.parametrize(
    ("sight", "reason", "words"),
    [
        (_file("sub/a.pdf"), "", "nothing speaks against it, and the next listing, within 300 s, takes it up"),
        (_file("sub/a.pdf", size_bytes=0), "empty", "no content yet"),
        (
            _file("sub/a.pdf", readable=False, owner="scanner", group="scan"),
            "no_permission",
            "the service may not read it (scanner:scan, mode 600)",
        ),
        (_file("sub/a.pdf", kind=Kind.SYMLINK), "symlink", "it is a symbolic link, and none is followed"),
        (_file("sub/a.pdf", kind=Kind.DIRECTORY), "directory", "it is a folder: name a file in it"),
        (_file("sub/a.pdf", kind=Kind.SPECIAL), "special", "it is no file but a pipe, a socket or a device"),
        (Sight("sub/a.pdf", None, is_absent=True, problem="No such file"), "absent", "none of that name was ever seen"),
        (
            Sight("sub/a.pdf", None, problem="Input/output error"),
            "no_permission",
            "cannot come to 'sub/a.pdf': Input",
        ),
        (_file("sub", kind=Kind.SYMLINK), "symlink", "its folder 'sub' is a symbolic link"),
        (_file("sub"), "absent", "'sub' is no folder"),
        (Sight("sub", None, is_absent=True, problem="No such file"), "absent", "its folder 'sub' is not there"),
        (Sight("sub", None, problem="Permission denied"), "no_permission", "cannot come to 'sub': Permission denied"),
        (Sight("", None, is_absent=True, problem="No such file"), "offline", "its inbox cannot be looked at: No such file"),
        (_file(""), "offline", "its inbox cannot be looked at: it is no folder"),
    ],
)
def test_look_tells_what_stands_in_the_way(journal: Journal, sight: Sight, reason: str, words: str) -> None:
    """Where no rule does."""
    hindrance = why_unseen("sub/a.pdf", _around(lambda _: sight, interval_s=300.0), journal)
    assert (hindrance.state, hindrance.reason) == ("unknown", reason)
    assert words in hindrance.meaning


def test_mount_without_an_answer_is_told_with_its_remedy(journal: Journal) -> None:
    """`why` itself does not hang."""

    def dead(path: str) -> Sight:
        raise ShareOffline(f"/nas/{path} does not answer", "check the mount")

    hindrance = why_unseen("a.pdf", _around(dead), journal)
    assert hindrance == ("unknown", "no_answer", "/nas/a.pdf does not answer", "check the mount")


def test_without_a_daemon_a_file_waits_for_one(journal: Journal) -> None:
    """No listing comes that could take it up."""
    assert "when the daemon runs" in why_unseen("a.pdf", _around(_file), journal).meaning
    assert why_unseen("a.pdf", _around(None), journal).meaning == "never seen"


# -- other folders -------------------------------------------------------------------------------------------------------


def _told(journal: Journal, role: Role, path: str, **changes: Any) -> dict[str, Any]:
    spot = Spot(Place("in", role, f"/srv/{role}"), path)
    told = tell(spot, lambda _: _around(_file, **changes), journal=journal, monotonic_s=0.0, wall_s=1_700_000_010.0)
    assert list(why_lines(told))
    return told


@pytest.mark.parametrize(
    ("role", "path", "words"),
    [
        (Role.TEXTS, "scan.pdf.txt", "it is the text of 'scan.pdf'"),
        (Role.TEXTS, "scan.pdf", "where texts of inbox in are kept"),
        (Role.TEXTS, "other.txt", "where texts of inbox in are kept"),
        (Role.ARCHIVE, "other.pdf", "where scans that are done of inbox in are kept"),
        (Role.QUARANTINE, "other.pdf", "where files that cannot be processed of inbox in are kept"),
        (Role.QUARANTINE, "scan.pdf.reason.json", "it is the reason for the failure of 'scan.pdf'"),
    ],
)
def test_file_in_another_folder_is_no_scan(journal: Journal, role: Role, path: str, words: str) -> None:
    """With what the folder is for."""
    told = _told(journal, role, path)
    assert told["state"] == "ignored"
    assert words in told["meaning"]


@pytest.mark.parametrize("role", [Role.ARCHIVE, Role.QUARANTINE])
def test_scan_that_was_moved_is_known_by_its_name_in_the_inbox(journal: Journal, role: Role) -> None:
    """And the answer says that it is about that name: a newer scan may have it."""
    told = _told(journal, role, "scan.pdf")
    assert (told["state"], told["lies_in"]) == ("done", role)
    assert any(f"lies in the {role}" in line for line in why_lines(told))


# -- the searchable PDF --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ({"pdf": "/srv/in/scan.pdf.ocr.pdf"}, "  pdf: /srv/in/scan.pdf.ocr.pdf"),
        ({"pdf_reason": "signed: its signature\nwould break"}, r"  no searchable PDF: signed: its signature\nwould break"),
    ],
)
def test_searchable_pdf_is_told_where_one_is_wanted(journal: Journal, told: dict[str, str], line: str) -> None:
    """Where it is, or why there is none."""
    asked: list[Names] = []

    def pdf(names: Names) -> dict[str, str]:
        asked.append(names)
        return told

    assert line in list(why_lines(_told(journal, Role.INBOX, "scan.pdf", pdf=pdf)))
    assert asked == [Names("/srv/in/scan.pdf.txt", "/srv/in/scan.pdf.json")]
    assert asked[0].pdf == "/srv/in/scan.pdf.ocr.pdf"
    assert not any("PDF" in line for line in why_lines(_told(journal, Role.INBOX, "scan.pdf")))


def test_file_that_waits_for_the_model_says_what_is_wrong_with_that(journal: Journal) -> None:
    """From when its pages are in work, not only once its raw text is published; before, something else is the reason."""
    (job,) = journal.add("in", [Entry("a.pdf", Identity(size=10, mtime_ns=1, inode=5))])
    around = _around(model_problem="the model file is damaged")

    def told() -> str | None:
        return explain("a.pdf", around, journal=journal, monotonic_s=0, wall_s=0).get("model_problem")

    assert told() is None
    journal.move(job.id, JobState.SPOOLED)
    assert told() == "the model file is damaged"
    journal.move(job.id, JobState.AWAITING_CORRECTION, text_name="a.pdf.txt", text_sha256="t", json_sha256="j")
    assert told() == "the model file is damaged"
    journal.move(job.id, JobState.DONE)
    assert told() is None
