"""The configuration: one YAML file into frozen settings, every problem reported at once with its dotted path and line.

Owns the keys, their types and their defaults. Only `cli` and `daemon` read it; the stages get plain values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from ocrwatch import problems, yamlmap
from ocrwatch.correction.profiles import BUILT_IN
from ocrwatch.errors import ConfigError, OcrwatchError, UsageError
from ocrwatch.ocr.aspose_options import REFUSED_AREAS, REFUSED_FILTERS, DetectAreas, Filter, offered, refuse_metered
from ocrwatch.ocr.engine import EngineName, PdfText
from ocrwatch.ocr.languages import canonical
from ocrwatch.output.sidecar import Naming
from ocrwatch.quantities import AbsolutePath, Duration, Settings, Size, parse_duration

_UUID = re.compile(r"(GPU|MIG)-[0-9a-fA-F-]{8,64}")


def _parse_idle(value: object) -> float | None:
    return None if value == "never" else parse_duration(value)


def _device(value: str) -> str:
    if value != "auto" and not _UUID.fullmatch(value):
        raise ValueError(f"{value!r} is no UUID of a GPU, like GPU-...; `nvidia-smi -L` lists them; or set it to auto")
    return value


def _language(value: str) -> str:
    try:
        return canonical(value)
    except OcrwatchError as error:
        raise ValueError(str(error)) from error


Language = Annotated[str, AfterValidator(_language)]
Segmentation = Literal[3, 4, 6, 11]
"""Tesseract's page segmentation modes that read a whole page."""


class Watch(StrEnum):
    """How an inbox learns of new files."""

    AUTO = "auto"  # kernel events where the file system delivers them all, else listing only
    POLL = "poll"  # listing only


class After(StrEnum):
    """What becomes of a scan when its result is final."""

    KEEP = "keep"  # it stays where it is
    ARCHIVE = "archive"  # it is moved to `archive_to`


class CorrectionMode(StrEnum):
    """Who proposes changes to the text; the model judges each one in either mode."""

    RESCORE = "rescore"  # word lists, confusions and the engine's alternatives; the model never writes
    REWRITE = "rewrite"  # the prompted model too; only its small, verified edits count
    OFF = "off"  # raw text


class OutputSettings(Settings):
    """Where and under which name the sidecar of a scan goes, and what belongs to it."""

    directory: AbsolutePath | None = None
    name: Naming = Naming.APPEND
    hocr: bool = False


class InboxCorrection(Settings):
    """What one inbox wants other than `correction`; None takes the common value."""

    mode: CorrectionMode | None = None
    profile: str | None = None
    dictionary: AbsolutePath | None = None


class InboxSettings(Settings):
    """One watched folder."""

    path: AbsolutePath
    name: str = Field(default="", max_length=64, pattern=r"^[\w.-]*$")
    recursive: bool = True
    watch: Watch = Watch.AUTO
    settle: Duration = 5.0
    incomplete_max: Duration = 600.0
    rescan: Duration = 300.0
    poll: Duration = 10.0
    ignore: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    languages: tuple[Language, ...] = Field(default=("en",), min_length=1)
    engine: Literal["auto"] | EngineName | None = None
    psm: Segmentation | None = None
    output: OutputSettings = OutputSettings()
    after: After = After.KEEP
    archive_to: AbsolutePath | None = None
    archive_after: Duration = 3600.0
    correction: InboxCorrection = InboxCorrection()

    @model_validator(mode="after")
    def _archive_has_a_place(self) -> InboxSettings:
        if self.after is After.ARCHIVE and self.archive_to is None:
            raise ValueError("`after: archive` needs `archive_to`, the folder that scans are moved to")
        if self.archive_to is not None and _is_within(self.archive_to, self.path):
            raise ValueError(f"`archive_to` lies inside the inbox {self.path}, so archived scans would arrive again")
        return self


class TesseractSettings(Settings):
    """The engine that needs no licence."""

    tessdata: AbsolutePath | None = None
    psm: Segmentation = 3


