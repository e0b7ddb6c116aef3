"""Where the operations on a tree run: in this process or in a child, by the mount that they touch at that moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocrwatch.errors import Infrastructure, MissingPart, OcrwatchError, ShareOffline
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Identity
from ocrwatch.intake.mounts import MountTable
from ocrwatch.worker.access import MountAccess, RemoteAccess
from ocrwatch.worker.share import Share
from ocrwatch.worker.supervised import WorkerState, spawning
from tests.faults.waiting import wait_until
from tests.faults.workers import scripted


class Table:
    """A mount table in which those paths lie on a mount that may hang."""

    def __init__(self) -> None:
        self.hanging: set[str] = set()

    def may_hang(self, path: str) -> bool:
        """As `MountTable.may_hang`."""
        return path in self.hanging


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def access(table: Table) -> Iterator[MountAccess]:
    """A way to a tree by that table."""
    made = MountAccess("in", mounts=cast(MountTable, table), clock=time.monotonic)
    yield made
    made.close()


def _requests(access: MountAccess) -> int:
    """How many processes were started for it so far."""
    return access._remote._worker.snapshot().starts


def test_operation_runs_where_the_table_of_that_moment_says(table: Table, access: MountAccess, tmp_path: Path) -> None:
    """A share is mounted over the folder, and goes again: in the child meanwhile, here before and after."""
    share = Share(access)
    here = share.identify(str(tmp_path))
    assert access._remote._worker.snapshot().state is WorkerState.COLD
    table.hanging.add(str(tmp_path))
    assert share.identify(str(tmp_path)) == here
    assert access._remote._worker.snapshot().state is WorkerState.READY
    pid = access._remote._worker.snapshot().pid
    access._remote._worker.interrupt()  # whoever asked the child now would hear of it
    table.hanging.clear()
    assert share.identify(str(tmp_path)) == here
    assert access._remote._worker.snapshot().pid == pid


@pytest.mark.parametrize("hanging", [(), ("old",), ("in",), ("in", "old")])
def test_archiving_runs_in_the_child_when_either_end_may_hang(
    table: Table, access: MountAccess, tmp_path: Path, hanging: tuple[str, ...]
) -> None:
    """A local inbox with its archive on a share must not hang with it."""
    inbox, old = tmp_path / "in", tmp_path / "old"
    inbox.mkdir()
    old.mkdir()
    table.hanging |= {str(tmp_path / name) for name in hanging}
    scan, share = inbox / "a.pdf", Share(access)
    scan.write_bytes(b"one")
    digest = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    place = share.archive(
        Root(str(inbox)),
        "a.pdf",
        expected=Identity.of(scan.stat()),
        sha256=digest,
        destination_root=Root(str(old)),
        destination="2026/a.pdf",
    )
    assert (old / place).read_bytes() == b"one"
    assert _requests(access) == (1 if hanging else 0)


def test_requests_that_wait_behind_one_that_hangs_fail_with_it_and_later_ones_do_not() -> None:
    """Sixteen jobs on a dead share must not wait a minute each; when it is back, they are asked again."""
    access = RemoteAccess("nas", clock=time.monotonic, answer_s=1.0)
    access._worker._begin = spawning(lambda: scripted())
    access.run("noise", {})
    errors: list[ShareOffline] = []

    def ask(operation: str) -> None:
        with pytest.raises(ShareOffline, match="gives no answer") as caught:
            access.run(operation, {})
        errors.append(caught.value)

    try:
        first = threading.Thread(target=ask, args=("hang",))
        first.start()
        wait_until(lambda: access._worker.snapshot().state is WorkerState.BUSY)
        behind = [threading.Thread(target=ask, args=("hang",)) for _ in range(16)]
        begin = time.monotonic()
        for thread in behind:
            thread.start()
        for thread in (first, *behind):
            thread.join(20)
        assert len(errors) == 17
        assert time.monotonic() - begin < 8.0, "each of them waited for itself"
        assert access._worker.snapshot().deaths == 1
        assert access.run("noise", {}) == {"said": True}
    finally:
        access.close()


def test_share_whose_process_not_even_kill_ends_is_away_until_it_is_gone() -> None:
    """A mount that hangs holds it in the kernel: whoever asks meanwhile hears that the share is away, at once."""
    access = RemoteAccess("nas", clock=time.monotonic)
    access._worker._begin = spawning(lambda: scripted())
    access.run("noise", {})
    process = access._worker._process
    assert process is not None
    held = cast(Any, SimpleNamespace(alive=True, pid=process.pid, kill=lambda: None, release=lambda: None, stop=lambda: None))
    access._worker._process = held
    try:
        access._worker.discard(OcrwatchError("hung"))
        with pytest.raises(ShareOffline, match=f"process {process.pid} was killed and does not end"):
            access.run("noise", {})
        held.alive = False
        access.run("noise", {})
    finally:
        process.stop()
        access.close()


@pytest.mark.parametrize("error", [Infrastructure("no memory", "get some"), MissingPart("no module", "get some")])
def test_share_that_cannot_be_asked_for_want_of_a_process_is_away(error: OcrwatchError) -> None:
    """No more processes, or a broken installation: it says so, and what to do."""
    access = RemoteAccess("nas", clock=time.monotonic)

    def refuse(*_: object) -> Any:
        raise error

    access._worker._begin = refuse
    try:
        for _ in range(2):  # the second time it is in back-off
            with pytest.raises(ShareOffline, match=f"cannot be asked: {error.message}; get some"):
                access.run("noise", {})
    finally:
        access.close()
