"""The sandbox, from inside: a real worker process tries to get out, as root and as an unprivileged user."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.errors import WorkerDied, WorkerRefused, WorkerTimedOut
from ocrwatch.worker import sandbox, seccomp
from ocrwatch.worker.process import WorkerProcess, WorkerSpec
from tests.faults.workers import confined, is_running

NOBODY = 65534
HELD_BYTES = 200 * 10**6


@dataclass(frozen=True)
class Place:
    """What lies around a worker: its documents, its scratch folder, and what is none of its business."""

    documents: Path
    scratch: Path
    journal: Path

    def spec(self, user: int | None = None, *, memory_bytes: int | None = None, **options: Any) -> WorkerSpec:
        """A worker that is confined to this place."""
        place = {"documents": str(self.documents), "scratch": str(self.scratch)}
        return confined(memory_bytes=memory_bytes, user=user, **place, **options)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """A state folder that everybody may read and write, so that a refusal is the sandbox's and no file mode's."""
    with tempfile.TemporaryDirectory(prefix="ocrwatch-test-") as name:  # below pytest's own folders others may not look
        state = Path(name)
        documents, scratch, journal = state / "jobs", state / "scratch", state / "journal.db"
        for folder in (documents, scratch):
            folder.mkdir()
        for file in (documents / "source", journal):
            file.write_text("content")
            file.chmod(0o666)
        for folder in (state, documents, scratch):
            folder.chmod(0o777)
        yield Place(documents, scratch, journal)


@pytest.fixture(scope="module", params=[None, NOBODY], ids=["same user", "nobody"])
def user(request: pytest.FixtureRequest) -> int | None:
    """Whom the worker becomes before it enters."""
    if request.param is not None and os.getuid() != 0:
        pytest.skip("only root can become another user; the tests ran as an unprivileged user already")
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def worker(place: Place, user: int | None) -> Iterator[WorkerProcess]:
    """A worker in the sandbox; one for all tests, none of which may end it."""
    process = WorkerProcess(place.spec(user))
    yield process
    assert process.alive
    process.stop()


@pytest.fixture
def files(worker: WorkerProcess) -> WorkerProcess:
    """The worker, where the kernel has Landlock."""
    if not worker.hello["sandbox"]["landlock"]:
        pytest.skip(f"no Landlock here: {worker.hello['sandbox']['lacking']}")
    return worker


@pytest.fixture
def calls(worker: WorkerProcess) -> WorkerProcess:
    """The worker, where the kernel has seccomp filters."""
    if not worker.hello["sandbox"]["seccomp"]:
        pytest.skip(f"no seccomp here: {worker.hello['sandbox']['lacking']}")
    return worker


def outcome(worker: WorkerProcess, operation: str, **request: Any) -> str:
    """What came of an attempt."""
    return str(worker.call({"op": operation, **request}, deadline_s=30)["outcome"])


def test_hello_tells_what_is_in_force(worker: WorkerProcess, user: int | None) -> None:
    """What a worker says of its sandbox is what the kernel says of the process."""
    told = worker.hello["sandbox"]
    known = sandbox.available()
    assert (told["landlock"], told["seccomp"], tuple(told["lacking"])) == (known.landlock, known.seccomp, known.lacking)
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines() if ":\t" in line)
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2" or not told["seccomp"]
    assert status["Uid"].split()[1] == str(os.getuid() if user is None else user)


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET"])
@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW"])
def test_no_socket_can_be_opened(calls: WorkerProcess, family: str, kind: str) -> None:
    """Not one page leaves, over whatever protocol; UDP, raw and local sockets are beyond Landlock."""
    assert outcome(calls, "socket", family=family, type=kind) == "EPERM"


def test_channel_reaches_nobody_but_the_parent(calls: WorkerProcess) -> None:
    """Neither by another address nor by a pair of its own, whose datagrams could go to any local service."""
    assert outcome(calls, "connect", path="/dev/log") == "EPERM"
    assert outcome(calls, "socketpair") == "EPERM"


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/hostname", "/proc/1/environ", "/proc/self/../1/status", "/bin/sh"])
def test_file_of_the_machine_cannot_be_read(files: WorkerProcess, path: str) -> None:
    """Libraries and documents, and nothing else."""
    assert outcome(files, "read", path=path) == "EACCES"


@pytest.mark.parametrize("path", ["/", "/home", "/root", "/tmp", "/etc", "/proc", "/var", "/run", "/dev"])
def test_folder_of_the_machine_cannot_be_listed(files: WorkerProcess, path: str) -> None:
    """Not even names."""
    assert outcome(files, "list", path=path) == "EACCES"


def test_journal_and_everything_beside_the_documents_is_closed(files: WorkerProcess, place: Place) -> None:
    """The spool lies in the state directory, which holds what other people scanned."""
    assert outcome(files, "read", path=str(place.journal)) == "EACCES"
    assert outcome(files, "write", path=str(place.journal)) == "EACCES"
    assert outcome(files, "list", path=str(place.journal.parent)) == "EACCES"
    assert place.journal.read_text() == "content"


def test_document_can_be_read_and_not_changed(files: WorkerProcess, place: Place) -> None:
    """The copy of the scan is the one that was hashed."""
    source = str(place.documents / "source")
    assert outcome(files, "read", path=source) == "done"
    assert outcome(files, "list", path=str(place.documents)) == "done"
    assert outcome(files, "write", path=source) == "EACCES"
    assert outcome(files, "remove", path=source) == "EACCES"
    assert outcome(files, "rename", path=source, to=str(place.documents / "other")) == "EACCES"
    assert outcome(files, "write", path=str(place.documents / "new")) == "EACCES"
    assert outcome(files, "mkdir", path=str(place.documents / "folder")) == "EACCES"
    assert (place.documents / "source").read_text() == "content"


def test_scratch_folder_is_the_only_place_to_write_in(files: WorkerProcess, place: Place) -> None:
    """Engines drop logs; they go where nobody looks."""
    log = place.scratch / f"log-{files.pid}"
    assert outcome(files, "write", path=str(log)) == "done"
    assert outcome(files, "rename", path=str(log), to=f"{log}.1") == "done"
    assert outcome(files, "remove", path=f"{log}.1") == "done"
    for folder in ("/tmp", "/dev/shm", "/var/tmp", str(place.journal.parent)):
        path = Path(folder, f"ocrwatch-escaped-{files.pid}")
        assert outcome(files, "write", path=str(path)) == "EACCES"
        assert not path.exists()


def test_nothing_gets_out_of_the_scratch_folder_by_another_name(files: WorkerProcess, place: Place) -> None:
    """No link or rename brings a file in, or carries one out; nothing but files and folders can be made."""
    inside, outside = str(place.scratch / "name"), str(place.journal)
    assert outcome(files, "link", path=outside, to=inside) in {"EXDEV", "EACCES", "EPERM"}
    assert outcome(files, "rename", path=outside, to=inside) in {"EXDEV", "EACCES"}
    assert outcome(files, "symlink", path=outside, to=inside) == "EACCES"
    assert outcome(files, "make_fifo", path=inside) == "EACCES"
    assert not os.path.lexists(inside)


def test_scratch_file_cannot_fill_the_disk(worker: WorkerProcess, place: Place) -> None:
    """A file of its own is bounded too."""
    path = place.scratch / f"big-{worker.pid}"
    assert outcome(worker, "write", path=str(path), bytes=80 * 2**20) == "EFBIG"
    assert path.stat().st_size <= 64 * 2**20
    path.unlink()


def test_file_keeps_its_mode_its_times_and_its_length(calls: WorkerProcess, place: Place) -> None:
    """What Landlock does not cover: the owner of a file needs no open file for these."""
    own = place.scratch / f"own-{calls.pid}"
    assert outcome(calls, "write", path=str(own)) == "done"
    before = own.stat()
    for operation in ("chmod", "touch", "truncate"):
        assert outcome(calls, operation, path=str(own)) == "EPERM"
    after = own.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_size) == (before.st_mode, before.st_mtime_ns, before.st_size)
    own.unlink()


def test_what_a_worker_may_read_of_itself_is_held_open(files: WorkerProcess) -> None:
    """Under memory pressure procfs forgets its inodes, and with them Landlock's rules; an open descriptor keeps them."""
    held = {os.readlink(descriptor) for descriptor in Path(f"/proc/{files.pid}/fd").iterdir()}
    assert {f"/proc/{files.pid}", "/proc/cpuinfo", "/proc/meminfo"} <= held
    assert outcome(files, "read", path="/proc/self/statm") == "done"