class AsposeSettings(Settings):
    """The engine that needs a licence, and OpenSSL 1.1 of its own."""

    license_file: AbsolutePath | None = None
    metered_keys_file: Annotated[None, BeforeValidator(refuse_metered)] = None
    allow_trial: bool = False
    openssl: AbsolutePath | None = None
    detect_areas_mode: Annotated[DetectAreas, BeforeValidator(partial(offered, refused=REFUSED_AREAS))] = DetectAreas.UNIVERSAL
    filters: tuple[Annotated[Filter, BeforeValidator(partial(offered, refused=REFUSED_FILTERS))], ...] = ()
    threads: Annotated[int, Field(ge=1, le=64)] = 1


class OcrSettings(Settings):
    """Recognition."""

    engine: Literal["auto"] | EngineName = "auto"
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = "auto"
    pdf_text: PdfText = PdfText.AUTO
    page_timeout: Duration = 120.0
    page_memory: Size = 1500 * 10**6
    tesseract: TesseractSettings = TesseractSettings()
    aspose: AsposeSettings = AsposeSettings()


class ModelSettings(Settings):
    """The correction model: where it is, how it runs, when it goes."""

    repo_id: str = "Qwen/Qwen2.5-3B-Instruct-GGUF"
    quantization: str = "int8"
    file: str | None = None
    revision: str | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    path: AbsolutePath | None = None
    directory: AbsolutePath | None = None
    download: Literal["auto", "never"] = "never"
    gpu_layers: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    device: Annotated[str, AfterValidator(_device)] = "auto"
    require_gpu: bool = False
    context: Annotated[int, Field(ge=512, le=131072)] = 4096
    mmap: Literal["auto"] | bool = "auto"
    idle_unload: Annotated[float | None, BeforeValidator(_parse_idle)] = 300.0
    load_timeout: Duration = 600.0

    @model_validator(mode="after")
    def _wants_what_it_requires(self) -> ModelSettings:
        if self.require_gpu and self.gpu_layers == 0:
            raise ValueError("`require_gpu: true` asks for a GPU and `gpu_layers: 0` for none; take one of them away")
        return self


class ProfileSettings(Settings):
    """A prompt of one's own, chosen by `profile`."""

    prompt: str = Field(min_length=1, max_length=4000)


class CorrectionSettings(Settings):
    """Correction of the recognized text."""

    mode: CorrectionMode = CorrectionMode.RESCORE
    profile: str = "default"
    wait: Duration = 600.0
    caution: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    letter_to_digit: bool = True
    digit_to_letter: bool = True
    profiles: dict[str, ProfileSettings] = Field(default_factory=dict)


class Configuration(Settings):
    """The whole file."""

    state_dir: AbsolutePath = Path("/var/lib/ocrwatch")
    control_socket: AbsolutePath | None = None
    inboxes: tuple[InboxSettings, ...] = Field(min_length=1)
    ocr: OcrSettings = OcrSettings()
    model: ModelSettings = ModelSettings()
    correction: CorrectionSettings = CorrectionSettings()

    @property
    def socket_path(self) -> Path:
        """Where the daemon listens for `status` and its like."""
        return self.control_socket or default_socket(self.state_dir)


def default_socket(state_dir: Path) -> Path:
    """Beside the service's runtime files, which its group may enter; without such a folder, in the state directory."""
    runtime = Path("/run/ocrwatch")
    is_service = state_dir == Configuration.model_fields["state_dir"].default and runtime.is_dir()
    return (runtime if is_service else state_dir) / "control.sock"


def default_path() -> Path:
    """The configuration that a command takes when none is named: the system's, else the user's."""
    system = Path("/etc/ocrwatch/config.yaml")
    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "ocrwatch" / "config.yaml"
    return user if user.exists() and not system.exists() else system


