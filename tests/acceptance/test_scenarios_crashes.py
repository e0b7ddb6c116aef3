"""Crashes and files that cause them: the whole daemon, killed at each step of its work, and behind files meant to break it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import hostile, scans
from tests.faults.daemon import wait_until
from tests.faults.outside import AskedService, beside, killed_at, litter, scan_bytes, settings_of_inbox

pytestmark = pytest.mark.acceptance


@pytest.fixture
def service(tmp_path: Path) -> Iterator[AskedService]:
    """A service that is not started yet."""
    service = AskedService(tmp_path)
    yield service
    service.end()


# What is about to happen, by the system call that does it: call, which use of it, in which folder, what is visible by then.
_STAGES = [
    pytest.param("fsync", 1, "", (), id="the copy is synced"),
    pytest.param("rename", 1, "", (), id="the copy is noted"),
    pytest.param("fdatasync", 2, "", (), id="the journal hears of the pages"),
    pytest.param("rename", 2, "", (), id="the first page is kept"),
    pytest.param("rename", 3, "", (), id="the last page is kept"),
    pytest.param("renameat2", 1, "", (), id="the JSON gets its name"),
    pytest.param("fsync", 1, "inbox", (".json",), id="the name of the JSON is synced"),
    pytest.param("renameat2", 2, "", (".json",), id="the text gets its name"),
    pytest.param("fsync", 2, "inbox", (".json", ".txt"), id="the name of the text is synced"),
    pytest.param("unlinkat", 1, "state/jobs/1", (".json", ".txt"), id="the copy is dropped"),
]


@pytest.mark.parametrize(("call", "nth", "folder", "visible"), _STAGES)
def test_daemon_killed_at_any_step_leaves_one_whole_sidecar(
    service: AskedService, tmp_path: Path, call: str, nth: int, folder: str, visible: tuple[str, ...]
) -> None:
    """kill -9 or no memory in mid file (NGX#872, #8125, #4869, #8198, SP#4169): then one whole sidecar and no litter."""
    scan = service.inbox / "two.tif"
    data = scan_bytes(tmp_path, "two.tif", "the first page", "the second page")
    service.start()
    killed_at(service, call, scan, data, nth=nth, path=tmp_path / folder if folder else None)
    assert {name for name in beside(scan) if not name.startswith(".ocrwatch-")} == {f"two.tif{end}" for end in visible}
    service.start()
    answer = service.wait_for("two.tif", "done")
    assert [page.strip() for page in service.text("two.tif").split("\f")] == ["the first page", "the second page"]
    assert service.metadata("two.tif")["complete"] is True
    assert 1 <= answer["tries"] <= 2, "the attempt is counted before the work"
    wait_until(lambda: beside(scan) == {"two.tif.txt", "two.tif.json"}, what="an inbox without litter")
    wait_until(lambda: not list((tmp_path / "state" / "jobs").glob("*")), what="a spool without litter")
    assert scan.read_bytes() == data


def test_daemon_killed_while_it_publishes_elsewhere_leaves_no_litter_there(service: AskedService, tmp_path: Path) -> None:
    """kill -9 in mid file (NGX#872, SP#4169) with a mirrored output: temporary files of the dead are swept there as well."""
    output = tmp_path / "texts"
    output.mkdir()
    settings_of_inbox(service, output={"directory": str(output)})
    service.start()
    (service.inbox / "sub").mkdir()
    killed_at(service, "renameat2", service.inbox / "sub" / "one.png", scan_bytes(tmp_path, "one.png", "some words"), nth=2)
    assert litter(output) != []
    service.start()
    service.wait_for("sub/one.png", "done")
    assert (output / "sub" / "one.png.txt").read_text(encoding="utf-8").strip() == "some words"
    wait_until(lambda: not litter(output), timeout_s=10, what="an output without litter")


def test_file_that_takes_the_daemon_down_again_and_again_is_set_aside(service: AskedService) -> None:
    """A poison file that crash-loops the service (OMP#1715, PL#341, PM#393, GPT#947, #1071): set aside, and never run again."""
    scan = service.inbox / "bad.png"
    scans.write(scan, "many words of a bad file that take their time " * 40)

    def in_work_or_set_aside() -> str | None:
        state = str(service.why("bad.png")["state"])
        busy = any(worker["state"] == "busy" for worker in service.status()["workers"])
        return state if busy or state not in ("waiting", "queued", "spooled", "unknown") else None

    kills = 0
    service.start()
    while wait_until(in_work_or_set_aside, what="work on the file") in ("queued", "spooled"):
        kills += 1
        assert kills < 12
        service.kill()
        service.start()
    assert service.why("bad.png")["state"] == "poison"
    assert kills >= 2
    tries = service.why("bad.png")["tries"]
    service.stop()
    service.start()
    scans.write(service.inbox / "good.png", "a good page")
    service.wait_for("good.png", "done")
    assert (service.why("bad.png")["state"], service.why("bad.png")["tries"]) == ("poison", tries)
    assert beside(scan) == {"good.png", "good.png.txt", "good.png.json"}


def test_file_that_ends_two_workers_is_set_aside_and_the_next_is_done(service: AskedService) -> None:
    """A file at which the engine dies (OMP PR#1690, PL#341, GPT#1071): two tries, then a reason; it does not block the queue."""
    service.settings["ocr"] = {"workers": 1}
    service.write_config()
    service.start()
    scans.write(service.inbox / "bad.png", "many words of a bad file that take their time " * 80)

    def busy() -> int | None:
        return next((w["pid"] for w in service.status()["workers"] if w["state"] == "busy" and w["pid"] not in killed), None)

    killed: list[int] = []
    while len(killed) < 2:
        killed.append(wait_until(busy, what="a worker at the file"))
        os.kill(killed[-1], signal.SIGKILL)
    scans.write(service.inbox / "good.png", "a good page")
    assert service.wait_for("bad.png", "poison")["reason"] == "poison_file"
    service.wait_for("good.png", "done")
    assert not (service.inbox / "bad.png.txt").exists()


def test_page_that_is_drawn_without_end_ends_at_its_budget(service: AskedService) -> None:
    """A rasteriser that hangs (OMP#1010, #1279, #1104): two budgets are lost, in a worker each; the pages around it are read."""
    service.settings["ocr"] = {"workers": 1, "page_timeout": "4s"}
    service.write_config()
    (service.inbox / "endless.pdf").write_bytes(hostile.pdf_without_end())
    scans.write(service.inbox / "good.png", "a good page")
    service.start()
    service.wait_for("good.png", "done")
    answer = service.wait_for("endless.pdf", "poison")
    assert (answer["reason"], answer["deaths"], answer["pages"], answer["pages_done"]) == ("poison_file", 2, 3, 2)
    assert "page 2 of endless.pdf cost 2 workers their life" in answer["detail"]
    assert "gave no answer within 4 s" in answer["detail"]
    assert not any(worker["state"] == "busy" for worker in service.status()["workers"])
    assert beside(service.inbox / "endless.pdf") == {"good.png", "good.png.txt", "good.png.json"}


def test_good_file_behind_every_kind_of_poison_is_done(service: AskedService, tmp_path: Path) -> None:
    """A queue of poison (OMP#1715, PM#393, GPT#947, dsc): the good file behind it is done, each of the others has a reason."""
    settings_of_inbox(service, incomplete_max="1s")
    inbox = service.inbox
    (inbox / "a-locked.pdf").write_bytes(hostile.pdf_with_password())
    (inbox / "b-none.pdf").write_bytes(hostile.pdf_without_pages())
    (inbox / "c-bomb.pdf").write_bytes(hostile.pdf_bomb())
    (inbox / "d-cut.tif").write_bytes(scan_bytes(tmp_path, "cut.tif", "one page", "and another")[:300])
    os.mkfifo(inbox / "e-pipe.pdf")
    (inbox / "f-folder.pdf").mkdir()
    (inbox / "g-dangling.pdf").symlink_to(tmp_path / "nowhere")
    (inbox / "h-loop.pdf").symlink_to(inbox / "h-loop.pdf")
    scans.write(inbox / "z-good.png", "a good page")
    service.start()
    service.wait_for("z-good.png", "done", timeout_s=30)
    assert service.text("z-good.png").strip() == "a good page"
    ends = {name: service.wait_for(name, "failed", "poison", "partial", "done") for name in _POISON}
    assert {name: (end["state"], end["reason"]) for name, end in ends.items()} == _POISON
    for name in ("e-pipe.pdf", "f-folder.pdf", "g-dangling.pdf", "h-loop.pdf"):
        assert service.why(name)["state"] == "unknown"
    expected = {*_POISON, "e-pipe.pdf", "f-folder.pdf", "g-dangling.pdf", "h-loop.pdf", "z-good.png.txt", "z-good.png.json"}
    assert beside(inbox / "z-good.png") == expected


_POISON = {
    "a-locked.pdf": ("failed", "encrypted_file"),
    "b-none.pdf": ("failed", "corrupt_file"),
    "c-bomb.pdf": ("failed", "corrupt_file"),
    "d-cut.tif": ("failed", "corrupt_file"),
}


def test_good_file_behind_thirty_that_always_fail_is_done_and_none_is_run_twice(service: AskedService) -> None:
    """Endless reprocessing (OMP#484, PM#594, GPT#817, #949, #975, #1008, PAI#77, #636, #807): one try each, restart or not."""
    names = [f"bad-{number:02}.pdf" for number in range(30)]
    for number, name in enumerate(names):
        (service.inbox / name).write_bytes(b"MZ\x90\x00 no scan at all, number %d" % number)
    service.start()
    scans.write(service.inbox / "good.png", "a good page")
    service.wait_for("good.png", "done", timeout_s=30)
    wait_until(lambda: service.files("failed") == 30, what="the end of all thirty")
    service.stop()
    service.start()
    scans.write(service.inbox / "later.png", "a later page")
    service.wait_for("later.png", "done")
    assert {service.why(name)["tries"] for name in names} == {1}
