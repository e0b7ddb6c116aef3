"""The daemon from outside: the installed command, real Tesseract, real files, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import scans
from tests.faults.daemon import Service, wait_until
from tests.faults.workers import is_running

pytestmark = pytest.mark.acceptance

_WORDS = ["apple", "bread", "chair", "dance", "eagle", "flame", "grape", "house", "island", "jacket", "kitchen", "lemon"]
_BOOK = [f"this is the page of the {word} " + "and many more words to read here " * 20 for word in _WORDS]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that is not started yet."""
    service = Service(tmp_path)
    yield service
    service.end()


def test_scan_becomes_a_text_beside_it(service: Service) -> None:
    """The main job: a file dropped into the inbox has its text a moment later."""
    service.start()
    scans.write(service.inbox / "letter.png", "The quick brown fox\njumps over the lazy dog")
    answer = service.wait_for("letter.png", "done")
    assert service.text("letter.png").split() == ["The", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog"]
    assert service.metadata("letter.png")["complete"] is True
    assert answer["text"] == str(service.inbox / "letter.png.txt")


def test_pages_come_in_order_separated_by_form_feeds(service: Service) -> None:
    """Pages in are pages out."""
    service.start()
    scans.write(service.inbox / "three.tif", "first page", "second page", "third page")
    scans.write(service.inbox / "two.pdf", "alpha sheet", "omega sheet")
    service.wait_for("three.tif", "done")
    service.wait_for("two.pdf", "done")
    assert [p.strip() for p in service.text("three.tif").split("\f")] == ["first page", "second page", "third page"]
    assert [p.strip() for p in service.text("two.pdf").split("\f")] == ["alpha sheet", "omega sheet"]
    assert [p["page"] for p in service.metadata("three.tif")["pages"]] == [1, 2, 3]


def test_files_that_arrived_while_it_was_down_are_taken(service: Service) -> None:
    """Stop it, drop files, start it: they are processed, and what was done is not done again."""
    service.start()
    scans.write(service.inbox / "before.png", "written before")
    service.wait_for("before.png", "done")
    published = (service.inbox / "before.png.txt").stat()
    assert service.stop() == 0
    scans.write(service.inbox / "meanwhile.png", "written meanwhile")
    service.start()
    service.wait_for("meanwhile.png", "done")
    again = (service.inbox / "before.png.txt").stat()
    assert (again.st_ino, again.st_mtime_ns) == (published.st_ino, published.st_mtime_ns)


def test_second_daemon_refuses(service: Service, tmp_path: Path) -> None:
    """On one state directory, and on one inbox, there is one daemon; the second says so and what to do."""
    service.start()
    second = service.command("run")
    assert second.returncode == 2
    assert "another ocrwatch runs on state_dir" in second.stderr
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    other = Service(elsewhere, inboxes=service.settings["inboxes"])
    third = other.command("run")
    assert third.returncode == 2
    assert "another ocrwatch watches" in third.stderr


def test_bad_files_harm_only_themselves(service: Service) -> None:
    """Each ends in a state with a reason, or waits with one; the good one beside them is done."""
    service.start()
    (service.inbox / "empty.pdf").touch()
    (service.inbox / "not-a.pdf").write_bytes(b"MZ\x90\x00 this is a program" * 50)
    (service.inbox / "half.png").write_bytes(scans.write(service.inbox / "x.png", "whole").read_bytes()[:-40])
    (service.inbox / "report.docx").write_bytes(b"PK\x03\x04")
    os.mkfifo(service.inbox / "pipe.pdf")
    (service.inbox / "link.pdf").symlink_to("/etc/passwd")
    scans.write(service.inbox / "good.png", "a good page")
    service.wait_for("good.png", "done")
    assert service.wait_for("not-a.pdf", "failed")["reason"] == "unsupported_file"
    empty = service.why("empty.pdf")
    assert (empty["state"], empty["reason"]) == ("waiting", "empty")
    half = service.wait_for("half.png", "waiting")
    assert half["reason"] in ("truncated", "settling")
    assert service.why("report.docx")["state"] == "ignored"
    for name in ("pipe.pdf", "link.pdf"):
        assert service.why(name)["state"] == "unknown"
        assert not (service.inbox / f"{name}.txt").exists()


def test_replaced_scan_gets_a_new_text(service: Service) -> None:
    """The newer version wins; its text replaces the older one's."""
    service.start()
    scans.write(service.inbox / "scan.png", "first version")
    service.wait_for("scan.png", "done")
    scans.write(service.inbox / "scan.png", "second version of it")
    wait_until(lambda: "second" in service.text("scan.png"), what="the new text")
    service.wait_for("scan.png", "done")


def test_text_that_a_person_edited_is_not_overwritten(service: Service) -> None:
    """A sidecar that is not as we wrote it belongs to somebody else."""
    service.start()
    scans.write(service.inbox / "scan.png", "first version")
    service.wait_for("scan.png", "done")
    (service.inbox / "scan.png.txt").write_text("my own words", encoding="utf-8")
    scans.write(service.inbox / "scan.png", "second version")
    answer = service.wait_for("scan.png", "failed")
    assert answer["reason"] == "foreign_file"
    assert service.text("scan.png") == "my own words"


def test_killed_worker_is_replaced_and_its_page_done(service: Service) -> None:
    """A worker that dies costs a second try, nothing else."""
    service.start()
    scans.write(service.inbox / "many.tif", *_BOOK)
    worker = wait_until(lambda: next((w["pid"] for w in service.status()["workers"] if w["state"] == "busy"), None))
    os.kill(worker, signal.SIGKILL)
    answer = service.wait_for("many.tif", "done")
    assert answer["deaths"] <= 1
    assert service.text("many.tif").count("\f") == 11


def test_killed_daemon_goes_on_where_it_was(service: Service) -> None:
    """kill -9 leaves no process and no half file; the next start finishes the work without doing finished pages again."""
    service.start()
    scans.write(service.inbox / "many.tif", *_BOOK)
    wait_until(lambda: service.why("many.tif").get("pages_done", 0) >= 2, what="two pages")
    children = service.children()
    service.kill()
    wait_until(lambda: not any(is_running(pid) for pid in children), timeout_s=5, what="the end of the workers")
    assert not (service.inbox / "many.tif.txt").exists()
    service.start()
    assert service.why("many.tif")["pages_done"] >= 2
    service.wait_for("many.tif", "done")
    pages = service.text("many.tif").split("\f")
    assert [word for word, page in zip(_WORDS, pages, strict=True) if word not in page] == []
    assert not [p for p in service.inbox.iterdir() if p.name.startswith(".ocrwatch")]


def test_stop_drains_and_leaves_no_process(service: Service) -> None:
    """SIGTERM ends it in time, with status 0, whatever is in work."""
    service.start()
    scans.write(service.inbox / "many.tif", *["many words to read here " * 60 for _ in range(20)])
    wait_until(service.children, what="a worker")
    children = service.children()
    assert service.stop(timeout_s=30) == 0
    assert not any(is_running(pid) for pid in children)


def test_hangup_takes_a_good_configuration_and_refuses_a_bad_one(service: Service, tmp_path: Path) -> None:
    """A mistake in the file does not stop the service; the mended file is taken without losing anything."""
    service.start()
    assert service.process is not None
    inboxes = service.settings["inboxes"]
    service.settings["inboxes"] = [{**inboxes[0], "setle": "1s"}]
    service.write_config()
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "did you mean `settle`?" in service.log.read_text(), what="the refusal")
    assert len(service.status()["inboxes"]) == 1
    more = tmp_path / "more"
    more.mkdir()
    service.settings["inboxes"] = [*inboxes, {"path": str(more), "settle": "300ms"}]
    service.write_config()
    pid = service.process.pid
    service.process.send_signal(signal.SIGHUP)

    def taken() -> dict[str, Any] | None:
        answer = service.command("status", "--json")
        return service.status() if answer.returncode == 0 and len(service.status()["inboxes"]) == 2 else None

    assert wait_until(taken, what="the new configuration")["pid"] == pid
    scans.write(more / "scan.png", "in the new inbox")
    wait_until((more / "scan.png.txt").exists, what="a text in the new inbox")


