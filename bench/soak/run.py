"""Real scans, the real engine and a real model that is loaded and unloaded all the time: what of the parent grows?

`python -m bench.soak.run [--minutes 60] [--plot FILE.svg]` drops bursts of one to four drawn documents, with pauses in which the
model is idle for long enough to be unloaded, and looks at the daemon's process every two seconds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from bench.model.life import installed_model
from bench.model.table import NO_TARGET, Row, print_table, verdict
from bench.soak.plot import plot
from bench.soak.samples import Sample, sample
from bench.watch import documents
from ocrwatch.service.control import NoDaemon, ask

_IDLE_S = 3
_PAUSE_S = (_IDLE_S, 5 * _IDLE_S)
_BURST = (1, 4)
_BATCH = 20
_EVERY_S = 2.0
_PATIENCE_S = 180.0
_MOST_GROWTH_BYTES = 5_000_000


@dataclass(frozen=True)
class Outcome:
    """What came of the documents. model: what `status` says of it."""

    samples: Sequence[Sample]
    documents: int
    texts: int
    corrected: int
    model: dict[str, Any]


def main() -> int:
    """Run the benchmark; 1 when something grew or a text is missing."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak.run", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--plot", type=Path, help="where to draw what was seen, as SVG (wants matplotlib)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ocrwatch-bench-") as name:
        outcome = _soak(Path(name), minutes=options.minutes, seed=options.seed)
    rows, is_flat = _rows(outcome)
    print_table(rows)
    if options.plot is not None:
        plot(outcome.samples, options.plot)
    return int(not is_flat or outcome.texts < outcome.documents)


def _soak(folder: Path, *, minutes: float, seed: int) -> Outcome:
    inbox = folder / "inbox"
    inbox.mkdir()
    config, socket = folder / "config.yaml", folder / "state" / "control.sock"
    config.write_text(yaml.safe_dump(_settings(folder, inbox)), encoding="utf-8")
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "ocrwatch", "run", "--config", str(config)]
        daemon = subprocess.Popen(command, stdout=log, stderr=log)
    samples: list[Sample] = []
    dropped: list[str] = []
    try:
        _wait_for(socket)
        begun_s = time.monotonic()
        for document, pause_s in _arrivals(folder, seed=seed):
            shutil.copyfile(document, inbox / document.name)
            document.unlink()
            dropped.append(document.name)
            _look(daemon.pid, samples, begun_s=begun_s, until_s=time.monotonic() + pause_s)
            if time.monotonic() - begun_s > 60 * minutes:
                break
        _wait_for_texts(inbox, dropped, daemon.pid, samples, begun_s=begun_s)
        model = ask(socket, {"op": "status"})["model"]
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(timeout=60)
    told = [json.loads(path.read_bytes()) for path in inbox.glob("*.json")]
    return Outcome(samples, len(dropped), len(_texts(inbox)), sum(each["corrected"] for each in told), model)


def _settings(folder: Path, inbox: Path) -> dict[str, Any]:
    return {
        "state_dir": str(folder / "state"),
        "inboxes": [{"path": str(inbox), "settle": "500ms"}],
        "ocr": {"engine": "tesseract"},
        "model": {"path": str(installed_model()), "idle_unload": f"{_IDLE_S}s"},
    }


def _wait_for(socket: Path) -> None:
    limit_s = time.monotonic() + 60
    while time.monotonic() < limit_s:
        try:
            ask(socket, {"op": "status"})
        except NoDaemon:
            time.sleep(0.2)
        else:
            return
    raise SystemExit("the daemon does not start")


def _arrivals(folder: Path, *, seed: int) -> Iterator[tuple[Path, float]]:
    """Documents of which no two are alike, and how long nothing comes after each."""
    chance = random.Random(seed)
    left = 0
    for batch in itertools.count():
        drawing = folder / f"batch-{batch}"
        for document in documents.draw(drawing, count=_BATCH, seed=seed + batch):
            named = document.rename(drawing / f"{batch:04}-{document.name}")
            left = left - 1 if left > 0 else chance.randint(*_BURST) - 1
            yield named, 0.0 if left else chance.uniform(*_PAUSE_S)
        drawing.rmdir()


def _look(pid: int, samples: list[Sample], *, begun_s: float, until_s: float) -> None:
    while True:
        if not samples or time.monotonic() - begun_s - samples[-1].at_s >= _EVERY_S:
            samples.append(sample(pid, at_s=time.monotonic() - begun_s))
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            return
        time.sleep(min(left_s, _EVERY_S))


def _texts(inbox: Path) -> set[str]:
    return {path.name.removesuffix(".txt") for path in inbox.glob("*.txt")}


def _wait_for_texts(inbox: Path, names: Sequence[str], pid: int, samples: list[Sample], *, begun_s: float) -> None:
    limit_s = time.monotonic() + _PATIENCE_S
    while set(names) - _texts(inbox) and time.monotonic() < limit_s:
        _look(pid, samples, begun_s=begun_s, until_s=time.monotonic() + _EVERY_S)
    # Once more, with everything idle and the model gone.
    _look(pid, samples, begun_s=begun_s, until_s=time.monotonic() + 2 * _IDLE_S)


def _rows(outcome: Outcome) -> tuple[list[Row], bool]:
    """The table, and whether nothing grew. The first tenth is the start, with its first uses of everything."""
    tenth = max(1, len(outcome.samples) // 10)
    early, late = outcome.samples[tenth : 2 * tenth], outcome.samples[-tenth:]
    rows: list[Row] = [
        (
            "documents, and texts of them",
            f"{outcome.documents}, {outcome.texts}",
            "all",
            verdict(outcome.documents == outcome.texts),
        ),
        ("texts that were corrected", str(outcome.corrected), *NO_TARGET),
        ("loads of the model, and processes that died", f"{outcome.model['starts']}, {outcome.model['deaths']}", *NO_TARGET),
    ]
    is_flat = True
    for name in ("descriptors", "threads"):
        before, after = (max(getattr(each, name) for each in part) for part in (early, late))
        is_flat &= after <= before
        rows.append(
            (f"{name} of the parent at most: second and last tenth", f"{before}, {after}", "no more", verdict(after <= before))
        )
    before, after = (int(median(each.resident_bytes for each in part)) for part in (early, late))
    is_small = after - before <= _MOST_GROWTH_BYTES
    memory = f"{before / 1e6:.1f}, {after / 1e6:.1f} MB"
    rows.append(("memory of the parent, median: the same", memory, f"+{_MOST_GROWTH_BYTES / 1e6:.0f} MB", verdict(is_small)))
    most = max(each.children_bytes for each in outcome.samples)
    rows.append(("memory of its children at most", f"{most / 1e6:.0f} MB", *NO_TARGET))
    last = outcome.samples[-1]
    rows.append(
        ("children at the end, idle, and their memory", f"{last.children}, {last.children_bytes / 1e6:.0f} MB", *NO_TARGET)
    )
    return rows, is_flat and is_small


if __name__ == "__main__":
    sys.exit(main())
