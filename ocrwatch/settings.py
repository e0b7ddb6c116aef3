"""The keys of the configuration: their types, their defaults, and what is wrong with a single value.

Owns no file and no check over several keys; `config` reads and checks the whole.
"""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ocrwatch.errors import OcrwatchError
from ocrwatch.ocr.aspose_options import REFUSED_AREAS, REFUSED_FILTERS, DetectAreas, Filter, offered, refuse_metered
from ocrwatch.ocr.engine import EngineName, PdfText
from ocrwatch.ocr.languages import canonical
from ocrwatch.output.sidecar import Naming
from ocrwatch.quantities import AbsolutePath, Duration, Settings, Size, is_within, parse_duration

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


def host_and_port(value: str) -> tuple[str, int]:
    """`127.0.0.1:9464` or `[::1]:9464`, as what a socket is bound to. Raises ValueError."""
    host, colon, port = value.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{value!r} is no address and port; write 127.0.0.1:9464")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _loopback(value: str) -> str:
    host, _ = host_and_port(value)
    try:
        is_own = ipaddress.ip_address(host).is_loopback
    except ValueError as error:
        raise ValueError(f"{host!r} is no IP address; write 127.0.0.1 or [::1]") from error
    if not is_own:
        raise ValueError(f"{host} can be reached from outside; listen at 127.0.0.1 or [::1], behind a proxy that asks who comes")
    return value


def _program(value: tuple[str, ...]) -> tuple[str, ...]:
    if value and not value[0].startswith("/"):
        raise ValueError(f"{value[0]!r} is no absolute path; name the program in full, like /usr/local/bin/notify")
    return value


Language = Annotated[str, AfterValidator(_language)]
Program = Annotated[tuple[str, ...], AfterValidator(_program)]
"""A program, by its absolute path, and its arguments; empty for none."""
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
    pdf: bool = False


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
    quarantine_to: AbsolutePath | None = None
    correction: InboxCorrection = InboxCorrection()

    @model_validator(mode="after")
    def _archive_has_a_place(self) -> InboxSettings:
        if self.after is After.ARCHIVE and self.archive_to is None:
            raise ValueError("`after: archive` needs `archive_to`, the folder that scans are moved to")
        if self.archive_to is not None and is_within(self.archive_to, self.path):
            raise ValueError(f"`archive_to` lies inside the inbox {self.path}, so archived scans would arrive again")
        if self.quarantine_to is not None and is_within(self.quarantine_to, self.path):
            raise ValueError(f"`quarantine_to` lies inside the inbox {self.path}, so files set aside would arrive again")
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


class MetricsSettings(Settings):
    """Figures for Prometheus."""

    listen: Annotated[str, AfterValidator(_loopback)] | None = None

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port to listen at; None where nothing is told."""
        return None if self.listen is None else host_and_port(self.listen)


class HookSettings(Settings):
    """Programs of one's own that are told of events; each is a list of the program and its arguments, run without a shell."""

    done: Program = ()
    failed: Program = ()
    review: Program = ()
    inbox_offline: Program = ()
    timeout: Annotated[Duration, Field(gt=0, le=3600)] = 30.0


class Configuration(Settings):
    """The whole file."""

    state_dir: AbsolutePath = Path("/var/lib/ocrwatch")
    control_socket: AbsolutePath | None = None
    inboxes: tuple[InboxSettings, ...] = Field(min_length=1)
    ocr: OcrSettings = OcrSettings()
    model: ModelSettings = ModelSettings()
    correction: CorrectionSettings = CorrectionSettings()
    metrics: MetricsSettings = MetricsSettings()
    hooks: HookSettings = HookSettings()

    @property
    def socket_path(self) -> Path:
        """Where the daemon listens for `status` and its like."""
        return self.control_socket or default_socket(self.state_dir)


def default_socket(state_dir: Path) -> Path:
    """Beside the service's runtime files, which its group may enter; without such a folder, in the state directory."""
    runtime = Path("/run/ocrwatch")
    is_service = state_dir == Configuration.model_fields["state_dir"].default and runtime.is_dir()
    return (runtime if is_service else state_dir) / "control.sock"