def test_retry_runs_a_failed_file_again(service: Service) -> None:
    """What failed stays failed until it changes or a person asks."""
    service.start()
    (service.inbox / "x.pdf").write_bytes(b"%PDF-1.4\nnothing of a PDF\n%%EOF\n" + b"%%EOF\n" * 10)
    service.settings["inboxes"][0]["incomplete_max"] = "1s"
    service.write_config()
    assert service.process is not None
    service.process.send_signal(signal.SIGHUP)
    service.wait_for("x.pdf", "failed")
    tries = service.why("x.pdf")["tries"]
    assert service.command("retry", str(service.inbox / "x.pdf")).returncode == 0
    wait_until(lambda: service.why("x.pdf")["tries"] > tries, what="another try")
    service.wait_for("x.pdf", "failed")
    assert service.command("retry", str(service.inbox / "never.pdf")).returncode == 2


def test_finished_scan_is_archived_and_its_text_stays(service: Service, tmp_path: Path) -> None:
    """`after: archive` moves the scan, byte for byte, once its result is final; a new scan of that name is new work."""
    archive = tmp_path / "archive"
    archive.mkdir()
    service.settings["inboxes"][0] |= {"after": "archive", "archive_to": str(archive), "archive_after": "1s"}
    service.write_config()
    service.start()
    (service.inbox / "sub").mkdir()
    content = scans.write(service.inbox / "sub" / "scan.png", "to be kept").read_bytes()
    wait_until(lambda: service.why("sub/scan.png")["state"] == "archived", what="the archive")
    assert (archive / "sub" / "scan.png").read_bytes() == content
    assert not (service.inbox / "sub" / "scan.png").exists()
    assert service.text("sub/scan.png").strip() == "to be kept"
    scans.write(service.inbox / "sub" / "scan.png", "another one")
    wait_until(lambda: "another" in service.text("sub/scan.png"), what="the newer text")


