"""The daemon on kernel NFS and SMB mounts, from outside: a Linux of its own with real servers, clients, and a link to cut.

One guest and one daemon serve all tests. What takes long by nature is under way for all of them at once: a scan on a share rests
for 15 s before it is taken.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.faults import scans
from tests.testbed.daemon import GuestDaemon, wait_until
from tests.testbed.machine import CannotBoot, Machine, what_is_missing

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(420)]

# Written a page at a time: longer in all than a scan on a share rests before it is taken, and each pause shorter than that.
_GROWTH = ("first page", "second page", "third page", "fourth page", "fifth page")
_GROWTH_PAUSE_S = 5.0
_UMLAUTS = "Rechnung für Köln.png"
_COLON = "a:b.png"  # which Windows, and thus SMB, does not allow in a name
_HOLDER = Path(__file__).resolve().parent.parent / "testbed" / "hold.py"
_ANSWER_S = 2.0
_STOP_S = 20.0  # TimeoutStopSec of the service is longer


@dataclass(frozen=True)
class Share:
    """A folder of the guest's file server and where it is mounted."""

    name: str
    fs_type: str
    source: str
    options: str
    server: str
    """The folder behind the share, where tests look and write: it is there whatever becomes of the mount."""
    point: str

    def mount_command(self) -> str:
        """How to mount it."""
        return f"mount -t {self.fs_type} -o {self.options} {self.source} {self.point}"


def _nfs(name: str, point: str) -> Share:
    return Share(name, "nfs4", f"10.99.0.1:/{name}", "vers=4.2,hard,timeo=20", f"/run/server/nfs/{name}", point)


NFS = _nfs("nfs", "/run/inboxes/nfs")
SMB = Share(
    *("smb", "cifs", "//10.99.0.1/scans", "username=root,password=secret,vers=3.1.1,iocharset=utf8,echo_interval=4"),
    *("/run/server/smb", "/run/inboxes/smb"),
)
OFFICES = _nfs("offices", "/run/offices")  # its folder `north` is an inbox
BELOW = _nfs("below", "/run/inboxes/mixed/below")
LOCAL = "/run/inboxes/local"
MIXED = "/run/inboxes/mixed"
NORTH = f"{OFFICES.point}/north"
_SHARES = (NFS, SMB, OFFICES, BELOW)


