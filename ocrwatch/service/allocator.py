"""How the C library parts its memory among threads."""

from __future__ import annotations

import contextlib
import ctypes

_M_ARENA_MAX = -8  # mallopt(3)
_ARENAS = 2


def few_arenas() -> None:
    """Let all threads share two arenas of glibc, from now on; before threads are started.

    Each thread has one of its own otherwise, up to eight a core, and what jobs leave in one is not for the next: in four minutes
    of mixed work the service grew from 71 to 90 MB, with this from 64 to 64 (`bench.soak`). Python's threads take turns anyway.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library knows nothing of it, and parts nothing
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
