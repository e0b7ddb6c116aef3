"""The drop-ins that doctor tells, in a real systemd: what they grant can be written to, and doctor sees that it was granted."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocrwatch.doctor.findings import Finding, Verdict
from ocrwatch.doctor.unit import SHOW, Unit, unit_findings
from ocrwatch.settings import Configuration, InboxSettings, MetricsSettings, ModelSettings
from tests.testbed.systemd_machine import CannotBoot, SystemdMachine

pytestmark = pytest.mark.slow

_SHIPPED = Path(__file__).resolve().parents[2] / "systemd"
_DROP_INS = "/etc/systemd/system/ocrwatch.service.d"
_NAMES = ("plain", "with blank", "it's", 'qu"ote', "back\\slash", "co:lon", "a $lar 100% ünï", "semi;colon", "x /y")
_PATHS = [Path(above, name) for above in ("/home", "/tmp", "/data") for name in _NAMES]
# Without what Aspose and a GPU want beside the unit: this machine has neither.
_TOUCHES = """[Service]
Type=oneshot
User=root
Group=root
CapabilityBoundingSet=CAP_DAC_OVERRIDE
SupplementaryGroups=
LoadCredential=
ExecStartPre=
ExecStart=
ExecStart=/bin/sh /var/lib/touch.sh
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[SystemdMachine]:
    """One with the unit, which is not started."""
    try:
        machine = SystemdMachine(tmp_path, bound={_SHIPPED: str(_SHIPPED)})
    except CannotBoot as error:
        pytest.skip(str(error))
    machine.path("/etc/systemd/system/ocrwatch.service").write_bytes((_SHIPPED / "ocrwatch.service").read_bytes())
    yield machine
    machine.end()


def _findings(machine: SystemdMachine, settings: Configuration) -> list[Finding]:
    shown = machine.run(f"systemctl daemon-reload; {shlex.join(SHOW)}")
    return unit_findings(Unit.shown(shown), settings, aspose=True, driver=True)


def test_drop_ins_that_are_told_grant_what_was_lacking(machine: SystemdMachine) -> None:
    """Whatever is in the names; one run of doctor tells all of it, and the next finds nothing."""
    inboxes = tuple(InboxSettings(path=path, name=f"inbox-{number}") for number, path in enumerate(_PATHS))
    settings = Configuration(
        inboxes=inboxes,
        control_socket=Path("/srv/socket/control.sock"),
        metrics=MetricsSettings(listen="[::1]:9464"),
        model=ModelSettings(download="auto"),
    )
    told = _findings(machine, settings)
    assert len([finding for finding in told if finding.verdict is Verdict.BAD]) == 5
    for finding in told:
        machine.run(finding.remedy.replace(" && systemctl restart ocrwatch", ""))
    assert [finding.verdict for finding in _findings(machine, settings)] == [Verdict.OK]
    places = " ".join(shlex.quote(str(path)) for path in (*_PATHS, "/srv/socket", "/data"))
    machine.run(f"mkdir -p {places}")
    machine.path("/var/lib/touch.sh").write_text(f'for place in {places}; do touch "$place/file" || true; done\n')
    machine.path(f"{_DROP_INS}/zz-touch.conf").write_text(_TOUCHES)
    machine.run("systemctl daemon-reload; systemctl start ocrwatch")
    assert machine.run(f"ls {places}", check=False).count("file\n") == len(_PATHS) + 1
    assert not machine.path("/data/file").exists()  # nobody asked for that
