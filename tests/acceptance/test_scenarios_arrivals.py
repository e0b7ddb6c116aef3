"""Arrivals as scanners, shares and people bring them about: bit by bit, in bursts, while nobody looks, and under other names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import scans, writers
from tests.faults.daemon import wait_until
from tests.faults.outside import AskedService, beside, scan_bytes, settings_of_inbox, suspended

pytestmark = pytest.mark.acceptance

_SHEETS = ["apple sheet", "bread sheet", "chair sheet", "dance sheet", "eagle sheet"]
_BOOK = [f"this is the page of the {word} " + "and many more words to read here " * 20 for word in [*_SHEETS, "flame sheet"]]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[AskedService]:
    """A service that is not started yet."""
    service = AskedService(tmp_path)
    yield service
    service.end()


def _sheets(service: AskedService, name: str) -> list[str]:
    return [page.strip() for page in service.text(name).split("\f")]


# -- writers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("until", [("waiting",), ("queued", "spooled", "done"), ("done",)], ids=["settling", "in work", "done"])
@pytest.mark.parametrize("put", [Path.write_bytes, writers.replace], ids=["in place", "by rename"])
def test_scanner_that_writes_page_after_page_has_one_whole_text_in_the_end(
    service: AskedService, tmp_path: Path, until: tuple[str, ...], put: Callable[[Path, bytes], object]
) -> None:
    """A scanner closes the file after each page, pauses, and writes it anew (NGX PR#43, #494, PR#4626, #984, NG#853, DS#3223)."""
    settings_of_inbox(service, settle="1500ms" if until == ("waiting",) else "100ms")
    scan = service.inbox / "scan.pdf"
    versions = [scan_bytes(tmp_path, "scan.pdf", *_SHEETS[:count]) for count in range(1, 6)]
    service.start()
    for version in versions:
        put(scan, version)
        service.wait_for("scan.pdf", *until)
    wait_until(lambda: scan.with_name("scan.pdf.txt").exists() and _sheets(service, "scan.pdf") == _SHEETS, what="the whole text")
    answer = service.wait_for("scan.pdf", "done")
    assert (answer["pages"], len(service.metadata("scan.pdf")["pages"])) == (5, 5)
    assert beside(scan) == {"scan.pdf.txt", "scan.pdf.json"}
    assert service.files() == 1
    if until == ("waiting",):
        assert (answer["job"], answer["tries"]) == (1, 1), "nothing but the last version was processed"


def test_empty_placeholder_is_waited_for_and_taken_when_it_is_filled(service: AskedService, tmp_path: Path) -> None:
    """A file has its final name and no byte, for long (NGX#12511, #166, #5252, #2419, #6974, SP#1214): no failure, then done."""
    settings_of_inbox(service, settle="100ms")
    data = scan_bytes(tmp_path, "scan.tif", "many words to read here " * 60)
    scan, never = service.inbox / "scan.tif", service.inbox / "never.pdf"
    service.start()
    scan.touch()
    never.touch()
    wait_until(lambda: service.wait_for("scan.tif", "waiting")["since_s"] > 20 * 0.1, what="twenty times the time to settle")
    for name in ("scan.tif", "never.pdf"):
        answer = service.why(name)
        assert (answer["state"], answer["reason"], answer.get("job")) == ("waiting", "empty", None)
    never.unlink()
    with scan.open("ab") as file:
        file.write(data)
    assert service.wait_for("scan.tif", "done")["tries"] == 1
    wait_until(lambda: service.files() == 1, what="the end of the one that was deleted")
    assert service.why("never.pdf")["state"] == "unknown"
    assert service.files("failed") == 0


@pytest.mark.parametrize("how", ["grows", "sized first"])
@pytest.mark.parametrize("name", ["scan.pdf", "scan.tif", "scan.jpg", "scan.png"])
def test_file_at_rest_that_is_not_whole_is_waited_for(service: AskedService, tmp_path: Path, name: str, how: str) -> None:
    """A transfer stalls in mid file, or fills a file of its final size (NGX#14219, #14022, #5323, #6101, NG#46, OMP#552)."""
    settings_of_inbox(service, settle="200ms")
    sheets = _SHEETS[:3] if name.endswith(("pdf", "tif")) else ["many words to read here " * 20]
    data, scan = scan_bytes(tmp_path, name, *sheets), service.inbox / name
    service.start()
    steps = writers.growing(scan, data, steps=5)
    if how == "grows":
        for _ in range(3):
            next(steps)
    else:
        writers.sized_before_filled(scan, data, filled=0.6)
    wait_until(lambda: service.wait_for(name, "waiting")["since_s"] > 3 * 0.2, what="three times the time to settle")
    answer = wait_until(lambda: (seen := service.why(name))["reason"] == "truncated" and seen, what="the format check")
    assert answer.get("job") is None
    if how == "grows":
        list(steps)
    else:
        scan.write_bytes(data)
    answer = service.wait_for(name, "done")
    assert (answer["job"], answer["tries"], len(service.metadata(name)["pages"])) == (1, 1, len(sheets))


@pytest.mark.parametrize("name", ["scan.pdf", "scan.tif", "scan.jpg"])
def test_file_that_is_never_completed_is_set_aside_with_a_reason(service: AskedService, tmp_path: Path, name: str) -> None:
    """A transfer that broke off for good (NGX#14219, NG#176, OMP#479): told after `incomplete_max`, mended by the whole file."""
    settings_of_inbox(service, incomplete_max="1s")
    data, scan = (
        scan_bytes(tmp_path, name, *(_SHEETS[:3] if not name.endswith("jpg") else ["a sheet " * 40])),
        service.inbox / name,
    )
    service.start()
    scan.write_bytes(data[: len(data) // 20])
    assert service.wait_for(name, "failed")["reason"] == "corrupt_file"
    assert beside(scan) == set()
    scan.write_bytes(data)
    service.wait_for(name, "done")


_TEMPORARY = [
    *("scan-1.pdf.part", "scan-2.pdf.filepart", "scan-3.pdf.crdownload", "scan-4.pdf.tmp", ".syncthing.scan-5.pdf.tmp"),
    *("~syncthing~scan-6.pdf.tmp", "scan-7.pd~", "._scan-8.pdf", ".scan-9.pdf", ".@__thumb/scan-10.pdf", "@eaDir/scan-11.pdf"),
    "~$scan-12.pdf",
]


def test_uploads_under_temporary_names_are_taken_when_they_get_their_final_ones(service: AskedService, tmp_path: Path) -> None:
    """Uploads in progress, and what a NAS leaves (AUTO#16, PL#485, NG#1509, ST#2208, DS#2993, SP#2893): left as they are."""
    data = scan_bytes(tmp_path, "scan.pdf", "some words")
    service.start()
    for name in _TEMPORARY:
        (service.inbox / name).parent.mkdir(exist_ok=True)
        (service.inbox / name).write_bytes(data)
    scans.write(service.inbox / "good.png", "a good page")
    service.wait_for("good.png", "done")
    assert service.files() == 1
    assert {service.why(name)["state"] for name in _TEMPORARY} == {"ignored"}
    assert {(service.inbox / name).read_bytes() for name in _TEMPORARY} == {data}
    for number, name in enumerate(_TEMPORARY, start=1):
        (service.inbox / name).rename(service.inbox / f"scan-{number}.pdf")
    for number, _ in enumerate(_TEMPORARY, start=1):
        service.wait_for(f"scan-{number}.pdf", "done")
        assert service.text(f"scan-{number}.pdf").strip() == "some words"


# -- nobody looks ----------------------------------------------------------------------------------------------------


def test_files_that_came_while_the_kernels_queue_ran_over_are_all_taken(service: AskedService, tmp_path: Path) -> None:
    """Events are lost when it stands still and much happens (WD#654, WF#348, buck2#1131): the listing finds every file."""
    events_kept = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text(encoding="ascii"))
    data = scan_bytes(tmp_path, "scan.png", "a word")
    service.start()
    scans.write(service.inbox / "first.png", "the first of all")
    service.wait_for("first.png", "done")
    with suspended(service):
        noise = [service.inbox / "noise-1.part", service.inbox / "noise-2.part"]
        for number in range(events_kept):
            noise[number % 2].write_bytes(b"")  # an event at least, and never the same twice in a row
        for number in range(20):
            (service.inbox / f"scan-{number:02}.png").write_bytes(data)
        for number in range(3000):
            (service.inbox / f"later-{number:04}.pdf").touch()
    wait_until(lambda: service.files("done") == 21, timeout_s=30, what="the end of all twenty")
    wait_until(lambda: service.files("waiting") == 3000, timeout_s=30, what="three thousand placeholders seen")
    assert service.files("failed") == 0
    assert service.status()["inboxes"][0]["looks_by"] == "events"


def test_tree_that_is_moved_in_is_taken_whole_and_watched_from_then_on(service: AskedService, tmp_path: Path) -> None:
    """`mv stage/sub inbox/`, three levels deep (NGX#5881): what is in it already, and what comes later, at every level."""
    stage = tmp_path / "stage" / "sub"
    (stage / "one" / "two").mkdir(parents=True)
    folders = ["sub", "sub/one", "sub/one/two"]
    for folder in folders:
        scans.write(tmp_path / "stage" / folder / "before.png", f"before in {folder}")
    service.start()
    stage.rename(service.inbox / "sub")
    for folder in folders:
        service.wait_for(f"{folder}/before.png", "done")
    for folder in folders:
        scans.write(service.inbox / folder / "after.png", "after")
    for folder in folders:
        service.wait_for(f"{folder}/after.png", "done", timeout_s=20)


def test_file_in_a_folder_made_at_the_same_moment_is_taken(service: AskedService, tmp_path: Path) -> None:
    """`mkdir -p a/b/c` and a file in it at once (NGX#5881): the watch on the new folder may come too late for it."""
    data = scan_bytes(tmp_path, "scan.png", "a word")
    service.start()
    paths = [f"{number}/a/b/scan.png" for number in range(20)]
    for path in paths:
        (service.inbox / path).parent.mkdir(parents=True)
        (service.inbox / path).write_bytes(data)
    for path in paths:
        service.wait_for(path, "done", timeout_s=20)


def test_burst_while_it_is_busy_leaves_no_file_behind(service: AskedService, tmp_path: Path) -> None:
    """Many files in a second during a long job (NGX#13011, #1129, #9277: 92 of 200; OMP#485): every one is done."""
    kinds = [scan_bytes(tmp_path, "scan.png", f"a {word}") for word in _SHEETS]
    service.start()
    scans.write(service.inbox / "book.tif", *_BOOK)
    wait_until(lambda: service.why("book.tif").get("pages_done", 0) >= 1, what="the first page of the book")
    for number in range(120):
        (service.inbox / f"scan-{number:03}.png").write_bytes(kinds[number % len(kinds)])
    wait_until(lambda: service.files("done") == 121, timeout_s=60, what="the end of all")
    assert {service.text(f"scan-{number:03}.png").strip() for number in range(120)} == {f"a {word}" for word in _SHEETS}


def test_files_that_arrived_while_it_was_down_are_done_and_the_one_in_transfer_is_waited_for(
    service: AskedService, tmp_path: Path
) -> None:
    """Ten files came while it was down, one is half there at the start (OMP#485, AUTO#21): ten done, the last waited for."""
    service.start()
    assert service.stop() == 0
    names = [f"scan-{number}.png" for number in range(10)]
    for name in names:
        scans.write(service.inbox / name, f"the words of {name}")
    data = scan_bytes(tmp_path, "last.tif", *_SHEETS)
    steps = writers.growing(service.inbox / "last.tif", data, steps=3)
    next(steps)
    service.start()
    for name in names:
        service.wait_for(name, "done")
    assert service.why("last.tif")["state"] == "waiting"
    assert not (service.inbox / "last.tif.txt").exists()
    list(steps)
    service.wait_for("last.tif", "done")
    assert _sheets(service, "last.tif") == _SHEETS


# -- what others do to a scan in work --------------------------------------------------------------------------------


def _chmod(scan: Path) -> None:
    scan.chmod(0o640)


def _utime(scan: Path) -> None:
    os.utime(scan, ns=(0, scan.stat().st_mtime_ns))


def _xattr(scan: Path) -> None:
    os.setxattr(scan, "user.scanned", b"by a virus scanner")


def _read(scan: Path) -> None:
    for _ in range(50):
        scan.read_bytes()


def _link(scan: Path) -> None:
    other = scan.with_name(".backup")
    other.hardlink_to(scan)
    other.replace(scan)
    other.unlink()


def _there_and_back(scan: Path) -> None:
    other = scan.rename(scan.with_name("other.pdf"))
    other.rename(scan)


@pytest.mark.parametrize("touch", [_chmod, _utime, _xattr, _read, _link, _there_and_back])
def test_scan_that_others_touch_in_work_is_one_job(service: AskedService, tmp_path: Path, touch: Callable[[Path], None]) -> None:
    """chmod, utime, xattr, a virus scanner, a rename to the same name (NGX#13511, #494, #1760, #2680, #7319, NG#820): one job."""
    scan = scans.write(service.inbox / "scan.tif", *_BOOK)
    service.start()
    wait_until(lambda: service.why("scan.tif").get("pages_done", 0) >= 1, what="the first page")
    with suspended(service):
        touch(scan)
    answer = service.wait_for("scan.tif", "done")
    assert (answer["job"], answer["tries"], service.files()) == (1, 1, 1)
    assert beside(scan) == {"scan.tif.txt", "scan.tif.json"}
    assert len(_sheets(service, "scan.tif")) == len(_BOOK)


def test_letter_is_not_held_up_by_a_book_of_two_hundred_pages(service: AskedService) -> None:
    """A huge document takes all there is (NGX#9884, #3045, #7871, OMP#1010, DS#776): a letter beside it is done at once."""
    scans.write(service.inbox / "book.pdf", *[f"page {number}" for number in range(200)])
    service.start()
    wait_until(lambda: service.why("book.pdf").get("pages_done", 0) >= 1, what="the first page of the book")
    scans.write(service.inbox / "letter.png", "Dear Sir or Madam")
    service.wait_for("letter.png", "done", timeout_s=20)
    book = service.why("book.pdf")
    assert (book["state"], book["pages"]) == ("spooled", 200)
    assert book["pages_done"] < 100
    assert service.stop() == 0
    service.start()
    assert service.why("book.pdf")["pages_done"] >= book["pages_done"], "what was read is not read again"
