"""A tree that is only written to, texts or archive: held to its mount, so that nothing lands below a bare mount point."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError

from ocrwatch.errors import OcrwatchError, ShareOffline
from ocrwatch.intake.place import Place, Remembered
from ocrwatch.worker.share import Reach, Share

_RETRY_S = 5.0


class OutputTree:
    """The tree at one absolute path. For any thread."""

    def __init__(self, path: str, *, share: Share, remembered: Remembered, clock: Callable[[], float]) -> None:
        self.path = path
        self._share = share
        self._place = Place(path, inbox="", finder=share, remembered=remembered, clock=clock)
        self._lock = threading.Lock()
        self._clock = clock
        self._away: ShareOffline | None = None
        self._retry_s = 0.0

    def find(self) -> None:
        """Remember its mount from the start on, before anything is written; whether it is there or not."""
        with contextlib.suppress(OcrwatchError, CancelledError):
            self.reach()

    def reach(self) -> Reach:
        """How it is reached now. Raises ShareOffline while it is away, or another mount stands there."""
        with self._lock:
            if self._away is not None and self._clock() < self._retry_s:
                raise ShareOffline(self._away.message, self._away.remedy)  # whoever asks next need not wait a minute as well
            try:
                self._place.pin()
            except ShareOffline as error:
                self._away, self._retry_s = error, self._clock() + _RETRY_S
                raise
            self._away = None
            return Reach(self._share, self._place.root)

    def close(self) -> None:
        """Give back what the share holds."""
        self._share.close()
