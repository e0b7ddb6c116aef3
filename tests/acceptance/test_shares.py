"""The daemon on network shares, from outside: FUSE mounts that hang, err, die, go and come back.

One daemon serves most tests, each of which has a share of its own there: a scan on a share rests for 15 s before it is taken.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import scans
from tests.faults.daemon import Service, wait_until
from tests.faults.share import FaultShare
from tests.faults.workers import is_running

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

_ERRORS = ("EIO", "ESTALE", "EHOSTDOWN", "ENOENT")
_LATE = "a late one"
# What happens to late.pdf on each of these shares until the test takes it back. Its first and last bytes can be read.
_MIDDLE = (1_000_000, 1_100_000)
_LATE_FAULTS: dict[str, dict[str, Any]] = {
    "EIO": {"op": "read", "error": "EIO", "bytes": _MIDDLE},
    "ESTALE": {"op": "open", "error": "ESTALE"},
    "EHOSTDOWN": {"op": "read", "error": "EHOSTDOWN", "bytes": _MIDDLE},
    "ENOENT": {"op": "open", "error": "ENOENT"},
}


class TracedService(Service):
    """A daemon whose file calls are written down, a file a thread, where strace can do that."""

    def trace(self) -> list[Path]:
        """What each thread called; empty where nothing is traced."""
        return sorted(self.log.parent.glob("trace.*"))

    def start(self) -> None:
        """Start the daemon under strace, which stays out of its family."""
        strace = ["strace", "-D", "-ff", "--seccomp-bpf", "-qq", "-e", "trace=file", "-o", str(self.log.parent / "trace")]
        works = shutil.which("strace") and subprocess.run([*strace[:-1], "/dev/null", "true"], capture_output=True, check=False)
        command = [*(strace if works and works.returncode == 0 else []), sys.executable, "-m", "ocrwatch", "run"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*command, "--config", str(self.config)], stdout=log, stderr=log)
        wait_until(self._answers, what=f"the start of the daemon (log: {self.log})")


class Farm:
    """A daemon with a local inbox, one that has a share mounted below it, and one a share."""

    def __init__(self, folder: Path) -> None:
        self.shares = {name: FaultShare(folder / name) for name in ("nas", "dead", "full", *_ERRORS)}
        self.mixed = folder / "mixed"
        self.shares["below"] = FaultShare(folder / "below", point=self.mixed / "below")
        inboxes = [_inbox(share.point, name) for name, share in self.shares.items() if name != "below"]
        self.service = TracedService(folder)
        self.service.settings["inboxes"] += [*inboxes, _inbox(self.mixed, "mixed")]
        self.service.write_config()

    def end(self) -> None:
        """No mount and no process is left."""
        for share in self.shares.values():
            share.unmount()
        self.service.end()


def _inbox(path: Path, name: str) -> dict[str, Any]:
    return {"path": str(path), "name": name, "settle": "300ms", "poll": "1s"}


def _write_large_pdf(path: Path) -> None:
    """A scan of one page whose bytes in the middle are only read by who reads it whole."""
    made = scans.write(path.parent / ".large.pdf", _LATE)
    before, mark, after = made.read_bytes().rpartition(b"startxref")
    made.write_bytes(before + (b"%" + b"." * 98 + b"\n") * 20_000 + mark + after)
    made.rename(path)


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """Everything mounted, the daemon running, first scans in all inboxes and those done whose share does not err."""
    farm = Farm(tmp_path_factory.mktemp("farm"))
    try:
        for name, share in farm.shares.items():
            share.mount()
            _first(share, name)
        scans.write(farm.mixed / "first.png", "on the local disk")
        farm.shares["full"].fail({"op": "write", "error": "ENOSPC"})
        for name, fault in _LATE_FAULTS.items():
            _write_large_pdf(farm.shares[name].backing / "late.pdf")
            farm.shares[name].fail({**fault, "name": "late.pdf"})
        farm.service.start()
        for name in ("nas", "dead"):
            _wait_for_text(farm.shares[name].backing / "first.png")
        yield farm
    finally:
        farm.end()


@pytest.fixture
def share(tmp_path: Path) -> Iterator[FaultShare]:
    """A share that is mounted nowhere yet."""
    share = FaultShare(tmp_path / "nas")
    yield share
    share.unmount()


@pytest.fixture
def service(tmp_path: Path, share: FaultShare) -> Iterator[Service]:
    """A daemon of the test's own, not started yet, with a local inbox and the share."""
    service = Service(tmp_path)
    service.settings["inboxes"].append(_inbox(share.point, "nas"))
    service.write_config()
    yield service
    service.end()


