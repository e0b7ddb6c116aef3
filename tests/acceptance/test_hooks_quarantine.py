"""Hooks and the quarantine in the whole service: real files, real programs, real signals."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import hostile, scans
from tests.faults.daemon import wait_until
from tests.faults.outside import AskedService, litter
from tests.faults.workers import is_running

pytestmark = pytest.mark.acceptance


class HookedService(AskedService):
    """A service whose hooks are scripts that note what they are told, one line a message."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.told, self.quarantine = folder / "told", folder / "quarantine"
        self.quarantine.mkdir()
        self.settings["inboxes"][0] |= {"name": "in", "quarantine_to": str(self.quarantine), "rescan": "2s"}
        self.settings["hooks"] = {"timeout": "60s"}
        self.write_config()

    def hook(self, event: str, script: str) -> None:
        """A shell script for an event. `$TOLD` is the file of messages."""
        program = self.told.with_name(f"on_{event}")
        program.write_text(f"#!/bin/sh\nTOLD={self.told}\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.settings["hooks"][event] = [str(program)]
        self.write_config()

    def messages(self, event: str) -> list[dict[str, Any]]:
        """What was told of an event."""
        lines = self.told.read_text(encoding="ascii").splitlines() if self.told.exists() else []
        return [message for line in lines if (message := json.loads(line))["event"] == event]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[HookedService]:
    """A service that is not started yet."""
    service = HookedService(tmp_path)
    yield service
    service.end()


def test_programs_are_told_of_what_is_done_and_of_what_failed(service: HookedService) -> None:
    """Once each, with where everything is; the text itself is told to nobody."""
    for event in ("done", "failed", "review"):
        service.hook(event, 'cat >> "$TOLD"')
    service.start()
    scans.write(service.inbox / "letter.png", "apple bread chair")
    (service.inbox / "empty.pdf").write_bytes(hostile.pdf_without_pages())
    (done,) = wait_until(lambda: service.messages("done"), what="the hook")
    job = done["job"]
    assert (job["inbox"], job["path"], job["state"]) == ("in", "letter.png", "done")
    assert job["scan"] == str(service.inbox / "letter.png")
    assert (job["pages"], job["pages_to_review"], job["edits"]) == (1, 0, 0)
    assert "apple" in Path(job["text"]).read_text()
    assert json.loads(Path(job["json"]).read_bytes())["source"]["sha256"] == job["sha256"]
    (failed,) = wait_until(lambda: service.messages("failed"), what="the other hook")
    assert (failed["job"]["state"], failed["job"]["reason"]) == ("failed", "corrupt_file")
    assert service.stop() == 0
    service.start()
    assert service.stop() == 0
    assert [len(service.messages(event)) for event in ("done", "failed")] == [1, 1]
    assert "apple" not in service.told.read_text()


def test_file_that_fails_is_set_aside_explained_and_brought_back(service: HookedService, tmp_path: Path) -> None:
    """By the commands that an administrator uses; the other file in the folder stays where it is."""
    service.start()
    (service.inbox / "sub").mkdir()
    content = hostile.pdf_with_password()
    (service.inbox / "sub" / "locked.pdf").write_bytes(content)
    scans.write(service.inbox / "sub" / "open.png", "apple bread")
    answer = service.wait_for("sub/locked.pdf", "quarantined")
    moved = service.quarantine / "in" / "sub" / "locked.pdf"
    assert moved.read_bytes() == content
    assert not (service.inbox / "sub" / "locked.pdf").exists()
    reason = json.loads((moved.parent / "locked.pdf.reason.json").read_bytes())
    assert (reason["state"], reason["reason"], reason["attempts"]) == ("failed", "encrypted_file", 1)
    assert (answer["reason"], str(moved) in answer["detail"]) == ("encrypted_file", True)
    why = service.command("why", str(service.inbox / "sub" / "locked.pdf"))
    assert why.returncode == 0
    assert "ocrwatch retry" in why.stdout
    there = service.command("why", str(moved)).stdout
    assert "the file asked for lies in the quarantine" in there
    assert "a password" in there
    assert "ocrwatch retry" in there
    service.wait_for("sub/open.png", "done")
    assert service.command("retry", str(service.inbox / "sub" / "locked.pdf")).returncode == 0
    wait_until(lambda: service.why("sub/locked.pdf")["tries"] == 2, what="another try")
    service.wait_for("sub/locked.pdf", "quarantined")
    assert moved.read_bytes() == content
    assert {path.name for path in moved.parent.iterdir()} == {"locked.pdf", "locked.pdf.reason.json"}
    assert service.stop() == 0
    assert litter(tmp_path) == []
    _check_what_is_said_without_a_quarantine(service)


def _check_what_is_said_without_a_quarantine(service: HookedService) -> None:
    """From the journal alone; and by a service that has it no longer in its configuration."""
    locked = str(service.inbox / "sub" / "locked.pdf")
    assert "quarantined" in service.command("why", locked).stdout
    del service.settings["inboxes"][0]["quarantine_to"]
    service.write_config()
    service.start()
    refused = service.command("retry", locked)
    assert (refused.returncode, "move it back yourself" in refused.stderr) == (2, True)
    assert service.command("retry", "--all-failed").returncode == 0
    assert service.stop() == 0


def test_program_that_hangs_or_fails_holds_nothing_up(service: HookedService, tmp_path: Path) -> None:
    """Files are done meanwhile, questions answered, and the service ends in time; with it the program and its child."""
    pids = tmp_path / "pids"
    service.hook("done", f"sleep 600 & echo $$ $! > {pids}; wait")
    service.hook("failed", "echo cannot >&2; exit 7")
    service.start()
    for number in range(3):
        scans.write(service.inbox / f"{number}.png", "apple bread")
    (service.inbox / "empty.pdf").write_bytes(hostile.pdf_without_pages())
    for number in range(3):
        service.wait_for(f"{number}.png", "done")
    service.wait_for("empty.pdf", "quarantined")
    wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2, what="the hook")
    wait_until(lambda: "ended with status 7" in service.log.read_text(), what="a word of the other")
    assert "hook failed says: cannot" in service.log.read_text()
    assert service.status()["version"]
    assert service.stop(timeout_s=25) == 0
    assert not any(is_running(int(pid)) for pid in pids.read_text().split())


