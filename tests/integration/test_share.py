"""The operations on an inbox, in this process and in one that can be killed: the same values and the same errors."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.errors import ForeignFile, ShareOffline, SourceChanged, SourceVanished, StateUnwritable, WorkerRefused
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Identity, Kind
from ocrwatch.intake.ignore import NO_PATTERNS
from ocrwatch.intake.surroundings import InboxRules, Surroundings
from ocrwatch.intake.territory import Territory
from ocrwatch.intake.tree import _PART_FILES, DirectoryListing
from ocrwatch.journal.journal import Journal
from ocrwatch.output.document import Document, Page, PageStatus, Source
from ocrwatch.output.files import Likeness
from ocrwatch.output.sidecar import Names, SidecarState
from ocrwatch.worker.access import LocalAccess, RemoteAccess
from ocrwatch.worker.operations import OPERATIONS
from ocrwatch.worker.share import Share
from ocrwatch.worker.supervised import WorkerState, spawning
from tests.faults.fake_share import FakeEvents
from tests.faults.waiting import FakeClock, wait_until
from tests.faults.workers import is_running, scripted

_NAMES = Names(text="a.pdf.txt", metadata="a.pdf.json")
_ODD = os.fsdecode(b"\xff\n.pdf")


@pytest.fixture(params=["local", "remote"])
def share(request: pytest.FixtureRequest) -> Iterator[Share]:
    """A share of each kind."""
    made = Share(LocalAccess() if request.param == "local" else RemoteAccess("test", clock=time.monotonic))
    yield made
    made.close()


@pytest.fixture
def root(tmp_path: Path, share: Share) -> Root:
    """An inbox, pinned to its mount."""
    folder = tmp_path / "inbox"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.pdf").write_bytes(b"%PDF-1.4\n%%EOF\n")
    (folder / "sub" / _ODD).write_bytes(b"%PDF-1.4\nno end")
    (folder / ".ocrwatch-x.tmp").touch()
    return Root(str(folder), share.identify(str(folder)))


def _identity(root: Root, path: str) -> Identity:
    return Identity.of((Path(root.path) / path).lstat())


def _document(root: Root, text: str = "one") -> Document:
    source = Source("a.pdf", _identity(root, "a.pdf"), "0" * 64)
    return Document(source, (Page(text, PageStatus.OK),), "tesseract", "5", ("en",))


def test_scan_tells_of_every_folder(share: Share, root: Root) -> None:
    """One listing at a time, names that are not UTF-8 included."""
    found: list[DirectoryListing] = []
    share.scan(root, "", recursive=True, patterns=NO_PATTERNS, each=found.append)
    assert [(d.directory, [e.path for e in d.entries()], d.leftovers) for d in found] == [
        ("", ["a.pdf"], (".ocrwatch-x.tmp",)),
        ("sub", [f"sub/{_ODD}"], ()),
    ]
    assert found[1].entries()[0].identity == _identity(root, f"sub/{_ODD}")


def test_folder_that_is_too_large_for_one_message_is_listed_as_a_whole(share: Share, root: Root) -> None:
    """In parts on the way, each a sign of life; but what is gone can only be told from all of it."""
    folder = Path(root.path) / "sub"
    (folder / "bad.pdf").mkdir()
    for number in range(2 * _PART_FILES):
        (folder / f"{number}.pdf").hardlink_to(Path(root.path) / "a.pdf")
    found: list[DirectoryListing] = []
    share.scan(root, "", recursive=True, patterns=NO_PATTERNS, each=found.append)
    assert [(listing.directory, len(listing.files), listing.more) for listing in found] == [
        ("", 1, False),
        ("sub", 2 * _PART_FILES + 1, False),
        ("sub/bad.pdf", 0, False),
    ]
    assert {name for name, *_ in found[1].files} == {*(f"{number}.pdf" for number in range(2 * _PART_FILES)), _ODD}


def test_trouble_of_whoever_is_told_comes_through_and_harms_no_later_request(share: Share, root: Root) -> None:
    """The journal's disk is full in the middle of a listing: the next answer is the one that was asked for."""

    def full(_: DirectoryListing) -> None:
        raise StateUnwritable("the disk is full")

    with pytest.raises(StateUnwritable):
        share.scan(root, "", recursive=True, patterns=NO_PATTERNS, each=full)
    assert share.identify(root.path) == root.identity
    seen = share.look(root, "a.pdf", closely=True)
    assert seen is not None
    assert (seen.kind, seen.identity) == (Kind.REGULAR, _identity(root, "a.pdf"))


