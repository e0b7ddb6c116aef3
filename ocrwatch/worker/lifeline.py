"""The thread that a child process hangs on: it starts the child, hears its complaints, and stays until the child is reaped.

The kernel's signal at the parent's death (see `child`) comes when the *thread* ends that started the child. A thread that lives
exactly as long as the child makes it the parent's death: whoever wanted the child may end, and a killed parent takes the child
along whatever that is doing. A signal bound to a pipe would do so too, but a hostile child could call it off; this one it cannot
(`seccomp`). Owns no signal and no deadline: ending a child is `process`'s matter.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import threading
from collections import deque
from collections.abc import Callable

from ocrwatch.worker.threads import Thread

_TAIL_LINES = 40
_LINE_BYTES = 4096


class Lifeline:
    """A started child and its thread.

    start: starts it, with its standard error on a pipe. Raises what `start` raises (OSError or ValueError), and OSError when
    this machine has not another thread to give.
    """

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._started = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._problem: OSError | ValueError | None = None
        self._thread = Thread(lambda: self._live(start), "lifeline")
        self._thread.start()
        self._started.wait()
        if self._problem is not None:
            raise self._problem

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The child."""
        assert self._process is not None
        return self._process

    def last_words(self) -> tuple[str, ...]:
        """The last lines that it wrote to standard error, oldest first; a longer line comes in pieces."""
        return tuple(self._tail)

    def join(self, timeout_s: float) -> None:
        """Wait until all that it wrote is read and it is reaped."""
        self._thread.join(timeout_s)

    def _live(self, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        try:
            self._process = start()
        except (OSError, ValueError) as error:
            self._problem = error
            return
        except MemoryError:
            self._problem = OSError(errno.ENOMEM, "no memory for another process")
            return
        finally:
            self._started.set()
        self._listen(self._process)
        _reap(self._process)

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        with process.stderr as stream:
            while line := stream.readline(_LINE_BYTES):
                self._tail.append(line.decode("utf-8", "replace").rstrip())


def _reap(process: subprocess.Popen[bytes]) -> None:
    """However long it takes: a process may close its standard error and go on, or wait in the kernel though it was killed."""
    if process.poll() is None:
        with contextlib.suppress(ChildProcessError):  # another thread has reaped it
            # It stays to be reaped: waiting in `Popen` would keep the other threads from asking how it is.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    process.poll()
