"""What this machine lacks, and the command that mends it. Looks; changes nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path

from ocrwatch import composition, modelling
from ocrwatch.correction.calibrations import Calibrations
from ocrwatch.direct import bare_settings
from ocrwatch.errors import MissingPart, OcrwatchError
from ocrwatch.intake import mounts
from ocrwatch.ocr.engine import EngineName
from ocrwatch.ocr.licence import Licence, find_licence
from ocrwatch.settings import Configuration, InboxSettings, Watch
from ocrwatch.tools.openssl11 import find_openssl
from ocrwatch.worker import sandbox
from ocrwatch.worker.process import WorkerProcess, WorkerSpec

_FEW_WATCHES = 65536
_LITTLE_SPACE_BYTES = 2 * 10**9
_PROOF_S = 120.0
_SOON = timedelta(days=30)


class Verdict(StrEnum):
    """How bad a finding is."""

    OK = "ok"  # as it should be
    NOTE = "note"  # works, but somebody may want to know
    BAD = "bad"  # something that is configured cannot work


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. remedy: what to do; empty when nothing."""

    verdict: Verdict
    what: str
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        """The finding as a JSON object."""
        return asdict(self)


def examine(settings: Configuration | None, *, today: date | None = None) -> list[Finding]:
    """Everything that makes installations fail. Without a configuration, the parts alone.

    today: by which licences are judged; None for not at all.
    """
    with tempfile.TemporaryDirectory(prefix="ocrwatch-") as folder:
        findings = [*_engines(settings, today), *_model(settings, Path(folder)), *_sandbox(), *_systemd()]
    if settings is None:
        return [*findings, Finding(Verdict.NOTE, "no configuration", "name one with --config to have inboxes looked at")]
    table = mounts.read_mounts()
    findings += _state_dir(settings)
    for inbox in settings.inboxes:
        findings += _inbox(inbox, table)
    return [*findings, *_watches()]


def _engines(settings: Configuration | None, today: date | None) -> list[Finding]:
    found: list[Finding] = []
    own = settings or bare_settings()
    specs = composition.engine_specs(own)
    wanted = {inbox.engine or own.ocr.engine for inbox in own.inboxes}
    needs_aspose = EngineName.ASPOSE in wanted or ("auto" in wanted and find_licence(own.ocr.aspose.license_file) is not None)
    if openssl := find_openssl(own.ocr.aspose.openssl):
        found.append(Finding(Verdict.OK, f"OpenSSL 1.1 for Aspose's worker is in {openssl}"))
    for engine in EngineName:
        needed = needs_aspose if engine is EngineName.ASPOSE else not needs_aspose or len(wanted) > 1
        found += _engine(engine, specs[engine], needed=needed, today=today)
    if settings is not None:
        try:
            composition.choose_engines(settings, specs)
        except OcrwatchError as error:
            if not any(finding.what.endswith(error.message) for finding in found):
                found.append(Finding(Verdict.BAD, error.message, error.remedy))
    return found


def _engine(engine: EngineName, spec: Callable[[], WorkerSpec], *, needed: bool, today: date | None) -> Iterator[Finding]:
    try:
        worker = WorkerProcess(spec())
    except OcrwatchError as error:
        yield Finding(Verdict.BAD if needed else Verdict.NOTE, f"{engine} does not start: {error.message}", error.remedy)
        return
    hello, licence = worker.hello, composition.licence_of(worker.hello)
    try:
        does = _proof(worker) if needed else "starts"
    except OcrwatchError as error:
        yield Finding(Verdict.BAD, f"{engine} {hello['version']} starts, but reads nothing: {error.message}", error.remedy)
        return
    finally:
        worker.stop()
    licensed = {True: f", licensed {licence or ''}".rstrip(), False: ", without a licence: it cuts the text", None: ""}
    languages = ", ".join(hello["languages"][:12]) + (", ..." if len(hello["languages"]) > 12 else "")
    yield Finding(Verdict.OK, f"{engine} {hello['version']} {does}{licensed[hello['licensed']]}; languages: {languages}")
    if licence is not None and today is not None:
        yield from licence_findings(licence, today)


def _proof(worker: WorkerProcess) -> str:
    """That an engine reads a page which its worker makes on the spot. Raises OcrwatchError when it does not."""
    known = worker.hello["languages"]
    if not known:
        raise MissingPart("it has no language", "install one, for English: apt install tesseract-ocr-eng")
    reply = worker.call({"op": "prove", "languages": ["en" if "en" in known else known[0]]}, deadline_s=_PROOF_S)
    if not reply["proven"]:
        raise MissingPart(f"of a page that shows {reply['shown']!r} it read {reply['read']!r}", "install it again")
    return f"reads a page made for it ({reply['read']!r})"


def licence_findings(licence: Licence, today: date) -> Iterator[Finding]:
    """What of a licence is over, or will be within a month."""
    renew = "renew it, and put the new file in place of the old one"
    for day, what, remedy in (
        (licence.expires, "the licence of Aspose holds", renew),
        (licence.updates_until, "the licence of Aspose covers what is published", f"{renew}, or stay with the installed version"),
    ):
        if day is not None and day - today <= _SOON:
            left = f"over for {(today - day).days} days" if day < today else f"{(day - today).days} days from now"
            yield Finding(Verdict.NOTE, f"{what} until {day}, {left}", remedy)


