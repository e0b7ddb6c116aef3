"""Looks at paths for whoever must not touch them: by a process that is killed when a share gives no answer.

Owns that process and remembers which mounts are dead, so that each is waited for once. What is looked at: `looking`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ocrwatch.errors import ShareOffline, WorkerDied, WorkerRefused, WorkerTimedOut
from ocrwatch.intake import mounts
from ocrwatch.intake.entries import Kind
from ocrwatch.worker.process import WorkerProcess, WorkerSpec
from ocrwatch.worker.rights import User

ANSWER_S = 10.0
_SPARE_S = 10.0  # for an operation that ends by itself after a time


@dataclass(frozen=True)
class Sight:
    """What stands at a path for one user, and what that user may do with it.

    at: how far the way was gone, relative to where it began. kind: None when nothing is to be seen there; `problem` says why,
    and `is_absent` whether that is because nothing is there.
    """

    at: str
    kind: Kind | None
    is_absent: bool = False
    problem: str = ""
    size_bytes: int = 0
    mode: int = 0
    owner: str = ""
    group: str = ""
    readable: bool = False
    writable: bool = False
    enterable: bool = False

    @property
    def is_open(self) -> bool:
        """A directory that may be listed and entered."""
        return self.kind is Kind.DIRECTORY and self.readable and self.enterable

    @property
    def belongs(self) -> str:
        """`root:root, mode 755`."""
        return f"{self.owner}:{self.group}, mode {self.mode:o}"


class Lookout:
    """Looks as one user. Every method raises ShareOffline when the mount of a path gives no answer.

    user: None for who one is. groups: beyond those of the user. answer_s: after which a mount is given up.
    Raises MissingPart when there is no such user.
    """

    def __init__(
        self,
        *,
        table: Sequence[mounts.Mount],
        user: str | None = None,
        groups: Sequence[str] = (),
        answer_s: float = ANSWER_S,
    ) -> None:
        options = {"user": user, "groups": list(groups)}
        self._spec = WorkerSpec(module="ocrwatch.worker.looking", options=options, grace_s=0.5)
        self._table = table
        self._answer_s = answer_s
        self._dead: set[int] = set()
        self._worker: WorkerProcess | None = WorkerProcess(self._spec)
        self.user = str(self._worker.hello["user"])

    def close(self) -> None:
        """End the process."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def look(self, path: str, *, below: str | None = None) -> Sight:
        """What stands at `path`, symlinks followed; or at `below` it, none followed, and what stands in the way there."""
        told = self._ask("look", path, below=below)
        return Sight(**{**told, "kind": None if told["kind"] is None else Kind(told["kind"])})

    def space(self, path: str) -> tuple[int, int | None]:
        """Free bytes, and how many files can still be made; None where the file system does not count them."""
        told = self._ask("space", path)
        return int(told["free_bytes"]), told["free_files"]

    def directories(self, path: str, *, within_s: float) -> tuple[int, bool]:
        """How many directories were counted in that time, and whether these are all."""
        told = self._ask("count", path, more_s=within_s, within_s=within_s)
        return int(told["directories"]), bool(told["is_all"])

    def refused(self, path: str) -> tuple[int, str]:
        """How many files that lie in a directory may not be read, and one of them."""
        told = self._ask("refused", path)
        return int(told["refused"]), str(told["first"])

    def skew(self, path: str) -> tuple[float, str]:
        """By how many seconds the clock is ahead that a new file in the directory has its time from; or why none can be made."""
        told = self._ask("skew", path)
        return float(told["skew_s"]), str(told["problem"])

    def reachable(self, path: str, user: User) -> bool:
        """Whether that user could `stat` the path."""
        return bool(self._ask("reachable", path, uid=user.uid, groups=list(user.groups))["reachable"])

    def described(self, path: str) -> Mapping[str, Any]:
        """What the description of a result says: `has_pdf` and `pdf_reason`; nothing where it is none of ours."""
        return self._ask("described", path)

    def reason(self, path: str) -> Mapping[str, Any]:
        """What lies beside a file of the quarantine to say why it is there, as `understood`; nothing where nothing does."""
        return self._ask("reason", path)

    def _ask(self, operation: str, path: str, *, more_s: float = 0.0, **arguments: object) -> Mapping[str, Any]:
        mount_id = mounts.mount_of(mounts.resolve(path, self._table), self._table).mount_id
        if mount_id in self._dead:
            raise _offline(path)
        if self._worker is None:
            self._worker = WorkerProcess(self._spec)
        deadline_s = self._answer_s + (more_s + _SPARE_S if more_s else 0.0)
        try:
            return self._worker.call({"op": operation, "path": path, **arguments}, deadline_s=deadline_s)
        except (WorkerDied, WorkerTimedOut) as error:
            self._worker.release()  # killed by the call
            self._worker = None
            self._dead.add(mount_id)
            raise _offline(path) from error
        except WorkerRefused as error:
            raise ShareOffline(f"{path} cannot be looked at: {error.message}", "check the mount and its server") from error


def _offline(path: str) -> ShareOffline:
    return ShareOffline(f"{path} does not answer", "check the mount and its server; `umount -f -l` takes a dead mount away")


@contextlib.contextmanager
def looking_out(**options: Any) -> Iterator[Lookout]:
    """A Lookout that ends with the block."""
    lookout = Lookout(**options)
    try:
        yield lookout
    finally:
        lookout.close()
