"""How many tokens the model runs for a page, batch by batch, so that another can be given the same. Prints JSON.

A process of its own: the model is loaded in it, the worker's own way.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from ocrwatch.correction import worker


def main() -> None:
    """Correct the page of the options as the worker does."""
    options = json.loads(sys.argv[1])
    _, handlers = worker.start(options["load"])
    from ocrwatch.correction.llama import Llama

    batches: list[int] = []
    decode = Llama.decode

    def counting(llama: Llama, entries: Sequence[tuple[int, int, int, bool]]) -> Any:
        batches.append(len(entries))
        return decode(llama, entries)

    vars_of: Any = Llama
    vars_of.decode = counting
    handlers["correct"](options["request"])
    print(json.dumps(batches))


if __name__ == "__main__":
    main()
