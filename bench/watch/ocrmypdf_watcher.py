"""Watches a folder in the way of OCRmyPDF's own watcher: watchfiles tells of new files, they are recognized one by one.

Runs in OCRmyPDF's environment: `python ocrmypdf_watcher.py INBOX OUTPUT OCRMYPDF`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import watchfiles


def main(inbox: str, output: str, ocrmypdf: str) -> None:
    """Until it is interrupted."""
    for changes in watchfiles.watch(inbox, watch_filter=lambda change, _: change is watchfiles.Change.added):
        for _, path in sorted(changes):
            text = Path(output) / f"{Path(path).name}.txt"
            command = [ocrmypdf, "--quiet", "--output-type", "none", "--sidecar", str(text), path, "-"]
            subprocess.run(command, check=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
