"""Who watches the folder: ocrwatch, and what an administrator would take in its place."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.ocr import peers
from bench.ocr.peers import Lacking

_LOOP = """
while name=$(inotifywait --quiet --event close_write --event moved_to --format %f "$1"); do
  tesseract "$1/$name" "$2/$name" > /dev/null 2>&1
done
"""


NAMES = (OURS := "ocrwatch", "OCRmyPDF's way", "inotifywait loop")


@dataclass(frozen=True)
class Contestant:
    """command: runs until it is interrupted. ready: a word that it says when it watches; None where it says nothing."""

    command: list[str]
    ready: str | None = None


def all_of_them(inbox: Path, output: Path, scratch: Path, *, install: bool) -> Mapping[str, Contestant | Lacking]:
    """By name; each writes NAME.txt for each NAME of `inbox` into `output`."""
    found = (_ocrwatch(inbox, output, scratch), _ocrmypdf(inbox, output, install=install), _loop(inbox, output))
    return dict(zip(NAMES, found, strict=True))


def _ocrwatch(inbox: Path, output: Path, scratch: Path) -> Contestant:
    settings = {
        "state_dir": str(scratch / "state"),
        "inboxes": [{"path": str(inbox), "settle": "1s", "output": {"directory": str(output)}}],
        "correction": {"mode": "off"},
    }
    config = scratch / "config.yaml"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return Contestant([sys.executable, "-m", "ocrwatch", "run", "--config", str(config)], ready="watching")


def _ocrmypdf(inbox: Path, output: Path, *, install: bool) -> Contestant | Lacking:
    command = peers.ocrmypdf(install=install)
    if isinstance(command, Lacking):
        return command
    python = Path(command).with_name("python")
    if subprocess.run([python, "-c", "import watchfiles"], capture_output=True, check=False).returncode:
        if not install:
            return Lacking("run the benchmark without --no-install")
        get = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "watchfiles"]
        if subprocess.run(get, check=False).returncode:
            return Lacking("pip install watchfiles failed")
    script = Path(__file__).with_name("ocrmypdf_watcher.py")
    return Contestant([str(python), str(script), str(inbox), str(output), command])


def _loop(inbox: Path, output: Path) -> Contestant | Lacking:
    for program, package in (("inotifywait", "inotify-tools"), ("tesseract", "tesseract-ocr")):
        if shutil.which(program) is None:
            return Lacking(f"no command `{program}`: apt install {package}")
    return Contestant(["bash", "-c", _LOOP, "loop", str(inbox), str(output)])