def test_look_tells_what_stands_there(share: Share, root: Root) -> None:
    """Or that nothing does."""
    seen = share.look(root, "sub", closely=False)
    assert seen is not None
    assert (seen.kind, seen.identity) == (Kind.DIRECTORY, None)
    assert share.look(root, "absent.pdf", closely=True) is None


def test_completeness_is_that_of_the_version_that_was_seen(share: Share, root: Root) -> None:
    """By its format."""
    assert share.completeness(root, "a.pdf", _identity(root, "a.pdf")).format == "pdf"
    assert not share.completeness(root, f"sub/{_ODD}", _identity(root, f"sub/{_ODD}")).whole
    with pytest.raises(SourceChanged):
        share.completeness(root, "a.pdf", Identity(size=15, mtime_ns=7))
    with pytest.raises(SourceVanished):
        share.completeness(root, "absent.pdf", Identity(size=15, mtime_ns=7))


def test_spool_copies_and_proves(share: Share, root: Root, tmp_path: Path) -> None:
    """One version, with what its sidecar should look like."""
    copied = share.spool(root, "a.pdf", expected=_identity(root, "a.pdf"), destination=tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"%PDF-1.4\n%%EOF\n"
    assert (copied.size, copied.mode) == (15, 0o644)
    with pytest.raises(SourceChanged):
        share.spool(root, "a.pdf", expected=Identity(size=15, mtime_ns=7), destination=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_publish_and_examine_agree(share: Share, root: Root) -> None:
    """What was written is known again; what is another's is refused as such."""
    assert share.examine(root, _NAMES).state is SidecarState.ABSENT
    published = share.publish(
        root, _NAMES, _document(root), like=Likeness(mode=0o640, gid=os.getegid()), known=(), make_directories=False
    )
    found = share.examine(root, _NAMES)
    assert (found.state, found.text_sha256, found.metadata_sha256) == (
        SidecarState.OURS,
        published.text_sha256,
        published.metadata_sha256,
    )
    assert published.names == _NAMES
    (Path(root.path) / "a.pdf.txt").write_text("by hand", encoding="ascii")
    with pytest.raises(ForeignFile):
        share.publish(root, _NAMES, _document(root, "two"), like=None, known=(), make_directories=False)


def test_archive_and_tidy(share: Share, root: Root, tmp_path: Path) -> None:
    """The rest of the operations."""
    (tmp_path / "old").mkdir()
    told = share.publish(root, _NAMES, _document(root), like=None, known=(), make_directories=False)
    copied = share.spool(root, "a.pdf", expected=_identity(root, "a.pdf"), destination=tmp_path / "copy")
    path = share.archive(
        root,
        "a.pdf",
        expected=_identity(root, "a.pdf"),
        sha256=copied.sha256,
        destination_root=Root(str(tmp_path / "old")),
        destination="a.pdf",
    )
    assert (tmp_path / "old" / path).read_bytes() == b"%PDF-1.4\n%%EOF\n"
    assert told.text_sha256
    share.tidy(root, "")


def test_root_that_is_not_there_is_offline(share: Share, tmp_path: Path) -> None:
    """Whichever way it is looked at."""
    with pytest.raises(ShareOffline):
        share.identify(str(tmp_path / "absent"))


# -- only where there is a process --------------------------------------------------------------------------------------


def _scripted(answer_s: float) -> RemoteAccess:
    """A share whose process does what the test says."""
    access = RemoteAccess("nas", clock=time.monotonic, answer_s=answer_s)
    access._worker._begin = spawning(lambda: scripted())
    return access


def test_mount_that_gives_no_answer_is_offline() -> None:
    """Its process is killed; the next request has a new one."""
    access = _scripted(answer_s=0.5)
    for operation in ("hang", "abort"):
        with pytest.raises(ShareOffline, match="inbox nas gives no answer"):
            access.run(operation, {})
    assert access._worker.snapshot().deaths == 2
    access.close()


def test_close_ends_what_hangs_and_later_requests_are_refused_in_words() -> None:
    """At the end of the service, whoever still asks gets an answer."""
    access, errors = _scripted(answer_s=60.0), list[CancelledError]()

    def ask() -> None:
        with pytest.raises(CancelledError) as caught:
            access.run("hang", {})
        errors.append(caught.value)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: access._worker.snapshot().state is WorkerState.BUSY)
    pid = access._worker.snapshot().pid
    begin = time.monotonic()
    access.close()
    thread.join(10)
    assert time.monotonic() - begin < 5
    assert len(errors) == 1
    assert pid is not None
    assert not is_running(pid)
    with pytest.raises(CancelledError, match="was let go"):
        access.run("echo", {})


def test_inbox_on_a_share_of_its_own_process_settles_and_tidies(tmp_path: Path) -> None:
    """The whole way with real parts: a leftover of ours in a folder does not make the inbox wait for itself."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "a.pdf").write_bytes(b"%PDF-1.4\n1 0 obj\nendobj\ntrailer\nstartxref\n9\n%%EOF\n")
    (folder / ".ocrwatch-0-0-1-0-0.tmp").touch()
    clock = FakeClock()
    share = Share(RemoteAccess("nas", clock=time.monotonic))
    journal = Journal(tmp_path / "journal.db", wall_clock=FakeClock())
    inbox = Territory(
        InboxRules("nas", str(folder), True, 15.0, 600.0, NO_PATTERNS, 10.0, 10.0),
        "",
        share=share,
        around=Surroundings(journal, FakeEvents(), clock, lambda: None, lambda line, _: pytest.fail(line)),
        without=frozenset,
    )
    for _ in range(12):
        inbox.step()
        clock.now += 2
    assert set(journal.expected_in("nas", "")) == {"a.pdf"}
    share.close()
    journal.close()


def test_large_file_on_its_way_gives_signs_of_life(tmp_path: Path) -> None:
    """Every megabyte that is hashed or copied is told, or a slow share would be taken for one that hangs."""
    for folder in ("inbox", "archive"):
        (tmp_path / folder).mkdir()
    (tmp_path / "inbox" / "a.pdf").write_bytes(b"x" * 5_000_000)
    root = Root(str(tmp_path / "inbox"))
    told: list[object] = []
    arguments: dict[str, Any] = {
        **{"root": root.to_json(), "path": "a.pdf", "expected": _identity(root, "a.pdf").to_json(), "sha256": None},
        **{"destination_root": Root(str(tmp_path / "archive")).to_json(), "destination": "a.pdf", "numbered": True},
    }
    assert OPERATIONS["archive"](arguments, told.append) == {"path": "a.pdf"}
    assert len(told) >= 5
    told.clear()
    (tmp_path / "inbox" / "a.pdf").write_bytes(b"y")
    arguments = {
        **{"root": root.to_json(), "names": asdict(_NAMES), "document": _document(root).to_json()},
        **{"like": None, "known": [], "make_directories": False, "hocr": None, "pdf": str(tmp_path / "archive" / "a.pdf")},
    }
    OPERATIONS["publish"](arguments, told.append)
    assert len(told) >= 5


@pytest.mark.parametrize("error", [OSError(5, "input/output error"), ZeroDivisionError(), WorkerRefused("what is this?")])
def test_leftovers_that_cannot_be_tidied_end_no_listing(error: Exception) -> None:
    """What lies about is seen again at the next listing; a share that is away, and the end, are told."""

    class Access:
        def run(self, operation: str, arguments: object, *, tell: object = None) -> dict[str, Any]:
            raise error

        def close(self) -> None: ...

    Share(Access()).tidy(Root("/srv/in"), "a")


@pytest.mark.parametrize("error", [ShareOffline("away"), CancelledError()])
def test_share_that_is_away_and_the_end_are_told_by_tidy_too(error: Exception) -> None:
    """These are nobody's leftovers."""

    class Access:
        def run(self, operation: str, arguments: object, *, tell: object = None) -> dict[str, Any]:
            raise error

        def close(self) -> None: ...

    with pytest.raises(type(error)):
        Share(Access()).tidy(Root("/srv/in"), "a")
