"""The scripted model on a fake card: its layers take memory there, and it ends as llama.cpp does where there is none.

Options, further to those of `scripted_model`:

    card=FOLDER        of the card; absent or null: none is seen, and all layers stay on the CPU
    needs=[B, ...]     bytes on the card for 0, 1, 2, ... layers; no number of layers means all
    page=B             further bytes that the first page takes
    corrects_when=MARK no page is answered before it exists
    aborts_while=MARK  every load ends in an abort as long as it exists
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ocrwatch.errors import DeviceFull
from ocrwatch.worker import child
from tests.faults import scripted_model
from tests.faults.fake_card import FakeCard

Message = dict[str, Any]


def start(options: Message) -> tuple[Message, Mapping[str, child.Handler]]:
    """Loads as the options say."""
    card = FakeCard(Path(options["card"])) if options.get("card") else None
    layers = len(options["needs"]) - 1 if options["layers"] is None else int(options["layers"])
    if card is None:
        layers = 0
    loaded, handlers = scripted_model.start({**options, "layers": layers})
    if "aborts_while" in options and Path(options["aborts_while"]).exists():
        print("GGML_ASSERT(false) failed", file=sys.stderr, flush=True)
        os.abort()
    if card is not None and layers and not card.take(options["needs"][layers]):
        raise DeviceFull("cudaMalloc failed: out of memory")
    wanted = [int(options["page"])] if card is not None and layers and "page" in options else []

    def correct(request: Message) -> Message:
        pause = threading.Event()
        while "corrects_when" in options and not Path(options["corrects_when"]).exists():
            pause.wait(0.005)
        if wanted and card is not None and not card.take(wanted.pop()):
            print("ggml_cuda.cu:88: CUDA error: out of memory", file=sys.stderr, flush=True)
            os.abort()
        return handlers["correct"](request)

    return loaded, {**handlers, "correct": correct}


if __name__ == "__main__":
    child.serve(start)
