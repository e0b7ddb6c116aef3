"""`ocrwatch why` and `status` of a real daemon: every answer, who gets one, and what is told when no daemon runs."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.errors import OcrwatchError
from ocrwatch.intake.mounts import read_mounts
from ocrwatch.output.sidecar import Names
from ocrwatch.service.control import ask
from ocrwatch.service.onlook import pdf_of, sight_of
from ocrwatch.worker.lookout import looking_out
from ocrwatch.worker.rights import User, may_stat
from tests.faults import callers, hostile, scans
from tests.faults.callers import open_folder
from tests.faults.daemon import Service, wait_until
from tests.faults.outside import AskedService, settings_of_inbox
from tests.faults.share import FaultShare

_GROUP = 54400  # stands for the group of the socket
_ALICE, _BOB = callers.User(54321, [_GROUP]), callers.User(54322, [_GROUP])
_ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may enter."""
    with open_folder() as folder:
        yield folder


@pytest.fixture
def service(folder: Path) -> Iterator[AskedService]:
    """A daemon that makes searchable PDFs and reads by Tesseract, not started yet."""
    service = AskedService(folder, control_socket=str(folder / "control.sock"), ocr={"engine": "tesseract"})
    (folder / "bad").mkdir()
    settings_of_inbox(service, name="in", output={"pdf": True}, ignore=["private*"], quarantine_to=str(folder / "bad"))
    yield service
    service.end()


def _fill(inbox: Path) -> None:
    """A file for every answer."""
    scans.write(inbox / "done.png", "some words")
    (inbox / "empty.pdf").touch()
    (inbox / "cut.png").write_bytes((inbox / "done.png").read_bytes()[:-30])
    for name in ("private.pdf", ".hidden.pdf", "notes.doc"):
        (inbox / name).write_bytes(b"anything")
    (inbox / "link.pdf").symlink_to("done.png")
    (inbox / "folder").mkdir()
    (inbox / "way").symlink_to("folder")
    os.mkfifo(inbox / "pipe.pdf")


_ANSWERS = {
    "done.png": ("done", ""),
    "empty.pdf": ("waiting", "empty"),
    "cut.png": ("waiting", "truncated"),
    "private.pdf": ("ignored", "rule"),
    ".hidden.pdf": ("ignored", "rule"),
    "notes.doc": ("ignored", "rule"),
    "link.pdf": ("unknown", "symlink"),
    "way/a.pdf": ("unknown", "symlink"),
    "folder": ("ignored", "rule"),
    "pipe.pdf": ("unknown", "special"),
    "absent.pdf": ("unknown", "absent"),
    "absent/a.pdf": ("unknown", "absent"),
    "done.png.txt": ("ignored", "ours"),
    "done.png.ocr.pdf": ("ignored", "ours"),
    "../bad/in/a.pdf": ("ignored", "quarantine"),
}


def test_every_file_has_its_answer_with_and_without_a_daemon(service: AskedService, folder: Path) -> None:
    """The same one from the journal, which is left as it is, but for what only a daemon knows."""
    service.start()
    _fill(service.inbox)
    service.wait_for("done.png", "done")
    wait_until(lambda: service.why("cut.png")["reason"] == "truncated", what="the look at a file that is cut")
    for name, told in _ANSWERS.items():
        answer = _command(service, name)
        assert (answer["state"], answer["reason"]) == told, name
    assert _command(service, "done.png")["pdf"] == str(service.inbox / "done.png.ocr.pdf")
    assert service.stop() == 0
    before = _hashes(folder / "state")
    waiting = {"empty.pdf": ("unknown", "empty"), "cut.png": ("unknown", "")}
    for name, told in (_ANSWERS | waiting).items():
        answer = _command(service, name)
        assert (answer["state"], answer["reason"], answer["daemon"]) == (*told, False), name
    assert _command(service, "done.png")["pdf"] == str(service.inbox / "done.png.ocr.pdf")
    said = service.command("why", str(service.inbox / "cut.png"))
    assert "no daemon runs, so nothing goes on" in said.stderr
    assert "it is seen when the daemon runs" in said.stdout
    assert _hashes(folder / "state") == before


def _command(service: Service, name: str) -> dict[str, Any]:
    answer = service.command("why", os.path.normpath(service.inbox / name), "--json")
    assert answer.returncode == 0, answer.stderr
    return dict(json.loads(answer.stdout))


