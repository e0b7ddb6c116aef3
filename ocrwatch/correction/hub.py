"""The model hub as its own library shows it: the cache on this machine, the offer of a repository, the download of a file.

Owns every call of that library and the translation of its errors. Believes nothing: the digests are `fetch`'s matter.
The library is imported by the first call, so that `prepare` comes before.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocrwatch.correction.store import PULL, ModelWish
from ocrwatch.errors import MissingPart, ModelUnavailable, OcrwatchError

_SPARE_BYTES = 64 * 1024 * 1024
# Read when the library is imported. Xet can hang on a token (xet-core#795) and knows no sha256; nothing is to be asked or told
# beside the request itself; blobs shared between caches are linked to hashes that nobody here can check.
_SETTINGS = {
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_HUB_DISABLE_SHARED_BLOBS": "1",
}


@dataclass(frozen=True)
class Offer:
    """What the hub has: the commit, the licence as the card names it, size and sha256 by file name."""

    commit: str
    licence: str | None
    sizes_bytes: dict[str, int]
    digests: dict[str, str]


@dataclass(frozen=True)
class CachedFile:
    """A file in the cache. blob: the name of its content there, which is the sha256 that the hub gave for a large file."""

    path: Path
    blob: str


@dataclass(frozen=True)
class CachedRevision:
    """One commit of a repository in the cache, the branches and tags that point at it, and its files by name."""

    repository: str
    commit: str
    refs: frozenset[str]
    files: dict[str, CachedFile]


def prepare() -> None:
    """Set the library up, once, in the process that is going to use it."""
    os.environ.update(_SETTINGS)


def cache_dir(wish: ModelWish) -> Path:
    """The cache: the wish's, else where the hub's own tools have it."""
    from huggingface_hub import constants

    return wish.cache_dir or Path(constants.HF_HUB_CACHE)


def storage(wish: ModelWish) -> Path:
    """The folder of the wish's repository in the cache."""
    return cache_dir(wish) / f"models--{repository(wish).replace('/', '--')}"


def repository(wish: ModelWish) -> str:
    """The repository of the wish. Raises MissingPart when there is none."""
    if wish.repo_id is None:
        raise MissingPart("no model is configured", "set `model.repo_id`, `model.directory` or `model.path`")
    return wish.repo_id


def cached_revisions(folder: Path) -> Iterator[CachedRevision]:
    """What models the cache holds, in a fixed order; opens no socket."""
    from huggingface_hub import scan_cache_dir

    if not folder.is_dir():
        return
    for repo in sorted(scan_cache_dir(folder).repos, key=lambda r: r.repo_id):
        if repo.repo_type != "model":
            continue
        for revision in sorted(repo.revisions, key=lambda r: r.commit_hash):
            files = {
                file.file_path.relative_to(revision.snapshot_path).as_posix(): CachedFile(file.file_path, file.blob_path.name)
                for file in revision.files
            }
            yield CachedRevision(repo.repo_id, revision.commit_hash, revision.refs, files)


def ask(wish: ModelWish, *, timeout_s: float) -> Offer:
    """What the hub has of the wish's repository and revision."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(repository(wish), revision=wish.revision or "main", files_metadata=True, timeout=timeout_s)
    files = info.siblings or []
    card = info.card_data
    named = [str(card[key]) for key in ("license", "license_name") if card is not None and card.get(key)]
    return Offer(
        commit=info.sha or "",
        licence=" ".join(named) or None,
        sizes_bytes={file.rfilename: file.size or 0 for file in files},
        digests={file.rfilename: file.lfs.sha256 for file in files if file.lfs is not None},
    )


def download(wish: ModelWish, name: str, *, stall_s: float, received: Callable[[int], None]) -> Path:
    """The file in the cache, downloaded if need be; `received` is told the count of each piece of bytes.

    The library works in a thread, which is left behind when no byte has come for `stall_s`: end the process then.
    """
    from huggingface_hub import hf_hub_download

    pieces: queue.SimpleQueue[int | Future[str]] = queue.SimpleQueue()
    bar: Any = _progress_bar(pieces)
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="download")
    task = executor.submit(
        hf_hub_download, repository(wish), name, revision=wish.revision, cache_dir=cache_dir(wish), tqdm_class=bar
    )
    task.add_done_callback(pieces.put)
    while True:
        try:
            piece = pieces.get(timeout=stall_s)
        except queue.Empty as error:
            executor.shutdown(wait=False)
            raise ModelUnavailable(f"the download of {name} stalled: no byte for {stall_s:g} s", f"try again, {PULL}") from error
        if not isinstance(piece, int):
            executor.shutdown()
            return Path(piece.result())
        received(piece)


def _progress_bar(pieces: queue.SimpleQueue[int | Future[str]]) -> type:
    class Bar:
        """As much of a progress bar as the hub's library uses."""

        def __init__(self, *_: object, **__: object) -> None: ...

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None: ...

        def update(self, count: float | None = 1) -> None:
            pieces.put(int(count or 0))

    return Bar


def clear_orphans(folder: Path) -> None:
    """Remove what killed downloads have left of a repository: gigabytes that the library neither resumes nor removes."""
    for orphan in (folder / "blobs").glob("*.incomplete"):
        lock = folder.parent / ".locks" / folder.name / f"{orphan.name.split('.')[0]}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("a") as file, contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held by whoever is downloading it at this moment
            orphan.unlink(missing_ok=True)


def make_sure_of_room(wish: ModelWish, needed_bytes: int) -> None:
    """Raise ModelUnavailable when the cache's file system has no room for so many bytes more."""
    folder = cache_dir(wish)
    free_bytes = shutil.disk_usage(next(parent for parent in (folder, *folder.parents) if parent.exists())).free
    if needed_bytes and free_bytes < needed_bytes + _SPARE_BYTES:
        needed, free = (f"{n / 10**9:.2f} GB" for n in (needed_bytes, free_bytes))
        raise ModelUnavailable(f"{repository(wish)} takes {needed}, {folder} has {free} free", f"make room, then {PULL}")


@contextlib.contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn what the library raises about a repository into MissingPart (a person must act) or ModelUnavailable (try again)."""
    from huggingface_hub import errors
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # httpx's or httpx2's, as the library's version has it

    try:
        yield
    except OcrwatchError:
        raise
    except errors.GatedRepoError as error:
        raise MissingPart(f"the hub does not open {name} to you", "accept the model's terms there and set HF_TOKEN") from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        message = f"the hub has no repository {name}, or does not open it to you"
        raise MissingPart(message, "check `model.repo_id`; for a closed one set HF_TOKEN") from error
    except errors.RevisionNotFoundError as error:
        raise MissingPart(f"the hub has no such revision of {name}", "check `model.revision`") from error
    except errors.HfHubHTTPError as error:
        raise _refused(name, error.response.status_code) from error
    except errors.OfflineModeIsEnabled as error:
        raise ModelUnavailable(f"HF_HUB_OFFLINE forbids to fetch {name}", f"unset it, then {PULL}") from error
    except (HTTPError, OSError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelUnavailable(f"{name} could not be fetched: {first_line[:200]}", f"check the network, then {PULL}") from error


def _refused(name: str, status: int) -> OcrwatchError:
    if status in (401, 403):
        return MissingPart(f"the hub does not open {name} to you ({status})", "accept the model's terms there and set HF_TOKEN")
    if status == 404:
        return MissingPart(f"the hub has no such file in {name}", "check `model.file` and `model.revision`")
    return ModelUnavailable(f"the hub answered {status} for {name}", f"try again later, {PULL}")
