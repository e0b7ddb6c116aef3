"""A hundred, a thousand, ten thousand documents: do the time of a page and the memory of the daemon stay as they are?

`python -m bench.watch.growth [--counts 100 1000 10000]` has that many notes of one line waiting for a daemon of its own each, and
the real engine.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from PIL import Image, ImageDraw, ImageFont

from bench.soak.samples import sample
from ocrwatch.service.control import NoDaemon, ask

_SIZE = (700, 90)
_LOOK_S = 0.5
_STALL_S = 120.0


def main() -> int:
    """Run the benchmark; 1 when a text is missing."""
    parser = argparse.ArgumentParser(prog="python -m bench.watch.growth", description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 1000, 10_000])
    options = parser.parse_args()
    print(
        f"{'documents':>10}{'ms a page':>12}{'texts':>8}{'parent: memory':>18}{'descriptors':>14}{'threads':>10}{'journal':>14}"
    )
    missing = 0
    for count in options.counts:
        with tempfile.TemporaryDirectory(prefix="ocrwatch-bench-") as folder:
            missing += count - _measure(Path(folder), count)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"{len(os.sched_getaffinity(0))} processors, load {load}")
    return int(missing > 0)


def _measure(folder: Path, count: int) -> int:
    inbox, state = folder / "inbox", folder / "state"
    inbox.mkdir()
    _draw(inbox, count)
    settings = {
        "state_dir": str(state),
        "inboxes": [{"path": str(inbox), "settle": "500ms"}],
        "ocr": {"engine": "tesseract"},
        "correction": {"mode": "off"},
    }
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen([sys.executable, "-m", "ocrwatch", "run", "--config", str(config)], stdout=log, stderr=log)
    try:
        begun_s = time.monotonic()
        texts, ended_s = _wait(inbox, state / "control.sock", count)
        held = sample(daemon.pid, at_s=0.0)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(timeout=60)
    journal = (state / "journal.db").stat().st_size
    print(
        f"{count:>10}{1000 * (ended_s - begun_s) / max(texts, 1):>12.1f}{texts:>8}{held.resident_bytes / 1e6:>15.1f} MB"
        f"{held.descriptors:>14}{held.threads:>10}{journal / count:>8.0f} bytes",
        flush=True,
    )
    return texts


def _draw(inbox: Path, count: int) -> None:
    font = ImageFont.load_default(size=36)
    for number in range(count):
        image = Image.new("L", _SIZE, 255)
        ImageDraw.Draw(image).text((20, 20), f"Letter number {number} of the day", fill=0, font=font)
        image.save(inbox / f"{number:06}.png", dpi=(300, 300))


def _wait(inbox: Path, socket: Path, count: int) -> tuple[int, float]:
    """How many texts there are, and since when no more came."""
    done, last_s = 0, time.monotonic()
    while done < count and time.monotonic() - last_s < _STALL_S:
        time.sleep(_LOOK_S)
        try:
            counts = ask(socket, {"op": "status"})["inboxes"][0]["counts"]
        except NoDaemon:
            continue
        if counts.get("done", 0) > done:
            done, last_s = counts["done"], time.monotonic()
    return len(list(inbox.glob("*.txt"))), last_s


if __name__ == "__main__":
    sys.exit(main())
