"""The control socket: one framed request, one framed reply. Owns the socket and who may ask; not what is answered.

The socket is 0660 and, where there is such a group, of group `ocrwatch`. It outlives the program when that starts anew with a
changed configuration: whoever asks meanwhile waits, and is answered.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import logging
import os
import select
import socket
import stat
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
_PATIENCE_S, _PAUSE_S = 5.0, 0.1
_QUESTION_S = 1.0
"""Callers are answered one after another, and one who says nothing keeps the others waiting."""

_MOST_QUESTION_BYTES = 1 << 20
"""Thousands of paths; as objects it is thirty times as much."""

_HANDED_OVER = "OCRWATCH_CONTROL_SOCKET"  # the descriptor of a socket that listens already
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
        self._wake, self._woken = os.pipe()[::-1]
        try:
            self._socket = _handed_over(path) or _listening(path)
        except OSError as error:
            self._close_pipe()
            raise Infrastructure(
                f"cannot listen at {path}: {error.strerror or error}", "set `control_socket` to a writable place"
            ) from error
        self._socket.setblocking(False)
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop to listen and remove the socket."""
        self._stop()
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def hand_over(self) -> None:
        """Stop to answer, and leave the socket to the next server of this process, which may run another program by then."""
        self._stop()
        self._socket.set_inheritable(True)
        os.environ[_HANDED_OVER] = str(self._socket.detach())

    def _stop(self) -> None:
        os.write(self._wake, b"x")
        self._thread.join()
        self._close_pipe()

    def _close_pipe(self) -> None:
        for descriptor in (self._wake, self._woken):
            os.close(descriptor)

    def _serve(self) -> None:
        while True:
            told, _, _ = select.select([self._socket.fileno(), self._woken], [], [])
            if self._woken in told:
                return
            try:
                connection, _ = self._socket.accept()
            except OSError:  # the caller went, or there is no descriptor to have: that passes
                select.select([self._woken], [], [], _PAUSE_S)
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


def _listening(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_dead(path)
        made.bind(str(path))
        path.chmod(0o660)
        with contextlib.suppress(KeyError, PermissionError):
            os.chown(path, -1, grp.getgrnam(GROUP).gr_gid)
        made.listen(16)
    except OSError:
        made.close()
        raise
    return made


def _remove_dead(path: Path) -> None:
    """Only a socket at which nobody listens goes: the place is configured, and may be a mistake."""
    with contextlib.suppress(FileNotFoundError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, "something that is no socket is there")
        with contextlib.suppress(ConnectionRefusedError):
            caller.connect(str(path))
            raise OSError(errno.EADDRINUSE, "another program listens there")
        path.unlink()


def _handed_over(path: Path) -> socket.socket | None:
    """What `hand_over` left; None where that was nothing, or another place."""
    descriptor = os.environ.pop(_HANDED_OVER, None)
    if descriptor is None:
        return None
    left = socket.socket(fileno=int(descriptor))
    left.set_inheritable(False)
    if left.getsockname() == str(path):
        return left
    Path(left.getsockname()).unlink(missing_ok=True)
    left.close()
    return None


def _request(connection: socket.socket) -> dict[str, Any] | None:
    """What a caller asks; None when it goes, or takes its time."""
    reader, limit = frames.FrameReader(_MOST_QUESTION_BYTES), time.monotonic() + _QUESTION_S
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
