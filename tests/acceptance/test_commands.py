"""The commands that need no daemon, from outside; and that the README tells of every one of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ocrwatch.cli import cli
from ocrwatch.cli_options import absolute
from ocrwatch.errors import UsageError
from ocrwatch.journal.states import JobState
from tests.conftest import PROJECT
from tests.faults import scans
from tests.faults.daemon import wait_until
from tests.faults.models import smollm2

pytestmark = pytest.mark.acceptance

_EXAMPLE = "Invoic # 12345\nTotal: $1O0.00\nDate: 2023-07-15\n"
_CORRECTED = "Invoice # 12345\nTotal: $100.00\nDate: 2023-07-15\n"


def _run(folder: Path, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ocrwatch", *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "XDG_CONFIG_HOME": str(folder), "HF_HOME": str(folder / "hub")},
    )


def _config(folder: Path, **settings: object) -> str:
    inbox = folder / "inbox"
    inbox.mkdir(exist_ok=True)
    whole = {"state_dir": str(folder / "state"), "inboxes": [{"path": str(inbox)}], "correction": {"mode": "off"}, **settings}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    return str(path)


def test_wrong_configuration_lists_every_problem_with_its_line(tmp_path: Path) -> None:
    """One run tells all, and the exit code is that of a wrong configuration."""
    path = tmp_path / "config.yaml"
    path.write_text("inboxes:\n  - path: relative\n    setle: 5s\nmodel:\n  idle_unload: soon\n", encoding="utf-8")
    refused = _run(tmp_path, "check-config", "--config", str(path))
    assert refused.returncode == 2
    assert [line.split(": ")[1:3] for line in refused.stderr.splitlines()] == [
        [f"{path}:2", "inboxes[0].path"],
        [f"{path}:3", "inboxes[0].setle"],
        [f"{path}:5", "model.idle_unload"],
    ]
    assert "did you mean `settle`?" in refused.stderr


def test_missing_configuration_says_what_to_do(tmp_path: Path) -> None:
    """No traceback, exit 2, and the way out."""
    refused = _run(tmp_path, "run", "--config", str(tmp_path / "none.yaml"))
    assert refused.returncode == 2
    assert "copy config.example.yaml there" in refused.stderr


def test_missing_language_names_its_package(tmp_path: Path) -> None:
    """At start and by the doctor, with the exit code of a missing part."""
    config = _config(tmp_path, inboxes=[{"path": str(tmp_path), "languages": ["en", "yo"]}], state_dir="/var/tmp/none")
    for command in ("run", "doctor"):
        refused = _run(tmp_path, command, "--config", config)
        assert refused.returncode == 3, command
        assert "tesseract-ocr-yor" in refused.stderr + refused.stdout


def test_doctor_tells_what_is_wrong_and_what_is_right(tmp_path: Path) -> None:
    """Each finding has its verdict; a folder that is not there has the command that makes it."""
    good = _run(tmp_path, "doctor", "--json", "--config", _config(tmp_path))
    assert good.returncode == 0, good.stdout
    assert "ok" in {finding["verdict"] for finding in json.loads(good.stdout)}
    gone = tmp_path / "gone"
    bad = _run(tmp_path, "doctor", "--config", _config(tmp_path, inboxes=[{"path": str(gone)}]))
    assert bad.returncode == 3
    assert f"mkdir -p {gone}" in bad.stdout


def test_doctor_misses_the_model(tmp_path: Path) -> None:
    """No model in the cache is a finding with its command."""
    found = _run(tmp_path, "doctor", "--config", _config(tmp_path, correction={"mode": "rescore"}))
    assert found.returncode == 3
    assert "ocrwatch model pull" in found.stdout


def test_ocr_prints_raw_pages_separated_by_form_feeds(tmp_path: Path) -> None:
    """Nothing else goes to standard output."""
    folder = tmp_path / "scans"
    folder.mkdir()
    scan = scans.write(folder / "two.tif", "first page", "second page")
    done = _run(tmp_path, "ocr", str(scan))
    assert done.returncode == 0, done.stderr
    assert [page.strip() for page in done.stdout.split("\f")] == ["first page", "second page"]


def test_ocr_of_a_broken_file_says_why(tmp_path: Path) -> None:
    """One line, exit 1."""
    broken = tmp_path / "x.pdf"
    broken.write_bytes(b"nothing of a PDF")
    refused = _run(tmp_path, "ocr", str(broken))
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize("mode", ["rescore", "rewrite"])
def test_correct_mends_the_example_exactly(tmp_path: Path, mode: str) -> None:
    """The worked example, from standard input, with a 135M model."""
    done = _run(tmp_path, "correct", "--model", str(smollm2()), "--mode", mode, "--profile", "financial", text=_EXAMPLE)
    assert done.returncode == 0, done.stderr
    assert done.stdout == _CORRECTED


def test_correct_lists_its_edits_as_json(tmp_path: Path) -> None:
    """Every change with offset, reason and score."""
    done = _run(tmp_path, "correct", "--model", str(smollm2()), "--json", text=_EXAMPLE)
    answer = json.loads(done.stdout)
    assert answer["text"] == _CORRECTED
    edits = [(e["offset"], e["before"], e["after"], e["reason"]) for e in answer["pages"][0]["edits"]]
    assert edits == [(0, "Invoic", "Invoice", "word"), (22, "$1O0.00", "$100.00", "letter_to_digit")]


def test_correct_without_a_model_names_the_command(tmp_path: Path) -> None:
    """Exit 3 and one line."""
    refused = _run(tmp_path, "correct", text="some words")
    assert refused.returncode == 3
    assert "ocrwatch model pull" in refused.stderr


def test_process_shows_its_progress_on_a_terminal(tmp_path: Path) -> None:
    """Whoever watches sees how far it is; a pipe gets plain lines only."""
    folder = tmp_path / "scans"
    folder.mkdir()
    scan = scans.write(folder / "x.png", "some words")
    master, terminal = os.openpty()
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-m", "ocrwatch", "process", str(scan), "--mode", "off"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=terminal, env=environment) as process:
        os.close(terminal)
        shown = _everything_shown(master)  # a terminal holds a few kB: whoever writes more waits for a reader
        assert process.stdout is not None
        told = process.stdout.read().decode()
    assert process.returncode == 0
    assert told.startswith(f"{scan}: done")
    assert "1/1" in shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_process_that_is_ended_leaves_nothing_of_the_document(tmp_path: Path, number: int) -> None:
    """Its copies are in a folder for temporary files, where others' commands never look again."""
    (tmp_path / "tmp").mkdir()
    scan = scans.write(tmp_path / "x.tif", *[f"some words of page {page}" for page in range(1, 31)])
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "TMPDIR": str(tmp_path / "tmp")}
    hearing = ["env", "--default-signal=HUP"]  # it stays ignored where it was, as below `nohup`
    command = [*hearing, sys.executable, "-m", "ocrwatch", "process", str(scan), "--mode", "off"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) as process:
        wait_until(lambda: list((tmp_path / "tmp").glob("ocrwatch-*/jobs/*/source")), what="the copy of the scan")
        process.send_signal(number)
        told, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert b"Traceback" not in told
    assert os.listdir(tmp_path / "tmp") == []
    assert sorted(os.listdir(tmp_path)) == ["tmp", "x.tif"]