def load(path: Path) -> Configuration:
    """The settings in the file. Raises ConfigError with every problem, UsageError when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"no configuration at {path}", "copy config.example.yaml there, or name one with --config") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the configuration {path}: {error}", "check its permissions and encoding") from error
    return parse(text, source=str(path))


def socket_of(path: Path) -> Path:
    """Where the daemon listens, though the rest of the file may be wrong: the one that runs took an earlier version of it.

    Raises UsageError when there is no file or it is no YAML at all.
    """
    try:
        return load(path).socket_path
    except ConfigError:
        data = yaml.safe_load(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else None
        if not isinstance(data, dict):
            raise
        state_dir = Path(str(data.get("state_dir", Configuration.model_fields["state_dir"].default)))
        return Path(str(data.get("control_socket") or default_socket(state_dir)))


def parse(text: str, *, source: str) -> Configuration:
    """The settings in YAML text; `source` names it in problems. Raises ConfigError with every problem at once."""
    try:
        tree = yaml.compose(text, Loader=yamlmap.Loader)
        data = yaml.load(text, Loader=yamlmap.Loader)  # noqa: S506 - a SafeLoader
        lines = dict(yamlmap.lines(tree))
    except RecursionError as error:
        raise UsageError(f"{source}: not YAML: it refers to itself, or is nested too deeply") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise UsageError(f"{source}{line}: not YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(data, dict):
        raise ConfigError([f"{source}: must hold keys and values; `inboxes` is the one that it needs"])
    found = [(lines[path], yamlmap.dotted(path), "the key is there twice") for path in yamlmap.duplicates(tree)]
    try:
        configuration = _with_names(Configuration.model_validate(data))
        found += [(yamlmap.line(lines, path), yamlmap.dotted(path), message) for path, message in _cross_checks(configuration)]
    except ValidationError as error:
        found += [problems.of_validation(dict(e), lines, Configuration) for e in error.errors()]
    if found:
        raise ConfigError(problems.as_lines(source, found))
    return configuration


def _with_names(configuration: Configuration) -> Configuration:
    named = tuple(i.model_copy(update={"name": i.name or _name_from(i.path)}) for i in configuration.inboxes)
    return configuration.model_copy(update={"inboxes": named})


def _name_from(path: Path) -> str:
    return re.sub(r"[^\w.-]", "_", path.name) or "root"


def _cross_checks(configuration: Configuration) -> Iterator[tuple[yamlmap.Path, str]]:
    known_profiles = BUILT_IN.keys() | set(configuration.correction.profiles)
    if configuration.correction.profile not in known_profiles:
        yield ("correction", "profile"), _no_profile(configuration.correction.profile, known_profiles)
    for index, inbox in enumerate(configuration.inboxes):
        here: yamlmap.Path = ("inboxes", index)
        for other in configuration.inboxes[:index]:
            yield from (((*here, *key), message) for key, message in _conflicts(inbox, other))
        for other in configuration.inboxes:
            if inbox.archive_to is not None and _is_within(inbox.archive_to, other.path):
                yield (*here, "archive_to"), f"lies in the inbox {other.path}, so archived scans would arrive again"
        if _is_within(configuration.state_dir, inbox.path):
            yield (*here, "path"), f"holds the state directory {configuration.state_dir}; keep them apart"
        profile = inbox.correction.profile
        if profile is not None and profile not in known_profiles:
            yield (*here, "correction", "profile"), _no_profile(profile, known_profiles)
        dictionary = inbox.correction.dictionary
        if dictionary is not None and not dictionary.is_file():
            yield (*here, "correction", "dictionary"), f"{dictionary} is no file; it should hold one word a line"


def _no_profile(name: str, known: set[str] | frozenset[str]) -> str:
    return f"no profile {name!r}; there is {', '.join(sorted(known))}, and what you add under correction.profiles"


def _conflicts(inbox: InboxSettings, other: InboxSettings) -> Iterator[tuple[yamlmap.Path, str]]:
    if inbox.name == other.name:
        yield ("name",), f"another inbox has the name {inbox.name!r} too; give each a `name` of its own"
    if _overlap(inbox.path, other.path):
        yield ("path",), f"overlaps with the inbox {other.path}; a scan belongs to one inbox"
    elif _overlap(inbox.output.directory or inbox.path, other.output.directory or other.path):
        yield ("output", "directory"), f"overlaps with where the inbox {other.name} writes; texts of one name would collide"


def _overlap(one: Path, other: Path) -> bool:
    return _is_within(one, other) or _is_within(other, one)


def _is_within(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents
