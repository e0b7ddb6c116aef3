"""The model store against a hub on loopback: what is downloaded is right, or it is not there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.correction.store import Doing, Download, ModelFile, ModelWish, Source
from ocrwatch.errors import MissingPart, ModelUnavailable, OcrwatchError, WorkerDied
from ocrwatch.worker.process import WorkerProcess, WorkerSpec
from tests.faults import disks
from tests.integration.hub import (
    COMMIT,
    CONTENT,
    LATER_COMMIT,
    REPOSITORY,
    RESOLVE,
    TOKEN,
    Fault,
    Hub,
    digest,
    serving,
)

NAME = "small-model-q8_0.gguf"
MODEL = b"GGUF" + random.Random(1).randbytes(3_000_000)
DEADLINE_S = 60.0
STALL_S = 2.0
# Ends the process at its first step towards a network, so that a test cannot overlook one.
NO_NETWORK = """
import os, socket, sys
STEPS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
FAMILIES = (socket.AF_INET, socket.AF_INET6)
sys.addaudithook(lambda event, of: (event in STEPS or event == "socket.__new__" and of[1] in FAMILIES) and os._exit(99))
"""

Start = Callable[..., contextlib.AbstractContextManager[WorkerProcess]]
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
def start(hub: Hub, tmp_path: Path) -> Start:
    """A fresh worker for the time of a block."""

    @contextlib.contextmanager
    def start(**environment: str) -> Iterator[WorkerProcess]:
        spec = WorkerSpec(
            module="ocrwatch.correction.fetch",
            options={"state_dir": str(tmp_path / "state"), "stall_s": STALL_S},
            environment={"HF_ENDPOINT": hub.url, "HOME": str(tmp_path), **environment},
        )
        worker = WorkerProcess(spec)
        try:
            yield worker
        finally:
            worker.stop()

    return start


@pytest.fixture
def ask(start: Start) -> Ask:
    """Ask a fresh worker for one operation; it ends afterwards."""

    def ask(operation: str, wish: ModelWish, *, progress: Any = None, **environment: str) -> dict[str, Any]:
        with start(**environment) as worker:
            return fetched(worker, wish, operation=operation, progress=progress)

    return ask


def fetched(worker: WorkerProcess, wish: ModelWish, *, operation: str = "fetch", progress: Any = None) -> dict[str, Any]:
    """What a worker answers."""
    return worker.call({"op": operation, "wish": wish.to_json()}, deadline_s=DEADLINE_S, progress=progress)


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
    for doing in Doing:
        sizes = [frame["done_bytes"] for frame in told if frame["doing"] == doing]
        assert sizes == sorted(sizes)
        assert sizes[-1] == len(MODEL)
    assert {frame["total_bytes"] for frame in told} == {len(MODEL)}
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
        (Fault.TOKEN, MissingPart, "does not open example/small-model-GGUF to you.*HF_TOKEN"),
        (Fault.UNAUTHORIZED, MissingPart, "does not open .* to you.*HF_TOKEN"),
        (Fault.FORBIDDEN, MissingPart, r"does not open example/small-model-GGUF to you \(403\).*HF_TOKEN"),
        (Fault.TOO_MANY, ModelUnavailable, r"429.*try again in 3600 s, run: ocrwatch model pull"),
        (Fault.BROKEN, ModelUnavailable, "500.*try again later"),
        (Fault.BAD_GATEWAY, ModelUnavailable, "502.*try again later"),
        (Fault.BUSY, ModelUnavailable, "503.*try again later"),
        (Fault.PORTAL, ModelUnavailable, "what answers .* is no model hub.*check the network"),
        (Fault.CUT, ModelUnavailable, f"the download of {NAME} stalled"),
        (Fault.STALL, ModelUnavailable, f"the download of {NAME} stalled: no byte for 2 s"),
        (Fault.WRONG_BYTES, ModelUnavailable, "is damaged or another file"),
        (Fault.HUGE, ModelUnavailable, "takes 10000000.0 GB, .* free; make room"),
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
    assert fault is not Fault.HUGE or not [request for request in hub.requests if CONTENT in request]
    with pytest.raises(MissingPart):
        ask("find", wish)
    hub.fault = Fault.NONE
    assert ModelFile.from_json(ask("fetch", wish)).path.read_bytes() == MODEL
    assert len(cached_files(wish)) == 2  # the blob and the link to it: nothing is left of the first try


@pytest.mark.parametrize("where", [RESOLVE, CONTENT])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault.FORBIDDEN, "403"),
        (Fault.TOO_MANY, r"429.*try again in 3600 s, run: ocrwatch model pull"),
        (Fault.BROKEN, "500.*try again"),
        (Fault.BAD_GATEWAY, "502.*try again"),
        (Fault.BUSY, "503.*try again"),
        (Fault.PORTAL, "is damaged|could not be fetched"),
    ],
)
def test_fetch_tells_what_the_hub_answered_after_a_good_beginning(
    hub: Hub, wish: ModelWish, ask: Ask, where: str, fault: Fault, message: str
) -> None:
    """The hub's library tries again by itself; the wait is bounded, and the answer is told rather than a stalled download."""
    hub.fault, hub.where = fault, where
    with pytest.raises((MissingPart, ModelUnavailable), match=message) as caught:
        ask("fetch", wish)
    assert "\n" not in str(caught.value)
    with pytest.raises((MissingPart, ModelUnavailable)):
        ask("find", wish)
    hub.fault = Fault.NONE
    assert ModelFile.from_json(ask("fetch", wish)).path.read_bytes() == MODEL
    assert len(cached_files(wish)) == 2


