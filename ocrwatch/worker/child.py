"""The worker's side: a process that answers framed requests until its parent's end closes.

Owns the start of every worker (descriptors, death signal, first frame) and the request loop. Knows no engine.

A worker module's main is

    def start(options): ...return hello, {"operation": handler}
    if __name__ == "__main__":
        serve(start)

`start` gets the options of the first frame, *before* any native library is imported, and returns the hello (a JSON object
for the parent) and the handlers by operation name. A handler takes the request and returns the reply, both JSON objects. Where
the parent sent an open file along, its number is the request's `descriptor`, and the handler's to close.
A worker that meets what others wrote enters `ocrwatch.worker.sandbox` first of all in its `start`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from ocrwatch.errors import Infrastructure, OcrwatchError
from ocrwatch.worker import frames

Message = dict[str, Any]
Handler = Callable[[Message], Message]
Start = Callable[[Message], tuple[Message, Mapping[str, Handler]]]

_PR_SET_PDEATHSIG = 1
# No file is to blame for these. Memory is not among them: a page that wants too much of it meets its worker's limit.
_OF_THE_MACHINE = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.EAGAIN}
)
_channel: socket.socket | None = None


def serve(start: Start) -> NoReturn:
    """Run this process as a worker; ends with it. The channel's descriptor and the parent's pid are the arguments."""
    descriptor, parent_pid = int(sys.argv[1]), int(sys.argv[2])
    _die_with_parent(parent_pid)
    # Native libraries print to descriptor 1; whatever is not a frame goes to the log.
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    global _channel
    with socket.socket(fileno=descriptor) as channel:
        _channel = channel
        _answer_until_closed(channel, start)
    # Native threads may be stuck in an engine; there is nothing left here worth waiting for.
    os._exit(0)


def progress(**details: object) -> None:
    """Tell the parent that the request under way is moving; it restarts the stall limit there."""
    if _channel is not None:
        _channel.sendall(frames.encode({"progress": details}))


def _answer_until_closed(channel: socket.socket, start: Start) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, frames.FrameError):
        options = frames.receive(channel)
        if options is None:
            return
        handlers: Mapping[str, Handler] = {}

        def begin(message: Message) -> Message:
            nonlocal handlers
            hello, handlers = start(message)
            return hello

        channel.sendall(frames.encode(_reply(begin, options)))
        while (received := frames.receive_with_descriptor(channel)) is not None:
            request, descriptor = received
            if descriptor is not None:
                request["descriptor"] = descriptor
            handler = handlers.get(str(request.get("op")))
            channel.sendall(frames.encode(_reply(handler or _unknown, request)))


def _reply(handler: Handler, request: Message) -> Message:
    try:
        return {"ok": handler(request)}
    except OcrwatchError as error:
        return {"error": error.to_wire()}
    except Exception as error:  # noqa: BLE001 - a request is a job of its own: the error is the answer
        if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
            return {"error": Infrastructure(f"a worker could not go on: {error}", "run `ocrwatch doctor`").to_wire()}
        return {"error": {"kind": "WorkerRefused", "message": f"{type(error).__name__}: {error}"}}


def _unknown(request: Message) -> Message:
    raise LookupError(f"this worker has no operation {request.get('op')!r}")


def _die_with_parent(parent_pid: int) -> None:
    # A worker deep in native code does not see its channel close; the kernel's signal reaches it there. It comes when the thread
    # ends that started this process, which is why `lifeline` has a thread stay for it.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(0)
