"""Where to look now, as hints say: single paths, or folders when they are too many. Owns how often folders
are listed for them.
"""

from __future__ import annotations

import threading

_MOST_PATHS = 500  # more than this, and their folders are listed instead
_REST_SHARE = 9.0  # listings by hints rest nine times as long as they took: a tenth of the time at most


def rest_after(took_s: float) -> float:
    """Seconds to rest after a listing that took so long, so that listings take a tenth of the time at most."""
    return _REST_SHARE * took_s


class Hints:
    """The hints of one territory. `add` may come from any thread, the rest from the one that looks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paths: set[str] = set()
        self._folders: set[str] = set()
        self._rest_until_s = 0.0

    def add(self, path: str, *, is_directory: bool) -> None:
        """Something may have changed at `path`; costs nothing."""
        with self._lock:
            if is_directory:
                self._folders.add(path)
            elif len(self._paths) >= _MOST_PATHS:
                self._folders.add(path.rpartition("/")[0])
            else:
                self._paths.add(path)

    def forget(self) -> None:
        """Everything is looked at anyway."""
        with self._lock:
            self._paths.clear()
            self._folders.clear()

    def take(self, now_s: float) -> tuple[set[str], set[str]]:
        """The paths to look at and the folders to list now."""
        with self._lock:
            paths, self._paths = self._paths, set()
            folders: set[str] = set()
            if now_s >= self._rest_until_s:
                folders, self._folders = self._folders, folders
            return paths, folders

    def listed(self, *, began_s: float, now_s: float) -> None:
        """Folders were listed since `began_s`."""
        self._rest_until_s = now_s + rest_after(now_s - began_s)

    def due_s(self, now_s: float) -> float | None:
        """When there is something to take; None when there is nothing."""
        with self._lock:
            if self._paths:
                return now_s
            return self._rest_until_s if self._folders else None
