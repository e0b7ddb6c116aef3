"""The model hub as its own library shows it: the cache on this machine, the offer of a repository, the download of a file.

Owns every call of that library and the translation of its errors. Believes nothing: the digests are `fetch`'s matter.
The library is imported by the first call, so that `prepare` comes before.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import queue
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocrwatch.correction.store import PULL, ModelWish
from ocrwatch.errors import MissingPart, ModelUnavailable, OcrwatchError
from ocrwatch.wording import size

_SPARE_BYTES = 64 * 1024 * 1024
_PIECE_BYTES = 256 * 1024  # the library's own pieces are 10 MiB: of a slow line none would be whole before the stall limit
_ROUNDING_S = 2  # that the library waits longer than the hub asks it to
_SET_IT = "set HF_TOKEN (a service has it as the credential hf-token)"
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
    from huggingface_hub import HfApi, errors

    try:
        info = HfApi().model_info(repository(wish), revision=wish.revision or "main", files_metadata=True, timeout=timeout_s)
    except errors.HFValidationError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        remedy = f"check the network, and HF_ENDPOINT where it is set, then {PULL}"
        raise ModelUnavailable(f"what answers for {repository(wish)} is no model hub", remedy) from error
    files = info.siblings or []
    card = info.card_data
    named = [str(card[key]) for key in ("license", "license_name") if card is not None and card.get(key)]
    return Offer(
        commit=info.sha or "",
        licence=" ".join(named) or None,
        sizes_bytes={file.rfilename: file.size or 0 for file in files},
        digests={file.rfilename: file.lfs.sha256 for file in files if file.lfs is not None},
    )


def download(wish: ModelWish, name: str, *, size_bytes: int, stall_s: float, received: Callable[[int], None]) -> Path:
    """The file in the cache, downloaded if need be; `received` is told the count of each piece of bytes.

    The library works in a thread, which is left behind when no byte has come for `stall_s`: end the process then.
    """
    from huggingface_hub import constants, hf_hub_download

    constants.DOWNLOAD_CHUNK_SIZE = _PIECE_BYTES
    pieces: queue.SimpleQueue[int | Future[str]] = queue.SimpleQueue()
    bar: Any = _progress_bar(pieces)
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="download")
    with _refusals(repository(wish), patience_s=stall_s) as refusals:
        task = executor.submit(
            hf_hub_download, repository(wish), name, revision=wish.revision, cache_dir=cache_dir(wish), tqdm_class=bar
        )
        task.add_done_callback(pieces.put)
        while True:
            try:
                piece = pieces.get(timeout=stall_s)
            except queue.Empty as error:
                executor.shutdown(wait=False)
                stalled = ModelUnavailable(f"the download of {name} stalled: no byte for {stall_s:g} s", f"try again, {PULL}")
                raise (refusals[-1] if refusals else stalled) from error
            if not isinstance(piece, int):
                break
            refusals.clear()
            received(piece)
    executor.shutdown()
    try:
        return Path(piece.result())
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _no_room(wish, size_bytes) from error


@contextlib.contextmanager
def _refusals(name: str, *, patience_s: float) -> Iterator[list[OcrwatchError]]:
    """What the hub refuses while the block lasts. The library tries again by itself, but not after a wait beyond `patience_s`."""
    from huggingface_hub import get_session

    refusals: list[OcrwatchError] = []

    def heed(response: Any) -> None:
        if response.status_code >= 400:
            refusals.append(_refused(name, response))
            if (_wait_s(response.headers) or 0) + _ROUNDING_S > patience_s:
                raise refusals[-1]

    hooks = get_session().event_hooks["response"]
    hooks.append(heed)
    try:
        yield refusals
    finally:
        hooks.remove(heed)


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
    if needed_bytes and _free_bytes(cache_dir(wish)) < needed_bytes + _SPARE_BYTES:
        raise _no_room(wish, needed_bytes)


def _no_room(wish: ModelWish, needed_bytes: int) -> ModelUnavailable:
    folder = cache_dir(wish)
    needed, free = map(size, (needed_bytes, _free_bytes(folder)))
    return ModelUnavailable(f"{repository(wish)} takes {needed}, {folder} has {free} free", f"make room, then {PULL}")


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(next(parent for parent in (folder, *folder.parents) if parent.exists())).free


@contextlib.contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn what the library raises about a repository into MissingPart (a person must act) or ModelUnavailable (try again)."""
    from huggingface_hub import errors
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # httpx's or httpx2's, as the library's version has it

    try:
        yield
    except errors.LocalEntryNotFoundError as error:  # what it says after it has asked in vain: why stands in the cause
        raise _translation(name, error.__cause__ or error) from error
    except (errors.HFValidationError, errors.OfflineModeIsEnabled, HTTPError, OSError) as error:
        raise _translation(name, error) from error


def _translation(name: str, error: BaseException) -> OcrwatchError:
    from huggingface_hub import errors

    match error:
        case errors.GatedRepoError():
            return MissingPart(f"the hub does not open {name} to you", f"accept the model's terms there, then {_SET_IT}")
        case errors.RepositoryNotFoundError() | errors.HFValidationError():
            message = f"the hub has no repository {name}, or does not open it to you"
            return MissingPart(message, f"check `model.repo_id`; for a closed one {_SET_IT}")
        case errors.RevisionNotFoundError():
            return MissingPart(f"the hub has no such revision of {name}", "check `model.revision`")
        case errors.HfHubHTTPError():
            return _refused(name, error.response)
        case errors.OfflineModeIsEnabled():
            return ModelUnavailable(f"HF_HUB_OFFLINE forbids to fetch {name}", f"unset it, then {PULL}")
        case OSError(filename=str(path)):
            remedy = f"check its permissions and the disk, then {PULL}"
            return ModelUnavailable(f"{name} could not be fetched: {path}: {error.strerror}", remedy)
    first_line = (str(error).splitlines() or [type(error).__name__])[0]
    return ModelUnavailable(f"{name} could not be fetched: {first_line[:200]}", f"check the network, then {PULL}")


def _refused(name: str, response: Any) -> OcrwatchError:
    """What an answer of the hub means, or of a server of content; addresses of content run out by themselves."""
    from huggingface_hub import constants

    status, is_hub = response.status_code, str(response.url).startswith(constants.ENDPOINT)
    if is_hub and status == 401 and "authorization" in response.request.headers:
        return MissingPart(
            f"the hub does not accept the token that was sent for {name} (401)", f"get a new one there and {_SET_IT}"
        )
    if is_hub and status in (401, 403):
        return MissingPart(f"the hub does not open {name} to you ({status})", f"accept the model's terms there, then {_SET_IT}")
    if is_hub and status == 404:
        return MissingPart(f"the hub has no such file in {name}", "check `model.file` and `model.revision`")
    remedy = f"try again {_when(response.headers)}, {PULL}"
    return ModelUnavailable(f"the hub answered {status} for {name}", remedy, wait_s=_wait_s(response.headers) or 0)


def _when(headers: Mapping[str, str]) -> str:
    wait_s = _wait_s(headers)
    if wait_s is not None:
        return f"in {wait_s} s"
    day = headers.get("Retry-After", "").strip()
    return f"after {day[:40]}" if day else "later"


def _wait_s(headers: Mapping[str, str]) -> int | None:
    """The seconds for which the hub wants to be left alone, by its own header or by HTTP's."""
    told = re.search(r";r=0;t=(\d{1,9})", headers.get("RateLimit", "")) or re.fullmatch(
        r"\s*(\d{1,9})\s*", headers.get("Retry-After", "")
    )
    return int(told[1]) if told else None
