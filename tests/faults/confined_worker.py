"""A worker that tries to get out: it enters the sandbox as a real one does, then does what hostile code would.

Options: documents, scratch (paths), user (a uid to become first), landlock (the version to take the kernel's for, 0 for none),
no_seccomp, gpu (the pattern of its devices), no_code (memory is never writable and executable, as systemd's
MemoryDenyWriteExecute has it). Each operation answers {"outcome": "done"} or the name of the error that it met.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from ocrwatch.worker import child, landlock, sandbox, seccomp
from ocrwatch.worker.child import Message

_BLOCK_BYTES = 1 << 30
_PR_SET_MDWE = 65  # Linux 6.3
_LIBC = ctypes.CDLL(None, use_errno=True)


def _tried(attempt: Callable[[Message], object]) -> child.Handler:
    def operation(request: Message) -> Message:
        try:
            found = attempt(request)
        except MemoryError:
            return {"outcome": "MemoryError"}
        except OSError as error:
            return {"outcome": errno.errorcode.get(error.errno or 0, str(error))}
        return {"outcome": "done", "found": found if isinstance(found, int | str | list) else None}

    return operation


def _call(number: int, *arguments: Any) -> int:
    result = _LIBC.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), "syscall")
    return int(result)


def _open_socket(request: Message) -> None:
    socket.socket(getattr(socket, request["family"]), getattr(socket, request["type"])).close()


def _connect(request: Message) -> None:
    """Over the one socket that a worker has: its channel."""
    with socket.socket(fileno=os.dup(int(sys.argv[1]))) as channel:
        channel.connect(request["path"])


def _write(request: Message) -> None:
    with open(request["path"], "ab") as file:
        file.write(b"x" * int(request.get("bytes", 1)))
        file.flush()


def _fork(request: Message) -> None:
    """Every one must be refused; one that is not goes on for a moment and is reaped."""
    for _ in range(int(request["times"])):
        with contextlib.suppress(PermissionError):
            if (pid := os.fork()) == 0:  # noqa: TID251 - whether it is refused is the question
                os._exit(0)
            os.waitpid(pid, 0)
            return
    raise PermissionError(errno.EPERM, "all were refused")


def _spawn(_: Message) -> None:
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


def _threads(request: Message) -> int:
    done: list[int] = []
    threads = [threading.Thread(target=done.append, args=(n,)) for n in range(int(request["times"]))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(done)


def _name_thread(_: Message) -> str:
    """As CUDA does, and gives up where it may not."""
    outcome: list[str] = []

    def name() -> None:
        try:
            Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_bytes(b"cuda")
            outcome.append("done")
        except OSError as error:
            outcome.append(errno.errorcode[error.errno or 0])

    thread = threading.Thread(target=name)
    thread.start()
    thread.join()
    return outcome[0]


def _in_thread(request: Message) -> str:
    """What a thread that is started afterwards may do: no more."""
    outcome: list[str] = []

    def read() -> None:
        try:
            Path(request["path"]).read_bytes()
            outcome.append("done")
        except OSError as error:
            outcome.append(errno.errorcode[error.errno or 0])

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    return outcome[0]


def _reserve(request: Message) -> None:
    """Memory that is only reserved, a gigabyte at a time, so that the kernel's own heuristics let each block pass."""
    held = [mmap.mmap(-1, _BLOCK_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for _ in range(int(request["gigabytes"]))]
    for block in held:
        block.close()


def _fill(request: Message) -> None:
    """Memory that is used: the parent ends this."""
    block = mmap.mmap(-1, int(request["bytes"]), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for offset in range(0, len(block), mmap.PAGESIZE):
        block[offset] = 1
    threading.Event().wait()


def _survive_parent(_: Message) -> None:
    if _LIBC.prctl(1, 0, 0, 0, 0) != 0:  # PR_SET_PDEATHSIG
        raise OSError(ctypes.get_errno(), "prctl")


def _hang(_: Message) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    threading.Event().wait()


_ATTEMPTS: dict[str, Callable[[Message], object]] = {
    "socket": _open_socket,
    "socketpair": lambda _: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].close(),
    "connect": _connect,
    "read": lambda request: Path(request["path"]).read_bytes() and None,
    "list": lambda request: os.listdir(request["path"]),
    "write": _write,
    "mkdir": lambda request: os.mkdir(request["path"]),
    "remove": lambda request: os.unlink(request["path"]),
    "rename": lambda request: os.rename(request["path"], request["to"]),
    "link": lambda request: os.link(request["path"], request["to"]),
    "symlink": lambda request: os.symlink(request["path"], request["to"]),
    "truncate": lambda request: os.truncate(request["path"], 0),
    "chmod": lambda request: os.chmod(request["path"], 0o777),
    "touch": lambda request: os.utime(request["path"], (0, 0)),
    "make_fifo": lambda request: os.mkfifo(request["path"]),
    "fork": _fork,
    "spawn": _spawn,
    "execute": lambda _: os.execv("/bin/true", ["true"]),
    "threads": _threads,
    "in_thread": _in_thread,
    "name_thread": _name_thread,
    "reserve": _reserve,
    "fill": _fill,
    # Signals that harm nobody, should they get through: whether a process may send one does not depend on which it is.
    "signal": lambda request: os.kill(int(request["pid"]), signal.SIGCONT if int(request["pid"]) > 0 else 0),
    "survive_parent": _survive_parent,
    "limits": lambda request: list(resource.prlimit(int(request["pid"]), resource.RLIMIT_NOFILE)),
    "memfd": lambda _: os.close(os.memfd_create("hidden")),
    "call": lambda request: _call(int(request["number"]), *map(ctypes.c_long, request["arguments"])),
    "callback": lambda _: ctypes.CFUNCTYPE(None)(lambda: None)(),
    "code": lambda _: mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close(),
    "hang": _hang,
}


def _lacking(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def _age(options: Message) -> None:
    """Make the kernel an older one."""
    if (version := options.get("landlock")) is not None:
        landlock.version = (lambda: version) if version else _lacking
    if options.get("no_seccomp"):
        seccomp.install = _lacking


def start(options: Message) -> tuple[Message, Mapping[str, child.Handler]]:
    """Become the user, enter, and say what holds."""
    _age(options)
    if options.get("no_code") and _LIBC.prctl(_PR_SET_MDWE, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if (user := options.get("user")) is not None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    if devices := options.get("gpu"):
        sandbox.GPU_DEVICES = (devices,)
    policy = sandbox.Policy(readable=(Path(options["documents"]),), scratch=Path(options["scratch"]), gpu=bool(devices))
    confinement = sandbox.enter(policy)
    hello = {"sandbox": confinement.to_json(), "user": os.getuid()}
    return hello, {name: _tried(attempt) for name, attempt in _ATTEMPTS.items()}


if __name__ == "__main__":
    child.serve(start)
