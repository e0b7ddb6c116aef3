"""Which file is the correction model: what is wished, which of the files at hand it is, whether its content is right.

Owns the choice by name, `model.path`, `model.directory` and the memory of digests. The cache of the model hub, and the
network, belong to `fetch`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ocrwatch.correction import split
from ocrwatch.errors import MissingPart, ModelUnavailable

PULL = "run: ocrwatch model pull"
Progress = Callable[[int, int], None]
"""Told how many bytes are done, of how many."""
Stamp = tuple[tuple[int, int], ...]
"""Size in bytes and time of change in nanoseconds of each part of a model."""

HUB_VARIABLES = (
    *("HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "HOME", "XDG_CACHE_HOME"),
    *("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)
"""Variables of the environment that the `fetch` worker is to be given: where the hub and its cache are, and how to get there."""

_ALIASES = {"int8": "q8_0", "int4": "q4_k_m", "float16": "f16", "fp16": "f16", "float32": "f32", "fp32": "f32"}
_BLOCK_BYTES = 4 * 1024 * 1024
_LISTED = 8


class Download(StrEnum):
    """Whether a model that is not here may be fetched."""

    AUTO = "auto"  # when it is needed
    NEVER = "never"  # only by `ocrwatch model pull`


class Doing(StrEnum):
    """What a progress frame of the `fetch` worker counts."""

    DOWNLOADING = "downloading"  # bytes that came from the hub
    CHECKING = "checking"  # bytes read for the sha256


class Source(StrEnum):
    """Where a model was found."""

    PATH = "path"  # model.path
    DIRECTORY = "directory"  # model.directory
    CACHE = "cache"  # the cache of the model hub, as it was
    DOWNLOADED = "downloaded"  # the same, fetched by this request


@dataclass(frozen=True)
class ModelWish:
    """The model that the configuration asks for; the first of path, directory and repo_id that is set counts.

    file, quantization: the one among several; `quantization` as `int8`, `q8_0`, `q4_k_m`. The sole model of a directory is taken
    whatever its quantization.
    revision: branch, tag or commit of the repository; None is `main`.
    sha256: what the file must have (of a model in parts: the first part).
    cache_dir: the hub's cache; None is where the hub's own tools have it.
    """

    path: Path | None = None
    directory: Path | None = None
    repo_id: str | None = None
    file: str | None = None
    quantization: str | None = None
    revision: str | None = None
    sha256: str | None = None
    download: Download = Download.NEVER
    cache_dir: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """The wish as a JSON object, for a frame."""
        return asdict(self) | {name: _text(getattr(self, name)) for name in ("path", "directory", "cache_dir")}

    @staticmethod
    def from_json(data: dict[str, Any]) -> ModelWish:
        """The wish of `to_json`. Raises TypeError or ValueError on anything else."""
        paths = {name: _path(data.get(name)) for name in ("path", "directory", "cache_dir")}
        return ModelWish(**(data | paths | {"download": Download(data.get("download", Download.NEVER))}))


@dataclass(frozen=True)
class ModelFile:
    """A model that is here and whole.

    path, sha256: of the file, or the first part; llama.cpp finds the others beside it. size_bytes: of all parts.
    repository, revision: where it came from, the revision as a commit; None for a file that was just there.
    licence: as the model card names it; known only right after asking the hub.
    stamp: size and time of change of every part when they were checked; empty where nobody looked.
    """

    path: Path
    file: str
    sha256: str
    size_bytes: int
    source: Source
    repository: str | None = None
    revision: str | None = None
    licence: str | None = None
    stamp: Stamp = ()

    def is_unchanged(self) -> bool:
        """Whether its parts are still the files that were checked; looks at them without reading any."""
        try:
            return self.stamp == stamp_of(self.path)
        except OSError:
            return False

    def to_json(self) -> dict[str, Any]:
        """The file as a JSON object, for a frame."""
        return asdict(self) | {"path": str(self.path)}

    @staticmethod
    def from_json(data: dict[str, Any]) -> ModelFile:
        """The file of `to_json`. Raises KeyError, TypeError or ValueError on anything else."""
        stamp = tuple((int(size), int(mtime_ns)) for size, mtime_ns in data.get("stamp", ()))
        return ModelFile(**(data | {"path": Path(data["path"]), "source": Source(data["source"]), "stamp": stamp}))


def stamp_of(path: Path) -> Stamp:
    """Size and time of change of a model's file, or of all parts beside a first one. Raises OSError where one is not there."""
    parts = (path.with_name(name) for name in split.names_of(path.name))
    return tuple((status.st_size, status.st_mtime_ns) for status in map(os.stat, parts))


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def choose(names: Iterable[str], *, file: str | None, quantization: str | None, where: str) -> tuple[str, ...]:
    """The wished model among file names: one name, or all parts of one in order. `where` says in errors whose names they are.

    Raises MissingPart, listing what there is, when none or several fit or a part is missing.
    """
    models = gguf_models(names)
    if not models:
        raise MissingPart(f"there is no .gguf file {where}", PULL)
    if file is not None:
        fitting, wanted = [parts for parts in models if file in parts], f"model {file}"
    elif quantization is not None:
        fitting, wanted = [p for p in models if has_quantization(p[0], quantization)], f"model of quantization {quantization}"
    else:
        fitting, wanted = models, "model"
    if len(fitting) != 1:
        count = "more than one" if fitting else "no"
        raise MissingPart(f"there is {count} {wanted} {where}, but {_listing(fitting or models)}", "name one as `model.file`")
    return _whole(fitting[0], where)


