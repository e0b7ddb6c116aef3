"""What the properties of a unit mean for a configuration, and the drop-in that mends it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.doctor.findings import Verdict
from ocrwatch.doctor.unit import Unit, drop_in, unit_findings, wanted_paths
from ocrwatch.settings import Configuration, InboxSettings, MetricsSettings, ModelSettings, OcrSettings, OutputSettings

GB = 10**9
# As `systemctl show` of systemd 252 prints the unit of the project; what is in other cases below was printed by it too.
SHIPPED = {
    **{"User": "ocrwatch", "DynamicUser": "no", "ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes"},
    **{"ReadWritePaths": "-/srv/scans", "BindPaths": "", "StateDirectory": "ocrwatch", "CacheDirectory": "ocrwatch"},
    **{"RuntimeDirectory": "ocrwatch", "LogsDirectory": ""},
    **{"MemoryMax": "infinity", "LimitNOFILE": "524288", "LimitNOFILESoft": "1024", "MemoryDenyWriteExecute": "yes"},
    **{"RestrictAddressFamilies": "AF_UNIX", "IPAddressDeny": "0.0.0.0/0 ::/0", "IPAddressAllow": "", "PrivateDevices": "yes"},
}


def findings(
    inbox: str = "/srv/scans", *, shown: dict[str, str] | None = None, aspose: bool = False, driver: bool = False, **settings: Any
) -> list[tuple[Verdict, str, str]]:
    """What is said of the shipped unit with these properties instead, for a configuration."""
    configured = Configuration(inboxes=(InboxSettings(path=Path(inbox)),), **settings)
    found = unit_findings(Unit({**SHIPPED, **(shown or {})}), configured, aspose=aspose, driver=driver)
    return [(finding.verdict, finding.what, finding.remedy) for finding in found]


def test_unit_and_inbox_as_they_come_fit() -> None:
    ((verdict, what, _),) = findings()
    assert (verdict, what) == (Verdict.OK, "ocrwatch.service lets the service at everything that is configured")


@pytest.mark.parametrize(
    ("shown", "path", "may"),
    [
        ({}, "/srv/scans", True),
        ({}, "/srv/scans/below", True),
        ({}, "/srv/scans2", False),
        ({}, "/var/lib/ocrwatch", True),
        ({}, "/var/lib/other", False),
        ({}, "/run/ocrwatch", True),
        ({"ReadWritePaths": '"/srv/with blank" -+/mnt'}, "/srv/with blank/a", True),
        ({"ReadWritePaths": '"/srv/with blank" -+/mnt'}, "/mnt/a", True),
        ({"ReadWritePaths": '-/srv/a "-/srv/it\'s" "-/srv/qu\\"ote"'}, "/srv/it's", True),
        ({"ReadWritePaths": '-/srv/a "-/srv/it\'s" "-/srv/qu\\"ote"'}, '/srv/qu"ote', True),
        ({"ReadWritePaths": r'"-/srv/do\$lar" "-/srv/back\\slash"'}, "/srv/do$lar", True),
        ({"ReadWritePaths": r'"-/srv/do\$lar" "-/srv/back\\slash"'}, r"/srv/back\slash", True),
        ({"ProtectSystem": "full", "ReadWritePaths": ""}, "/srv/other", True),
        ({"ProtectSystem": "full"}, "/etc/x", False),
        ({"ProtectSystem": "yes"}, "/etc/x", True),
        ({"ProtectSystem": "no"}, "/usr/x", True),
        ({"ProtectHome": "tmpfs", "BindPaths": "-/home/scans:/home/scans:rbind"}, "/home/scans/in", True),
        ({"ProtectHome": "tmpfs", "BindPaths": "/data:/home/scans:rbind"}, "/data", False),
        ({"ProtectHome": "read-only", "ProtectSystem": "no"}, "/home/scans", False),
        ({"ProtectHome": "read-only", "ReadWritePaths": "/home/scans"}, "/home/scans", True),
    ],
)
def test_where_the_service_may_write(shown: dict[str, str], path: str, may: bool) -> None:
    assert Unit({**SHIPPED, **shown}).may_write(Path(path)) is may


_NAMES = (
    "/home/a",
    "/home/with blank",
    "/home/it's",
    '/home/qu"ote',
    r"/home/back\slash",
    "/home/co:lon",
    "/home/a /b",
    "/home/ünï",
)
_BOUND = f"/data:/other {' '.join(f'-{name}:{name}:rbind' for name in _NAMES)}"


@pytest.mark.parametrize(
    ("shown", "path", "sees"),
    [
        ({}, "/home/scans", False),
        ({}, "/root/scans", False),
        ({}, "/tmp/scans", False),
        ({}, "/srv/anything", True),
        ({"PrivateTmp": "no"}, "/tmp/scans", True),
        ({"ProtectHome": "no"}, "/home/scans", True),
        ({"ProtectHome": "tmpfs", "BindPaths": "-/home/scans:/home/scans:rbind"}, "/home/scans", True),
        ({"ProtectHome": "tmpfs", "BindPaths": "/data:/home/scans:rbind"}, "/home/scans/in", True),
        ({"ProtectHome": "tmpfs", "BindPaths": "/data:/home/scans:rbind"}, "/home/other", False),
        *(({"ProtectHome": "tmpfs", "BindPaths": _BOUND}, path, True) for path in _NAMES),
    ],
)
def test_what_the_service_sees(shown: dict[str, str], path: str, sees: bool) -> None:
    assert Unit({**SHIPPED, **shown}).may_see(Path(path)) is sees


def test_inbox_elsewhere_is_told_with_the_drop_in_to_paste() -> None:
    """Everything that is written to at once, and quoted for systemd and for the shell."""
    ((verdict, what, remedy),) = findings("/data/scans 100%")
    assert verdict is Verdict.BAD
    assert "lets the service write nothing to /data/scans 100%" in what
    assert remedy == drop_in("inboxes", ['ReadWritePaths="-/data/scans 100%%"'])
    assert remedy.startswith("mkdir -p /etc/systemd/system/ocrwatch.service.d && printf '%s\\n' '[Service]' ")
    assert remedy.endswith("/inboxes.conf && systemctl daemon-reload && systemctl restart ocrwatch")


def test_inbox_in_a_home_is_bound_there() -> None:
    ((verdict, what, remedy),) = findings("/home/scans")
    assert verdict is Verdict.BAD
    assert "hides /home/scans" in what
    assert remedy == drop_in("hidden", ["ProtectHome=tmpfs", "BindPaths=-/home/scans"])
    ((_, _, remedy),) = findings("/home/a:b c")
    assert remedy == drop_in("hidden", ["ProtectHome=tmpfs", r'BindPaths="-/home/a\:b c"'])


def test_inbox_in_a_private_folder_is_seen_and_may_be_written_to_afterwards() -> None:
    """`/tmp` of the machine is read-only to the service once it sees it."""
    ((verdict, what, remedy),) = findings("/tmp/scans")
    assert verdict is Verdict.BAD
    assert "hides /tmp/scans" in what
    assert remedy == drop_in("hidden", ["PrivateTmp=no", "ReadWritePaths=-/tmp/scans"])


def test_drop_in_leaves_what_an_earlier_one_granted(tmp_path: Path) -> None:
    """The second folder that is told does not take the first away again."""
    folder = str(tmp_path / "ocrwatch.service.d")
    for path in ("/data/one", "/data/t'wo"):
        ((_, _, remedy),) = findings(path)
        script = remedy.partition(" && systemctl")[0].replace("/etc/systemd/system/ocrwatch.service.d", folder)
        subprocess.run(["sh", "-c", script], check=True)
    lines = (tmp_path / "ocrwatch.service.d/inboxes.conf").read_text().splitlines()
    assert lines == ["[Service]", "ReadWritePaths=-/data/one", "[Service]", 'ReadWritePaths="-/data/t\'wo"']


def test_drop_ins_that_are_told_are_enough() -> None:
    """What they grant is what was lacking: no second run of doctor is needed."""
    assert Unit({**SHIPPED, "ReadWritePaths": "-/srv/scans -/data"}).may_write(Path("/data/x"))
    bound = {"ProtectHome": "tmpfs", "BindPaths": "-/home/scans:/home/scans:rbind"}
    assert findings("/home/scans", shown=bound)[0][0] is Verdict.OK


def test_texts_archive_and_quarantine_are_written_to_as_well() -> None:
    inbox = InboxSettings(
        path=Path("/srv/scans"),
        output=OutputSettings(directory=Path("/srv/texts")),
        archive_to=Path("/srv/archive"),
        quarantine_to=Path("/srv/bad"),
    )
    wanted = wanted_paths(Configuration(inboxes=(inbox, inbox)))
    assert list(map(str, wanted)) == ["/var/lib/ocrwatch", "/srv/scans", "/srv/texts", "/srv/archive", "/srv/bad"]
    assert all(wanted.values())


def test_inbox_that_nothing_is_written_into_may_be_read_only() -> None:
    """Its texts go elsewhere, and its scans stay."""
    read = InboxSettings(path=Path("/data"), name="read", output=OutputSettings(directory=Path("/srv/scans/texts")))
    assert _told(read) == [(Verdict.OK, "ocrwatch.service lets the service at everything that is configured")]
    ((verdict, what),) = _told(read, InboxSettings(path=Path("/data"), name="written"))
    assert (verdict, what) == (Verdict.BAD, "ocrwatch.service lets the service write nothing to /data")


def _told(*inboxes: InboxSettings) -> list[tuple[Verdict, str]]:
    found = unit_findings(Unit(SHIPPED), Configuration(inboxes=inboxes), aspose=False, driver=False)
    return [(finding.verdict, finding.what) for finding in found]


def test_socket_that_is_configured_has_its_folder_too() -> None:
    ((verdict, what, _),) = findings(control_socket=Path("/srv/other/control.sock"))
    assert verdict is Verdict.BAD
    assert "write nothing to /srv/other" in what
    assert findings(control_socket=Path("/run/ocrwatch/control.sock"))[0][0] is Verdict.OK


@pytest.mark.parametrize(
    ("shown", "is_told"),
    [
        ({}, True),
        ({"RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6"}, True),
        ({"RestrictAddressFamilies": "AF_UNIX AF_INET", "IPAddressAllow": "127.0.0.0/8 ::1/128"}, False),
        ({"RestrictAddressFamilies": "~", "IPAddressDeny": ""}, False),  # not set
        ({"RestrictAddressFamilies": "", "IPAddressDeny": ""}, True),  # `none`
        ({"RestrictAddressFamilies": "~AF_PACKET", "IPAddressDeny": ""}, False),
        ({"RestrictAddressFamilies": "~AF_INET AF_PACKET", "IPAddressDeny": ""}, True),
    ],
)
def test_metrics_need_a_network(shown: dict[str, str], is_told: bool) -> None:
    found = findings(shown=shown, metrics=MetricsSettings(listen="127.0.0.1:9464"))
    assert (found[0][0] is Verdict.BAD) is is_told
    assert ("IPAddressAllow=localhost" in found[0][2]) is is_told


def test_metrics_told_at_the_other_loopback_need_its_family() -> None:
    listen = MetricsSettings(listen="[::1]:9464")
    shown = {"RestrictAddressFamilies": "AF_UNIX AF_INET", "IPAddressDeny": ""}
    assert findings(shown=shown, metrics=listen)[0][0] is Verdict.BAD
    shown = {"RestrictAddressFamilies": "AF_INET6 AF_UNIX", "IPAddressAllow": "::1/128 127.0.0.0/8"}
    assert findings(shown=shown, metrics=listen)[0][0] is Verdict.OK


def test_models_that_are_to_be_fetched_need_the_internet() -> None:
    ((verdict, _, remedy),) = findings(model=ModelSettings(download="auto"))
    assert verdict is Verdict.BAD
    assert "IPAddressDeny=" in remedy


def test_limits_that_are_too_small_are_told() -> None:
    ocr = OcrSettings(workers=4, page_memory="1500MB")
    memory, files = findings(shown={"MemoryMax": str(4 * GB), "LimitNOFILESoft": "256"}, ocr=ocr)
    assert memory[0] is files[0] is Verdict.WARN
    assert "may hold 4.0 GB; 4 workers may want 6.2 GB" in memory[1]
    assert "MemoryMax=6200M" in memory[2]
    assert "256 files" in files[1]


def test_asposes_runtime_needs_its_drop_in() -> None:
    ((verdict, _, remedy),) = findings(aspose=True)
    assert verdict is Verdict.BAD
    assert "aspose.conf" in remedy
    assert findings(shown={"MemoryDenyWriteExecute": "no"}, aspose=True)[0][0] is Verdict.OK


@pytest.mark.parametrize(("require", "verdict"), [(True, Verdict.BAD), (False, Verdict.WARN)])
def test_gpu_needs_its_drop_in(require: bool, verdict: Verdict) -> None:
    found = findings(driver=True, model=ModelSettings(require_gpu=require))
    assert (found[0][0], "gpu.conf" in found[0][2]) == (verdict, True)


def test_user_who_exists_only_while_the_service_runs_is_nobody_to_look_as() -> None:
    assert Unit({"DynamicUser": "yes", "User": "x"}).user is None
    assert Unit({"User": ""}).user == "root"
