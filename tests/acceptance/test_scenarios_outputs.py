"""Texts that must not go astray: scans that change in work, names that collide or are odd, places that cannot be written."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.faults import disks, scans, writers
from tests.faults.daemon import wait_until
from tests.faults.outside import AskedService, beside, litter, make_writable, scan_bytes, settings_of_inbox, tampered

pytestmark = pytest.mark.acceptance

_OLD = [f"this is the old page {number} " + "and many more words to read here " * 20 for number in range(10)]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[AskedService]:
    """A service that is not started yet."""
    service = AskedService(tmp_path)
    yield service
    service.end()


def _is_of(service: AskedService, name: str, data: bytes) -> bool:
    return bool(service.metadata(name)["source"]["sha256"] == hashlib.sha256(data).hexdigest())


# -- scans that change -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [writers.replace, writers.rewrite_in_place, Path.write_bytes])
def test_file_replaced_during_recognition_is_not_published(
    service: AskedService, tmp_path: Path, change: Callable[[Path, bytes], object]
) -> None:
    """A name is used again while its scan is in work (workflow_ocr#36, AUTO#23, NAPS#823): the old text is not published."""
    new = scan_bytes(tmp_path, "scan.tif", "the new scan")
    scan = scans.write(service.inbox / "scan.tif", *_OLD)
    service.start()
    wait_until(lambda: service.why("scan.tif").get("pages_done", 0) >= 1, what="the first page")
    change(scan, new)
    wait_until(scan.with_name("scan.tif.txt").exists, timeout_s=20, what="a text")
    assert service.text("scan.tif").strip() == "the new scan", "the first text that is there is that of the new scan"
    service.wait_for("scan.tif", "done")
    wait_until(lambda: service.status()["jobs_active"] == 0, what="the end of the old scan's job")
    assert service.text("scan.tif").strip() == "the new scan"
    assert _is_of(service, "scan.tif", new)
    assert scan.read_bytes() == new
    assert beside(scan) == {"scan.tif.txt", "scan.tif.json"}


@pytest.mark.parametrize("nth", [1, 2], ids=["JSON", "text"])
def test_file_replaced_right_before_publication_has_its_own_text_in_the_end(
    service: AskedService, tmp_path: Path, nth: int
) -> None:
    """A name is used again between the last look and the rename of the sidecar (AUTO#23, NAPS#823): the new scan's text wins."""
    new = scan_bytes(tmp_path, "scan.png", "the new scan")
    scan = service.inbox / "scan.png"
    service.start()
    with tampered(service, "renameat2", "delay_enter=2s", nth=nth):
        scan.write_bytes(scan_bytes(tmp_path, "scan.png", "the old scan"))
        visible = {"scan.png.json"} if nth == 2 else set()
        wait_until(lambda: litter(service.inbox) and beside(scan) - set(litter(service.inbox)) == visible, what="the rename")
        writers.replace(scan, new)
        wait_until(lambda: service.why("scan.png")["job"] == 2, what="the new scan's job")
    wait_until(lambda: scan.with_name("scan.png.txt").exists() and "new" in service.text("scan.png"), what="the new text")
    service.wait_for("scan.png", "done")
    wait_until(lambda: service.status()["jobs_active"] == 0, what="the end of the old scan's job")
    assert "new" in service.text("scan.png")
    assert _is_of(service, "scan.png", new)
    assert scan.read_bytes() == new
    assert beside(scan) == {"scan.png.txt", "scan.png.json"}
    wait_until(lambda: not list((tmp_path / "state" / "jobs").glob("*")), what="a spool without litter", timeout_s=10)
    assert "unforeseen" not in service.log.read_text()


def test_scan_that_is_only_touched_keeps_one_text(service: AskedService) -> None:
    """A later time and the same bytes (NGX#494, #1760): read again at most, and one whole text at any time."""
    scan = scans.write(service.inbox / "scan.png", "the same words")
    service.start()
    service.wait_for("scan.png", "done")
    first = service.why("scan.png")["job"]
    status = scan.stat()
    os.utime(scan, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
    with scan.open("ab"):
        pass  # a close after writing nothing: a change of times alone brings no event
    wait_until(lambda: service.why("scan.png")["job"] > first, what="the look at it")
    while service.why("scan.png")["state"] != "done":
        assert service.text("scan.png").strip() == "the same words"
    assert beside(scan) == {"scan.png.txt", "scan.png.json"}
    assert service.files() == 1


# -- failures that go away -------------------------------------------------------------------------------------------


def test_output_that_was_read_only_is_written_to_as_soon_as_it_can_be(service: AskedService, tmp_path: Path) -> None:
    """A failure of the surroundings goes away (NGX#9698, #8329, #5036, AUTO#13): done without a restart, the file not blamed."""
    with disks.mounted(tmp_path / "texts") as output:
        settings_of_inbox(service, output={"directory": str(output)})
        disks.make_read_only(output)
        service.start()
        scans.write(service.inbox / "scan.png", "some words")
        answer = service.wait_for("scan.png", "deferred")
        assert answer["reason"] == "output_unwritable"
        assert answer["next_try_s"] > 0
        make_writable(output)
        answer = service.wait_for("scan.png", "done")
        assert answer["deaths"] == 0
        assert (output / "scan.png.txt").read_text(encoding="utf-8").strip() == "some words"
        assert litter(output) == []


@pytest.mark.parametrize("put", [writers.replace, writers.rewrite_in_place])
def test_file_that_failed_is_done_when_it_is_mended(
    service: AskedService, tmp_path: Path, put: Callable[[Path, bytes], None]
) -> None:
    """A failure sticks to a name until the next restart (NGX#9698, #12511, NG#853, #1159): a good file under it is done."""
    scan = service.inbox / "scan.png"
    scan.write_bytes(b"MZ\x90\x00 this is a program" * 50)
    service.start()
    assert service.wait_for("scan.png", "failed")["reason"] == "unsupported_file"
    put(scan, scan_bytes(tmp_path, "scan.png", "a good page"))
    service.wait_for("scan.png", "done")
    assert service.text("scan.png").strip() == "a good page"


def test_full_output_shows_no_part_of_a_text_and_is_written_to_when_there_is_room(service: AskedService, tmp_path: Path) -> None:
    """No space left (NGX#8329, #3649, #3787, AUTO#24): nothing is visible, and it is done when there is room."""
    with disks.mounted(tmp_path / "texts") as output:
        settings_of_inbox(service, output={"directory": str(output)})
        service.start()
        hog = disks.fill(output)
        scans.write(service.inbox / "scan.tif", "some words", "and others")
        answer = service.wait_for("scan.tif", "deferred")
        assert answer["reason"] == "output_unwritable"
        assert list(output.iterdir()) == [hog]
        hog.unlink()
        answer = service.wait_for("scan.tif", "done")
        assert (answer["pages"], answer["deaths"]) == (2, 0)
        assert {path.name for path in output.iterdir()} == {"scan.tif.txt", "scan.tif.json"}


def test_full_state_disk_loses_no_file(service: AskedService, tmp_path: Path) -> None:
    """No space for journal and copies (NGX#5036, #3787): the daemon stays, and takes every file when there is room again."""
    with disks.mounted(tmp_path / "state", options="size=4m") as state:
        service.start()
        hog = disks.fill(state)
        first = scans.write(service.inbox / "first.png", "the first scan")
        wait_until(lambda: "free some space" in service.log.read_text() or "does not take it" in service.log.read_text())
        assert beside(first) == set()
        hog.unlink()
        scans.write(service.inbox / "second.png", "the second scan")
        for name in ("first", "second"):
            service.wait_for(f"{name}.png", "done", timeout_s=60)
            assert service.text(f"{name}.png").strip() == f"the {name} scan"
        service.stop()


# -- outputs and inboxes ---------------------------------------------------------------------------------------------


def test_outputs_in_the_inbox_are_never_taken_for_scans(service: AskedService) -> None:
    """What it writes, it reads, and writes again (OMP#484, PM#594, GPT#949, PAI#77): one file in, one file known, for ever."""
    settings_of_inbox(service, watch="poll", poll="200ms")
    scan = scans.write(service.inbox / "scan.pdf", "some words")
    service.start()
    first = service.wait_for("scan.pdf", "done")
    published = scan.with_name("scan.pdf.txt").stat()
    for number in range(3):  # each is found by a later listing than the one before
        scans.write(service.inbox / f"later-{number}.png", f"a later page {number}")
        service.wait_for(f"later-{number}.png", "done")
    assert service.files() == 4
    assert service.why("scan.pdf")["events"] == first["events"]
    assert {service.why(f"scan.pdf{end}")["state"] for end in (".txt", ".json")} == {"ignored"}
    again = scan.with_name("scan.pdf.txt").stat()
    assert (again.st_ino, again.st_mtime_ns) == (published.st_ino, published.st_mtime_ns)


def test_inbox_that_is_read_only_is_read_and_mirrored_elsewhere(service: AskedService, tmp_path: Path) -> None:
    """Nothing can be moved or marked in the inbox (OMP#484, GPT#817, SP#7720): each scan is done once, restart or not."""
    output = tmp_path / "texts"
    output.mkdir()
    settings_of_inbox(service, output={"directory": str(output)})
    with disks.mounted(service.inbox, options="size=8m"):
        (service.inbox / "sub").mkdir()
        scan = scans.write(service.inbox / "sub" / "scan.png", "some words")
        disks.make_read_only(service.inbox)
        service.start()
        service.wait_for("sub/scan.png", "done")
        text = output / "sub" / "scan.png.txt"
        assert text.read_text(encoding="utf-8").strip() == "some words"
        published = text.stat()
        service.stop()
        service.start()
        assert service.why("sub/scan.png")["tries"] == 1
        assert (text.stat().st_ino, text.stat().st_mtime_ns) == (published.st_ino, published.st_mtime_ns)
        assert beside(scan) == set()
        service.stop()


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("naming", ["append", "replace"])
def test_scans_that_differ_in_suffix_case_or_folder_have_texts_of_their_own(
    service: AskedService, tmp_path: Path, naming: str
) -> None:
    """One stem, many scans (OMP's watcher flattens, bernmic/ocrmypdf-watchdog#1, sjain882/OCRmyPDF-WinGUI#1): no text is lost."""
    output = tmp_path / "texts"
    output.mkdir()
    settings_of_inbox(service, output={"directory": str(output), "name": naming})
    names = ["scan.pdf", "scan.tif", "Scan.pdf", "a/scan.pdf", "b/scan.pdf", "a/b/scan.pdf"]
    for name in names:
        (service.inbox / name).parent.mkdir(parents=True, exist_ok=True)
        scans.write(service.inbox / name, f"this is {name.replace('/', ' in ')}")
    (service.inbox / "scan.PDF").write_bytes(scan_bytes(tmp_path, "scan.pdf", "capitals"))
    service.start()
    texts = [Path(service.wait_for(name, "done")["text"]) for name in [*names, "scan.PDF"]]
    assert len(set(texts)) == len(texts)
    assert {path.read_text(encoding="utf-8").strip() for path in texts[:-1]} == {
        f"this is {name.replace('/', ' in ')}" for name in names
    }
    assert texts[-1].read_text(encoding="utf-8").strip() == "capitals"
    assert sorted(path for path in output.rglob("*.txt")) == sorted(texts)


@pytest.mark.parametrize("taken", ["scan.txt", "scan.json"])
def test_file_of_a_person_in_the_way_is_not_overwritten(service: AskedService, taken: str) -> None:
    """`scan.txt` was there before (AUTO#23, sjain882/OCRmyPDF-WinGUI#1): it stays as it is, and the scan says so."""
    settings_of_inbox(service, output={"name": "replace"})
    (service.inbox / taken).write_text("my own words", encoding="utf-8")
    scans.write(service.inbox / "scan.pdf", "recognized words")
    scans.write(service.inbox / "other.pdf", "other words")
    service.start()
    assert service.wait_for("scan.pdf", "failed")["reason"] == "foreign_file"
    service.wait_for("other.pdf", "done")
    assert (service.inbox / taken).read_text(encoding="utf-8") == "my own words"
    assert beside(service.inbox / taken) == {"scan.pdf", "other.pdf", "other.txt", "other.json"}
    (service.inbox / taken).unlink()
    assert service.command("retry", str(service.inbox / "scan.pdf")).returncode == 0
    service.wait_for("scan.pdf", "done")
    assert (service.inbox / "scan.txt").read_text(encoding="utf-8").strip() == "recognized words"


_NAMES = {
    "not UTF-8": b"scan-\xe4.png",
    "newline": b"two\nlines.png",
    "escape": b"\x1b[2Jscreen.png",
    "dash": b"-rf.png",
    "blanks": b" .. .png",
    "quotes": b'it\'s "$(touch x)" `y` %s {0}.png',
    "composed": unicodedata.normalize("NFC", "Übergröße.png").encode(),
    "decomposed": unicodedata.normalize("NFD", "Übergröße.png").encode(),
    "longest": b"x" * 251 + b".png",
    "longest, not ASCII": "ä".encode() * 125 + b"a.png",
    "longest but for its end": b"x" * 250 + b"y.png",
    "right to left": "\u202egnp.scan.png".encode(),
}


def test_odd_names_are_done_and_told_safely(service: AskedService, tmp_path: Path) -> None:
    """Names of any bytes, of 255 too (PL#341, NG#1737, NGX#3338, Umi-OCR#1008, lib2opds#24): each has its text."""
    names = [os.fsdecode(name) for name in _NAMES.values()]
    service.start()
    for number, name in enumerate(names):
        (service.inbox / name).write_bytes(scan_bytes(tmp_path, "scan.png", f"words {number}"))
    texts = [Path(service.wait_for(name, "done")["text"]) for name in names]
    assert [path.read_text(encoding="utf-8").strip() for path in texts] == [f"words {number}" for number in range(len(names))]
    assert len(list(service.inbox.iterdir())) == 3 * len(names)
    for path in service.inbox.glob("*.json"):
        path.read_text(encoding="utf-8")
    for name in names:
        told = service.command("why", str(service.inbox / name))
        assert told.returncode == 0, told.stderr
        assert "done" in told.stdout
        assert "\x1b" not in told.stdout
    assert service.command("status").returncode == 0
    log = service.log.read_text(encoding="utf-8")
    assert "\x1b" not in log
    assert not [line for line in log.splitlines() if line.startswith("lines.png")]


# -- hOCR --------------------------------------------------------------------------------------------------------------


def test_hocr_tells_where_the_words_stand(service: AskedService) -> None:
    """Read as any reader of hOCR reads it, beside the text, with the page's size and each word in its place."""
    service.settings["inboxes"][0]["output"] = {"hocr": True}
    service.write_config()
    service.start()
    scan = scans.write(service.inbox / "scan.tif", "the first page", "and the second")
    service.wait_for("scan.tif", "done")
    assert beside(scan) == {"scan.tif.txt", "scan.tif.json", "scan.tif.hocr"}
    document = ElementTree.fromstring(scan.with_name("scan.tif.hocr").read_bytes())
    pages = [element for element in document.iter() if element.get("class") == "ocr_page"]
    assert [page.get("title", "").split("; ")[1] for page in pages] == ["ppageno 0", "ppageno 1"]
    for page, text in zip(pages, service.text("scan.tif").split("\f"), strict=True):
        words = [element for element in page.iter() if element.get("class") == "ocrx_word"]
        assert [word.text for word in words] == text.split()
        lefts = [int(word.get("title", "").split()[1]) for word in words]
        assert lefts == sorted(set(lefts))
