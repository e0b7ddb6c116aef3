"""The measure of a reload: a fresh process, `llama_cpp.Llama(...)`, one evaluation. Started by `bench.model.reload`."""

from __future__ import annotations

import json
import sys

import llama_cpp


def main() -> None:
    """Evaluate the tokens that the options ask for, in batches of the given sizes, and say so."""
    options = json.loads(sys.argv[1])
    llama = llama_cpp.Llama(
        options["model"],
        n_ctx=options["context_tokens"],
        n_batch=1024,
        n_threads=options["threads"],
        n_threads_batch=options["threads"],
        verbose=False,
    )
    tokens = llama.tokenize((options["text"] * 50).encode())
    for count in options["batches"]:
        llama.eval(tokens[:count])
    print("done", flush=True)


if __name__ == "__main__":
    main()