def _hashes(folder: Path) -> dict[str, str]:
    # Without the journal's log: SQLite makes an empty one for whoever reads.
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal")))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_path_that_is_none_of_ours_is_refused_with_and_without_a_daemon(service: AskedService) -> None:
    """With the folders that are."""
    service.start()
    for _ in range(2):
        refused = service.command("why", "/etc/passwd")
        assert refused.returncode == 2
        assert f"the inboxes are {service.inbox}" in refused.stderr
        if service.process is not None and service.process.poll() is None:
            service.stop()


def test_nothing_was_ever_watched_is_told(service: AskedService) -> None:
    """No daemon has run, so there is no journal to ask."""
    refused = service.command("why", str(service.inbox / "a.pdf"))
    assert refused.returncode == 1
    assert "none ever ran" in refused.stderr
    assert "systemctl start ocrwatch" in refused.stderr
    assert not (service.inbox.parent / "state").exists()


def test_pdf_that_cannot_be_made_is_told_with_its_reason(service: AskedService) -> None:
    """Somebody else's file has its name; that it is so is read from the description of the result."""
    (service.inbox / "scan.png.ocr.pdf").write_bytes(b"of somebody else")
    service.start()
    scans.write(service.inbox / "scan.png", "some words")
    answer = service.wait_for("scan.png", "done")
    assert "pdf" not in answer
    assert "was not written by ocrwatch" in answer["pdf_reason"]
    told = service.command("why", str(service.inbox / "scan.png")).stdout
    assert f"no searchable PDF: {answer['pdf_reason']}" in told
    shutil.copy(service.inbox / "scan.png.txt", service.inbox / "scan.png.json")  # no description of ours
    assert not {"pdf", "pdf_reason"} & service.why("scan.png").keys()


def test_file_in_the_quarantine_is_told_by_what_lies_beside_it(service: AskedService, folder: Path) -> None:
    """Two had the same name in the inbox: each its own story, also when no journal knows them any more, and no daemon runs."""
    place = service.inbox / "sub"
    place.mkdir()
    service.start()
    for content, there in ((hostile.pdf_with_password(), "locked.pdf"), (hostile.pdf_without_pages(), "locked.1.pdf")):
        (place / "locked.pdf").write_bytes(content)
        wait_until((folder / "bad/in/sub" / there).exists, what=f"{there} in the quarantine", timeout_s=60)
    _check_stories(service, folder)
    (folder / "bad/in/sub/stranger.pdf").write_bytes(b"put there by somebody")
    (folder / "bad/in/sub/liar.pdf").write_bytes(b"with a reason that is none")
    (folder / "bad/in/sub/liar.pdf.reason.json").write_text("[")
    for name in ("stranger", "liar"):
        assert _command(service, f"../bad/in/sub/{name}.pdf")["reason"] == "quarantine"
    assert service.stop() == 0
    for file in (folder / "state").glob("journal.db*"):
        file.unlink()
    place.rename(folder / "elsewhere")
    service.start()
    _check_stories(service, folder)
    assert service.stop() == 0
    _check_stories(service, folder)


def _check_stories(service: AskedService, folder: Path) -> None:
    for name, reason, detail in (
        ("locked.pdf", "encrypted_file", "password"),
        ("locked.1.pdf", "corrupt_file", "cannot be opened"),
    ):
        answer = _command(service, f"../bad/in/sub/{name}")
        assert (answer["path"], answer["state"], answer["reason"]) == ("sub/locked.pdf", "quarantined", reason)
        assert answer["lies_in"] == "quarantine"
        assert detail in answer["detail"]
        told = service.command("why", str(folder / "bad/in/sub" / name)).stdout
        assert told.splitlines()[0].startswith("sub/locked.pdf (inbox in): quarantined")
        assert f"{reason}: " in told
        assert f"{datetime.now(UTC).astimezone():%Y-%m-%d} " in told  # when it failed
        assert "failed: " in told


# -- who may ask ---------------------------------------------------------------------------------------------------------


def _shared(service: AskedService, folder: Path) -> Path:
    """A started daemon with an open scan, and with one in a folder of a group; the socket is of a group too."""
    closed = service.inbox / "closed"
    closed.mkdir()
    os.chown(closed, -1, _ALICE.uid)
    closed.chmod(0o750)
    service.start()
    os.chown(folder / "control.sock", -1, _GROUP)
    for path in (service.inbox / "scan.png", closed / "scan.png"):
        scans.write(path, "some words")
    for path in (service.inbox / "empty.pdf", closed / "empty.pdf"):
        path.touch()
    service.wait_for("scan.png", "done")
    service.wait_for("closed/scan.png", "done")
    wait_until(lambda: service.why("closed/empty.pdf")["state"] == "waiting", what="a look at the empty file")
    return closed


