"""Processes that hold memory of a GPU while their parent looks: `python -m bench.model.gpu.holders NAME JSON`.

    fill   allocates `bytes` on the card and keeps them
    close  loads the model of `path` in process, evaluates, and closes it: the comparison to a process that ends

Each says a word a line for every stage, and goes on when a line comes in.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any


class HolderFailed(Exception):
    """A holder did not come to the stage that was waited for."""


class Holder:
    """The parent's side."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def reach(self, stage: str) -> int:
        """Let it go on until it says this; its pid. Raises HolderFailed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        said = self._process.stdout.readline().strip()
        if said != stage:
            raise HolderFailed(f"waited for {stage!r}, and it said {said or 'nothing'!r}")
        return self._process.pid


@contextlib.contextmanager
def holder(name: str, options: Mapping[str, Any], *, uuid: str) -> Iterator[Holder]:
    """One of the processes, on this card; gone afterwards."""
    command = [sys.executable, "-m", "bench.model.gpu.holders", name, json.dumps(options)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": uuid, "GGML_NO_BACKTRACE": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment, text=True) as process:
        try:
            yield Holder(process)
        finally:
            process.kill()


def _fill(options: Mapping[str, Any]) -> Iterator[str]:
    cuda = ctypes.CDLL("libcuda.so.1")
    device, context, address = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
    _ask(cuda.cuInit(0), "cuInit")
    _ask(cuda.cuDeviceGet(ctypes.byref(device), 0), "cuDeviceGet")
    _ask(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), "cuDevicePrimaryCtxRetain")
    _ask(cuda.cuCtxSetCurrent(context), "cuCtxSetCurrent")
    yield "ready"  # what a context takes is taken: the parent says how much more
    size = int(options["bytes"]) if "bytes" in options else _room(cuda) - int(options["leave_bytes"])
    _ask(cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(max(1, size))), f"cuMemAlloc of {size} bytes")
    yield "filled"


def _room(cuda: Any) -> int:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    _ask(cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)), "cuMemGetInfo")
    return free.value


def _ask(status: int, what: str) -> None:
    if status:
        raise HolderFailed(f"{what} failed with {status}")


def _close(options: Mapping[str, Any]) -> Iterator[str]:
    import llama_cpp

    yield "ready"
    llama = llama_cpp.Llama(options["path"], n_gpu_layers=-1, n_ctx=options["context_tokens"], verbose=False)
    llama.eval(llama.tokenize(b"A page of text, to be evaluated."))
    yield "loaded"
    llama.close()
    yield "closed"


def main() -> None:
    """Hold what the name says, stage by stage, until the input ends."""
    stages = {"fill": _fill, "close": _close}[sys.argv[1]](json.loads(sys.argv[2]))
    while sys.stdin.readline():
        print(next(stages, "nothing more"), flush=True)


if __name__ == "__main__":
    main()
