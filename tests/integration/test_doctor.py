"""`ocrwatch doctor` from outside: what makes installations fail is found, with a remedy, as the service's user would find it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocrwatch.journal.opening import opened
from tests.faults.disks import fill, mounted
from tests.faults.models import smollm2
from tests.faults.share import FaultShare
from tests.faults.waiting import FakeClock

pytestmark = pytest.mark.slow

_PROJECT = Path(__file__).resolve().parents[2]
_UNIT = {
    "LoadState": "loaded",
    "ActiveState": "inactive",
    "User": "nobody",
    "ProtectSystem": "no",
    "Environment": "HF_HOME=/var/cache/x",
}


@dataclass(frozen=True)
class Told:
    """What doctor said, by its exit code and by its findings."""

    code: int
    findings: list[dict[str, str]] = field(default_factory=list)

    def one(self, about: str, words: str) -> dict[str, str]:
        """The one finding about a subject with these words."""
        found = [each for each in self.findings if each["about"] == about and words in each["what"]]
        assert len(found) == 1, json.dumps(self.findings, indent=1)
        return found[0]

    def bad(self) -> list[str]:
        """What cannot work."""
        return [each["what"] for each in self.findings if each["verdict"] == "bad"]


def run(folder: Path, *arguments: str, unit: dict[str, str] | None = None, **settings: Any) -> subprocess.CompletedProcess[str]:
    """The command with a configuration. unit: what systemd shows of an installed one."""
    config = folder / "config.yaml"
    usual = {"state_dir": str(folder / "state"), "correction": {"mode": "off"}, "ocr": {"engine": "tesseract", "workers": 1}}
    config.write_text(yaml.safe_dump(usual | settings), encoding="utf-8")
    environment = {**os.environ}
    if unit is not None:
        tools = folder / "tools"
        tools.mkdir(exist_ok=True)
        shown = "\n".join(f"{name}={value}" for name, value in unit.items())
        (tools / "systemctl").write_text(f"#!/bin/sh\ncat <<'END'\n{shown}\nEND\n")
        (tools / "systemctl").chmod(0o755)
        environment["PATH"] = f"{tools}:{environment['PATH']}"
    command = [sys.executable, "-m", "ocrwatch", "doctor", "--config", str(config), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120, cwd=_PROJECT)


def told(folder: Path, *, unit: dict[str, str] | None = None, **settings: Any) -> Told:
    """The same, read from its JSON."""
    done = run(folder, "--json", unit=unit, **settings)
    assert done.stderr == ""
    return Told(done.returncode, json.loads(done.stdout))


@pytest.fixture(scope="module")
def open_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to which other users come too: pytest's own are closed to them."""
    folder = Path("/var/tmp") / f"ocrwatch-test-{os.getpid()}"
    folder.mkdir(mode=0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def faulty(open_folder: Path) -> Iterator[Told]:
    """One look at a machine with most of what can be wrong, by root for the service's user."""
    if os.geteuid() != 0:
        pytest.skip("only root can look as another user; the tests ran as an unprivileged user already")
    names = ("good", "closed", "hidden/in", "a-file", "unread", "missing", "readonly", "read", "protected", "disk", "state")
    places = {name: open_folder / name for name in names}
    for name in ("good", "closed", "hidden/in", "unread", "readonly", "read"):
        places[name].mkdir(parents=True)
        places[name].chmod(0o777)
    places["closed"].chmod(0o700)
    places["hidden/in"].parent.chmod(0o700)
    places["a-file"].write_text("")
    places["readonly"].chmod(0o755)
    (places["unread"] / "secret.pdf").touch(mode=0o600)
    (open_folder / "hook").write_text("#!/bin/sh\n")
    with (
        mounted(places.pop("disk"), options="size=2m,mode=777") as disk,
        mounted(places["protected"], options="ro,size=1m,mode=777"),
        mounted(places.pop("state"), options="size=2m,mode=700,uid=nobody") as state,
        socket.create_server(("127.0.0.1", 0)) as taken,
    ):
        for full in ("full", "texts"):
            (disk / full).mkdir()
            (disk / full).chmod(0o777)
        fill(disk)
        fill(state)
        inboxes = [{"path": str(path), "name": name.partition("/")[0]} for name, path in places.items() if name != "read"]
        yield told(
            open_folder,
            unit=_UNIT,
            state_dir=str(state),
            inboxes=[
                *inboxes,
                {"path": str(disk / "full"), "name": "full"},
                {"path": str(open_folder / "good2"), "name": "foreign", "languages": ["ja"]},
                {"path": str(places["read"]), "name": "read", "output": {"directory": str(disk / "texts")}},
            ],
            model={"path": str(open_folder / "absent.gguf")},
            correction={"mode": "rescore"},
            hooks={"done": [str(open_folder / "hook")], "failed": ["/nowhere/hook"]},
            metrics={"listen": f"127.0.0.1:{taken.getsockname()[1]}"},
        )


@pytest.mark.parametrize(
    ("about", "verdict", "what", "remedy"),
    [
        ("service", "ok", "permissions are looked at as nobody", ""),
        ("service", "warn", "no daemon runs", "systemctl start ocrwatch"),
        ("service", "bad", "metrics cannot be told", "ss -ltnp"),
        ("service", "bad", "may not run", "chmod a+rx"),
        ("service", "bad", "there is no program /nowhere/hook", "put it there"),
        ("inbox good", "ok", "are open to nobody, looked at by events", ""),
        ("inbox closed", "bad", "nobody may not read or write to", "setfacl -R -m u:nobody:rwX,d:u:nobody:rwX"),
        ("inbox hidden", "bad", "is closed to it", "setfacl -m u:nobody:x"),
        ("inbox a-file", "bad", "is no folder", "name another one"),
        ("inbox missing", "bad", "there is no folder", "mkdir -p"),
        ("inbox readonly", "bad", "nobody may not write to", "setfacl"),
        ("inbox unread", "warn", "may not read 1 of the files", "setfacl"),
        ("inbox full", "bad", "0 MB are free", "df -h"),
        ("inbox read", "bad", "0 MB are free at", "make room there"),
        ("inbox protected", "bad", "is mounted read-only", "mount -o remount,rw /var/tmp/"),
        ("state", "bad", "0 MB are free", "make room there"),
        ("engines", "bad", "ja", "apt install tesseract-ocr-jpn"),
        ("model", "bad", "absent.gguf", ""),
    ],
)
def test_what_is_wrong_is_told_with_its_remedy(faulty: Told, about: str, verdict: str, what: str, remedy: str) -> None:
    """Each by itself, however much else is wrong."""
    found = faulty.one(about, what)
    assert found["verdict"] == verdict
    assert remedy in found["remedy"]


def test_everything_that_is_wrong_says_what_to_do(faulty: Told) -> None:
    """A finding without a remedy is only a complaint; and the exit code tells scripts."""
    assert faulty.code == 3
    assert [each["what"] for each in faulty.findings if each["verdict"] != "ok" and not each["remedy"]] == []
    assert {frozenset(each) for each in faulty.findings} == {frozenset(("verdict", "what", "remedy", "about"))}
    assert {each["verdict"] for each in faulty.findings} == {"ok", "warn", "bad"}
    assert [each["what"] for each in faulty.findings if each["verdict"] == "ok" and each["remedy"]] == []


def test_machine_on_which_all_is_well(tmp_path: Path) -> None:
    """No complaint that is none; what a person reads has a sum at its end."""
    (tmp_path / "in").mkdir()
    (tmp_path / "state").mkdir(mode=0o700)
    done = run(tmp_path, inboxes=[{"path": str(tmp_path / "in")}])
    assert done.returncode == 0, done.stdout
    assert " bad" not in done.stdout
    assert re.fullmatch(r"\d+ ok(, \d+ warn)?", done.stdout.splitlines()[-1])
    assert "  warn  no daemon runs\n        ocrwatch run" in done.stdout  # which alone is no failure
    assert os.listdir(tmp_path / "in") == []


@pytest.mark.parametrize("whole_bytes", [100, 8_000_000])
def test_model_that_is_cut_off_is_told_before_the_service_finds_out(tmp_path: Path, whole_bytes: int) -> None:
    """A copy that broke off, in its header or behind it."""
    (tmp_path / "in").mkdir()
    cut = tmp_path / "model.gguf"
    with smollm2().open("rb") as model:
        cut.write_bytes(model.read(whole_bytes))
    found = told(tmp_path, inboxes=[{"path": str(tmp_path / "in")}], model={"path": str(cut)}, correction={"mode": "rescore"})
    assert found.code == 3
    finding = found.one("model", "is no GGUF file that can be used")
    assert (finding["verdict"], "cut off" in finding["what"]) == ("bad", True)
    assert f"put a whole file at {cut}" in finding["remedy"]
    assert [each["what"] for each in found.findings if each["verdict"] == "ok" and str(cut.name) in each["what"]] == []


def test_journal_that_was_damaged_is_told_until_it_is_removed(tmp_path: Path) -> None:
    """By the command that is told: it takes what belongs to it too, and leaves the journal in use."""
    state = tmp_path / "it's state"
    state.mkdir(mode=0o700)
    (tmp_path / "in").mkdir()
    usual: dict[str, Any] = {"state_dir": str(state), "inboxes": [{"path": str(tmp_path / "in")}]}
    assert "was damaged" not in json.dumps(told(tmp_path, **usual).findings)
    for wall_s in (1_700_000_000.0, 1_700_000_060.0):
        (state / "journal.db").write_bytes(b"no database at all" * 1000)
        (state / "journal.db-wal").write_bytes(b"nor its log")
        with opened(state / "journal.db", wall_clock=FakeClock(wall_s)):
            pass
    found = told(tmp_path, **usual)
    finding = found.one("state", "journal.db.damaged-20231114T221320Z, journal.db.damaged-20231114T221420Z")
    assert (found.code, finding["verdict"]) == (0, "warn")
    assert "another was made from scans and texts" in finding["what"]
    subprocess.run(["sh", "-c", finding["remedy"].rpartition("Then: ")[2]], check=True)
    assert [path.name for path in state.iterdir() if "damaged" in path.name] == []
    assert (state / "journal.db").exists()
    assert "was damaged" not in json.dumps(told(tmp_path, **usual).findings)


def test_share_that_hangs_is_told_and_holds_nothing_else_up(tmp_path: Path) -> None:
    """Doctor ends, and the other inbox has its answer."""
    share = FaultShare(tmp_path / "share").mount()
    (tmp_path / "in").mkdir()
    try:
        share.hang()
        found = told(tmp_path, inboxes=[{"path": str(share.point), "name": "nas"}, {"path": str(tmp_path / "in")}])
    finally:
        share.go_on()
        share.unmount()
    assert found.code == 3
    assert "does not answer" in " ".join(found.bad())
    assert found.one("inbox in", "are open to")["verdict"] == "ok"


@pytest.mark.parametrize(
    ("fault", "what", "remedy"),
    [
        ({"op": "create", "error": "EACCES"}, "takes no new file of", "on the server of"),
        ({"op": "create", "error": "ENOSPC"}, "takes no new file of", "check the mount and its server"),
        (None, "cannot be looked at: Transport endpoint is not connected", "`umount -f -l` takes a dead mount away"),
    ],
)
def test_share_that_refuses_what_its_bits_allow_is_told(
    tmp_path: Path, fault: dict[str, str] | None, what: str, remedy: str
) -> None:
    """The rights of a server are not to be seen in bits; and no access list mends a mount whose server is gone."""
    share = FaultShare(tmp_path / "share").mount()
    try:
        if fault is None:
            share.die()
        else:
            share.fail(fault)
        found = told(tmp_path, inboxes=[{"path": str(share.point), "name": "nas"}])
    finally:
        share.unmount()
    finding = found.one("inbox nas", what)
    assert (found.code, finding["verdict"]) == (3, "bad")
    assert remedy in finding["remedy"]
    assert "setfacl" not in finding["remedy"]


def test_inbox_that_is_only_read_may_be_mounted_read_only(tmp_path: Path) -> None:
    """Its texts go elsewhere: nothing is to be mended."""
    (tmp_path / "texts").mkdir()
    with mounted(tmp_path / "in", options="ro,size=1m") as inbox:
        inboxes = [{"path": str(inbox), "output": {"directory": str(tmp_path / "texts")}}]
        assert told(tmp_path, inboxes=inboxes).one("inbox in", "are open to")["verdict"] == "ok"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root looks as another user")
@pytest.mark.parametrize(
    ("state", "verdict", "what", "remedy"),
    [
        ("file", "bad", "is no folder", "set `state_dir` to a folder"),
        ("file/state", "bad", "file is no folder", "set `state_dir` to a folder"),
        ("closed/state", "bad", "closed is closed to it (Permission denied)", "setfacl -m u:nobody:x"),
        ("roots", "bad", "(root:root, mode 700) cannot be used by nobody", "chown -R nobody"),
        ("absent/state", "bad", "is not there, and nobody may not make it", "install -d -o nobody -m 700"),
        ("wide", "warn", "is open to others", "chmod 700"),
    ],
)
def test_state_directory_that_cannot_be_used_is_told(open_folder: Path, state: str, verdict: str, what: str, remedy: str) -> None:
    """As the service's user would find it."""
    folder = open_folder / "states"
    if not folder.exists():
        folder.mkdir(mode=0o755)
        (folder / "file").touch()
        (folder / "closed/state").mkdir(parents=True)
        (folder / "closed").chmod(0o700)
        (folder / "roots").mkdir(mode=0o700)
        (folder / "wide").mkdir()
        (folder / "wide").chmod(0o777)
    inboxes = [{"path": str(open_folder / "elsewhere")}]
    finding = told(open_folder, unit=_UNIT, state_dir=str(folder / state), inboxes=inboxes).one("state", what)
    assert (finding["verdict"], remedy in finding["remedy"]) == (verdict, True)


def test_clock_of_a_share_that_goes_wrong_is_told(tmp_path: Path) -> None:
    """And the file by which it was looked at is gone."""
    share = FaultShare(tmp_path / "share").mount()
    try:
        share.fail({"ahead_s": 300})
        found = told(tmp_path, inboxes=[{"path": str(share.point), "name": "nas"}])
    finally:
        share.unmount()
    skewed = found.one("inbox nas", "s ahead of this machine's")
    assert (skewed["verdict"], "set-ntp" in skewed["remedy"]) == ("warn", True)
    assert os.listdir(share.backing) == []


def test_more_folders_than_may_be_watched_are_told(tmp_path: Path) -> None:
    """With the setting to raise; in a user namespace, whose limit is its own."""
    for number in range(30):
        (tmp_path / "in" / str(number)).mkdir(parents=True)
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump(
            {"state_dir": str(tmp_path / "state"), "correction": {"mode": "off"}, "inboxes": [{"path": str(tmp_path / "in")}]}
        )
    )
    limited = f"echo 20 > /proc/sys/user/max_inotify_watches || exit 7; exec {sys.executable} -m ocrwatch doctor --json --config"
    command = ["unshare", "-U", "-r", "sh", "-c", f"{limited} {tmp_path}/config.yaml"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=_PROJECT)
    except FileNotFoundError:
        pytest.skip("no unshare here (apt install util-linux)")
    if done.returncode == 7 or done.stderr.startswith("unshare:"):
        pytest.skip(f"no user namespace with limits of its own here: {done.stderr.strip()}")
    found = Told(done.returncode, json.loads(done.stdout)).one("inotify", "31 folders to watch")
    assert (found["verdict"], "fs.inotify.max_user_watches=524288" in found["remedy"]) == ("warn", True)