@_ROOT_ONLY
def test_caller_is_told_only_of_what_it_could_stat(service: AskedService, folder: Path) -> None:
    """By any of its groups; whoever is not in the socket's group is told nothing at all."""
    closed = _shared(service, folder)
    path = folder / "control.sock"

    def why(user: callers.User, name: str) -> str:
        answer = user.ask(path, op="why", path=str(service.inbox / name))
        return str(answer.get("state") or answer["error"])

    assert [why(_ALICE, "scan.png"), why(_ALICE, "closed/scan.png")] == ["done", "done"]
    assert why(callers.User(_BOB.uid, [_GROUP, _ALICE.uid]), "closed/scan.png") == "done"
    assert why(_BOB, "scan.png") == "done"
    for name in ("closed/scan.png", "closed/absent.pdf", "closed/.hidden.pdf"):
        assert "you cannot see" in why(_BOB, name), name
    assert "without detours" in why(_BOB, "x/../closed/scan.png")
    assert "you cannot see" in _BOB.ask(path, op="retry", paths=[str(closed / "scan.png")])["error"]
    assert "nothing to try again" in _ALICE.ask(path, op="retry", paths=[str(closed / "scan.png")])["error"]
    assert "PermissionError" in why(callers.User(_BOB.uid), "scan.png")


@_ROOT_ONLY
def test_status_lists_only_files_that_the_caller_could_stat(service: AskedService, folder: Path) -> None:
    """And none at all where nobody asks for them; counts are for everybody who may ask."""
    _shared(service, folder)
    path = folder / "control.sock"

    def listed(user: callers.User) -> tuple[int, list[str]]:
        (inbox,) = user.ask(path, op="status", files=True)["inboxes"]
        return inbox["waiting"], sorted(file["path"] for file in inbox["waiting_files"])

    assert listed(_BOB) == (2, ["empty.pdf"])
    assert listed(_ALICE) == (2, ["closed/empty.pdf", "empty.pdf"])
    assert "waiting_files" not in service.status()["inboxes"][0]
    (inbox,) = json.loads(service.command("status", "--json").stdout)["inboxes"]
    (told,) = [file for file in inbox["waiting_files"] if file["path"] == "empty.pdf"]
    why = service.why("empty.pdf")
    assert [told[key] for key in ("state", "reason", "meaning", "next")] == [
        why[key] for key in ("state", "reason", "meaning", "next")
    ]
    assert (inbox["outputs"], inbox["moves"]) == (["searchable PDF"], {"failed": str(folder / "bad" / "in")})
    shown = service.command("status").stdout
    assert "  beside the text: searchable PDF" in shown
    assert f"  moves failed files to {folder / 'bad' / 'in'}" in shown


@_ROOT_ONLY
def test_right_to_know_is_the_kernels(folder: Path) -> None:
    """Whatever the bits, the owner and the group of a folder on the way are."""
    inner = folder / "inner"
    inner.mkdir()
    path = inner / "absent.pdf"
    owners = (0, _ALICE.uid)
    for mode, owner, group in itertools.product((0o711, 0o710, 0o701, 0o066, 0o077), owners, (*owners, _GROUP)):
        os.chown(inner, owner, group)
        inner.chmod(mode)
        may = _ALICE.error_of_look(path) == "FileNotFoundError"
        assert may_stat(str(path), User(_ALICE.uid, {_ALICE.uid, _GROUP})) is may, (oct(mode), owner, group)


# -- shares that hang ----------------------------------------------------------------------------------------------------


def test_share_that_hangs_holds_no_answer_up(folder: Path) -> None:
    """A look there is given up, and says so; without the daemon as well."""
    share = FaultShare(folder)
    try:
        share.mount()
        scan = share.point / "scan.png"
        share.hang()
        table = read_mounts()
        with looking_out(table=table, answer_s=1.0) as lookout:
            for look in (
                lambda: lookout.look(str(share.point), below="scan.png"),
                lambda: lookout.described(f"{scan}.json"),
                lambda: lookout.reason(str(scan)),
            ):
                with pytest.raises(OcrwatchError, match="does not answer"):
                    look()
        assert "does not answer" in pdf_of(Names(f"{scan}.txt", f"{scan}.json"), table=table)["pdf_reason"]
    finally:
        share.unmount()