def test_content_that_is_refused_in_mid_download_is_tried_again_later(hub: Hub, wish: ModelWish, ask: Ask) -> None:
    """An address of content runs out within the hour: no person has to act, the next try gets a new one."""
    hub.fault, hub.where = Fault.FORBIDDEN, CONTENT
    with pytest.raises(ModelUnavailable, match=r"403.*try again"):
        ask("fetch", wish)


@pytest.mark.parametrize("wait", [{"Retry-After": "0"}, {"RateLimit": '"api";r=0;t=0'}])
def test_a_short_wait_that_the_hub_asks_for_is_kept(hub: Hub, wish: ModelWish, ask: Ask, wait: dict[str, str]) -> None:
    """A download of gigabytes is not given up for a second."""
    hub.fault, hub.where, hub.wait, hub.lasts = Fault.TOO_MANY, CONTENT, wait, 1
    assert ask("fetch", wish)["source"] == Source.DOWNLOADED
    assert len([request for request in hub.requests if CONTENT in request]) == 2


@pytest.mark.parametrize(
    ("wait", "told", "wait_s"),
    [
        ({"RateLimit": '"resolvers";r=0;t=240'}, "try again in 240 s", 240),
        ({"Retry-After": "3600"}, "try again in 3600 s", 3600),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, "try again after Wed, 21 Oct 2026 07:28:00 GMT", 0),
        ({"Retry-After": "9" * 5000}, "try again after 9999", 0),
        ({}, "try again later", 0),
    ],
    ids=["rate limit", "seconds", "day", "absurd", "none"],
)
def test_a_hub_that_is_asked_too_often_says_when_to_come_back(
    hub: Hub, wish: ModelWish, ask: Ask, wait: dict[str, str], told: str, wait_s: float
) -> None:
    """However the hub tells the time to wait, the administrator reads it; a number of seconds the service heeds as well."""
    hub.fault, hub.wait = Fault.TOO_MANY, wait
    with pytest.raises(ModelUnavailable, match=f"429.*{told}.*, run: ocrwatch model pull") as caught:
        ask("fetch", wish)
    assert caught.value.wait_s == wait_s


def test_a_slow_line_is_no_stalled_one(hub: Hub, wish: ModelWish, ask: Ask) -> None:
    """Bytes that come steadily may take as long as they do: the limit is on silence."""
    hub.fault = Fault.SLOW
    assert ask("fetch", wish)["source"] == Source.DOWNLOADED


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


