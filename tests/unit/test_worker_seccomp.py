"""The filter of system calls, run by a small machine of our own: for both processors, whichever this one is."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest

from ocrwatch.worker import seccomp
from ocrwatch.worker.seccomp import Rule

PID = 4321
ALLOWED = "allowed"
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
TABLE = seccomp.read_table(Path(seccomp.__file__).with_name("syscalls.tsv").read_text(encoding="utf-8"))
MACHINES = pytest.mark.parametrize("machine", ARCHITECTURES)


def run(program: bytes, *, architecture: int, number: int, arguments: tuple[int, ...] = ()) -> str:
    """What the kernel would do: the name of the error, or `allowed`."""
    words = [argument & (2**64 - 1) for argument in (*arguments, *[0] * 6)][:6]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, architecture, 0, *words)
    steps = [struct.unpack_from("HBBI", program, at) for at in range(0, len(program), 8)]
    at = value = 0
    while True:
        operation, if_so, if_not, operand = steps[at]
        at += 1
        if operation == 0x20:
            value = struct.unpack_from("<I", data, operand)[0]
        elif operation == 0x06:
            return ALLOWED if operand == 0x7FFF0000 else errno.errorcode[operand & 0xFFFF]
        else:
            holds = {0x15: value == operand, 0x25: value > operand, 0x45: bool(value & operand)}[operation]
            at += if_so if holds else if_not


class Filter:
    """The filter of a machine, asked by the names of calls."""

    def __init__(self, machine: str, *, gpu: bool = False) -> None:
        self._architecture = ARCHITECTURES[machine]
        self._numbers = {call.name: call.numbers[machine] for call in TABLE}
        self._program = seccomp.program(TABLE, machine=machine, pid=PID, gpu=gpu)

    def __call__(self, name: str, *arguments: int) -> str:
        number = self._numbers[name]
        assert number is not None
        return self.by_number(number, *arguments)

    def by_number(self, number: int, *arguments: int, architecture: int | None = None) -> str:
        return run(self._program, architecture=architecture or self._architecture, number=number, arguments=arguments)


@MACHINES
def test_every_refused_call_is_refused_with_any_arguments(machine: str) -> None:
    """As an error that libraries know how to meet."""
    for call in TABLE:
        number = call.numbers[machine]
        if call.rule is Rule.REFUSED and number is not None:
            for argument in (0, 1, PID, 2**32 - 1, 2**64 - 1):
                assert Filter(machine).by_number(number, *[argument] * 6) == "EPERM", call.name


@MACHINES
def test_everything_else_is_let_through(machine: str) -> None:
    """The filter refuses what it names, and what came after it; nothing between."""
    named = {call.numbers[machine] for call in TABLE}
    asked = Filter(machine)
    assert {asked.by_number(number) for number in range(463) if number not in named} == {ALLOWED}
    assert {asked.by_number(number) for number in (463, 600, 0x40000000, 0x40000029, -1)} == {"ENOSYS"}


@MACHINES
def test_call_of_another_architecture_is_refused(machine: str) -> None:
    """A 32-bit call has other numbers: what is harmless by number here is a socket there."""
    asked = Filter(machine)
    for other in (0x40000003, 0x40000028, 0):  # i386, arm, none
        assert asked.by_number(0, architecture=other or 1) == "EPERM"


@MACHINES
def test_threads_start_and_processes_do_not(machine: str) -> None:
    """glibc asks clone3 first; only when that is absent does it show its flags."""
    asked = Filter(machine)
    thread = 0x3D0F00  # as pthread_create has it
    assert asked("clone3", 0x7FFF_0000_1000, 88) == "ENOSYS"
    assert asked("clone", thread) == ALLOWED
    assert asked("clone", 17) == "EPERM"  # fork
    assert asked("clone", 0x4111) == "EPERM"  # posix_spawn
    assert asked("clone", 0x10000000 | 17) == "EPERM"  # a user namespace


@MACHINES
@pytest.mark.parametrize("call", ["kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"])
def test_signals_reach_only_the_worker_itself(machine: str, call: str) -> None:
    """abort() and .NET signal their own threads; 0 and -1 would be the group with the parent in it, and everybody."""
    asked = Filter(machine)
    assert asked(call, PID, 6) == ALLOWED
    for other in (0, 1, -1, -PID, PID - 1):
        assert asked(call, other, 9) == "EPERM"


@MACHINES
@pytest.mark.parametrize("call", ["prlimit64", "sched_setaffinity", "sched_setscheduler", "move_pages"])
def test_limits_and_scheduling_of_others_are_not_changed(machine: str, call: str) -> None:
    """Of the worker's own they are."""
    asked = Filter(machine)
    assert (asked(call, 0), asked(call, PID), asked(call, 1), asked(call, -1)) == (ALLOWED, ALLOWED, "EPERM", "EPERM")


@MACHINES
def test_signal_is_sent_by_no_detour(machine: str) -> None:
    """Not by a descriptor's owner, not by a terminal, nor is the signal at the parent's death called off."""
    asked = Filter(machine)
    assert [asked("fcntl", 3, command) for command in (8, 10, 15)] == ["EPERM"] * 3
    assert [asked("fcntl", 3, command) for command in (0, 1, 2, 3, 4, 1030)] == [ALLOWED] * 6
    assert [asked("ioctl", 3, request) for request in (0x5412, 0x541C, 0x8901, 0x8902)] == ["EPERM"] * 4
    assert asked("ioctl", 3, 0x5412 | 1 << 32) == "EPERM"  # the kernel looks at 32 bits too
    assert [asked("ioctl", 3, request) for request in (0x5401, 0x541B, 0xC020462A)] == [ALLOWED] * 3
    assert (asked("prctl", 1, 0), asked("prctl", 15, 0)) == ("EPERM", ALLOWED)


@MACHINES
def test_files_in_memory_are_for_gpus_alone(machine: str) -> None:
    """CUDA does not start without them (OpenShell#1696); for all others they are memory that no limit counts."""
    assert Filter(machine)("memfd_create") == "EPERM"
    assert Filter(machine, gpu=True)("memfd_create") == ALLOWED
    assert Filter(machine, gpu=True)("socket", 2) == "EPERM"


@MACHINES
def test_numbers_are_those_of_the_kernel(machine: str) -> None:
    """A slip in the table would leave a door open and close another."""
    header = HEADERS[machine]
    if not header.is_file():
        pytest.skip(f"no {header} (apt install linux-libc-dev)")
    known = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text(encoding="utf-8")))
    compared = [call for call in TABLE if call.name in known]
    assert len(compared) > 100
    for call in compared:
        assert call.numbers[machine] == int(known[call.name]), call.name
    newer = {call.name for call in TABLE if call.numbers[machine] is not None} - known.keys()
    assert newer <= {"fchmodat2"}  # Linux 6.6


def test_table_names_each_call_once() -> None:
    """The first row would win."""
    names = [call.name for call in TABLE]
    assert len(names) == len(set(names))