def test_caller_is_not_told_of_a_share_that_gives_no_answer(folder: Path) -> None:
    """Whether it could `stat` the file there is not known then; others are answered."""
    share = FaultShare(folder)
    service = AskedService(folder, control_socket=str(folder / "control.sock"), ocr={"engine": "tesseract"})
    service.settings["inboxes"].append({"name": "nas", "path": str(share.point)})
    service.write_config()
    path = folder / "control.sock"
    try:
        share.mount()
        (share.backing / "a.pdf").touch()
        service.start()
        os.chown(path, -1, _GROUP)
        there = str(share.point / "a.pdf")
        wait_until(lambda: ask(path, {"op": "why", "path": there})["state"] == "waiting", what="a look at the share")
        assert _BOB.ask(path, op="why", path=there)["state"] == "waiting"
        share.hang()
        assert "does not answer" in _BOB.ask(path, op="why", path=there)["error"]
        assert _BOB.ask(path, op="status", files=True)["inboxes"][1]["waiting_files"] == []
        assert ask(path, {"op": "why", "path": str(service.inbox / "b.pdf")})["reason"] == "absent"
    finally:
        service.end()
        share.unmount()


@_ROOT_ONLY
def test_caller_is_told_only_of_folders_that_it_could_stat(folder: Path) -> None:
    """Of those that the service cannot list; how many there are is for everybody who may ask."""
    share = FaultShare(folder)
    service = AskedService(folder, control_socket=str(folder / "control.sock"), ocr={"engine": "tesseract"})
    settings_of_inbox(service, path=str(share.point))
    path = folder / "control.sock"
    for name in ("open/dismissals", "closed/dismissals"):
        (share.backing / name).mkdir(parents=True)
    os.chown(share.backing / "closed", -1, _ALICE.uid)
    (share.backing / "closed").chmod(0o750)

    def listed(user: callers.User) -> tuple[int, list[str]]:
        (inbox,) = user.ask(path, op="status")["inboxes"]
        return inbox["unread_count"], sorted(unread["path"] for unread in inbox["unread"])

    try:
        share.mount()
        share.fail({"op": "readdir", "name": "dismissals", "error": "EACCES"})
        service.start()
        os.chown(path, -1, _GROUP)
        wait_until(lambda: service.status()["inboxes"][0]["unread_count"] == 2, what="a look at the folders")
        assert listed(_ALICE) == (2, ["closed/dismissals", "open/dismissals"])
        assert listed(_BOB) == (2, ["open/dismissals"])
    finally:
        service.end()
        share.unmount()


# -- looks ---------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    os.geteuid() != 0, reason="root may read everything, so somebody else has to look, and only root becomes them"
)
def test_file_that_the_service_may_not_read_is_seen_as_such(folder: Path) -> None:
    """With whose it is, and the folder on the way where that is closed."""
    (folder / "closed").mkdir(mode=0o700)
    (folder / "scan.pdf").write_bytes(b"x")
    (folder / "scan.pdf").chmod(0o600)
    with looking_out(table=read_mounts(), user="nobody") as lookout:
        sight = lookout.look(str(folder), below="scan.pdf")
        assert (sight.readable, sight.belongs) == (False, "root:root, mode 600")
        sight = lookout.look(str(folder), below="closed/scan.pdf")
        assert (sight.at, sight.kind, sight.is_absent, sight.problem) == ("closed/scan.pdf", None, False, "Permission denied")


def test_inbox_that_is_not_there_is_seen_as_such(folder: Path) -> None:
    """And is no file that is absent."""
    sight = sight_of(str(folder / "gone"), "sub/a.pdf", table=read_mounts())
    assert (sight.at, sight.kind, sight.is_absent) == ("", None, True)


def test_description_that_is_none_is_nothing(folder: Path) -> None:
    """Whatever stands there: a pipe must not hold the look."""
    names = Names(str(folder / "a.txt"), str(folder / "a.json"))
    os.mkfifo(names.metadata)
    assert pdf_of(names, table=read_mounts()) == {}
    Path(names.metadata).unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(names.metadata)
        assert "not known" in pdf_of(names, table=read_mounts())["pdf_reason"]
