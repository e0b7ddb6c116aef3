"""Which calibration a model has: shipped, or kept in the state folder. Owns a model's fingerprint and both forms on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ocrwatch.correction.calibration import STRICTEST, Calibration
from ocrwatch.errors import ModelUnavailable, StateUnwritable

CALIBRATE = "run: ocrwatch correct --calibrate PAIRS"
_SAMPLE_BYTES = 2**20
_FOLDER = "calibrations"


def fingerprint(path: Path) -> str:
    """What tells a model from others: SHA-256 over the size of the file, and its first and last MiB, in hex.

    All of a model of gigabytes would take a minute; its head has the name, shapes and vocabulary, its tail the last weights. Of a
    model in parts it is the first part. Raises ModelUnavailable when the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.sha256(f"{size}\n".encode() + file.read(_SAMPLE_BYTES))
            file.seek(max(0, size - _SAMPLE_BYTES))
            digest.update(file.read(_SAMPLE_BYTES))
    except OSError as error:
        raise ModelUnavailable(f"cannot read the model {path}: {error.strerror}", "check its permissions and the disk") from error
    return digest.hexdigest()


@dataclass(frozen=True)
class Found:
    """The calibration to use. origin: for people, where it comes from; empty where it is the strictest margin for want of one.
    problem: for people, what is wrong with the one that was kept. remedy: what to do.
    """

    calibration: Calibration = STRICTEST
    origin: str = ""
    problem: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        """For people, with the remedy."""
        return f"{self.state}; {self.remedy}" if self.remedy else self.state

    @property
    def state(self) -> str:
        """For people: whether the model is calibrated."""
        if not self.origin:
            return f"{self.problem or 'never calibrated'}; the strictest margin holds"
        return f"calibrated: gain {self.calibration.gain:g}, margin +{self.calibration.margin:g}, {self.origin}"


_NEVER = Found(remedy=CALIBRATE)


class Calibrations:
    """The calibrations of a state folder, a JSON file a model, over those that are shipped."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / _FOLDER

    def path(self, model: str) -> Path:
        """Where that of a fingerprint is kept."""
        return self._folder / f"{model}.json"

    def of(self, model: Path) -> Found:
        """The calibration of a model's file. One that cannot be used gives the strictest margin, and says why."""
        identity = fingerprint(model)
        path = self.path(identity)
        try:
            data = json.loads(path.read_bytes())
            return Found(_read(data, identity), origin=f"from {data['pages']} pages ({path})")
        except (FileNotFoundError, NotADirectoryError):
            return shipped().get(identity, _NEVER)
        except OSError as error:
            return Found(problem=f"cannot read the calibration {path}: {error.strerror}", remedy="let this user read it")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            why = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
            return Found(problem=f"the calibration {path} is broken ({why})", remedy=f"delete it, or {CALIBRATE}")

    def prepare(self) -> None:
        """Make the folder. Raises StateUnwritable, before hours of work, when nothing could be kept there."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(PermissionError):  # it is somebody else's, and as it should be
                self._folder.chmod(0o755)  # made by an administrator, whatever the umask, read by the service
        except OSError as error:
            raise _unwritable(self._folder, error.strerror) from error
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise _unwritable(self._folder, "this user may not")

    def keep(self, model: str, calibration: Calibration, *, provenance: Mapping[str, Any]) -> Path:
        """Keep the calibration of a fingerprint, in place of what was there. provenance: `pages`, and what else one may ask."""
        body = {"fingerprint": model, "gain": calibration.gain, "margin": calibration.margin, **provenance}
        path = self.path(model)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(body, file, ensure_ascii=False, indent=1)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync(self._folder)
        except OSError as error:
            with contextlib.suppress(OSError):  # a disk that turned read-only refuses this as well
                temporary.unlink()
            raise _unwritable(self._folder, error.strerror) from error
        return path


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(data: Any, identity: str) -> Calibration:
    """The calibration of a file's JSON. Raises ValueError, KeyError or TypeError for anything else."""
    if not isinstance(data, dict) or data["fingerprint"] != identity:
        raise ValueError("it is of another model")
    gain, margin, pages = (data[name] for name in ("gain", "margin", "pages"))
    if not all(isinstance(number, int | float) for number in (gain, margin, pages)):
        raise ValueError("gain, margin and pages are not numbers")
    return Calibration(gain, margin)


def _unwritable(folder: Path, why: str | None) -> StateUnwritable:
    remedy = "run this as the service's user or as root, or name with --config one whose `state_dir` you may write"
    return StateUnwritable(f"cannot write calibrations to {folder}: {why}", remedy)


@cache
def shipped() -> dict[str, Found]:
    """The calibrations that come with ocrwatch, by fingerprint."""
    return parse((files("ocrwatch.correction") / "calibrations.tsv").read_text(encoding="utf-8").splitlines())


def parse(lines: Iterable[str]) -> dict[str, Found]:
    """A table's lines: `fingerprint<TAB>gain<TAB>margin<TAB>name`; lines that begin with `# ` tell where they come from.

    Raises ValueError, with the line's number, for anything else.
    """
    found = {}
    for number, line in enumerate(lines, 1):
        row = line.rstrip("\n")
        if row.startswith("# ") or not row:
            continue
        try:
            model, gain, margin, name = row.split("\t")
            found[model] = Found(Calibration(float(gain), float(margin)), origin=f"shipped with ocrwatch as {name}")
        except ValueError as error:
            raise ValueError(
                f"table of calibrations, line {number}: expected fingerprint, gain, margin, name, separated by tabs"
            ) from error
    return found
