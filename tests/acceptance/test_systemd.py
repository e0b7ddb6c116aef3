"""The service as `make install` leaves it, under a real systemd with journald, from outside.

One machine serves all tests, in any order: each finds the service running with the usual configuration, and leaves it so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ocrwatch.log_events import LogEvent
from tests.faults import scans
from tests.faults.models import smollm2
from tests.testbed.installed import CHECKOUT, INBOX, MODEL, Installed, wait_until
from tests.testbed.systemd_machine import CannotBoot, SystemdMachine

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(600)]

_PROJECT = Path(__file__).resolve().parents[2]
_MOST_EXPOSURE = 1.5
_WATCHDOG_S = 3
_STOP_S = 30  # TimeoutStopSec
_LETTER = "Dear customer,\nplease pay the amount of $6000 within ten days.\nReference LZQX-4711"
_PROBE = "/usr/local/bin/probe"
_FOUND = "/var/lib/ocrwatch/found.json"
# Runs as a hook, that is inside of the unit's sandbox, and notes what it was let do.
_PROBE_TEXT = f"""#!/usr/bin/python3
import ctypes, json, mmap, os, socket, sys
def allowed(action):
    try:
        action()
    except OSError as error:
        return error.strerror
    return "allowed"
def new_user_space():
    if ctypes.CDLL(None, use_errno=True).unshare(0x10000000) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
def writes(path):
    return allowed(lambda: os.close(os.open(path, os.O_CREAT | os.O_WRONLY)))
sys.stdin.read()
json.dump({{
    "etc": writes("/etc/probe"), "opt": writes("/opt/ocrwatch/probe"), "srv": writes("/srv/elsewhere/probe"),
    "inbox": writes("{INBOX}/.probe"), "homes": allowed(lambda: os.listdir("/root")),
    "internet": allowed(lambda: socket.socket(socket.AF_INET)), "local": allowed(lambda: socket.socket(socket.AF_UNIX)),
    "code": allowed(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)),
    "spaces": allowed(new_user_space),
    "processes": sorted(name for name in os.listdir("/proc") if name == "1"), "user": os.getuid(),
}}, open("{_FOUND}", "w"))
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdMachine]:
    """A real systemd."""
    try:
        machine = SystemdMachine(tmp_path_factory.mktemp("systemd"), bound={_PROJECT: CHECKOUT, smollm2().parent: MODEL})
    except CannotBoot as reason:
        pytest.skip(str(reason))
    yield machine
    machine.end()


@dataclass(frozen=True)
class Installation:
    """The service, and what was seen of it right after it was installed."""

    service: Installed
    said: str
    enabled_and_active: list[str]
    rights: list[str]


@pytest.fixture(scope="module")
def installation(machine: SystemdMachine) -> Installation:
    """ocrwatch, installed and configured with an inbox that the group `scans` owns."""
    service = Installed(machine, smollm2())
    said = service.install()
    seen = Installation(
        service,
        said,
        service.run("systemctl is-enabled ocrwatch || systemctl is-active ocrwatch", check=False).split(),
        service.run("stat -c '%A %U %G' /etc/ocrwatch /etc/ocrwatch/config.yaml").splitlines(),
    )
    machine.run(f"groupadd scans && install -d -m 2775 -g scans {INBOX} /srv/elsewhere /srv/letters")
    service.drop_in("group.conf", f"[Service]\nSupplementaryGroups=scans\nWatchdogSec={_WATCHDOG_S}\n")
    service.drop_in("letters.conf", "[Service]\nReadWritePaths=/srv/letters\n")
    service.configure()
    return seen


@pytest.fixture
def service(installation: Installation) -> Installed:
    """The service, running."""
    installation.service.start()
    return installation.service


def test_installing_starts_nothing_and_says_what_comes_next(installation: Installation) -> None:
    """Three commands; configuration and credentials are for root and the service alone."""
    assert re.findall(r"^  (.*?)\s+#", installation.said, re.MULTILINE) == [
        "${EDITOR:-nano} /etc/ocrwatch/config.yaml",
        "ocrwatch doctor",
        "systemctl enable --now ocrwatch",
    ]
    assert installation.enabled_and_active == ["disabled", "inactive"]
    assert installation.rights == ["drwxr-x--- root ocrwatch", "-rw-r----- root ocrwatch"]


def test_systemd_understands_the_unit_and_finds_it_tight(service: Installed) -> None:
    """Every line, with its manual page; and as it is now, with an administrator's drop-in."""
    assert service.run("systemd-analyze verify ocrwatch.service") == ""
    told = service.run("systemd-analyze security --no-pager ocrwatch.service")
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", told)
    assert exposure is not None, told
    assert float(exposure[1]) <= _MOST_EXPOSURE