def test_thread_that_starts_later_is_confined_too(files: WorkerProcess) -> None:
    """Engines work in threads of their own."""
    assert files.call({"op": "in_thread", "path": "/etc/passwd"}, deadline_s=10)["found"] == "EACCES"


def test_no_process_can_be_forked(calls: WorkerProcess) -> None:
    """A thousand times: refused each time, and nothing is left behind."""
    assert outcome(calls, "fork", times=1000) == "EPERM"
    assert outcome(calls, "spawn") == "EPERM"
    assert Path(f"/proc/{calls.pid}/task/{calls.pid}/children").read_text() == ""


def test_threads_still_start(calls: WorkerProcess) -> None:
    """Engines need them: OpenMP, .NET, llama.cpp."""
    assert calls.call({"op": "threads", "times": 64}, deadline_s=30)["found"] == 64


def test_no_program_can_be_executed(calls: WorkerProcess) -> None:
    """What runs in a worker is the worker."""
    assert outcome(calls, "execute") == "EPERM"


def test_parent_cannot_be_killed(calls: WorkerProcess) -> None:
    """Nor can anything but the worker itself; it goes on when it has tried."""
    for pid in (os.getpid(), 1, 0, -1, -os.getpgrp()):
        assert outcome(calls, "signal", pid=pid) == "EPERM"
    assert outcome(calls, "signal", pid=calls.pid) == "done"


