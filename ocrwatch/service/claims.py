"""One daemon a state directory, one daemon an inbox: the second refuses."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from ocrwatch.errors import StateUnwritable, UsageError
from ocrwatch.intake import mounts

log = logging.getLogger(__name__)

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_ANSWER_S = 1.0


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

    An abstract socket a path: unlike a lock on the folder, it neither touches a mount nor keeps it mounted. Anybody may take such
    a name, so it counts only where root or this very user has it; root itself believes everybody.
    """
    with contextlib.ExitStack() as held:
        for path in paths:
            claim = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            name = b"\0ocrwatch-inbox-" + hashlib.sha256(os.fsencode(path)).digest()
            try:
                claim.bind(name)
                claim.listen(socket.SOMAXCONN)  # nobody is answered: the kernel tells who listens
            except OSError as error:
                holder = _holder(name)
                if os.geteuid() == 0 or holder in (0, os.geteuid()):
                    raise UsageError(f"another ocrwatch watches {path}", "stop it first; one inbox, one daemon") from error
                log.warning("%s is claimed by the user %s, who may be no daemon; it is watched all the same", path, holder)
        yield


def _holder(name: bytes) -> int | None:
    """The user who listens at a socket; None where nobody does, though it is taken."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(_ANSWER_S)
        try:
            asking.connect(name)
        except OSError:
            return None
        return int(_CREDENTIALS.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[1])
