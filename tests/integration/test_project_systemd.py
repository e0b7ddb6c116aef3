"""The unit and its drop-ins as systemd itself reads them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"
MOST_EXPOSURE = 1.5
DROP_INS = ["gpu.conf", "aspose.conf", "network-share.conf"]


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit in a folder of its own, with a program that exists here in place of the installed one."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine (Debian: systemd)")
    text = (SYSTEMD / "ocrwatch.service").read_text()
    unit = tmp_path / "ocrwatch.service"
    unit.write_text(text.replace("ExecStart=/opt/ocrwatch/bin/ocrwatch", "ExecStart=/bin/true"))
    return unit


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What systemd-analyze says."""
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("drop_in", [None, *DROP_INS])
def test_systemd_understands_every_line(unit: Path, drop_in: str | None) -> None:
    """An option that systemd does not know is only a warning, and protects nothing: there is none."""
    if drop_in is not None:
        folder = unit.with_name("ocrwatch.service.d")
        folder.mkdir()
        shutil.copy(SYSTEMD / drop_in, folder)
    result = analyze("verify", "--man=no", "--recursive-errors=no", str(unit))
    assert (result.returncode, result.stderr) == (0, "")


def test_systemd_would_say_so_when_it_did_not(unit: Path) -> None:
    """The check above can fail."""
    unit.write_text(unit.read_text().replace("PrivateTmp=", "PrivateTemporary="))
    assert "PrivateTemporary" in analyze("verify", "--man=no", "--recursive-errors=no", str(unit)).stderr


def test_the_unit_without_drop_ins_is_tight(unit: Path) -> None:
    """Whoever needs neither a GPU nor .NET gives the service next to nothing (a bare unit has 9.6)."""
    result = analyze("security", "--offline=true", "--no-pager", str(unit))
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", result.stdout)
    assert exposure is not None, result.stdout + result.stderr
    assert float(exposure[1]) <= MOST_EXPOSURE


def test_every_option_of_the_unit_stands_below_a_comment() -> None:
    """An administrator reads why before taking something away: no block of options is without its reason."""
    for file in [*SYSTEMD.glob("*.service"), *SYSTEMD.glob("*.conf")]:
        text = file.read_text().partition("[Install]")[0]
        for block in re.split(r"\n\s*\n", text):
            lines = [line for line in block.splitlines() if not re.fullmatch(r"\[\w+\]", line)]
            first_option = next((i for i, line in enumerate(lines) if not line.startswith("#")), None)
            named = lines and lines[0].startswith(("Description=", "#"))
            assert first_option is None or named, f"{file.name}: {lines[0]}"


def test_the_user_is_made_by_sysusers(tmp_path: Path) -> None:
    """systemd-sysusers makes user and group out of the file, in a root of its own."""
    if shutil.which("systemd-sysusers") is None:
        pytest.skip("no systemd-sysusers on this machine (Debian: systemd)")
    command = ["systemd-sysusers", f"--root={tmp_path}", str(SYSTEMD / "ocrwatch.sysusers.conf")]
    (tmp_path / "etc").mkdir()
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    assert re.search(
        r"^ocrwatch:.*:/var/lib/ocrwatch:/usr/sbin/nologin$", (tmp_path / "etc" / "passwd").read_text(), re.MULTILINE
    )