def test_parents_limits_and_memory_are_its_own(calls: WorkerProcess) -> None:
    """A process of the same user may do both without a sandbox."""
    assert outcome(calls, "limits", pid=os.getpid()) == "EPERM"
    assert outcome(calls, "limits", pid=0) == "done"
    assert outcome(calls, "read", path=f"/proc/{os.getpid()}/environ") in {"EACCES", "EPERM"}
    assert outcome(calls, "write", path=f"/proc/{os.getpid()}/mem") in {"EACCES", "EPERM"}


def test_worker_cannot_outlive_its_parent(calls: WorkerProcess) -> None:
    """The signal that it gets at the parent's death cannot be called off."""
    assert outcome(calls, "survive_parent") == "EPERM"


def test_memory_that_no_limit_counts_cannot_be_had(calls: WorkerProcess) -> None:
    """A file in memory is not resident memory of the worker."""
    assert outcome(calls, "memfd") == "EPERM"


def test_every_call_of_the_table_is_refused(calls: WorkerProcess) -> None:
    """Each in turn, from inside, with arguments that do no harm where it is let through after all."""
    name = seccomp.machine()
    assert name is not None
    table = seccomp.read_table(Path(seccomp.__file__).with_name("syscalls.tsv").read_text())
    refused = {call.name: number for call in table if call.rule == "refused" and (number := call.numbers[name]) is not None}
    # A fork that is let through would answer twice.
    outcomes = {
        call: outcome(calls, "call", number=number, arguments=[-1] * 6)
        for call, number in refused.items()
        if call not in {"fork", "vfork", "vhangup"}
    }
    assert set(outcomes.values()) == {"EPERM"}, outcomes
    assert outcome(calls, "call", number=9999, arguments=[0]) == "ENOSYS"


def test_memory_of_100_gigabytes_is_refused(place: Place) -> None:
    """The reservation itself fails, before a page is touched; the worker goes on."""
    worker = WorkerProcess(place.spec(memory_bytes=HELD_BYTES))
    assert outcome(worker, "reserve", gigabytes=100) in {"MemoryError", "ENOMEM"}
    assert worker.alive
    worker.stop()


def test_memory_that_is_used_beyond_the_limit_ends_the_worker(place: Place) -> None:
    """What may be reserved may not all be used."""
    worker = WorkerProcess(place.spec(memory_bytes=HELD_BYTES))
    with pytest.raises(WorkerDied, match="more than the limit of 200 MB"):
        worker.call({"op": "fill", "bytes": 2 * HELD_BYTES}, deadline_s=60)
    worker.release()
    assert not is_running(worker.pid)


def test_worker_that_sleeps_for_ever_is_killed(place: Place, user: int | None) -> None:
    """The parent's signal still reaches it, whoever it became."""
    worker = WorkerProcess(place.spec(user))
    with pytest.raises(WorkerTimedOut):
        worker.call({"op": "hang"}, deadline_s=0.3)
    worker.release()
    assert not is_running(worker.pid)


def test_worker_that_crashes_leaves_no_core(place: Place) -> None:
    """A core file would hold the page."""
    worker = WorkerProcess(place.spec())
    limits = Path(f"/proc/{worker.pid}/limits").read_text()
    assert next(line for line in limits.splitlines() if line.startswith("Max core file size")).split()[4:6] == ["0", "0"]
    os.kill(worker.pid, signal.SIGSEGV)
    worker.kill()
    worker.release()


