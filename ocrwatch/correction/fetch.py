"""Worker: finds the correction model on this machine, and fetches it from the model hub.

Owns the decision what is right: nothing counts as found before its sha256 is. What the hub's library does is `hub`'s matter.

Options: `state_dir` (digests are remembered there; may be absent), `stall_s` (a download that gets no byte for so long fails).
Operations, each with `wish` (a ModelWish as JSON); the first three reply a ModelFile:

    find    what is here; opens no socket
    verify  the same, reading the whole file again instead of trusting the memory
    fetch   asks the hub, downloads what is not here
    list    what is in the directory or the cache, without checking it

Progress frames say what is under way, of all parts of the model together: `doing` (a Doing), `done_bytes`, `total_bytes`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ocrwatch.correction import hub
from ocrwatch.correction.store import (
    PULL,
    Digests,
    Doing,
    Download,
    ModelFile,
    ModelWish,
    Source,
    Stamp,
    check,
    choose,
    files_in,
    gguf_models,
    local_parts,
    stamp_of,
)
from ocrwatch.errors import MissingPart, ModelUnavailable
from ocrwatch.worker import child

_STALL_S = 60.0
_SHA256 = re.compile(r"[0-9a-f]{64}")


def start(options: child.Message) -> tuple[child.Message, dict[str, child.Handler]]:
    """The operations of this worker; the hub's library is not imported yet."""
    hub.prepare()
    state_dir = options.get("state_dir")
    digests = Digests(Path(state_dir) / "model-digests.json" if state_dir else None)
    keeper = Keeper(digests, stall_s=float(options.get("stall_s", _STALL_S)))

    def answer(operation: Callable[[ModelWish], ModelFile]) -> child.Handler:
        return lambda request: operation(ModelWish.from_json(request["wish"])).to_json()

    return {}, {
        "find": answer(keeper.find),
        "verify": answer(lambda wish: keeper.find(wish, recompute=True)),
        "fetch": answer(keeper.fetch),
        "list": lambda request: {"models": keeper.everything(ModelWish.from_json(request["wish"]))},
    }


class Keeper:
    """Finds and fetches models. stall_s: seconds without a byte after which a download fails."""

    def __init__(self, digests: Digests, *, stall_s: float) -> None:
        self._digests = digests
        self._stall_s = stall_s

    def find(self, wish: ModelWish, *, recompute: bool = False) -> ModelFile:
        """The wished model if it is on this machine and right. Raises MissingPart or ModelUnavailable."""
        if wish.path is None and wish.directory is None:
            return self._find_in_cache(wish, recompute=recompute)
        parts = local_parts(wish)
        stamp = _stamp(parts[0])
        digest, *_ = self._digests_of(parts, recompute=recompute)
        check(parts[0], expected=wish.sha256, actual=digest, remedy="replace the file, or mend `model.sha256`")
        source = Source.DIRECTORY if wish.path is None else Source.PATH
        return ModelFile(
            path=parts[0], file=parts[0].name, sha256=digest, size_bytes=_size_bytes(stamp), source=source, stamp=stamp
        )

    def fetch(self, wish: ModelWish) -> ModelFile:
        """The wished model, downloaded where it is not here. Raises MissingPart or ModelUnavailable."""
        if wish.path is not None or wish.directory is not None:
            return self.find(wish)
        repository = hub.repository(wish)
        if wish.download is Download.NEVER:
            raise MissingPart(f"`model.download: never` keeps {repository} from being fetched", PULL)
        with hub.translated(repository):
            offer = hub.ask(wish, timeout_s=self._stall_s)
            names = choose(offer.sizes_bytes, file=wish.file, quantization=wish.quantization, where=f"in {repository}")
            expected = {name: _expected(wish, offer, name, first=name == names[0]) for name in names}
            hub.clear_orphans(hub.storage(wish))
            lacking = [name for name in names if not self._is_there(hub.storage(wish) / "blobs" / expected[name], expected[name])]
            hub.make_sure_of_room(wish, sum(offer.sizes_bytes[name] for name in lacking))
            self._check_all(self._download_all(wish, offer, names), list(expected.values()))
        found = self._find_in_cache(wish)
        return replace(found, source=Source.DOWNLOADED if lacking else Source.CACHE, licence=offer.licence)

    def everything(self, wish: ModelWish) -> list[dict[str, Any]]:
        """The model at the wish's path, or those in its directory, or else in the hub's cache, as JSON objects."""
        if wish.path is not None:
            return [_entry(local_parts(wish))]
        if wish.directory is not None:
            folder = wish.directory
            return [_entry([folder / name for name in parts]) for parts in gguf_models(files_in(folder))]
        return [
            {"repository": revision.repository, "revision": revision.commit}
            | _entry([revision.files[name].path for name in parts])
            for revision in hub.cached_revisions(hub.cache_dir(wish))
            for parts in gguf_models(revision.files)
        ]

    def _find_in_cache(self, wish: ModelWish, *, recompute: bool = False) -> ModelFile:
        revision = _cached_revision(wish)
        names = choose(
            revision.files, file=wish.file, quantization=wish.quantization, where=f"of {revision.repository} in the cache"
        )
        files = [revision.files[name] for name in names]
        stamp = _stamp(files[0].path)
        digests = self._digests_of([file.path for file in files], recompute=recompute)
        # The hub's library names a blob by the sha256 that the hub gave; it never looks whether that is so.
        expected = [file.blob if _SHA256.fullmatch(file.blob) else None for file in files]
        expected[0] = wish.sha256 or expected[0]
        for file, wanted, digest in zip(files, expected, digests, strict=True):
            check(file.path, expected=wanted, actual=digest)
        return ModelFile(
            path=files[0].path,
            file=names[0],
            sha256=digests[0],
            size_bytes=_size_bytes(stamp),
            source=Source.CACHE,
            stamp=stamp,
            repository=revision.repository,
            revision=revision.commit,
        )

    def _digests_of(self, paths: Sequence[Path], *, recompute: bool = False) -> list[str]:
        """The sha256 of each file; how far it is, is told of all together."""
        digests, sizes = list[str](), [path.stat().st_size for path in paths]
        for number, path in enumerate(paths):
            report = functools.partial(_report_check, before_bytes=sum(sizes[:number]), all_bytes=sum(sizes))
            digests.append(self._digests.sha256(path.resolve(), progress=report, recompute=recompute))
        return digests

    def _is_there(self, blob: Path, expected: str) -> bool:
        if not blob.exists():
            return False
        if self._digests_of([blob]) == [expected]:
            return True
        blob.unlink()
        return False

    def _download_all(self, wish: ModelWish, offer: hub.Offer, names: Sequence[str]) -> list[Path]:
        done, total = 0, sum(offer.sizes_bytes[name] for name in names)
        paths: list[Path] = []

        def received(count: int) -> None:
            nonlocal done
            done += count
            _report(Doing.DOWNLOADING, done, total)

        for name in names:
            path = hub.download(wish, name, size_bytes=offer.sizes_bytes[name], stall_s=self._stall_s, received=received)
            if offer.commit not in path.parts:
                raise ModelUnavailable(f"{hub.repository(wish)} changed while it was downloaded", PULL)
            paths.append(path)
        return paths

    def _check_all(self, paths: Sequence[Path], expected: Sequence[str]) -> None:
        """Take away what is not as it should be. Raises ModelUnavailable for the first."""
        wrong: list[ModelUnavailable] = []
        for path, wanted, actual in zip(paths, expected, self._digests_of(paths), strict=True):
            try:
                check(path, expected=wanted, actual=actual)
            except ModelUnavailable as error:
                wrong.append(error)
                path.resolve().unlink(missing_ok=True)
                path.unlink(missing_ok=True)
        if wrong:
            raise wrong[0]