def test_a_hub_reaches_no_file_outside_the_cache(hub: Hub, wish: ModelWish, ask: Ask, tmp_path: Path) -> None:
    """Digests are names of files in the cache: what is none, a path for one, is refused before anything is touched."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"not the hub's")
    (tmp_path / "cache" / "models--example--small-model-GGUF" / "blobs").mkdir(parents=True)
    hub.fault = Fault.NO_DIGEST
    with pytest.raises(MissingPart, match="gives no sha256 of"):
        ask("fetch", wish)
    assert victim.read_bytes() == b"not the hub's"


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


def test_a_worker_killed_at_half_leaves_nothing_that_is_taken_for_a_model(
    hub: Hub, wish: ModelWish, start: Start, ask: Ask
) -> None:
    """The power goes in mid-download: no model is found, and the next pull clears up and brings it."""
    with start() as worker:
        hub.at_half = worker.kill
        with pytest.raises(WorkerDied, match="SIGKILL"):
            fetched(worker, wish)
    assert [path.endswith(".incomplete") for path in cached_files(wish)] == [True]
    with pytest.raises(MissingPart, match="run: ocrwatch model pull"):
        ask("find", wish)
    assert ModelFile.from_json(ask("fetch", wish)).path.read_bytes() == MODEL
    assert len(cached_files(wish)) == 2


@pytest.mark.parametrize("fault", [Fault.NONE, Fault.WRONG_BYTES])
def test_a_worker_killed_before_its_check_installs_nothing_unchecked(
    hub: Hub, wish: ModelWish, start: Start, ask: Ask, tmp_path: Path, fault: Fault
) -> None:
    """The hub's library puts a file in its place before anybody has checked it: whoever finds it there checks it."""
    memory = tmp_path / "state" / "model-digests.json"
    memory.parent.mkdir()
    os.mkfifo(memory)  # looked into right before the check, which then waits for somebody to write
    hub.fault = fault
    with start() as worker:

        def kill_in_the_check() -> None:
            with memory.open("wb"):
                worker.kill()

        killer = threading.Thread(target=kill_in_the_check)
        killer.start()
        with pytest.raises(WorkerDied, match="SIGKILL"):
            fetched(worker, wish)
        killer.join()
    memory.unlink()
    hub.fault = Fault.NONE
    assert len(cached_files(wish)) == 2
    if fault is Fault.NONE:
        assert ask("find", wish)["sha256"] == digest(MODEL)
    else:
        with pytest.raises(ModelUnavailable, match=r"damaged.*run: ocrwatch model pull"):
            ask("find", wish)
    assert ModelFile.from_json(ask("fetch", wish)).path.read_bytes() == MODEL
    assert len(cached_files(wish)) == 2


def fill(folder: Path) -> None:
    """What somebody else does to a disk in mid-download."""
    disks.fill(folder)


def test_a_disk_that_fills_up_on_the_way_is_told_and_leaves_nothing(hub: Hub, wish: ModelWish, ask: Ask, tmp_path: Path) -> None:
    """There was room at the beginning, somebody else took it: the line says which disk, how much there is and is needed."""
    with disks.mounted(tmp_path / "cache", options="size=80m") as cache:
        hub.at_half = lambda: fill(cache)
        with pytest.raises(ModelUnavailable, match=r"takes 3 MB, .*/cache has .* MB free; make room, then run") as caught:
            ask("fetch", wish)
        assert "\n" not in str(caught.value)
        assert cached_files(wish) == []
        with pytest.raises(MissingPart):
            ask("find", wish)
        (cache / ".hog").unlink()
        assert ModelFile.from_json(ask("fetch", wish)).path.read_bytes() == MODEL


def test_a_cache_that_cannot_be_written_is_named(wish: ModelWish, ask: Ask, tmp_path: Path) -> None:
    """Not every failure of a download is one of the network."""
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(ModelUnavailable, match=r"could not be fetched: .*/cache.*: .*check its permissions and the disk"):
        ask("fetch", wish)


def test_a_branch_that_moves_in_mid_download_gives_no_mixed_model(hub: Hub, wish: ModelWish, ask: Ask) -> None:
    """The parts of a model are of one commit, the one that was asked about; the next pull takes the later one whole."""
    old = {f"big-f16-0000{n}-of-00002.gguf": b"old" + bytes([n]) * 1000 for n in (1, 2)}
    new = {name: b"new" + data[3:] for name, data in old.items()}
    hub.files |= old

    def move() -> None:
        hub.files |= new
        hub.commit = LATER_COMMIT

    hub.at_half = move
    split = replace(wish, quantization="f16")
    with pytest.raises(ModelUnavailable, match=r"small-model-GGUF changed while it was downloaded; run: ocrwatch model pull"):
        ask("fetch", split)
    with pytest.raises((MissingPart, ModelUnavailable)):
        ask("find", split)
    file = ModelFile.from_json(ask("fetch", split))
    assert {path.name: path.read_bytes() for path in file.path.parent.iterdir()} == new
    assert file.revision == LATER_COMMIT


