"""Man pages and completion say what `--help` says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import click
import pytest

from ocrwatch.cli import cli
from ocrwatch.tools.manual import write_completion, write_manual


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for below, each in command.commands.items():
            yield from _commands(each, f"{name}-{below}")


def test_every_command_has_its_page_with_every_option(tmp_path: Path) -> None:
    """Whoever asks `man` is told no less."""
    pages = {path.stem: path.read_text(encoding="utf-8") for path in write_manual(tmp_path, day=date(2026, 1, 2))}
    commands = dict(_commands(cli, "ocrwatch"))
    assert pages.keys() == commands.keys()
    for name, command in commands.items():
        shown = pages[name].replace("\\", "")
        options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
        assert all(option.opts[-1] in shown for option in options), name
        assert "2026-01-02" in shown


def test_man_reads_the_pages_without_a_warning(tmp_path: Path) -> None:
    """As `man` shows them."""
    if shutil.which("groff") is None:
        pytest.skip("no groff: apt install groff-base")
    for page in write_manual(tmp_path, day=date(2026, 1, 2)):
        read = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", page], capture_output=True, text=True, check=True)
        assert read.stderr == "", page.name


@pytest.mark.parametrize(
    ("words", "expected"), [("ocrwatch sta", "status"), ("ocrwatch model p", "pull"), ("ocrwatch why --c", "--config")]
)
def test_bash_completes_commands_and_options(tmp_path: Path, words: str, expected: str) -> None:
    """By what was written, in a real bash."""
    script = next(path for path in write_completion(tmp_path) if path.suffix == ".bash")
    asked = (
        f"source {script}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); _ocrwatch_completion ocrwatch;"
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path}
    answer = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True, timeout=60, env=environment)
    assert expected in answer.stdout.split(), answer.stderr
