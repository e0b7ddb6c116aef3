"""What the scripts that set up and install say when something cannot be had: one line with what, why and the command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
TOOLS = ["bash", "cat", "dirname", "env", "sha256sum"]
INSTALLED = "printf installed"
NO_ROOT = {"id": "echo 1000"}
ROOT = {"id": "echo 0"}
GOOD_PYTHON = {"python3": "exit 0"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout without its environment, and a folder `bin` with nothing but the tools that the script itself uses."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "bin").mkdir()
    for script in ("setup.sh", "install.sh"):
        shutil.copy(PROJECT / "scripts" / script, tmp_path / "scripts")
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None, tool
        (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def run_setup(project: Path, programs: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    """A script (`setup.sh`, or another with arguments) on a machine that has these programs, each a line of shell."""
    for name, line in programs.items():
        program = project / "bin" / name
        program.write_text(f"#!{project}/bin/bash\n{line}\n")
        program.chmod(0o755)
    environment = {"PATH": str(project / "bin"), "OCRWATCH_OPENSSL11": str(project / "openssl")}
    return subprocess.run(
        [project / "scripts" / (command or ("setup.sh",))[0], *command[1:]],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("programs", "message"),
    [
        (
            {"dpkg-query": "exit 1", **NO_ROOT, **GOOD_PYTHON},
            "missing packages and no right to install them (needed: Tesseract's languages, a compiler and a font). "
            "Run: sudo apt-get install python3-venv ",
        ),
        (
            {"dpkg-query": "exit 1", "apt-get": "exit 100", **ROOT, **GOOD_PYTHON},
            "apt-get could not install python3-venv ",
        ),
        (
            {"dpkg-query": INSTALLED, **ROOT},
            "there is no python3 (needed: Python 3.11 to 3.13). Run: make PYTHON=/path/to/python3 setup",
        ),
        (
            {"dpkg-query": INSTALLED, "python3": '[ "$1" = --version ] && echo Python 3.9.2 && exit; exit 1', **ROOT},
            "Python 3.9.2 does not fit (needed: Python 3.11 to 3.13). Run: make PYTHON=/path/to/python3 setup",
        ),
        (
            {"dpkg-query": INSTALLED, "python3": '[ "$2" != venv ]', **ROOT},
            "no virtual environment in .venv (needed: ocrwatch and its libraries). Run: python3 -m venv .venv",
        ),
    ],
)
def test_setup_says_what_is_missing_and_how_to_get_it(project: Path, programs: dict[str, str], message: str) -> None:
    """A machine that lacks something ends in a line to act on, and counts as not set up."""
    result = run_setup(project, programs)
    assert result.returncode == 1, result.stderr
    assert result.stderr.splitlines()[-1].startswith(f"setup: {message}")
    assert not (project / ".venv" / ".set-up").exists()


def test_setup_asks_for_packages_only_when_one_is_missing(project: Path) -> None:
    """Nobody is asked for a password for what is there already."""
    result = run_setup(project, {"dpkg-query": INSTALLED, "sudo": "echo asked >&2", "python3": "exit 1", **NO_ROOT})
    assert "asked" not in result.stderr


@pytest.mark.parametrize(
    ("programs", "command", "message"),
    [
        (NO_ROOT, "install", "only root can do that. Run: sudo make install"),
        (NO_ROOT, "uninstall", "only root can do that. Run: sudo make uninstall"),
        (ROOT, "instal", "usage: "),
        (
            {"dpkg-query": "exit 1", "apt-get": "exit 100", **ROOT},
            "install",
            "apt-get could not install python3-venv ",
        ),
    ],
    ids=["install by somebody", "uninstall by somebody", "misspelt", "no packages"],
)
def test_installation_that_cannot_be_says_so_before_anything_is_changed(
    project: Path, programs: dict[str, str], command: str, message: str
) -> None:
    done = run_setup(project, programs, "install.sh", command)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("install: ")
