"""An inbox that leads nowhere, a link that names itself, or whose mounts cannot be taken up: the rest of the service goes on."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ocrwatch import daemon
from ocrwatch.doctor import machine
from ocrwatch.doctor.findings import Finding
from ocrwatch.doctor.places import Places
from ocrwatch.errors import ShareOffline, StateUnwritable
from ocrwatch.intake.arrivals import Arrivals
from ocrwatch.intake.ignore import is_ours
from ocrwatch.intake.mounts import MountTable, read_mounts
from ocrwatch.report.reaching import Reaching
from ocrwatch.settings import Configuration, InboxSettings
from ocrwatch.worker.access import LocalAccess
from ocrwatch.worker.lookout import looking_out
from tests.faults.daemon import Service, wait_until

_WORDS = "cannot be entered: too many levels of symbolic links"


@pytest.fixture
def circle(tmp_path: Path) -> Path:
    """A path that leads back to itself."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    return tmp_path / "a"


def test_service_goes_on_and_status_says_which_inbox_leads_nowhere(tmp_path: Path, circle: Path) -> None:
    """It is taken when the link is mended."""
    service = Service(tmp_path)
    service.settings["inboxes"].append({"path": str(circle), "name": "circle"})
    service.write_config()

    def inbox(name: str) -> dict[str, Any]:
        return next(dict(inbox) for inbox in service.status()["inboxes"] if inbox["name"] == name)

    try:
        service.start()
        wait_until(lambda: inbox("circle")["state"] == "offline", what="the inbox is offline")
        assert _WORDS in inbox("circle")["problem"]
        assert inbox("inbox")["state"] == "online"
        circle.unlink()
        circle.mkdir()
        wait_until(lambda: inbox("circle")["state"] == "online", what="the inbox is back")
        assert service.stop() == 0
    finally:
        service.end()
    assert "Traceback" not in service.log.read_text()


def test_path_that_leads_nowhere_is_told_by_whoever_looks(circle: Path) -> None:
    """The process that looks for `doctor` and `why`, the report, and the watch on events."""
    with looking_out(table=read_mounts()) as lookout, pytest.raises(ShareOffline, match=_WORDS):
        lookout.look(str(circle))
    reaching = Reaching(mounts=MountTable(), access=lambda _: LocalAccess())
    with reaching, pytest.raises(ShareOffline, match=_WORDS):
        reaching.texts(str(circle), "")
    with contextlib.closing(MountTable()) as table:
        arrivals = Arrivals(lambda _: None, dropped=is_ours, table=table)
        arrivals.watch(str(circle), recursive=True)
        assert _WORDS in arrivals.trouble(str(circle))
        arrivals.stop()


def test_doctor_says_which_path_leads_nowhere(circle: Path) -> None:
    """Of an inbox and of the state directory, each once."""
    inbox = InboxSettings(path=circle, name="circle")
    settings = Configuration(inboxes=(inbox,), state_dir=circle)
    table = read_mounts()
    with looking_out(table=table) as lookout:
        places = Places(lookout, table, service="ocrwatch")
        assert _bad(list(places.inbox(inbox))) == [f"{str(circle)!r} {_WORDS}"]
        assert _bad(list(places.state(settings))) == [f"{str(circle)!r} {_WORDS}"]
        assert list(machine.examine_watches([inbox], lookout=lookout, table=table, daemon=None)) == []


def _bad(findings: list[Finding]) -> list[str]:
    assert {finding.verdict for finding in findings} == {"bad"}
    return [finding.what for finding in findings]


def test_mounts_of_one_inbox_that_cannot_be_taken_up_are_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full when something is mounted: the loop goes on, the other inboxes have theirs, and it is not forgotten."""
    settings = Configuration(inboxes=(InboxSettings(path=tmp_path),), state_dir=tmp_path)
    served = daemon.Daemon(settings, tmp_path / "config.yaml")
    followed: list[str] = []
    ticks = iter([[1], [], []])  # the table of mounts has changed at the first

    def select(*_: object) -> tuple[list[int], list[int], list[int]]:
        changed = next(ticks, None)
        if changed is None:
            served._stopping.set()
        return [], [], changed or []

    def follow(name: str) -> None:
        followed.append(name)
        if name == "full" and followed.count(name) == 1:
            raise StateUnwritable("full", "free space")

    monkeypatch.setattr(daemon, "select", SimpleNamespace(select=select))
    served._mount_events = 0  # type: ignore[assignment] # only handed to `select`
    served._journal = SimpleNamespace(trouble=lambda: None, wake=lambda **_: [])  # type: ignore[assignment] # a fake
    served._leftovers = SimpleNamespace(drop=lambda **_: None)  # type: ignore[assignment] # a fake
    served._dispatcher = SimpleNamespace(is_active=lambda _: False)  # type: ignore[assignment] # a fake
    served._inboxes = {
        name: SimpleNamespace(follow_mounts=lambda name=name: follow(name), was_looked_at=lambda: True)  # type: ignore[misc] # a fake
        for name in ("full", "other")
    }
    monkeypatch.setattr(served, "_in_words", lambda: "")
    served._serve(0)
    assert followed == ["full", "other", "full"]