def _cached_revision(wish: ModelWish) -> hub.CachedRevision:
    repository, wanted = hub.repository(wish), wish.revision or "main"
    for revision in hub.cached_revisions(hub.cache_dir(wish)):
        if revision.repository == repository and (wanted in revision.refs or wanted == revision.commit):
            return revision
    raise MissingPart(f"the model {repository} ({wanted}) is not in the cache {hub.cache_dir(wish)}", PULL)


def _expected(wish: ModelWish, offer: hub.Offer, name: str, *, first: bool) -> str:
    told = offer.digests.get(name)
    if told is not None and not _SHA256.fullmatch(told):
        told = None  # names a file of the cache further on
    if first and wish.sha256 is not None:
        if told not in (None, wish.sha256):
            message = f"the hub has {name} with sha256 {told}, `model.sha256` says {wish.sha256}"
            raise MissingPart(message, "pin the right `model.revision`")
        return wish.sha256
    if told is None:
        raise MissingPart(f"the hub gives no sha256 of {name}, so it cannot be checked", "set `model.sha256`")
    return told


def _report(doing: Doing, done_bytes: int, total_bytes: int) -> None:
    child.progress(doing=doing, done_bytes=done_bytes, total_bytes=total_bytes)


def _report_check(done_bytes: int, _: int, *, before_bytes: int, all_bytes: int) -> None:
    _report(Doing.CHECKING, before_bytes + done_bytes, all_bytes)


def _stamp(path: Path) -> Stamp:
    """Size and time of the model's parts, to be taken before they are read: what changes meanwhile is seen."""
    try:
        return stamp_of(path)
    except OSError as error:
        raise ModelUnavailable(f"cannot read the model {path}: {error.strerror}", "check its permissions and the disk") from error


def _size_bytes(stamp: Stamp) -> int:
    return sum(size for size, _ in stamp)


def _entry(parts: Sequence[Path]) -> dict[str, Any]:
    return {
        "path": str(parts[0]),
        "file": parts[0].name,
        "parts": len(parts),
        "size_bytes": sum(part.stat().st_size for part in parts),
    }


if __name__ == "__main__":
    child.serve(start)