def _first(share: FaultShare, name: str) -> None:
    scan = scans.write(share.backing / "first.png", f"first scan of {name.lower()}")
    scan.chmod(0o640)


def _wait_for_text(scan: Path, *, timeout_s: float = 60.0) -> str:
    text = scan.with_name(f"{scan.name}.txt")
    wait_until(text.exists, timeout_s=timeout_s, what=f"the text of {scan}")
    return text.read_text(encoding="utf-8")


def _inbox_status(service: Service, name: str) -> dict[str, Any]:
    return next(dict(inbox) for inbox in service.status()["inboxes"] if inbox["name"] == name)


def _wait_for_inbox(service: Service, name: str, state: str, *, problem: str = "") -> dict[str, Any]:
    def there() -> dict[str, Any] | None:
        if service.command("status").returncode != 0:
            return None  # it starts anew, because a share was mounted
        status = _inbox_status(service, name)
        return status if status["state"] == state and problem in status["problem"] else None

    return dict(wait_until(there, timeout_s=40, what=f"inbox {name} {state} {problem}"))


def _stamp(backing: Path) -> tuple[int, int]:
    """By what one would see that the text of the first scan was written again."""
    status = (backing / "first.png.txt").stat()
    return status.st_ino, status.st_mtime_ns


def _retry(farm: Farm, *scans: Path) -> None:
    """What was deferred comes back by itself, but later each time, and other tests took theirs."""
    assert farm.service.command("retry", *map(str, scans)).returncode in (0, 2)  # 2: it came back just now


def _ours(backing: Path, scan: str) -> list[str]:
    """What ocrwatch has left behind a mount for a scan, or of its own."""
    return [p.name for p in backing.iterdir() if p.name.startswith((".ocrwatch", f"{scan}."))]


def _seconds(action: Callable[[], object]) -> float:
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


# -- one daemon, many shares ---------------------------------------------------------------------------------------------


def test_scan_written_on_the_server_is_found_by_polling(farm: Farm) -> None:
    """No event tells of it; its text stands beside it, for the same readers."""
    backing = farm.shares["nas"].backing
    assert _wait_for_text(backing / "first.png").strip() == "first scan of nas"
    assert (backing / "first.png.txt").stat().st_mode & 0o777 == 0o640
    status = _inbox_status(farm.service, "nas")
    assert status["looks_by"] == "polling"
    assert "fuse" in status["why_polling"]
    assert _inbox_status(farm.service, "inbox")["looks_by"] == "events"


def test_hanging_share_holds_up_nobody_else(farm: Farm) -> None:
    """The other inbox goes on and questions are answered; what waits is done when the share answers, nothing twice."""
    service, nas = farm.service, farm.shares["nas"]
    before = _stamp(nas.backing)
    nas.hang()
    try:
        scans.write(nas.backing / "meanwhile.png", "written meanwhile")
        scans.write(service.inbox / "local.png", "on the local disk")
        service.wait_for("local.png", "done", timeout_s=30)
        assert _seconds(service.status) < 5
        assert _seconds(lambda: service.why(str(nas.point / "first.png"))) < 5
        assert service.why(str(nas.point / "first.png"))["state"] == "done"
    finally:
        nas.go_on()
    assert _wait_for_text(nas.backing / "meanwhile.png").strip() == "written meanwhile"
    assert _stamp(nas.backing) == before
    assert service.why(str(nas.point / "first.png"))["tries"] == 1