def test_start_is_over_when_the_inboxes_are_listed(service: Installed) -> None:
    """Whoever waits for `systemctl start` finds an answer at once, and a status in words."""
    service.restart()
    assert [service.shown(name) for name in ("ActiveState", "SubState", "NRestarts")] == ["active", "running", "0"]
    assert service.status()["inboxes"][0]["state"] == "online"
    assert re.match(r"watching 1 inboxes", service.shown("StatusText"))


@pytest.mark.parametrize("name", ["letter.png", "letter.pdf", "letter.tif"])
def test_scan_goes_through_the_whole_service(service: Installed, name: str) -> None:
    """Text beside the scan, by its group's rights; journald knows the file by its name, and not one word that stands in it."""
    _drop(service, name, _LETTER)
    service.wait_for_file(name, "done")
    text = service.path(f"{INBOX}/{name}.txt").read_text(encoding="utf-8")
    assert "$6000" in text
    assert "within ten days" in text
    assert service.run(f"stat -c '%a %U %G' {INBOX}/{name}.txt").strip() == "644 ocrwatch scans"
    published = json.loads(service.path(f"{INBOX}/{name}.json").read_bytes())
    assert published["correction"]["model"], "the model corrected it"

    records = service.records(f"OCRWATCH_FILE={name}")
    done = next(r for r in records if r.get("OCRWATCH_STATE") == "done")
    assert done["MESSAGE_ID"] == LogEvent.JOB_STATE.message_id
    assert (done["OCRWATCH_INBOX"], done["SYSLOG_IDENTIFIER"], done["PRIORITY"]) == ("scans", "ocrwatch", "6")
    assert int(done["OCRWATCH_JOB"]) > 0
    everything = service.run("journalctl --no-pager --output=export --all")
    assert not {"LZQX-4711", "customer", "$6000"} & set(re.split(r"[\s=,]", everything))


def test_catalog_explains_the_kinds_of_events(service: Installed) -> None:
    """`journalctl -x` and `journalctl --catalog` know each of them."""
    for event in LogEvent:
        assert f"-- {event.message_id}" in service.run(f"journalctl --dump-catalog {event.message_id}")
    explained = service.run(f"journalctl -x --no-pager --unit=ocrwatch MESSAGE_ID={LogEvent.SERVICE_STARTED.message_id}")
    assert "Subject: ocrwatch watches its inboxes" in explained


def test_reload_takes_a_good_configuration_and_leaves_a_bad_one(service: Installed) -> None:
    """The same process goes on; what is wrong stands in the log with its line."""
    pid = service.pid
    inboxes = [*service.configuration()["inboxes"], {"path": "/srv/letters", "settle": "300ms"}]
    try:
        service.configure(inboxes=inboxes)
        service.run("systemctl reload ocrwatch")
        # At every moment somebody answers.
        wait_until(lambda: len(service.status()["inboxes"]) == 2, timeout_s=30, what=service.log)
        service.configure(inboxes=[{"path": INBOX, "settle": "soon"}])
        service.run("systemctl reload ocrwatch", check=False)
        refused = f"MESSAGE_ID={LogEvent.CONFIGURATION_REFUSED.message_id}"
        wait_until(lambda: service.records(refused), timeout_s=30, what=service.log)
        assert "settle" in service.records(refused)[-1]["MESSAGE"]
        assert (service.pid, service.shown("ActiveState"), len(service.status()["inboxes"])) == (pid, "active", 2)
    finally:
        service.configure()
    service.run("systemctl reload ocrwatch")
    wait_until(lambda: len(service.status()["inboxes"]) == 1, timeout_s=30, what=service.log)


def test_killed_service_is_started_again_and_goes_on(service: Installed) -> None:
    """What came meanwhile is done."""
    service.restart()
    pid = service.pid
    service.run("systemctl kill --kill-whom=main --signal=KILL ocrwatch")
    _drop(service, "meanwhile.png", "came while nobody looked")
    wait_until(lambda: service.pid not in (0, pid), timeout_s=60, what=service.log)
    service.wait_for("ActiveState", "active", timeout_s=60)
    assert service.shown("NRestarts") == "1"
    service.wait_for_file("meanwhile.png", "done")


def test_hanging_main_loop_is_ended_by_the_watchdog(service: Installed) -> None:
    """A process that stands still says nothing; systemd ends it with all its children, and starts another."""
    service.restart()
    pid = service.pid
    service.run(f"kill -STOP {pid}")
    wait_until(lambda: service.pid not in (0, pid), timeout_s=60, what=service.log)
    service.wait_for("ActiveState", "active", timeout_s=60)
    assert "atchdog" in service.run("journalctl --no-pager --unit=ocrwatch --identifier=systemd")
    _drop(service, "after.png", "after the watchdog")
    service.wait_for_file("after.png", "done")


