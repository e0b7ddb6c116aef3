"""A tree that is only written to, texts or archive: held to its mount, so that nothing lands below a bare mount point."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ocrwatch.intake.place import Place, Remembered
from ocrwatch.worker.share import Reach, Share


class OutputTree:
    """The tree at one absolute path. For any thread."""

    def __init__(self, path: str, *, share: Share, remembered: Remembered, clock: Callable[[], float]) -> None:
        self.path = path
        self._share = share
        self._place = Place(path, inbox="", finder=share, remembered=remembered, clock=clock)
        self._lock = threading.Lock()

    def reach(self) -> Reach:
        """How it is reached now. Raises ShareOffline while it is away, or another mount stands there."""
        with self._lock:
            self._place.pin()
            return Reach(self._share, self._place.root)

    def close(self) -> None:
        """Give back what the share holds."""
        self._share.close()
