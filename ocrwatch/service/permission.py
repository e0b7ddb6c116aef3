"""Of which files a caller may be told: of those that it could `stat` itself.

Owns that decision. Paths of mounts that may hang are walked by a process that is killed when the mount gives no answer.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ocrwatch.errors import OcrwatchError, UsageError
from ocrwatch.intake.mounts import MountTable
from ocrwatch.service.control import Caller
from ocrwatch.worker.lookout import Lookout
from ocrwatch.worker.rights import User, may_stat

_ANSWER_S = 5.0


@dataclass(frozen=True)
class Permission:
    """Who may know of what."""

    mounts: MountTable

    def require(self, path: str, caller: Caller) -> None:
        """Raise UsageError unless the caller could `stat` an absolute path, and ShareOffline when its mount does not say."""
        with self._judge(caller) as may_know:
            if not may_know(path):
                raise UsageError(
                    f"you cannot see {path}: a folder on the way does not let you in, or is not there", "ask as a user who can"
                )

    def visible(self, paths: Sequence[str], caller: Caller) -> set[str]:
        """Those of the absolute paths that the caller could `stat`; none of a mount that gives no answer."""
        folders: dict[str, bool] = {}
        with self._judge(caller) as may_know:
            for path in paths:
                folder = os.path.dirname(path)
                if folder not in folders:
                    try:
                        folders[folder] = may_know(path)
                    except OcrwatchError:
                        folders[folder] = False
        return {path for path in paths if folders[os.path.dirname(path)]}

    @contextlib.contextmanager
    def _judge(self, caller: Caller) -> Iterator[Callable[[str], bool]]:
        user = User(caller.uid, caller.groups)
        with contextlib.ExitStack() as held:
            lookouts: list[Lookout] = []

            def may_know(path: str) -> bool:
                if caller.uid in (0, os.geteuid()):
                    return True
                if not self.mounts.may_hang(os.path.dirname(path)):
                    return may_stat(path, user)
                if not lookouts:
                    lookouts.append(Lookout(table=self.mounts.current(), answer_s=_ANSWER_S))
                    held.callback(lookouts[0].close)
                return lookouts[0].reachable(path, user)

            yield may_know
