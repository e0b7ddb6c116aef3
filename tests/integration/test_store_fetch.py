"""The model store against a hub on loopback: what is downloaded is right, or it is not there."""

from __future__ import annotations

import fcntl
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.correction.store import Download, ModelFile, ModelWish, Source
from ocrwatch.errors import MissingPart, ModelUnavailable, OcrwatchError, WorkerDied
from ocrwatch.worker.process import WorkerProcess, WorkerSpec
from tests.integration.hub import COMMIT, REPOSITORY, Fault, Hub, digest, serving

NAME = "small-model-q8_0.gguf"
MODEL = b"GGUF" + random.Random(1).randbytes(3_000_000)
DEADLINE_S = 60.0
# Ends the process at its first step towards a network, so that a test cannot overlook one.
NO_NETWORK = """
import os, sys
sys.addaudithook(lambda event, _: event in ("socket.connect", "socket.getaddrinfo", "socket.sendto") and os._exit(99))
"""

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub with one repository: two quantizations and a text."""
    with serving(Hub(files={"README.md": b"# Small", NAME: MODEL, "small-model-q4_k_m.gguf": MODEL[:1_000_000]})) as hub:
        yield hub


@pytest.fixture
def wish(tmp_path: Path) -> ModelWish:
    """The model of the repository, with a cache of its own."""
    return ModelWish(repo_id=REPOSITORY, quantization="int8", download=Download.AUTO, cache_dir=tmp_path / "cache")


@pytest.fixture
def ask(hub: Hub, tmp_path: Path) -> Ask:
    """Ask a fresh worker for one operation; it ends afterwards."""

    def ask(operation: str, wish: ModelWish, *, progress: Any = None, **environment: str) -> dict[str, Any]:
        spec = WorkerSpec(
            module="ocrwatch.correction.fetch",
            options={"state_dir": str(tmp_path / "state"), "stall_s": 2.0},
            environment={"HF_ENDPOINT": hub.url, "HOME": str(tmp_path), **environment},
        )
        worker = WorkerProcess(spec)
        try:
            return worker.call({"op": operation, "wish": wish.to_json()}, deadline_s=DEADLINE_S, progress=progress)
        finally:
            worker.stop()

    return ask


@pytest.fixture
def offline(tmp_path: Path) -> dict[str, str]:
    """Environment in which any step towards a network ends the worker."""
    (tmp_path / "offline").mkdir()
    (tmp_path / "offline" / "sitecustomize.py").write_text(NO_NETWORK)
    return {"PYTHONPATH": f"{tmp_path / 'offline'}:{Path.cwd()}"}


def cached_files(wish: ModelWish) -> list[str]:
    """Everything of some size in the cache, and every link that leads nowhere."""
    assert wish.cache_dir is not None
    found = [path for path in wish.cache_dir.rglob("*") if "blobs" in path.parts or "snapshots" in path.parts]
    return [str(path) for path in found if path.is_symlink() or path.is_file()]


def test_fetch_brings_the_wished_file_and_nothing_else(hub: Hub, wish: ModelWish, ask: Ask) -> None:
    """The quantization decides which file is downloaded; bytes are told on the way; licence and digest come with it."""
    told: list[dict[str, Any]] = []
    file = ModelFile.from_json(ask("fetch", wish, progress=told.append))
    assert file.path.read_bytes() == MODEL
    assert (file.file, file.sha256, file.size_bytes) == (NAME, digest(MODEL), len(MODEL))
    assert (file.source, file.repository, file.revision, file.licence) == (Source.DOWNLOADED, REPOSITORY, COMMIT, "apache-2.0")
    assert told[-1] == {"done_bytes": len(MODEL), "total_bytes": len(MODEL)}
    assert not [request for request in hub.requests if "q4_k_m" in request or "README" in request]


def test_find_needs_no_network_once_the_model_is_there(hub: Hub, wish: ModelWish, ask: Ask, offline: dict[str, str]) -> None:
    """A machine without the internet works from a filled cache, by branch and by commit, and opens no socket."""
    fetched = ModelFile.from_json(ask("fetch", wish))
    for revision in (None, "main", COMMIT):
        found = ModelFile.from_json(ask("find", replace(wish, revision=revision), **offline))
        assert (found.path, found.sha256, found.source) == (fetched.path, fetched.sha256, Source.CACHE)
    assert [entry["file"] for entry in ask("list", wish, **offline)["models"]] == [NAME]
    with pytest.raises(WorkerDied, match="99"):  # the trap is armed: the one operation that needs a network falls into it
        ask("fetch", wish, **offline)


def test_find_says_how_to_get_a_model_that_is_not_there(wish: ModelWish, ask: Ask, offline: dict[str, str]) -> None:
    """An empty cache, and a cache with another quantization only, end in the command that mends it."""
    with pytest.raises(MissingPart, match=r"small-model-GGUF \(main\) is not in the cache .*run: ocrwatch model pull"):
        ask("find", wish, **offline)
    ask("fetch", wish)
    with pytest.raises(MissingPart, match=r"no model of quantization int4 of .* in the cache"):
        ask("find", replace(wish, quantization="int4"), **offline)


def test_fetch_does_not_download_twice(hub: Hub, wish: ModelWish, ask: Ask) -> None:
    """A second pull asks whether there is something newer and moves no content."""
    ask("fetch", wish)
    hub.requests.clear()
    assert ask("fetch", wish)["source"] == Source.CACHE
    assert hub.requests
    assert not [request for request in hub.requests if "/content/" in request]


def test_fetch_is_refused_when_downloads_are_off(hub: Hub, wish: ModelWish, ask: Ask) -> None:
    """`download: never` is kept by the worker itself."""
    with pytest.raises(MissingPart, match="download: never"):
        ask("fetch", replace(wish, download=Download.NEVER))
    assert not hub.requests


def test_fetch_resumes_when_the_connection_breaks_once(hub: Hub, wish: ModelWish, ask: Ask) -> None:
    """A connection that breaks costs no restart: the rest is asked for."""
    hub.fault = Fault.CUT_ONCE
    assert ModelFile.from_json(ask("fetch", wish)).path.read_bytes() == MODEL


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        (Fault.NOT_FOUND, MissingPart, r"no repository example/small-model-GGUF.*check `model\.repo_id`"),
        (Fault.NO_REVISION, MissingPart, r"no such revision of example/small-model-GGUF; check `model\.revision`"),
        (Fault.CLOSED, MissingPart, "does not open example/small-model-GGUF to you.*HF_TOKEN"),
        (Fault.BUSY, ModelUnavailable, "503.*try again later"),
        (Fault.CUT, ModelUnavailable, f"the download of {NAME} stalled"),
        (Fault.STALL, ModelUnavailable, f"the download of {NAME} stalled: no byte for 2 s"),
        (Fault.WRONG_BYTES, ModelUnavailable, "is damaged or another file"),
        (Fault.HUGE, ModelUnavailable, "takes 10000000.00 GB, .* free; make room"),
    ],
)
def test_fetch_accepts_nothing_that_is_not_right(
    hub: Hub, wish: ModelWish, ask: Ask, fault: Fault, kind: type[OcrwatchError], message: str
) -> None:
    """Whatever the hub does, the error is one line with what to do, no model is found, and the next pull succeeds."""
    hub.fault = fault
    with pytest.raises(kind, match=message) as caught:
        ask("fetch", wish)
    assert "\n" not in str(caught.value)
    with pytest.raises(MissingPart):
        ask("find", wish)
    hub.fault = Fault.NONE
    assert ModelFile.from_json(ask("fetch", wish)).path.read_bytes() == MODEL
    assert len(cached_files(wish)) == 2  # the blob and the link to it: nothing is left of the first try


def test_a_hub_that_is_not_there_is_a_fault_of_the_surroundings(wish: ModelWish, ask: Ask) -> None:
    """No network: try again later."""
    with pytest.raises(ModelUnavailable, match=r"could not be fetched: .*check the network"):
        ask("fetch", wish, HF_ENDPOINT="http://127.0.0.1:9")


def test_a_pinned_digest_wins_over_the_hub(hub: Hub, wish: ModelWish, ask: Ask) -> None:
    """`model.sha256` protects against a hub whose content was changed: nothing is downloaded."""
    with pytest.raises(MissingPart, match=r"`model\.sha256` says 0000"):
        ask("fetch", replace(wish, sha256="0" * 64))
    assert not [request for request in hub.requests if "/content/" in request]
    assert ask("fetch", replace(wish, sha256=digest(MODEL)))["sha256"] == digest(MODEL)


def test_a_model_that_was_damaged_on_disk_is_found_out_and_mended(wish: ModelWish, ask: Ask) -> None:
    """A changed file is never used; `verify` sees it even when size and time are the same; a pull replaces it."""
    file = ModelFile.from_json(ask("fetch", wish))
    blob = file.path.resolve()
    times = blob.stat()
    blob.chmod(0o644)
    blob.write_bytes(MODEL[:-1] + b"?")
    with pytest.raises(ModelUnavailable, match=r"damaged.*run: ocrwatch model pull"):
        ask("find", wish)
    assert ask("fetch", wish)["source"] == Source.DOWNLOADED
    blob.write_bytes(MODEL[:-1] + b"?")
    os.utime(blob, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(ModelUnavailable, match="damaged"):
        ask("verify", wish)


def test_a_file_of_ones_own_is_checked_against_the_pinned_digest(tmp_path: Path, ask: Ask, offline: dict[str, str]) -> None:
    """`model.path` and `model.directory` need no hub; a pinned digest counts there too."""
    model = tmp_path / "own.gguf"
    model.write_bytes(MODEL)
    for wish in (ModelWish(path=model, sha256=digest(MODEL)), ModelWish(directory=tmp_path, quantization="int8")):
        assert ask("find", wish, **offline)["path"] == str(model)
    with pytest.raises(ModelUnavailable, match=r"own\.gguf is damaged or another file: .*replace the file"):
        ask("find", ModelWish(path=model, sha256="0" * 64), **offline)


def test_a_model_in_parts_is_fetched_whole(hub: Hub, wish: ModelWish, ask: Ask) -> None:
    """llama.cpp opens the first part and finds the others beside it."""
    parts = {f"big-f16-0000{n}-of-00003.gguf": bytes([n]) * 1000 for n in (1, 2, 3)}
    hub.files |= parts
    file = ModelFile.from_json(ask("fetch", replace(wish, quantization="f16")))
    assert {path.name: path.read_bytes() for path in file.path.parent.iterdir()} == parts
    assert (file.file, file.size_bytes) == ("big-f16-00001-of-00003.gguf", 3000)


def test_fetch_clears_what_killed_downloads_left(wish: ModelWish, ask: Ask) -> None:
    """Orphans of gigabytes go with the next pull; a download that somebody else has under way stays."""
    assert wish.cache_dir is not None
    storage = wish.cache_dir / "models--example--small-model-GGUF"
    locks = wish.cache_dir / ".locks" / storage.name
    (storage / "blobs").mkdir(parents=True)
    locks.mkdir(parents=True)
    orphan, foreign = storage / "blobs" / "aa.1234.incomplete", storage / "blobs" / "bb.1234.incomplete"
    orphan.write_bytes(b"part")
    foreign.write_bytes(b"part")
    with (locks / "bb.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ask("fetch", wish)
    assert not orphan.exists()
    assert foreign.exists()