def test_share_whose_server_dies_is_offline_until_it_is_mounted_again(farm: Farm) -> None:
    """Dead, then an empty folder in its place, then back: nothing counts as deleted, is written below it, or done again."""
    service, dead = farm.service, farm.shares["dead"]
    before = _stamp(dead.backing)
    dead.die()
    _wait_for_inbox(service, "dead", "offline")
    dead.unmount()
    scans.write(dead.backing / "meanwhile.png", "written meanwhile")
    _wait_for_inbox(service, "dead", "offline", problem="another mount than the known one")
    assert service.why(str(dead.point / "first.png"))["state"] == "done"
    assert list(dead.point.iterdir()) == []
    dead.mount()
    _wait_for_inbox(service, "dead", "online")
    assert _wait_for_text(dead.backing / "meanwhile.png").strip() == "written meanwhile"
    answer = service.why(str(dead.point / "first.png"))
    assert (answer["state"], answer["tries"]) == ("done", 1)
    assert _stamp(dead.backing) == before


def test_faults_of_reading_leave_no_text_and_pass_when_they_do(farm: Farm) -> None:
    """Errors at the opening of a scan, or in the middle of its copy: no text of half a file, and the whole one afterwards."""
    service = farm.service
    for name in ("EIO", "EHOSTDOWN"):
        service.wait_for(str(farm.shares[name].point / "late.pdf"), "deferred", timeout_s=60)
    for name in _ERRORS:
        assert _wait_for_text(farm.shares[name].backing / "first.png").strip() == f"first scan of {name.lower()}"
        assert _ours(farm.shares[name].backing, "late.pdf") == [], name
    for name in _ERRORS:
        farm.shares[name].fail()
    _retry(farm, *(farm.shares[name].point / "late.pdf" for name in ("EIO", "EHOSTDOWN")))
    for name in _ERRORS:
        assert _wait_for_text(farm.shares[name].backing / "late.pdf", timeout_s=90).strip() == _LATE, name


def test_errors_of_listing_put_an_inbox_offline_and_back(farm: Farm) -> None:
    """Whatever the error, nothing counts as deleted, and nothing is done again."""
    shares = {name: farm.shares[name] for name in _ERRORS}
    before = {name: (_wait_for_text(share.backing / "first.png"), _stamp(share.backing)) for name, share in shares.items()}
    rules = {name: [{**fault, "name": "late.pdf"}] for name, fault in _LATE_FAULTS.items()}
    late_is_done = all((share.backing / "late.pdf.txt").exists() for share in shares.values())
    for name, share in shares.items():
        share.fail({"op": "readdir", "error": name})
    for name, share in shares.items():
        _wait_for_inbox(farm.service, name, "offline")
        assert farm.service.why(str(share.point / "first.png"))["state"] == "done"
    for name, share in shares.items():
        share.fail(*([] if late_is_done else rules[name]))
    for name, share in shares.items():
        _wait_for_inbox(farm.service, name, "online")
        assert farm.service.why(str(share.point / "first.png"))["tries"] == 1
        assert (_wait_for_text(share.backing / "first.png"), _stamp(share.backing)) == before[name]


def test_full_share_defers_and_one_without_modes_is_good_enough(farm: Farm) -> None:
    """No space: told, tried again, nothing left behind. No chmod and no chown: the text is there all the same."""
    full = farm.shares["full"]
    answer = farm.service.wait_for(str(full.point / "first.png"), "deferred")
    assert "no space" in answer["detail"]
    assert _ours(full.backing, "first.png") == []
    full.fail({"op": "chmod", "error": "EPERM"}, {"op": "chown", "error": "EPERM"})
    _retry(farm, full.point / "first.png")
    assert _wait_for_text(full.backing / "first.png").strip() == "first scan of full"


def test_share_below_a_local_inbox_is_worked_on_with_it(farm: Farm) -> None:
    """Files on both are done; the local ones also while the share is away, and nothing twice when it is back."""
    service, below = farm.service, farm.shares["below"]
    assert _wait_for_text(farm.mixed / "first.png").strip() == "on the local disk"
    assert _wait_for_text(below.backing / "first.png").strip() == "first scan of below"
    before = _stamp(below.backing)
    below.unmount()
    scans.write(farm.mixed / "alone.png", "while it was away")
    scans.write(below.backing / "again.png", "when it was back")
    assert _wait_for_text(farm.mixed / "alone.png").strip() == "while it was away"
    below.mount()
    assert _wait_for_text(below.backing / "again.png").strip() == "when it was back"
    answer = service.wait_for(str(below.point / "first.png"), "done")
    assert answer["tries"] == 1
    assert _stamp(below.backing) == before