def test_what_was_not_told_before_a_kill_is_told_after_it(service: HookedService, tmp_path: Path) -> None:
    """kill -9 while a program is at work: the next start tells it again, as the same delivery."""
    service.hook("done", f'cat >> "$TOLD"; [ -e {tmp_path / "let"} ] || sleep 600')
    service.start()
    scans.write(service.inbox / "letter.png", "apple bread")
    (first,) = wait_until(lambda: service.messages("done"), what="the hook")
    children = service.children()
    service.kill()
    (tmp_path / "let").touch()
    service.start()
    wait_until(lambda: len(service.messages("done")) == 2, what="the second time")
    second = service.messages("done")[1]
    assert (second["delivery"], second["attempt"]) == (first["delivery"], 2)
    assert second["job"] == first["job"]
    assert service.stop() == 0
    for pid in filter(is_running, children):  # by hand there is no unit that ends with the service
        os.kill(pid, 9)


def test_inbox_that_goes_and_comes_back_is_told(service: HookedService) -> None:
    """The share is away, or the folder: whoever looks after it learns it from us."""
    service.hook("inbox_offline", 'cat >> "$TOLD"')
    service.start()
    away = service.inbox.with_name("elsewhere")
    service.inbox.rename(away)
    (gone,) = wait_until(lambda: service.messages("inbox_offline"), what="the news")
    assert (gone["inbox"]["name"], gone["inbox"]["path"], gone["inbox"]["state"]) == ("in", str(service.inbox), "offline")
    assert gone["inbox"]["problem"]
    away.rename(service.inbox)
    _, back = wait_until(
        lambda: messages if len(messages := service.messages("inbox_offline")) > 1 else None, what="the good news"
    )
    assert back["inbox"]["state"] == "online"