def test_why_answers_without_a_daemon_from_the_journal(service: Service) -> None:
    """At 3 a.m. the service is down, and the question is the same."""
    service.start()
    scans.write(service.inbox / "scan.png", "some words")
    service.wait_for("scan.png", "done")
    service.stop()
    answer = service.command("why", str(service.inbox / "scan.png"))
    assert answer.returncode == 0
    assert "done" in answer.stdout
    assert "no daemon runs" in answer.stderr
    refused = service.command("status")
    assert refused.returncode == 1
    assert "systemctl start" in refused.stderr


def test_parent_stays_small_and_loads_no_engine(service: Service) -> None:
    """OCR, PDF, image and array libraries live in workers only; idle, the parent is small."""
    service.start()
    scans.write(service.inbox / "scan.png", "some words")
    service.wait_for("scan.png", "done")
    mapped = service.mapped()
    for library in ("tesseract", "pdfium", "libllama", "libcuda", "_imaging", "numpy", "libcoreclr", "leptonica"):
        assert library not in mapped, library
    assert service.status()["rss_bytes"] < 80e6


def test_process_command_writes_texts_without_a_daemon(tmp_path: Path) -> None:
    """The same pipeline, now, for these files; a bad file is told on standard error and by the exit code."""
    folder = tmp_path / "scans"
    folder.mkdir()
    scans.write(folder / "one.png", "the first of two")
    (folder / "bad.pdf").write_bytes(b"no PDF at all, but long enough to be looked at")
    run = subprocess.run(
        [sys.executable, "-m", "ocrwatch", "process", str(folder / "one.png"), str(folder / "bad.pdf"), "--mode", "off"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path)},
    )
    assert run.returncode == 1
    assert "one.png: done" in run.stdout
    assert "bad.pdf: failed" in run.stderr
    assert (folder / "one.png.txt").read_text(encoding="utf-8").strip() == "the first of two"
    assert not (folder / "bad.pdf.txt").exists()
