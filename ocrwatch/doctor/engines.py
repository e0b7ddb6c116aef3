"""Whether the engines start, read a page, have the languages that are asked of them, and a licence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta

from ocrwatch import composition
from ocrwatch.direct import bare_settings
from ocrwatch.doctor.findings import Finding, bad, ok, warn
from ocrwatch.errors import MissingPart, OcrwatchError
from ocrwatch.ocr.engine import EngineName
from ocrwatch.ocr.licence import Licence, find_licence
from ocrwatch.settings import Configuration
from ocrwatch.tools.openssl11 import find_openssl
from ocrwatch.worker.process import WorkerProcess, WorkerSpec

_PROOF_S = 120.0
_SOON = timedelta(days=30)


def examine_engines(settings: Configuration | None, today: date | None) -> list[Finding]:
    """Every engine, started for real. Without settings, as `ocrwatch process` would use them."""
    found: list[Finding] = []
    own = settings or bare_settings()
    specs = composition.engine_specs(own)
    wanted = {inbox.engine or own.ocr.engine for inbox in own.inboxes}
    needs_aspose = wants_aspose(own)
    if openssl := find_openssl(own.ocr.aspose.openssl):
        found.append(ok(f"OpenSSL 1.1 for Aspose's worker is in {openssl}"))
    for engine in EngineName:
        needed = needs_aspose if engine is EngineName.ASPOSE else not needs_aspose or len(wanted) > 1
        found += _engine(engine, specs[engine], needed=needed, today=today)
    if settings is not None:
        try:
            composition.choose_engines(settings, specs)
        except OcrwatchError as error:
            if not any(finding.what.endswith(error.message) for finding in found):
                found.append(bad(error.message, error.remedy))
    return found


def wants_aspose(settings: Configuration) -> bool:
    """Whether any inbox is to be read by Aspose."""
    wanted = {inbox.engine or settings.ocr.engine for inbox in settings.inboxes}
    has_licence = find_licence(settings.ocr.aspose.license_file) is not None
    return EngineName.ASPOSE in wanted or ("auto" in wanted and has_licence)


def _engine(engine: EngineName, spec: Callable[[], WorkerSpec], *, needed: bool, today: date | None) -> Iterator[Finding]:
    try:
        worker = WorkerProcess(spec())
    except OcrwatchError as error:
        say = bad if needed else warn
        yield say(f"{engine} does not start: {error.message}", error.remedy)
        return
    hello, licence = worker.hello, composition.licence_of(worker.hello)
    try:
        with worker:
            does = _proof(worker) if needed else "starts"
    except OcrwatchError as error:
        yield bad(f"{engine} {hello['version']} starts, but reads nothing: {error.message}", error.remedy)
        return
    licensed = {True: f", licensed {licence or ''}".rstrip(), False: ", without a licence: it cuts the text", None: ""}
    languages = ", ".join(hello["languages"][:12]) + (", ..." if len(hello["languages"]) > 12 else "")
    yield ok(f"{engine} {hello['version']} {does}{licensed[hello['licensed']]}; languages: {languages}")
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
            yield warn(f"{what} until {day}, {left}", remedy)