def _everything_shown(master: int) -> str:
    """What was written to a terminal until its last writer went."""
    shown = b""
    with contextlib.suppress(OSError):  # EIO: nobody has the other end open any more
        while block := os.read(master, 1 << 16):
            shown += block
    os.close(master)
    return shown.decode()


def test_process_refuses_texts_that_would_collide(tmp_path: Path) -> None:
    """Two scans of one name into one folder: nothing is overwritten, nothing is done."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        scans.write(tmp_path / name / "x.png", name)
    refused = _run(tmp_path, "process", str(tmp_path / "a/x.png"), str(tmp_path / "b/x.png"), "-o", str(tmp_path))
    assert refused.returncode == 2
    assert "would have the same text" in refused.stderr


def test_file_is_named_as_the_shell_shows_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An inbox may be configured by a symlink; `cd` goes through that, and the kernel tells only where it leads."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "scans").symlink_to("disk")
    monkeypatch.chdir(tmp_path / "scans")
    assert absolute("a.pdf") == f"{tmp_path}/disk/a.pdf"
    monkeypatch.setenv("PWD", f"{tmp_path}/scans")
    assert absolute("a.pdf") == f"{tmp_path}/scans/a.pdf"
    assert absolute("../b.pdf") == f"{tmp_path}/b.pdf"
    assert absolute("/etc/../c.pdf") == "/c.pdf"
    monkeypatch.setenv("PWD", str(tmp_path))
    assert absolute("a.pdf") == f"{tmp_path}/disk/a.pdf"


def test_file_of_a_folder_that_is_gone_is_asked_for_by_its_whole_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, no traceback."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UsageError, match=r"the working directory is gone.*name the whole path"):
        absolute("a.pdf")


def test_model_is_listed_and_verified(tmp_path: Path) -> None:
    """A folder of models needs no hub."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "m.gguf").symlink_to(smollm2())
    config = _config(tmp_path, model={"directory": str(models)})
    assert str(models / "m.gguf") in _run(tmp_path, "model", "list", "--config", config).stdout
    verified = _run(tmp_path, "model", "verify", "--config", config)
    assert verified.returncode == 0, verified.stderr
    assert "sha256 b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53" in verified.stdout


def test_readme_tells_of_every_command_and_state() -> None:
    """What is not described cannot be operated."""
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    missing = [name for name in cli.commands if f"ocrwatch {name}" not in readme]
    missing += [state for state in JobState if f"`{state}`" not in readme]
    assert missing == []