class Guest:
    """The guest with everything mounted, and the daemon in it."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine = machine
        self._folder = folder
        inboxes = {"local": LOCAL, "nfs": NFS.point, "smb": SMB.point, "north": NORTH, "mixed": MIXED}
        self.daemon = GuestDaemon(
            machine,
            folder,
            [{"name": n, "path": p, "settle": "300ms", "poll": "1s", "rescan": "1h"} for n, p in inboxes.items()],
        )
        folders = [LOCAL, f"{OFFICES.server}/north/monday", *(s.server for s in _SHARES), *(s.point for s in _SHARES)]
        machine.shell(f"mkdir -p {' '.join(folders)}")
        for share in _SHARES:
            self.mount(share)

    def mount(self, share: Share) -> None:
        """Mount a share. The server may still be in its grace period."""
        self.machine.shell(share.mount_command(), timeout_s=40)

    def unmount(self, share: Share) -> None:
        """Take a mount away, as soon as nobody is in it."""

        def done() -> bool:
            return "done" in self.machine.shell(f"umount {share.point} 2>/dev/null && echo done || true")

        wait_until(done, timeout_s=30, what=lambda: f"the end of the mount {share.point}")

    def put(self, folder: str, name: str, text: str) -> str:
        """A scan of a text in a folder of the guest, whole from the start. The folder is none of a mount. Its name."""
        scans.write(self._folder / "scan.png", text)
        self.machine.shell(f"cd {folder} && cp /run/common/scan.png .copy && mv .copy {shlex.quote(name)}")
        return name

    def read(self, path: str) -> str:
        """What a file of the server holds; '' when it is not there."""
        return self.machine.shell(f"cat {shlex.quote(path)} 2>/dev/null || true").strip()

    def names(self, folder: str) -> list[str]:
        """What is in a folder of the server."""
        return sorted(self.machine.shell(f"ls -A {folder}").split("\n")[:-1])

    def stamp(self, share: Share, scan: str) -> tuple[str, int]:
        """By what one would see that a scan that is done was done again."""
        files = self.machine.shell(f"stat -c '%i %Y %Z %s' {share.server}/{scan}.txt {share.server}/{scan}.json")
        return files, int(self.daemon.why(f"{share.point}/{scan}")["tries"])

    def wait_for_text(self, share: Share, scan: str, *, timeout_s: float = 60.0) -> str:
        """The text beside a scan, on the server, and the daemon's own word that it is done."""
        self.daemon.wait_for_file(f"{share.point}/{scan}", "done", timeout_s=timeout_s)
        return self.read(f"{share.server}/{scan}.txt")

    def hold(self, scan: str) -> None:
        """Open a scan of the SMB server as another client, which lets nobody else at it until `let_go`."""
        script = f"/usr/bin/python3 {shlex.quote(str(_HOLDER))} {scan} >/run/holder 2>&1 & echo $! >/run/holder.pid"
        self.machine.shell(f"setsid {script}")
        wait_until(lambda: self.read("/run/holder"), timeout_s=30, what=lambda: "the other client has the file open")
        assert self.read("/run/holder") == "held"

    def let_go(self) -> None:
        """The other client closes its file."""
        self.machine.shell("kill $(cat /run/holder.pid)")

    def link(self, state: str) -> None:
        """`down`: nothing reaches the server, and nothing comes back from it. `up`: as before."""
        self.machine.shell(f"ip -n server link set server {state}")


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """The guest, its daemon running, scans written on the servers since, one of them in steps, one held open."""
    missing = what_is_missing()
    if missing:
        pytest.skip(f"no Linux with NFS and SMB to boot; run {missing}")
    folder = tmp_path_factory.mktemp("guest")
    try:
        machine = Machine(folder)
    except CannotBoot as reason:
        pytest.skip(str(reason))
    try:
        guest = Guest(machine, folder)
        guest.daemon.start()
        for share in (NFS, SMB):
            guest.daemon.wait_for_inbox(share.name, "online")
        for share in (NFS, SMB, BELOW):
            guest.put(share.server, "first.png", f"first scan of {share.name}")
        guest.put(f"{OFFICES.server}/north", "first.png", "first scan of north")
        guest.put(f"{OFFICES.server}/north/monday", "old.png", "an old one")
        guest.put(SMB.server, _UMLAUTS, "scan with umlauts")
        guest.put(SMB.server, _COLON, "scan with a colon")
        guest.put(SMB.server, "held.png", "no longer held")
        guest.hold("held.png")
        _let_grow(guest, folder)
        yield guest
    finally:
        machine.end()


def _let_grow(guest: Guest, folder: Path) -> None:
    """A scan of four pages, written past the clients a page at a time, and a whole PDF after each."""
    pages: list[bytes] = []
    made = folder / "growing.pdf"
    for text in _GROWTH:
        image: Image.Image = scans.page(text)
        image.save(made, format="PDF", resolution=200, append=made.exists())
        pages.append(made.read_bytes()[sum(map(len, pages)) :])
    for number, page in enumerate(pages, start=1):
        (folder / "part").write_bytes(page)
        for share in (NFS, SMB):
            guest.machine.shell(f"cat /run/common/part >>{share.server}/growing.pdf")
        for share in (NFS, SMB):
            _wait_for_age(guest.daemon, f"{share.point}/growing.pdf", number * _GROWTH_PAUSE_S)


