"""The programs that ocrwatch is compared with: where they are, what they lack, how they are called."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "ocrmypdf"


@dataclass(frozen=True)
class Lacking:
    """Why a program cannot be had, and how it can."""

    why: str


def tesseract() -> str | Lacking:
    """The command, of the system's packages."""
    return shutil.which("tesseract") or Lacking("no command `tesseract`: apt install tesseract-ocr tesseract-ocr-eng")


def ocrmypdf(*, install: bool) -> str | Lacking:
    """The command, in an environment of its own in the project's cache folder; where it is not there it is made, if allowed."""
    if isinstance(found := tesseract(), Lacking):
        return found
    command = CACHE / "bin" / "ocrmypdf"
    if not command.is_file() and not install:
        return Lacking("run the benchmark without --no-install")
    if not command.is_file():
        make = [sys.executable, "-m", "venv", "--clear", str(CACHE)]
        fill = [f"{CACHE}/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "ocrmypdf"]
        for step in (make, fill):
            done = subprocess.run(step, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                shutil.rmtree(CACHE, ignore_errors=True)
                return Lacking(f"pip install ocrmypdf: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    tried = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    return str(command) if tried.returncode == 0 else Lacking(f"ocrmypdf does not start; remove {CACHE} and run this again")


def version(command: str) -> str:
    """What a program calls itself."""
    done = subprocess.run([command, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    return done.stdout.split("\n")[0].split()[-1]


@dataclass(frozen=True)
class Batch:
    """Files of one kind in one folder. names: a file with their names, without the suffix, one a line."""

    folder: Path
    names: Path
    suffix: str

    def files(self) -> list[str]:
        """The paths, in order."""
        return [f"{self.folder}/{name}{self.suffix}" for name in self.names.read_text(encoding="utf-8").split()]


def by_xargs(command: str, batch: Batch, output: Path) -> list[str]:
    """Bare Tesseract over the files, as many at once as there are cores, each on one thread."""
    cores = len(os.sched_getaffinity(0))
    turns = ["env", "OMP_THREAD_LIMIT=1", "xargs", "-a", str(batch.names), f"-P{cores}", "-I{}"]
    return [*turns, command, f"{batch.folder}/{{}}{batch.suffix}", f"{output}/{{}}"]


def one_after_another(command: str, batch: Batch, output: Path) -> list[str]:
    """OCRmyPDF for the text alone, file by file as its own watcher works; on one thread, which is faster on few cores."""
    text_only = ["--quiet", "--sidecar", f"{output}/{{}}.txt", "--output-type", "none"]
    return [
        "env",
        "OMP_THREAD_LIMIT=1",
        "xargs",
        "-a",
        str(batch.names),
        "-I{}",
        command,
        *text_only,
        f"{batch.folder}/{{}}{batch.suffix}",
        "-",
    ]


def ocrwatch(files: Sequence[str], output: Path, *more: str) -> list[str]:
    """The command line of the project itself."""
    return [sys.executable, "-m", "ocrwatch", "process", *more, "--output", str(output), *files]
