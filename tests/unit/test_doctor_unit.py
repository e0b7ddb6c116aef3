"""What the properties of a unit mean for a configuration, and the drop-in that mends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocrwatch.doctor.findings import Verdict
from ocrwatch.doctor.unit import Unit, drop_in, unit_findings, wanted_paths
from ocrwatch.settings import Configuration, InboxSettings, MetricsSettings, ModelSettings, OcrSettings, OutputSettings

GB = 10**9
# As `systemctl show` prints the unit of the project.
SHIPPED = {
    **{"User": "ocrwatch", "DynamicUser": "no", "ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes"},
    **{"ReadWritePaths": "-/srv/scans", "BindPaths": "", "StateDirectory": "ocrwatch", "CacheDirectory": "ocrwatch"},
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
        ({"ReadWritePaths": '"/srv/with blank" +/mnt'}, "/srv/with blank/a", True),
        ({"ReadWritePaths": "/srv/it's"}, "/srv/it's", True),
        ({"ProtectSystem": "full", "ReadWritePaths": ""}, "/srv/other", True),
        ({"ProtectSystem": "full"}, "/etc/x", False),
        ({"ProtectSystem": "yes"}, "/etc/x", True),
        ({"ProtectSystem": "no"}, "/usr/x", True),
        ({"ProtectHome": "tmpfs", "BindPaths": "/home/scans"}, "/home/scans/in", True),
        ({"ProtectHome": "read-only", "ReadWritePaths": "/home/scans"}, "/home/scans", True),
    ],
)
def test_where_the_service_may_write(shown: dict[str, str], path: str, may: bool) -> None:
    assert Unit({**SHIPPED, **shown}).may_write(Path(path)) is may


@pytest.mark.parametrize(
    ("shown", "path", "sees"),
    [
        ({}, "/home/scans", False),
        ({}, "/root/scans", False),
        ({}, "/tmp/scans", False),
        ({}, "/srv/anything", True),
        ({"PrivateTmp": "no"}, "/tmp/scans", True),
        ({"ProtectHome": "no"}, "/home/scans", True),
        ({"ProtectHome": "tmpfs", "BindPaths": "/home/scans"}, "/home/scans", True),
        ({"ProtectHome": "tmpfs", "BindPaths": "/data:/home/scans:rbind"}, "/home/other", False),
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


def test_drop_ins_that_are_told_are_enough() -> None:
    """What they grant is what was lacking: no second run of doctor is needed."""
    assert Unit({**SHIPPED, "ReadWritePaths": "-/srv/scans -/data"}).may_write(Path("/data/x"))
    assert Unit({**SHIPPED, "ProtectHome": "tmpfs", "BindPaths": "-/home/scans"}).may_write(Path("/home/scans"))


def test_texts_archive_and_quarantine_are_written_to_as_well() -> None:
    inbox = InboxSettings(
        path=Path("/srv/scans"),
        output=OutputSettings(directory=Path("/srv/texts")),
        archive_to=Path("/srv/archive"),
        quarantine_to=Path("/srv/bad"),
    )
    wanted = wanted_paths(Configuration(inboxes=(inbox, inbox)))
    assert list(map(str, wanted)) == ["/var/lib/ocrwatch", "/srv/scans", "/srv/texts", "/srv/archive", "/srv/bad"]


@pytest.mark.parametrize(
    ("shown", "is_told"),
    [
        ({}, True),
        ({"RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6"}, True),
        ({"RestrictAddressFamilies": "AF_UNIX AF_INET", "IPAddressAllow": "127.0.0.0/8 ::1/128"}, False),
        ({"RestrictAddressFamilies": "", "IPAddressDeny": ""}, False),
        ({"RestrictAddressFamilies": "~AF_PACKET", "IPAddressDeny": ""}, False),
    ],
)
def test_metrics_need_a_network(shown: dict[str, str], is_told: bool) -> None:
    found = findings(shown=shown, metrics=MetricsSettings(listen="127.0.0.1:9464"))
    assert (found[0][0] is Verdict.BAD) is is_told
    assert ("IPAddressAllow=localhost" in found[0][2]) is is_told


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
