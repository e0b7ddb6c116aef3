"""What a setting may look like: durations, sizes, absolute paths, and the base of all settings. Owns how each is written."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(kB|KB|MB|GB|KiB|MiB|GiB)")
_BYTES = {"kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def parse_duration(value: object) -> float:
    """Seconds of `500ms`, `5s`, `10m`, `1h`, `2d` or 0. Raises ValueError on anything else."""
    if value == 0 and not isinstance(value, bool):
        return 0.0
    match = _DURATION.fullmatch(str(value)) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is no duration; write a number and a unit, like 5s, 10m or 1h")
    return float(match[1]) * _SECONDS[match[2]]


def parse_size(value: object) -> int:
    """Bytes of `600MB`, `2GB`, `1GiB`. Raises ValueError on anything else."""
    match = _SIZE.fullmatch(str(value)) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is no size; write a number and a unit, like 600MB or 2GB")
    return int(float(match[1]) * _BYTES[match[2]])


def _absolute(path: Path) -> Path:
    expanded = Path(os.path.expanduser(path))  # Path's own raises where there is no such user, and no ValueError
    if not expanded.is_absolute():
        raise ValueError(f"{str(path)!r} is not absolute; a daemon has no folder of its own to start from")
    return Path(os.path.normpath(expanded))


Duration = Annotated[float, BeforeValidator(parse_duration)]
Size = Annotated[int, BeforeValidator(parse_size)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]


class Settings(BaseModel):
    """Base of all settings: frozen, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_enum_values=False)


def is_within(path: Path, folder: Path) -> bool:
    """Whether the path is the folder or lies below it, by their names alone."""
    return path == folder or folder in path.parents
