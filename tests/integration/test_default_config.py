"""The configuration that is taken when none is named, for users whose home is not to be had."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PROJECT = Path(__file__).resolve().parents[2]
_AS_SOMEBODY_ELSE = """
import os, sys
from ocrwatch import cli, cli_options  # while the interpreter may still read them
os.setgroups([])
os.setresgid(54321, 54321, 54321)
os.setresuid(54321, 54321, 54321)
print("settings:", cli_options.settings_if_any(None))
sys.stdout.flush()
cli.main(["check-config"])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
@pytest.mark.parametrize("home", ["closed", None])
def test_user_whose_home_is_closed_or_absent_has_no_configuration(tmp_path: Path, home: str | None) -> None:
    """As `sudo -u ocrwatch` leaves root's, or in a container, whose user has no name."""
    if Path("/etc/ocrwatch/config.yaml").exists():
        pytest.skip("this machine has a configuration, which is taken before the user's")
    (tmp_path / "closed/.config").mkdir(mode=0o700, parents=True)
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CONFIG_HOME")}
    environment |= {"HOME": str(tmp_path / home)} if home else {}
    command = [sys.executable, "-c", _AS_SOMEBODY_ELSE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60, cwd=_PROJECT)
    assert done.stdout == "settings: None\n"
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "no configuration at /etc/ocrwatch/config.yaml" in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["--version"], ["doctor", "--json"], ["check-config", "--config", "config.example.yaml"]])
def test_output_that_takes_nothing_is_told_in_one_line(arguments: list[str], unbuffered: str) -> None:
    """A full disk below a redirection is no fault of ours to be looked for in a traceback."""
    command = [sys.executable, "-m", "ocrwatch", *arguments]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=120,
            cwd=_PROJECT,
        )
    assert done.returncode == 1
    assert done.stderr == "ocrwatch: standard output cannot be written: no space left on device\n"