def test_files_of_a_share_below_an_inbox_do_not_count_as_deleted_while_it_is_away(farm: Farm) -> None:
    """An empty mount point is no deletion, wherever it lies."""
    service, below = farm.service, farm.shares["below"]
    _wait_for_text(below.backing / "first.png")
    service.wait_for(str(below.point / "first.png"), "done")
    below.unmount()
    try:
        scans.write(farm.mixed / "marker.png", "tells of a listing")
        service.wait_for(str(farm.mixed / "marker.png"), "done")
        assert service.why(str(below.point / "first.png"))["state"] == "done"
    finally:
        (farm.mixed / "marker.png").unlink()
        below.mount()
        service.wait_for(str(below.point / "first.png"), "done")


def test_no_thread_of_the_daemon_names_a_path_of_a_mount(farm: Farm) -> None:
    """Only its children do, which can be killed: they are those that began by an execve of their own."""
    service = farm.service
    assert service.process is not None
    if not service.trace():
        pytest.skip("strace is not here or may not trace")
    # Not those that other tests unmount: what is no mount at the moment may be looked at.
    points = [str(share.point).encode() for name, share in farm.shares.items() if name not in ("below", "dead")]
    touching = {path: content for path in service.trace() if any(p in (content := path.read_bytes()) for p in points)}
    assert touching, "the trace shows nobody at the mounts"
    own = service.log.parent / f"trace.{service.process.pid}"
    of_daemon = {path: c for path, c in touching.items() if path == own or b"execve(" not in c}
    lines = [line for content in of_daemon.values() for line in content.splitlines() if any(p in line for p in points)]
    assert [line for line in lines if b"execve(" not in line] == []


# -- a daemon of the test's own ------------------------------------------------------------------------------------------


def test_stop_ends_in_seconds_while_a_share_hangs(service: Service, share: FaultShare) -> None:
    """SIGTERM: status 0, and no process is left, the one at the mount included."""
    share.mount()
    service.start()
    _wait_for_inbox(service, "nas", "online")
    share.hang()
    scans.write(service.inbox / "local.png", "on the local disk")
    service.wait_for("local.png", "done")
    children = service.children()
    assert children
    assert _seconds(lambda: service.stop(timeout_s=20)) < 10
    assert service.process is not None
    assert service.process.returncode == 0
    assert not any(is_running(pid) for pid in children)


def test_daemon_started_before_its_share_waits_for_it(service: Service, share: FaultShare) -> None:
    """The mount of the last run is missed, not the empty folder taken for it; when it comes it is watched as a share."""
    share.mount()
    service.start()
    _wait_for_inbox(service, "nas", "online")
    assert service.stop() == 0
    share.unmount()
    service.start()
    _wait_for_inbox(service, "nas", "offline", problem="another mount than the known one")
    share.mount()
    assert _wait_for_inbox(service, "nas", "online")["looks_by"] == "polling"
    assert os.listdir(share.backing) == []


def test_share_mounted_over_an_inbox_after_the_start_is_not_taken_for_it(service: Service, share: FaultShare) -> None:
    """Its files did not go, nothing is written on the share, and the share may hang without harm."""
    service.start()
    scans.write(share.point / "first.png", "on the local disk")
    _wait_for_text(share.point / "first.png")
    before = _stamp(share.point)
    share.mount()
    _first(share, "another place")
    assert _wait_for_inbox(service, "nas", "offline", problem="another mount than the known one")["looks_by"] == "polling"
    assert service.why(str(share.point / "first.png"))["state"] == "done"
    share.hang()
    scans.write(service.inbox / "local.png", "on the local disk")
    service.wait_for("local.png", "done")
    assert _seconds(service.status) < 5
    share.go_on()
    assert _ours(share.backing, "first.png") == []
    share.unmount()
    _wait_for_inbox(service, "nas", "online")
    assert _stamp(share.point) == before