def _model(settings: Configuration | None, folder: Path) -> Iterator[Finding]:
    if settings is None or not any(composition.correction_plan(settings, inbox) for inbox in settings.inboxes):
        return
    fetcher = WorkerProcess(modelling.fetch_spec(folder))
    try:
        reply = fetcher.call({"op": "find", "wish": modelling.wish_of(settings).to_json()}, deadline_s=600.0)
    except MissingPart as error:
        fetched = settings.model.download == "auto"
        yield Finding(Verdict.NOTE if fetched else Verdict.BAD, error.message, "" if fetched else error.remedy)
    except OcrwatchError as error:
        yield Finding(Verdict.BAD, error.message, error.remedy)
    else:
        yield Finding(
            Verdict.OK, f"model {reply['file']} is here, {reply['size_bytes'] / 1e6:.0f} MB, sha256 {reply['sha256'][:12]}..."
        )
        yield _calibration(settings, Path(reply["path"]))
    finally:
        fetcher.stop()


def _calibration(settings: Configuration, model: Path) -> Finding:
    try:
        found = Calibrations(settings.state_dir).of(model)
    except OcrwatchError as error:
        return Finding(Verdict.BAD, error.message, error.remedy)
    return Finding(Verdict.OK if found.origin else Verdict.NOTE, f"the model {model.name}: {found.state}", found.remedy)


def _sandbox() -> Iterator[Finding]:
    found = sandbox.available()
    for lack in found.lacking:
        yield Finding(
            Verdict.NOTE,
            f"workers are not wholly confined: {lack}",
            "run Linux 5.13 or later with seccomp filters and, where the kernel's command line has `lsm=`, landlock in it",
        )
    if not found.lacking:
        yield Finding(Verdict.OK, f"workers are confined by seccomp and Landlock (version {found.landlock})")


def _systemd() -> Iterator[Finding]:
    try:
        import systemd.daemon  # noqa: F401 - whether it is there is the question
    except ImportError:
        yield Finding(
            Verdict.NOTE,
            "systemd-python is absent: no readiness, no watchdog",
            "apt install libsystemd-dev; pip install systemd-python",
        )
    else:
        yield Finding(Verdict.OK, "systemd-python is there")


def _state_dir(settings: Configuration) -> Iterator[Finding]:
    state = settings.state_dir
    place = next(folder for folder in (state, *state.parents) if folder.exists())
    if not os.access(place, os.W_OK):
        yield Finding(Verdict.BAD, f"state_dir {state} cannot be written by this user", f"install -d -o ocrwatch -m 700 {state}")
    free = shutil.disk_usage(place).free
    if free < _LITTLE_SPACE_BYTES:
        yield Finding(
            Verdict.NOTE, f"{free / 1e6:.0f} MB are free at {place}, and every scan in work is copied there", "free space"
        )


def _inbox(inbox: InboxSettings, table: tuple[mounts.Mount, ...]) -> Iterator[Finding]:
    root = mounts.resolve(str(inbox.path), table)
    for below in ["", *(mounts.points_below(root, table) if inbox.recursive else [])]:
        path = os.path.join(root, below)
        fs_type = mounts.mount_of(path.rstrip("/") or "/", table).fs_type
        if not mounts.events_trusted(fs_type):
            yield Finding(
                Verdict.NOTE,
                f"inbox {inbox.name}: {path} lies on {fs_type}: it is listed every {inbox.poll:g} s, events are not trusted",
            )
    if mounts.may_hang(str(inbox.path), table):
        return  # a dead mount would hold the doctor up
    if not inbox.path.is_dir():
        yield Finding(Verdict.BAD, f"inbox {inbox.name}: there is no folder {inbox.path}", f"mkdir -p {inbox.path}")
        return
    target = inbox.output.directory or inbox.path
    if not os.access(inbox.path, os.R_OK | os.X_OK):
        yield Finding(Verdict.BAD, f"inbox {inbox.path} cannot be read by this user", f"setfacl -m u:ocrwatch:rwx {inbox.path}")
    elif not target.is_dir():
        yield Finding(Verdict.BAD, f"there is no folder {target} for texts", f"install -d -o ocrwatch {target}")
    elif not os.access(target, os.W_OK | os.X_OK):
        yield Finding(Verdict.BAD, f"texts cannot be written to {target} by this user", f"setfacl -m u:ocrwatch:rwx {target}")
    else:
        fs_type = mounts.mount_of(root, table).fs_type
        by = "events" if inbox.watch is Watch.AUTO and mounts.events_trusted(fs_type) else "listing"
        yield Finding(Verdict.OK, f"inbox {inbox.name} at {inbox.path} ({fs_type}), looked at by {by}")


def _watches() -> Iterator[Finding]:
    try:
        limit = int(Path("/proc/sys/fs/inotify/max_user_watches").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return
    if limit < _FEW_WATCHES:
        yield Finding(
            Verdict.NOTE, f"{limit} inotify watches are few for deep trees", "sysctl fs.inotify.max_user_watches=524288"
        )
