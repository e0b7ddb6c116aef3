"""The control socket: one framed request, one framed reply. Owns the socket and who may ask; not what is answered.

The socket is 0660 and, where there is such a group, of group `ocrwatch`.
"""

from __future__ import annotations

import contextlib
import grp
import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocrwatch.errors import Infrastructure, OcrwatchError, UsageError, from_wire
from ocrwatch.worker import frames

log = logging.getLogger(__name__)

GROUP = "ocrwatch"
_PATIENCE_S = 5.0
_SO_PEERGROUPS = 59  # Linux 4.13; the socket module has no name for it
_CREDENTIALS, _GROUP = struct.Struct("iII"), struct.Struct("I")
_MOST_GROUPS = 256  # for which getsockopt has room


@dataclass(frozen=True)
class Caller:
    """Who asks, as the kernel says. groups: the first and all others."""

    pid: int
    uid: int
    groups: frozenset[int]


Answer = Callable[[Mapping[str, Any], Caller], dict[str, Any]]


class ControlServer:
    """Answers requests in a thread of its own, one after another; a slow caller is cut off."""

    def __init__(self, path: Path, answers: Mapping[str, Answer]) -> None:
        self._path = path
        self._answers = answers
        self._stopping = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.unlink(missing_ok=True)  # the state directory's lock is ours, so a socket there is a dead one
            self._socket.bind(str(path))
            path.chmod(0o660)
            with contextlib.suppress(KeyError, PermissionError):
                os.chown(path, -1, grp.getgrnam(GROUP).gr_gid)
            self._socket.listen(16)
        except OSError as error:
            self._socket.close()
            raise Infrastructure(
                f"cannot listen at {path}: {error.strerror or error}", "set `control_socket` to a writable place"
            ) from error
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop to listen and remove the socket."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                continue
            # No memory for a request is the next one's chance: this thread must outlive it.
            with connection, contextlib.suppress(OSError, frames.FrameError, MemoryError):
                request = _request(connection)
                if request is not None:
                    reply = self._reply(request, _caller(connection))
                    connection.settimeout(_PATIENCE_S)
                    connection.sendall(reply)

    def _reply(self, request: Mapping[str, Any], caller: Caller) -> bytes:
        answer = self._answers.get(str(request.get("op")))
        try:
            if answer is None:
                raise UsageError(f"the daemon knows no request {request.get('op')!r}")
            return frames.encode({"ok": answer(request, caller)})
        except OcrwatchError as error:
            return frames.encode({"error": error.to_wire()})
        except Exception as error:  # a request is a job of its own: the daemon must outlive any
            log.exception("request %s failed", request.get("op"))
            return frames.encode({"error": {"kind": "OcrwatchError", "message": f"{type(error).__name__}: {error}"}})


def _request(connection: socket.socket) -> dict[str, Any] | None:
    """What a caller asks; None when it goes, or takes its time."""
    reader, limit = frames.FrameReader(), time.monotonic() + _PATIENCE_S
    while (left_s := limit - time.monotonic()) > 0:
        connection.settimeout(left_s)
        data = connection.recv(1 << 16)
        if not data:
            return None
        if messages := reader.feed(data):
            return messages[0]
    return None


def _caller(connection: socket.socket) -> Caller:
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(told)
    try:
        # Of the moment when it called: what /proc says of a pid may be of another process by now.
        others = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_GROUPS * _GROUP.size)
    except OSError:  # more than that: then by the first alone
        others = b""
    return Caller(pid, uid, frozenset({gid, *(group for (group,) in _GROUP.iter_unpack(others))}))


class NoDaemon(Exception):
    """No daemon listens at the socket."""


def ask(path: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """The daemon's answer. Raises NoDaemon, or the OcrwatchError that it answered."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(6 * _PATIENCE_S)
        try:
            channel.connect(str(path))
        except PermissionError as error:
            raise OcrwatchError(
                f"you may not speak to the daemon at {path}", f"use sudo, or join the group: usermod -aG {GROUP} $USER"
            ) from error
        except OSError as error:
            raise NoDaemon(str(path)) from error
        try:
            channel.sendall(frames.encode(dict(request)))
            reply = frames.receive(channel)
        except (OSError, frames.FrameError) as error:
            raise OcrwatchError(f"the daemon at {path} broke off: {error}", "see its log: journalctl -u ocrwatch") from error
    if reply is None:
        raise OcrwatchError(f"the daemon at {path} gave no answer", "see its log: journalctl -u ocrwatch")
    if "error" in reply:
        raise from_wire(reply["error"])
    answer = reply.get("ok")
    return answer if isinstance(answer, dict) else {}
