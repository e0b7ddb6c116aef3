"""After the model's process has ended: whether its GPU has the memory back, found out beside all work.

Owns the thread that waits for the answer, and the count of the verdicts. What a verdict means is `returned`'s matter; a new
process is loaded without waiting for it.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from queue import SimpleQueue

from ocrwatch.correction.returned import Proof, Returned, unreadable
from ocrwatch.errors import Infrastructure, OcrwatchError
from ocrwatch.log_events import LogEvent

log = logging.getLogger(__name__)


class Verifier:
    """Verifies one ended process after the other. Its thread starts with the first and stays, asleep.

    returned: what the driver says of the memory that a process held, by its pid; waits for it, some seconds at most.
    """

    def __init__(self, returned: Callable[[int], Proof | None]) -> None:
        self._returned = returned
        self._ended: SimpleQueue[int | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._last: Proof | None = None
        self._counts: Counter[Returned] = Counter()

    @property
    def last(self) -> Proof | None:
        """The verdict on the process that ended last; None while there is none yet."""
        return self._last

    def counts(self) -> Mapping[Returned, int]:
        """How often each verdict came since the start."""
        return {verdict: self._counts[verdict] for verdict in Returned}

    def add(self, pid: int) -> None:
        """A process with memory on a GPU has ended. Called by one thread; returns at once."""
        self._last = None
        self._ended.put(pid)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="gpu-memory", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Verify nothing more. An answer that is awaited is not waited for: its process goes with this one."""
        self._ended.put(None)

    def _run(self) -> None:
        while (pid := self._ended.get()) is not None:
            proof = self._proof(pid)
            if proof is not None:
                self._take(pid, proof)

    def _proof(self, pid: int) -> Proof | None:
        try:
            return self._returned(pid)
        except (OcrwatchError, OSError) as error:  # no process to ask with; that must not end this thread
            return unreadable(Infrastructure(f"the driver could not be asked: {error}"))

    def _take(self, pid: int, proof: Proof) -> None:
        self._counts[proof.verdict] += 1
        self._last = proof
        if proof.verdict is Returned.TIMEOUT:
            line = "the model's process %d has ended, but not all of its GPU memory is free: %s"
            log.warning(line, pid, proof.reason, extra={"event": LogEvent.GPU_MEMORY_NOT_FREED})
        else:
            log.info("GPU memory of the model's process %d: %s, %s", pid, proof.verdict, proof.reason)