def _wait_for_age(daemon: GuestDaemon, path: str, age_s: float) -> None:
    """Until the daemon knows of a file since so long, or has taken it."""

    def is_old() -> bool:
        answer = daemon.why(path)
        return answer["state"] != "unknown" and float(answer.get("since_s", age_s)) >= age_s

    wait_until(is_old, timeout_s=30, what=lambda: f"{path} is known for {age_s} s: {daemon.why(path)}")


@pytest.mark.parametrize("share", [NFS, SMB], ids=lambda share: share.name)
def test_scan_written_on_the_server_is_found_by_polling(guest: Guest, share: Share) -> None:
    """No event tells of it; it gets one text, on the share, and the status says how and why the inbox is looked at."""
    assert guest.wait_for_text(share, "first.png") == f"first scan of {share.name}"
    assert [n for n in guest.names(share.server) if n.startswith("first.png")] == ["first.png", "first.png.json", "first.png.txt"]
    status = guest.daemon.inbox(share.name)
    assert status["looks_by"] == "polling"
    assert share.fs_type in status["why_polling"]
    local = guest.daemon.inbox("local")
    assert (local["looks_by"], local["why_polling"]) == ("events", "")


def test_growing_file_is_taken_once_and_whole(guest: Guest) -> None:
    """A PDF that is whole after each of its pages, and rests between two of them: no text of a part of it, ever."""
    for share in (NFS, SMB):
        assert guest.wait_for_text(share, "growing.pdf").split("\n\f") == [*_GROWTH]
        assert "superseded" not in guest.daemon.inbox(share.name)["counts"]


def test_unmounted_share_is_offline_and_nothing_is_done_twice_when_it_is_back(guest: Guest) -> None:
    """A bare mount point is neither an empty inbox nor a place to write to."""
    before = {}
    for share in (NFS, SMB):
        guest.wait_for_text(share, "first.png")
        before[share] = guest.stamp(share, "first.png")
        guest.unmount(share)
        guest.put(share.server, "meanwhile.png", f"written meanwhile on {share.name}")
    for share in (NFS, SMB):
        guest.daemon.wait_for_inbox(share.name, "offline", problem="another mount than the known one")
        assert guest.daemon.why(f"{share.point}/first.png")["state"] == "done"
        assert guest.names(share.point) == []
        guest.mount(share)
    for share in (NFS, SMB):
        guest.daemon.wait_for_inbox(share.name, "online")
        assert guest.wait_for_text(share, "meanwhile.png") == f"written meanwhile on {share.name}"
        assert guest.stamp(share, "first.png") == before[share]
        assert "orphaned" not in guest.daemon.inbox(share.name)["counts"]


def test_cut_link_holds_up_only_its_shares(guest: Guest) -> None:
    """Hard mounts: local folders go on, questions are answered, stop and start work; what was under way is done afterwards."""
    daemon, before = guest.daemon, {}
    for share in (NFS, SMB):
        guest.wait_for_text(share, "first.png")
        before[share] = guest.stamp(share, "first.png")
    _work_locally(guest, "before.png")  # so that there is a process to hold
    with daemon.recognizing_nothing():
        for share in (NFS, SMB):
            guest.put(share.server, "in-work.png", f"in work on {share.name}")
        for share in (NFS, SMB):
            daemon.wait_for_file(f"{share.point}/in-work.png", "spooled")
            guest.put(share.server, "pending.png", f"pending on {share.name}")
        for share in (NFS, SMB):
            daemon.wait_for_file(f"{share.point}/pending.png", "waiting", "queued", "spooled")
        guest.link("down")
    try:
        wait_until(daemon.stuck, timeout_s=30, what=lambda: "a process that hangs at the mount")
        assert daemon.pid not in daemon.stuck()
        _work_locally(guest, "local.png")
        daemon.wait_for_inbox("smb", "offline", timeout_s=60)
        for share in (NFS, SMB):
            assert daemon.why(f"{share.point}/first.png")["state"] == "done"
            assert daemon.why(f"{share.point}/in-work.png")["state"] in ("spooled", "deferred")
        assert daemon.stop(timeout_s=60) < _STOP_S
        wait_until(lambda: not daemon.processes(), timeout_s=15, what=lambda: f"the end of {daemon.processes()}")
        daemon.start()
        _work_locally(guest, "again.png")
    finally:
        guest.link("up")
        if not daemon.answers():
            daemon.start()
    for share in (NFS, SMB):
        assert guest.wait_for_text(share, "in-work.png", timeout_s=120) == f"in work on {share.name}"
        assert guest.wait_for_text(share, "pending.png", timeout_s=120) == f"pending on {share.name}"
        assert guest.stamp(share, "first.png") == before[share]
        assert "orphaned" not in daemon.inbox(share.name)["counts"]
        assert not [name for name in guest.names(share.server) if name.startswith(".ocrwatch")]


