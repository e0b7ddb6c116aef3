"""One daemon a state directory, one daemon an inbox: the second refuses."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

from ocrwatch.errors import StateUnwritable, UsageError
from ocrwatch.intake import mounts


@contextlib.contextmanager
def held_state_dir(state: Path) -> Iterator[None]:
    """The folder exists, is local, and no other daemon has it. Raises UsageError or StateUnwritable."""
    if mounts.may_hang(os.path.abspath(state), mounts.read_mounts()):
        raise UsageError(
            f"state_dir {state} lies on a network mount, where a journal is not safe",
            "set `state_dir` to a folder on a local disk",
        )
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (state / "lock").open("w", encoding="ascii")
    except OSError as error:
        raise StateUnwritable(f"cannot write to state_dir {state}: {error.strerror}", "create it for this user") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"another ocrwatch runs on state_dir {state}", "stop it first, or give this one a state_dir of its own"
            ) from error
        yield


@contextlib.contextmanager
def held_inboxes(paths: Iterable[Path]) -> Iterator[None]:
    """No other daemon watches one of these. Raises UsageError.

    An abstract socket a path: unlike a lock on the folder, it neither touches a mount nor keeps it mounted.
    """
    with contextlib.ExitStack() as held:
        for path in paths:
            claim = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            try:
                claim.bind(b"\0ocrwatch-inbox-" + hashlib.sha256(os.fsencode(path)).digest())
            except OSError as error:
                raise UsageError(f"another ocrwatch watches {path}", "stop it first; one inbox, one daemon") from error
        yield