def test_stop_under_load_is_quick_and_loses_nothing(service: Installed) -> None:
    """The page in hand is finished or given up, nobody is left in the control group, and the next start does the rest."""
    words = ["alfa", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett", "kilo", "lima"]
    names = [f"{word}.png" for word in words]
    for name in names:
        _drop(service, name, f"This is the page of {name.removesuffix('.png')}")
    wait_until(lambda: any(_text(service, name).exists() for name in names), timeout_s=60, what=service.log)
    service.run("systemctl stop ocrwatch", timeout_s=_STOP_S)
    assert service.shown("Result") == "success"
    assert service.run("cat /sys/fs/cgroup/system.slice/ocrwatch.service/cgroup.procs 2>/dev/null", check=False) == ""
    left = [name for name in names if not _text(service, name).exists()]
    assert left, "all was done before the stop: that was no load"
    service.start()
    for name in names:
        service.wait_for_file(name, "done")
        assert name.removesuffix(".png") in _text(service, name).read_text(encoding="utf-8")


def test_sandbox_is_in_force(service: Installed) -> None:
    """Seen from within, by a hook: the inbox can be written, and nothing else can."""
    probe = service.path(_PROBE)
    probe.write_text(_PROBE_TEXT, encoding="utf-8")
    probe.chmod(0o755)
    try:
        service.configure(hooks={"done": [_PROBE]})
        service.restart()
        _drop(service, "probe.png", "probe")
        wait_until(service.path(_FOUND).exists, timeout_s=60, what=service.log)
        wait_until(lambda: service.path(_FOUND).read_text(), timeout_s=10, what=service.log)
    finally:
        service.configure()
        service.restart()
    found = json.loads(service.path(_FOUND).read_bytes())
    assert found.pop("user") == int(service.run("id -u ocrwatch"))
    assert found == {
        **{"etc": "Read-only file system", "opt": "Read-only file system", "srv": "Read-only file system"},
        **{"inbox": "allowed", "local": "allowed", "processes": []},
        **{"homes": "Permission denied", "internet": "Address family not supported by protocol"},
        **{"code": "Operation not permitted", "spaces": "Operation not permitted"},
    }


def test_share_mounted_later_is_there_and_writable(service: Installed) -> None:
    """A mount below a folder of ReadWritePaths, made after the start, as an automounter or a person does."""
    service.run(f"mkdir -p {INBOX}/later && mount -t tmpfs -o mode=0777 tmpfs {INBOX}/later")
    _drop(service, "later/scan.png", "on a mount of its own")
    service.wait_for_file("later/scan.png", "done")
    assert "mount of its own" in _text(service, "later/scan.png").read_text(encoding="utf-8")


def test_only_the_group_may_ask(service: Installed) -> None:
    """The socket is the group's; somebody else is told which group that is."""
    service.run("useradd --groups ocrwatch clerk; useradd stranger")
    assert "scans" in service.run("HOME=/home/clerk setpriv --reuid clerk --init-groups --regid clerk ocrwatch status")
    refused = service.run(
        "HOME=/home/stranger setpriv --reuid stranger --init-groups --regid stranger ocrwatch status", check=False
    )
    assert "ocrwatch" in refused
    assert "scans" not in refused


def test_doctor_has_nothing_against_it(service: Installed) -> None:
    """Asked by root, it looks as the service does; what is left are warnings."""
    told = json.loads(service.run("ocrwatch doctor --json", timeout_s=120))
    assert [finding for finding in told if finding["verdict"] == "bad"] == []


def test_installing_again_says_that_the_old_one_still_runs(service: Installed) -> None:
    """A newer version over an older one leaves the configuration and the running service alone."""
    pid, before = service.pid, service.path("/etc/ocrwatch/config.yaml").read_text()
    assert "systemctl restart ocrwatch" in service.install()
    assert (service.pid, service.path("/etc/ocrwatch/config.yaml").read_text()) == (pid, before)


def test_uninstalling_leaves_scans_texts_state_and_configuration(service: Installed) -> None:
    """And nothing else; installed again, the service goes on where it was."""
    _drop(service, "kept.png", "to be kept")
    job = service.wait_for_file("kept.png", "done")["job"]
    kept = ["/etc/ocrwatch/config.yaml", "/var/lib/ocrwatch/journal.db", f"{INBOX}/kept.png", f"{INBOX}/kept.png.txt"]
    try:
        assert "Left as they are" in service.uninstall()
        left = "systemctl list-unit-files --no-legend 'ocrwatch*'; command -v ocrwatch; ls /opt /usr/local/lib/systemd/system"
        assert "ocrwatch" not in service.run(f"set +e; {left}")
        assert [path for path in kept if not service.path(path).exists()] == []
    finally:
        service.install()
    service.start()
    assert service.why("kept.png")["job"] == job


def _text(service: Installed, name: str) -> Path:
    return service.path(f"{INBOX}/{name}.txt")


def _drop(service: Installed, name: str, *pages: str) -> None:
    """Put a scan into the inbox, whole under its name, readable for its group."""
    scans.write(service.path(f"{INBOX}/{name}"), *pages).chmod(0o644)
