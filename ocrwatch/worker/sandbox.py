"""What a worker may touch, and the way in: a process that reads hostile files keeps its own memory and the page in hand.

Owns the policy; `landlock` and `seccomp` make it hold. A worker enters once, before it loads any library of its engine: Landlock
binds only the thread that enters and those that it starts, and engines start threads as they load.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import resource
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ocrwatch
from ocrwatch.worker import landlock, seccomp
from ocrwatch.worker.landlock import DRIVE, READ, WRITE, Grant, Rights

_LARGEST_FILE_BYTES = 64 * 2**20  # of what a worker drops in its scratch folder; without one it writes no file at all
_MOST_DESCRIPTORS = 1024  # each holds memory of the kernel that counts for nobody

_LIBRARIES = (
    *("/usr/lib", "/usr/lib64", "/usr/share", "/usr/local/lib", "/usr/local/share", "/lib", "/lib64"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/ssl/openssl.cnf"),
)
_MACHINE = (
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/dev/random",
    "/dev/urandom",
)
_PLAIN_DEVICES = ("/dev/null", "/dev/zero")

GPU_DEVICES: tuple[str, ...] = ("/dev/nvidia*", "/dev/kfd", "/dev/dri", "/dev/dxg")
_GPU_LIBRARIES = ("/usr/local/cuda*", "/usr/local/nvidia", "/opt/cuda", "/opt/rocm*", "/etc/vulkan", "/etc/OpenCL", "/etc/nvidia")
_GPU_MACHINE = ("/sys", "/proc/devices", "/proc/driver/nvidia", "/proc/driver/nvidia-uvm")
_THREADS = "/proc/self/task"

WITHOUT_LANDLOCK = "a worker can read and write what this user can"
WITHOUT_SECCOMP = "a worker can start processes and use the network"


@dataclass(frozen=True)
class Policy:
    """What a worker may touch beside the interpreter, its packages and the libraries of the machine.

    readable: files, and folders with all beneath. scratch: the one folder to write in; None for none.
    gpu: it may drive the GPUs that are there. file_bytes: the largest file that it writes, in the scratch folder or
    given to it open; None for what is usual.
    """

    readable: tuple[Path, ...] = ()
    scratch: Path | None = None
    gpu: bool = False
    file_bytes: int | None = None


@dataclass(frozen=True)
class Confinement:
    """What holds in a process. landlock: the version in force, 0 for none. lacking: what does not hold and why."""

    landlock: int = 0
    seccomp: bool = False
    lacking: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The value as a JSON object."""
        return {"landlock": self.landlock, "seccomp": self.seccomp, "lacking": list(self.lacking)}


def enter(policy: Policy) -> Confinement:
    """Lock this process in, for good, with what the kernel has; what holds now.

    Raises RuntimeError when threads run already: they would stay outside.
    """
    _refuse_threads()
    devices = _devices(policy)
    granted = tuple(grants(policy, devices))  # looks at folders, so it comes first
    _make_room_for_callbacks()
    _bound(resource.RLIMIT_CORE, 0)  # no page, and no text of one, in a core file
    _bound(resource.RLIMIT_NOFILE, _MOST_DESCRIPTORS)
    if not devices:  # CUDA's files in memory count as files; there is no folder to write in
        usual = _LARGEST_FILE_BYTES if policy.scratch is not None else 0
        _bound(resource.RLIMIT_FSIZE, usual if policy.file_bytes is None else policy.file_bytes)
    sys.dont_write_bytecode = True  # the packages are read-only from here on
    lacking: list[str] = []
    known, filtered = 0, False
    try:
        seccomp.forbid_new_privileges()
        known = landlock.restrict(granted)
    except OSError as error:
        lacking.append(_without_landlock(error))
    try:
        seccomp.install(gpu=bool(devices))
        filtered = True
    except OSError as error:
        lacking.append(f"{seccomp.lacking() or error}: {WITHOUT_SECCOMP}")
    return Confinement(known, filtered, tuple(lacking))


def available() -> Confinement:
    """What would hold in a worker that is started now; looks, and changes nothing."""
    lacking: list[str] = []
    known = 0
    try:
        known = landlock.version()
    except OSError as error:
        lacking.append(_without_landlock(error))
    if without := seccomp.lacking():
        lacking.append(f"{without}: {WITHOUT_SECCOMP}")
    return Confinement(known, not without, tuple(lacking))


def _without_landlock(error: OSError) -> str:
    return f"the kernel gives no Landlock ({os.strerror(error.errno or 0)}): {WITHOUT_LANDLOCK}"


def _devices(policy: Policy) -> tuple[str, ...]:
    return tuple(_found(GPU_DEVICES)) if policy.gpu else ()


def grants(policy: Policy, devices: Sequence[str]) -> Iterator[Grant]:
    """Every path of a policy, with the machine's own and those of its GPUs. Paths that are not there grant nothing."""
    for path in (*_program(), *_LIBRARIES, *_MACHINE, *map(str, policy.readable)):
        yield Grant(path, READ)
    for path in (*_PLAIN_DEVICES, *devices):
        yield Grant(path, DRIVE)
    if policy.scratch is not None:
        yield Grant(str(policy.scratch), WRITE)
    if devices:
        for path in (*_GPU_MACHINE, *_found(_GPU_LIBRARIES)):
            yield Grant(path, READ)
        # CUDA names its threads there and takes a refusal for a broken system (nono#673, OpenShell#1486).
        yield Grant(_THREADS, READ | Rights.WRITE_FILE | Rights.TRUNCATE)


def _found(patterns: Sequence[str]) -> Iterator[str]:
    return (path for pattern in patterns for path in glob.glob(pattern))


def _program() -> Iterator[str]:
    """The interpreter's libraries and every package: modules are imported, and data of packages is read, long after."""
    yield os.path.join(sys.base_prefix, "lib")
    yield os.path.dirname(os.path.abspath(ocrwatch.__file__))  # an editable installation is on no path
    yield from (os.path.abspath(path) for path in sys.path if path)
    yield from filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":"))


def _make_room_for_callbacks() -> None:
    """PDFium and llama.cpp call Python. Where no memory may be both written and run (MemoryDenyWriteExecute of systemd), libffi
    keeps the code of such calls in a file in memory. It makes that at the first one, and this is the last place where it can.
    """
    ctypes.CFUNCTYPE(None)(_nothing)


def _nothing() -> None:
    return None


def _refuse_threads() -> None:
    with contextlib.suppress(FileNotFoundError):
        threads = len(os.listdir("/proc/self/task"))
        if threads > 1:
            raise RuntimeError(f"{threads} threads run before the sandbox is entered")


def _bound(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (bound, bound))
