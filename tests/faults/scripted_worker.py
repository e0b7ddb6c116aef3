"""A worker that does what the test says: the faults of real engines, one an operation."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping

from ocrwatch.errors import EncryptedFile, MissingPart
from ocrwatch.worker import child

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


def _noise(_: Message) -> Message:
    os.write(1, b"native noise that must not be a frame\n" * 10)
    print("so must this", flush=True)
    return {"said": True}


def _flood(request: Message) -> Message:
    line = b"x" * 1023 + b"\n"
    for _ in range(int(str(request["megabytes"])) * 1024):
        os.write(2, line)
    return {"flooded": True}


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
    """`fail_start`: raise instead; `hang_start`: never say hello."""
    if options.get("fail_start"):
        raise MissingPart("the engine is not installed", "apt install engine")
    if options.get("hang_start"):
        _hang({})
    handlers: dict[str, child.Handler] = {
        "echo": lambda request: {"echo": request["text"], "pid": os.getpid()},
        "abort": _abort,
        "exit": _exit,
        "hang": _hang,
        "noise": _noise,
        "flood": _flood,
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