def has_quantization(name: str, quantization: str) -> bool:
    """Whether a file name bears the quantization: `model-Q8_0.gguf` for `q8_0` or `int8`; `bf16` is not `f16`."""
    wanted = _ALIASES.get(quantization.lower(), quantization.lower())
    return re.search(rf"(?<![a-z0-9]){re.escape(wanted)}(?![a-z0-9_])", name.lower()) is not None


def gguf_models(names: Iterable[str]) -> list[tuple[str, ...]]:
    """The models among file names, each with its parts in order."""
    groups: dict[tuple[str, int], list[str]] = {}
    for name in sorted(names):
        # A projector for images is no model by itself.
        if not name.lower().endswith(".gguf") or os.path.basename(name).lower().startswith("mmproj"):
            continue
        part = split.part_of(name)
        groups.setdefault((part.stem, part.total) if part else (name, 1), []).append(name)
    return [tuple(parts) for parts in groups.values()]


def _whole(parts: tuple[str, ...], where: str) -> tuple[str, ...]:
    first = split.part_of(parts[0])
    if first is not None:
        there = {part.number for part in map(split.part_of, parts) if part is not None}
        lacking = [str(number) for number in range(1, first.total + 1) if number not in there]
        if lacking:
            raise MissingPart(f"part {', '.join(lacking)} of {first.total} of {first.stem} is not {where}", PULL)
    return parts


def _listing(models: Sequence[tuple[str, ...]]) -> str:
    names = [parts[0] for parts in models[:_LISTED]]
    return ", ".join(names) + (f" and {len(models) - _LISTED} more" if len(models) > _LISTED else "")


def local_parts(wish: ModelWish) -> tuple[Path, ...]:
    """The parts of the model that `model.path` or `model.directory` name. Raises MissingPart when there is none."""
    if wish.path is not None:
        return _parts_at(wish.path)
    if wish.directory is None:
        raise ValueError("the wish names neither a path nor a directory")
    names = files_in(wish.directory)
    # Whoever puts one model into a folder means that one.
    quantization = wish.quantization if len(gguf_models(names)) > 1 else None
    chosen = choose(names, file=wish.file, quantization=quantization, where=f"in {wish.directory}")
    return tuple(wish.directory / name for name in chosen)


def _parts_at(path: Path) -> tuple[Path, ...]:
    if not path.is_file():
        raise MissingPart(f"there is no model at {path}", "set `model.path` to a .gguf file")
    if split.part_of(path.name) is None:
        return (path,)
    chosen = choose(files_in(path.parent), file=path.name, quantization=None, where=f"in {path.parent}")
    return tuple(path.parent / name for name in chosen)


def files_in(folder: Path) -> list[str]:
    """The names of the files in a folder. Raises MissingPart when it cannot be listed."""
    try:
        return [entry.name for entry in os.scandir(folder) if entry.is_file()]
    except OSError as error:
        raise MissingPart(
            f"cannot list {folder}: {error.strerror}", "set `model.directory` to a folder of .gguf files"
        ) from error


class Digests:
    """The sha256 of files, each computed once: remembered by path, size and modification time in a JSON file.

    memory: where, or None to remember only while this object lives. The file may vanish or be rubbish at any time: then they are
    computed again.
    """

    def __init__(self, memory: Path | None) -> None:
        self._memory = memory
        self._seen: dict[str, Any] = {}

    def sha256(self, path: Path, *, progress: Progress, recompute: bool = False) -> str:
        """The digest of the file's content. Raises ModelUnavailable when it cannot be read."""
        try:
            status = path.stat()
            key, identity = str(path), [status.st_size, status.st_mtime_ns]
            known = self._load() | self._seen
            match known.get(key):
                case {"identity": remembered, "sha256": str(digest)} if remembered == identity and not recompute:
                    return digest
            digest = _sha256(path, progress)
        except OSError as error:
            raise ModelUnavailable(
                f"cannot read the model {path}: {error.strerror}", "check its permissions and the disk"
            ) from error
        self._seen[key] = {"identity": identity, "sha256": digest}
        self._save(known | self._seen)
        return digest

    def _load(self) -> dict[str, Any]:
        if self._memory is None:
            return {}
        try:
            data = json.loads(self._memory.read_bytes())
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}

    def _save(self, known: dict[str, Any]) -> None:
        if self._memory is None:
            return
        # A memory that cannot be kept costs seconds at the next start, nothing else.
        with contextlib.suppress(OSError):
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.ExitStack() as undo:
                with tempfile.NamedTemporaryFile("w", dir=self._memory.parent, prefix=".digests-", delete=False) as file:
                    undo.callback(os.unlink, file.name)
                    json.dump({path: entry for path, entry in known.items() if os.path.exists(path)}, file, indent=1)
                os.replace(file.name, self._memory)
                undo.pop_all()


def _sha256(path: Path, progress: Progress) -> str:
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        total = os.fstat(file.fileno()).st_size
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            done += len(block)
            progress(done, total)
    return digest.hexdigest()


def check(path: Path, *, expected: str | None, actual: str, remedy: str = PULL) -> None:
    """Raise ModelUnavailable when the content of a file is not what was expected; nothing expected is right."""
    if expected is not None and actual != expected:
        raise ModelUnavailable(f"{path} is damaged or another file: its sha256 is {actual}, expected was {expected}", remedy)