@pytest.mark.parametrize("version", range(1, 8))
def test_older_kernels_confine_files_too(place: Place, version: int) -> None:
    """Each version of Landlock takes away what it knows; what it does not know, seccomp refuses."""
    known = sandbox.available()
    if known.landlock < version or not known.seccomp:
        pytest.skip(f"the kernel has Landlock {known.landlock}, {known.lacking}")
    worker = WorkerProcess(place.spec(landlock=version))
    log = str(place.scratch / f"old-{version}")
    assert worker.hello["sandbox"] == {"landlock": version, "seccomp": True, "lacking": []}
    assert outcome(worker, "read", path="/etc/passwd") == "EACCES"
    assert outcome(worker, "write", path=str(place.journal)) == "EACCES"
    assert outcome(worker, "truncate", path=str(place.journal)) == "EPERM"
    assert outcome(worker, "read", path=str(place.documents / "source")) == "done"
    assert outcome(worker, "write", path=log) == "done"
    assert outcome(worker, "remove", path=log) == "done"
    worker.stop()


def test_kernel_without_landlock_is_told_and_the_rest_holds(place: Place) -> None:
    """A worker runs with what there is, and says what there is not."""
    worker = WorkerProcess(place.spec(landlock=0))
    told = worker.hello["sandbox"]
    assert told["landlock"] == 0
    assert "no Landlock (Function not implemented): a worker can read and write" in told["lacking"][0]
    assert outcome(worker, "read", path="/etc/passwd") == "done"
    if told["seccomp"]:
        assert outcome(worker, "socket", family="AF_INET", type="SOCK_DGRAM") == "EPERM"
    worker.stop()


def test_kernel_without_seccomp_is_told_and_the_rest_holds(place: Place) -> None:
    """The same, the other way round."""
    worker = WorkerProcess(place.spec(no_seccomp=True))
    told = worker.hello["sandbox"]
    assert told["seccomp"] is False
    assert "can start processes and use the network" in told["lacking"][-1]
    if told["landlock"]:
        assert outcome(worker, "read", path="/etc/passwd") == "EACCES"
    worker.stop()


def test_worker_of_a_gpu_has_its_devices_and_what_cuda_asks_for(place: Place) -> None:
    """Here a plain file stands for the device: CUDA itself was not at hand. The rest holds as in any worker."""
    device = place.documents.parent / "nvidia0"
    device.write_text("")
    device.chmod(0o666)
    worker = WorkerProcess(place.spec(gpu=str(device.with_name("nvidia*"))))
    without = WorkerProcess(place.spec())
    if worker.hello["sandbox"]["lacking"]:
        pytest.skip("; ".join(worker.hello["sandbox"]["lacking"]))
    assert [outcome(each, "write", path=str(device)) for each in (worker, without)] == ["done", "EACCES"]
    assert [outcome(each, "list", path="/sys/devices") for each in (worker, without)] == ["done", "EACCES"]
    assert [outcome(each, "memfd") for each in (worker, without)] == ["done", "EPERM"]
    named = [each.call({"op": "name_thread"}, deadline_s=10)["found"] for each in (worker, without)]
    assert named == ["done", "EACCES"]
    assert outcome(worker, "read", path="/etc/passwd") == "EACCES"
    assert outcome(worker, "socket", family="AF_INET", type="SOCK_STREAM") == "EPERM"
    worker.stop()
    without.stop()


def test_libraries_call_back_where_no_memory_may_be_written_and_run(place: Place) -> None:
    """llama.cpp and PDFium call Python functions, under the service's MemoryDenyWriteExecute too."""
    try:
        worker = WorkerProcess(place.spec(no_code=True))
    except WorkerRefused as error:
        pytest.skip(f"no PR_SET_MDWE: {error} (Linux 6.3 has it)")
    assert outcome(worker, "code") == "EACCES"
    assert outcome(worker, "callback") == "done"
    assert outcome(worker, "memfd") == "EPERM"
    worker.stop()


def test_threads_before_the_sandbox_are_a_fault() -> None:
    """Landlock would leave them outside: better no worker than one that is believed to be confined."""
    wait = threading.Event()
    thread = threading.Thread(target=wait.wait)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="threads run before"):
            sandbox.enter(sandbox.Policy())
    finally:
        wait.set()
        thread.join()