def _work_locally(guest: Guest, scan: str) -> None:
    """Local folders are worked on, also those around a share, and the daemon answers at once while it does."""
    for folder in (LOCAL, MIXED):
        guest.put(folder, scan, f"{scan} in {folder}")

    def done() -> bool:
        _, seconds = guest.daemon.status()
        assert seconds < _ANSWER_S
        return all(guest.read(f"{folder}/{scan}.txt") for folder in (LOCAL, MIXED))

    wait_until(done, timeout_s=60, what=lambda: f"the text of {scan}: {guest.daemon.log()}")


def test_share_removed_and_made_again_on_the_server_loses_nothing(guest: Guest) -> None:
    """Every handle of the mount is stale for good: it is offline until somebody mounts it again, and goes on where it was."""
    server, daemon = f"{OFFICES.server}/north", guest.daemon
    daemon.wait_for_file(f"{NORTH}/first.png", "done")
    text = guest.machine.shell(f"sha256sum {server}/first.png.txt")
    guest.machine.shell(f"cp -a {OFFICES.server} /run/kept && rm -r {OFFICES.server} && cp -a /run/kept {OFFICES.server}")
    guest.put(server, "later.png", "written later")
    daemon.wait_for_inbox("north", "offline", problem="stale")
    assert daemon.why(f"{NORTH}/first.png")["state"] == "done"
    guest.unmount(OFFICES)
    guest.mount(OFFICES)
    daemon.wait_for_inbox("north", "online")
    for scan in ("later.png", "first.png"):
        daemon.wait_for_file(f"{NORTH}/{scan}", "done")
    assert guest.read(f"{server}/later.png.txt") == "written later"
    assert guest.machine.shell(f"sha256sum {server}/first.png.txt") == text
    ours = [f"{scan}.png{ending}" for scan in ("first", "later") for ending in ("", ".json", ".txt")]
    assert [name for name in guest.names(server) if name != "monday"] == ours
    assert daemon.why(f"{NORTH}/first.png")["state"] == "done"


def test_folder_replaced_on_the_server_is_looked_at_anew(guest: Guest) -> None:
    """Another folder of the same name, at once: its scans are done, and those of the old one have gone with it."""
    daemon, monday = guest.daemon, f"{OFFICES.server}/north/monday"
    daemon.wait_for_file(f"{NORTH}/monday/old.png", "done")
    guest.machine.shell(f"rm -r {monday} && mkdir {monday}")
    guest.put(monday, "new.png", "a new one")
    daemon.wait_for_file(f"{NORTH}/monday/new.png", "done")
    assert guest.names(monday) == ["new.png", "new.png.json", "new.png.txt"]
    assert daemon.why(f"{NORTH}/monday/old.png")["state"] == "orphaned"