def test_the_right_token_opens_a_closed_repository(hub: Hub, wish: ModelWish, ask: Ask, tmp_path: Path) -> None:
    """From the environment or from a file, as a service's credential is; it goes to the hub and to nobody else."""
    hub.fault = Fault.TOKEN
    credential = tmp_path / "hf-token"
    credential.write_text(TOKEN + "\n")
    assert ask("fetch", wish, HF_TOKEN=TOKEN)["source"] == Source.DOWNLOADED
    assert ask("fetch", replace(wish, quantization="q4_k_m"), HF_TOKEN_PATH=str(credential))["source"] == Source.DOWNLOADED
    sent = {path.startswith(CONTENT): authorization for path, authorization in hub.authorizations}
    assert sent == {False: f"Bearer {TOKEN}", True: None}


def test_a_wrong_token_is_told_from_none(hub: Hub, wish: ModelWish, ask: Ask) -> None:
    """Who has set a token and reads `set a token` looks in the wrong place; the token itself is told to nobody."""
    hub.fault = Fault.TOKEN
    with pytest.raises(MissingPart, match=r"does not accept the token .*example/small-model-GGUF.*HF_TOKEN") as caught:
        ask("fetch", wish, HF_TOKEN="hf_some_other_token")
    assert "hf_some_other_token" not in str(caught.value)
    assert ("/api/models/example/small-model-GGUF/revision/main?blobs=true", "Bearer hf_some_other_token") in hub.authorizations


def test_a_token_is_in_no_word_of_a_worker_that_dies(hub: Hub, wish: ModelWish, start: Start) -> None:
    """The last words of a worker go to the log."""
    hub.fault = Fault.CUT_ONCE  # the hub's library says something about it
    with start(HF_TOKEN=TOKEN) as worker:
        hub.at_half = worker.kill
        with pytest.raises(WorkerDied) as caught:
            fetched(worker, wish)
    assert TOKEN not in str(caught.value)


def test_a_damaged_model_is_fetched_anew_from_the_cache_only(hub: Hub, wish: ModelWish, ask: Ask, tmp_path: Path) -> None:
    """What the hub brought is the hub's to mend; a file of one's own is never touched."""
    file = ModelFile.from_json(ask("fetch", wish))
    file.path.resolve().write_bytes(b"another model")
    assert not file.is_unchanged()
    mended = ModelFile.from_json(ask("fetch", wish))
    assert mended.is_unchanged()
    assert mended.path.read_bytes() == MODEL
    own = tmp_path / "own.gguf"
    own.write_bytes(b"another model")
    hub.requests.clear()
    with pytest.raises(ModelUnavailable, match="is damaged or another file"):
        ask("fetch", ModelWish(path=own, sha256=digest(MODEL), download=Download.AUTO))
    assert own.read_bytes() == b"another model"
    assert not hub.requests


def test_every_part_of_a_model_of_ones_own_is_read(tmp_path: Path, ask: Ask) -> None:
    """A disk that cannot read the third part is found out by `verify`, not by the first page."""
    parts = [tmp_path / f"big-f16-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    for part in parts:
        part.write_bytes(b"x" * 1000)
    told: list[dict[str, Any]] = []
    file = ModelFile.from_json(ask("verify", ModelWish(path=parts[0]), progress=told.append))
    assert (told[-1]["done_bytes"], told[-1]["total_bytes"]) == (3000, 3000)
    assert file.size_bytes == 3000
    assert file.is_unchanged()
    parts[2].write_bytes(b"y" * 1000)
    assert not file.is_unchanged()


def test_list_tells_of_the_one_file_that_a_path_names(tmp_path: Path, wish: ModelWish, ask: Ask) -> None:
    """With `model.path` the hub's cache is of no interest."""
    ask("fetch", wish)
    own = tmp_path / "own.gguf"
    own.write_bytes(MODEL)
    (tmp_path / "beside.gguf").write_bytes(MODEL)
    assert [entry["path"] for entry in ask("list", replace(wish, path=own))["models"]] == [str(own)]
