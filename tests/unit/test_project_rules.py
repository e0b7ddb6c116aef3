"""Rules of the code that neither ruff nor import-linter can say."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
MOST_LINES = 350
PURE = (
    "intake/settle.py",
    "hooks.py",
    "journal/states.py",
    "correction/edits.py",
    "correction/fit.py",
    "correction/placement.py",
    "correction/placing.py",
    "correction/returned.py",
    "correction/calibration.py",
    "correction/channel.py",
    "correction/evidence.py",
    "correction/judge.py",
    "correction/judging.py",
    "correction/marks.py",
    "correction/sites.py",
    "correction/survey.py",
    "correction/truth.py",
    "correction/window.py",
    "correction/guard.py",
    "correction/corrector.py",
)
# What a pure module has no use for: it gets time and content as arguments.
IMPURE = {"os", "time", "socket", "sqlite3", "subprocess", "threading", "pathlib", "shutil", "tempfile", "random", "logging"}
WALL_CLOCK = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("date", "today")}
# A line that hands the clock out to people's answers says why, to ruff as well.
EXCUSED = "# noqa: TID251 - "

SOURCES = sorted((PROJECT / "ocrwatch").rglob("*.py"))


def name(path: Path) -> str:
    """The path of a module below the package."""
    return path.relative_to(PROJECT / "ocrwatch").as_posix()


def imported(path: Path) -> Iterator[str]:
    """The top names of all modules that a module imports when it runs."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_module_is_short_enough_to_be_read(path: Path) -> None:
    """A module over 350 lines is two."""
    assert len(path.read_bytes().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", [path for path in SOURCES if path.stat().st_size], ids=name)
def test_module_says_what_it_owns(path: Path) -> None:
    """A newcomer learns from the first line what a module is for."""
    assert ast.get_docstring(ast.parse(path.read_bytes()))


@pytest.mark.parametrize("relative", PURE)
def test_pure_module_touches_no_world(relative: str) -> None:
    """What decides does not act: no clock, no disk, no network, no chance."""
    assert not set(imported(PROJECT / "ocrwatch" / relative)) & IMPURE


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_module_reads_no_wall_clock(path: Path) -> None:
    """Clocks on the wall jump; intervals are monotonic and time is an argument."""
    lines = path.read_text().splitlines()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and EXCUSED not in lines[node.lineno - 1]:
            assert (node.value.id, node.attr) not in WALL_CLOCK, f"line {node.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_module_imports_only_what_the_project_declares(path: Path) -> None:
    """A library that is there only because another one brought it goes with that one."""
    declared = (PROJECT / "pyproject.toml").read_text().lower().replace("-", "_")
    distribution = {
        "yaml": "pyyaml",
        "PIL": "pillow",
        "pynvml": "nvidia_ml_py",
        "systemd": "systemd_python",
        "aspose": "aspose_ocr_python_net",
    }
    for module in set(imported(path)) - {"ocrwatch", "_typeshed"} - set(sys.stdlib_module_names):
        assert f'"{distribution.get(module, module).lower()}' in declared, module