def test_file_held_open_by_another_client_waits_with_a_reason(guest: Guest) -> None:
    """A sharing violation is not the file's fault: it is told, and the file is taken when its writer lets go."""
    path = f"{SMB.point}/held.png"

    def refused() -> dict[str, Any] | None:
        answer = guest.daemon.why(path)
        return answer if answer.get("reason") == "unreadable" else None

    answer = wait_until(refused, timeout_s=60, what=lambda: f"held.png cannot be read: {guest.daemon.why(path)}")
    assert answer is not None
    assert answer["state"] == "waiting"
    assert "cannot be read" in answer["meaning"]
    guest.let_go()
    assert guest.wait_for_text(SMB, "held.png", timeout_s=90) == "no longer held"


def test_names_of_smb_survive_the_way_there_and_back(guest: Guest) -> None:
    """Umlauts stay as they are; a name that SMB cannot say gets its text under the name that it shows instead."""
    assert guest.wait_for_text(SMB, _UMLAUTS) == "scan with umlauts"
    shown = next(name for name in guest.names(SMB.point) if "~" in name and name.endswith(".PNG"))
    assert guest.wait_for_text(SMB, shown) == "scan with a colon"
    assert guest.daemon.inbox("smb")["counts"].get("failed", 0) == 0


def test_share_below_a_local_inbox_lives_by_polling_and_the_rest_by_events(guest: Guest) -> None:
    """Each part as its mount allows; while the share is away, nothing of it counts as deleted."""
    daemon = guest.daemon
    assert guest.wait_for_text(BELOW, "first.png") == "first scan of below"
    before = guest.stamp(BELOW, "first.png")
    status = daemon.inbox("mixed")
    assert (status["looks_by"], status["why_polling"]) == ("events", "")
    assert [(part["path"], part["looks_by"]) for part in status["below"]] == [("below", "polling")]
    guest.put(MIXED, "local.png", "beside the share")
    daemon.wait_for_file(f"{MIXED}/local.png", "done")  # the next full listing is an hour away
    guest.unmount(BELOW)
    guest.put(BELOW.server, "meanwhile.png", "written meanwhile")
    guest.put(MIXED, "alone.png", "while it was away")
    daemon.wait_for_file(f"{MIXED}/alone.png", "done")
    _wait_for_part(daemon, "mixed", "offline")
    assert daemon.why(f"{BELOW.point}/first.png")["state"] == "done"
    assert guest.names(BELOW.point) == []
    guest.mount(BELOW)
    assert guest.wait_for_text(BELOW, "meanwhile.png") == "written meanwhile"
    assert guest.stamp(BELOW, "first.png") == before


def test_shares_that_are_mounted_after_the_start_are_waited_for(guest: Guest) -> None:
    """A daemon that starts before its mounts knows that the empty folders are not what it knew there."""
    daemon, before = guest.daemon, {}
    for share in (NFS, BELOW):
        guest.wait_for_text(share, "first.png")
        before[share] = guest.stamp(share, "first.png")
    daemon.stop(timeout_s=60)
    for share in (NFS, BELOW):
        guest.unmount(share)
    daemon.start()
    daemon.wait_for_inbox("nfs", "offline")
    _wait_for_part(daemon, "mixed", "offline")
    for share in (NFS, BELOW):
        assert guest.names(share.point) == []
        assert daemon.why(f"{share.point}/first.png")["state"] == "done"
        guest.mount(share)
    daemon.wait_for_inbox("nfs", "online")
    _wait_for_part(daemon, "mixed", "online")
    for share in (NFS, BELOW):
        assert daemon.why(f"{share.point}/first.png")["state"] == "done"
        assert guest.stamp(share, "first.png") == before[share]


def _wait_for_part(daemon: GuestDaemon, inbox: str, state: str) -> None:
    """Until the one share below an inbox is in this state."""

    def there() -> bool:
        return [part["state"] for part in daemon.inbox(inbox)["below"]] == [state]

    wait_until(there, timeout_s=40, what=lambda: f"the share below {inbox} {state}: {daemon.inbox(inbox)}; {daemon.log()}")
