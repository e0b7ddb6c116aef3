"""A worker that does what the test says: the faults of real engines, one an operation."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Mapping

from ocrwatch.errors import EncryptedFile, MissingPart
from ocrwatch.worker import child, frames

_PR_SET_PTRACER, _BY_ANYBODY = 0x59616D61, ctypes.c_ulong(-1)

Message = dict[str, object]


def _abort(_: Message) -> Message:
    os.abort()


def _exit(request: Message) -> Message:
    os._exit(int(str(request["status"])))


def _hang(_: Message) -> Message:
    """As deep native code does: no Python runs, TERM is ignored."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    while True:
        time.sleep(3600)


def _hold(_: Message) -> Message:
    """As native code does that was called without letting go of the interpreter: no other thread runs either."""
    child.progress(held=True)
    ctypes.PyDLL(None).sleep(3600)
    return {}


def _deaf(_: Message) -> Message:
    """Answer, and then hear neither the end of the channel nor TERM. Whoever likes may trace this process."""
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _BY_ANYBODY, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    os.write(int(sys.argv[1]), frames.encode({"ok": {"deaf": True}}))
    return _hang({})


def _noise(_: Message) -> Message:
    os.write(1, b"native noise that must not be a frame\n" * 10)
    print("so must this", flush=True)
    return {"said": True}


def _flood(request: Message) -> Message:
    line = b"x" * 1023 + b"\n"
    for _ in range(int(str(request["megabytes"])) * 1024):
        os.write(2, line)
    return {"flooded": True}


def _complain(request: Message) -> Message:
    """A line that does not end for a megabyte, then short ones, then death."""
    os.write(2, b"x" * 2**20 + b"\n")
    for number in range(int(str(request["lines"]))):
        os.write(2, b"complaint %d\n" % number)
    os._exit(3)


def _grow(_: Message) -> Message:
    held = []
    while True:
        held.append(bytearray(os.urandom(1024) * 4096))
        time.sleep(0.001)


def _steps(request: Message) -> Message:
    for number in range(int(str(request["count"]))):
        time.sleep(float(str(request["pause_s"])))
        child.progress(step=number)
    return {"steps": request["count"]}


def _garbage(_: Message) -> Message:
    channel = os.dup(int(sys.argv[1]))
    os.write(channel, b"\x00\x00\x00\x05hello")
    return {}


def _encrypted(_: Message) -> Message:
    raise EncryptedFile("it needs a password", "remove it")


def _bug(_: Message) -> Message:
    raise ValueError("nobody foresaw this")


def _content(request: Message) -> Message:
    descriptor = request.get("descriptor")
    if descriptor is None:
        return {"content": None, "open": len(os.listdir("/proc/self/fd"))}
    with os.fdopen(int(str(descriptor)), "rb") as file:
        return {"content": file.read().decode(), "open": len(os.listdir("/proc/self/fd"))}


def start(options: Message) -> tuple[Message, Mapping[str, child.Handler]]:
    """`fail_start`: raise instead; `hang_start`: never say hello; `start_steps`: make so many, of 0.25 s, before.

    `says_pid`: tell it before all that, and let whoever likes trace this process.
    """
    if options.get("says_pid"):
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _BY_ANYBODY, 0, 0, 0)
        child.progress(pid=os.getpid())
    if options.get("fail_start"):
        raise MissingPart("the engine is not installed", "apt install engine")
    if options.get("hang_start"):
        _hang({})
    if "start_steps" in options:
        _steps({"count": options["start_steps"], "pause_s": 0.25})
    handlers: dict[str, child.Handler] = {
        "echo": lambda request: {"echo": request["text"], "pid": os.getpid()},
        "abort": _abort,
        "exit": _exit,
        "hang": _hang,
        "hold": _hold,
        "deaf": _deaf,
        "noise": _noise,
        "flood": _flood,
        "complain": _complain,
        "grow": _grow,
        "steps": _steps,
        "garbage": _garbage,
        "content": _content,
        "encrypted": _encrypted,
        "bug": _bug,
    }
    return {"scripted": True, **{k: str(v) for k, v in options.items()}}, handlers


if __name__ == "__main__":
    child.serve(start)
