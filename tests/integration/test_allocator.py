"""The C library's memory of a process with many threads."""

from __future__ import annotations

import subprocess
import sys

import pytest

_THREADS = 12
_CODE = f"""
import ctypes, sys, threading
libc = ctypes.CDLL(None)
if sys.argv[1] == "few":
    from ocrwatch.service.allocator import few_arenas
    few_arenas()
libc.malloc.restype = libc.fdopen.restype = ctypes.c_void_p
together = threading.Barrier({_THREADS})
def work():
    together.wait()
    for _ in range(100):
        libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=work) for _ in range({_THREADS})]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
stream = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, stream)
libc.fflush(stream)
"""


@pytest.mark.parametrize(("wish", "fits"), [("few", True), ("many", False)])
def test_threads_share_their_memory(wish: str, fits: bool) -> None:
    """Two parts for all, where there would be one for each, which nobody else takes from."""
    done = subprocess.run([sys.executable, "-c", _CODE, wish], capture_output=True, text=True, check=True, timeout=60)
    if "<malloc" not in done.stdout:
        pytest.skip("the C library is not glibc")
    assert (done.stdout.count("<heap nr=") <= 2) is fits, done.stdout
