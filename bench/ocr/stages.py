"""`ocrwatch process` in a process of its own, with a stopwatch at each stage of the pipeline. Prints JSON.

Started by `bench.ocr.run`. A stage's seconds are those of all its jobs together, which run beside one another.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ocrwatch import composition, direct, modelling
from ocrwatch.correction.pages import PageCorrections
from ocrwatch.ocr.reader import Reader
from ocrwatch.worker.share import Share

_STAGES = (("copy", Share, "spool"), ("read", Reader, "read"), ("wait", PageCorrections, "finish"), ("publish", Share, "publish"))


class Stopwatch:
    """Sums the time that threads spend in some methods."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seconds: dict[str, float] = defaultdict(float)

    def watch(self, stage: str, owner: type, method: str) -> None:
        """Take the time of every call of a method from now on."""
        plain: Callable[..., Any] = getattr(owner, method)

        def timed(*arguments: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            try:
                return plain(*arguments, **options)
            finally:
                took_s = time.perf_counter() - begun
                with self._lock:
                    self.seconds[stage] += took_s

        setattr(owner, method, timed)


def main() -> int:
    """Process the files that the options name; 1 when one of them failed."""
    options = json.loads(sys.argv[1])
    stopwatch = Stopwatch()
    for stage, owner, method in _STAGES:
        stopwatch.watch(stage, owner, method)
    if "threads" in options:
        _share_cores(options["workers"], options["threads"])
    paths = [Path(file) for file in options["files"]]
    settings = direct.settings_for(
        paths, base=None, output=Path(options["output"]), mode=options["mode"], model=Path(options["model"])
    )
    begun = time.perf_counter()
    reported = direct.process(settings, paths, progress=None)
    figures = {
        "wall_s": time.perf_counter() - begun,
        "parent_cpu_s": time.process_time(),
        "workers": composition.cores(),
        "stages": stopwatch.seconds,
        **_page_seconds(Path(options["output"])),
    }
    print(json.dumps(figures))
    return int(any(report.failed for report in reported))


def _share_cores(workers: int, threads: int) -> None:
    """Another rule than the product's: this many recognition workers, and a model on this many threads."""
    plan = modelling.plan_of
    vars(composition)["cores"] = lambda: workers
    vars(modelling)["plan_of"] = lambda settings, **others: plan(settings, **(others | {"threads": threads}))


def _page_seconds(output: Path) -> dict[str, Any]:
    """What the sidecars say of their pages: the time in the engine and in the model."""
    pages = [page for path in output.glob("*.json") for page in json.loads(path.read_bytes())["pages"]]
    edits = sum(len(json.loads(path.read_bytes())["edits"]) for path in output.glob("*.json"))
    engine_s = sum(page["render_s"] + page["recognize_s"] for page in pages)
    return {"pages": len(pages), "engine_s": engine_s, "model_s": sum(page["correct_s"] for page in pages), "edits": edits}


if __name__ == "__main__":
    sys.exit(main())
