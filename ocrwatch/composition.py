"""From settings to parts: how workers are started, which engine an inbox gets, what becomes of its scans.

What it hands on are plain values: the stages know no configuration (see .importlinter).
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ocrwatch import modelling
from ocrwatch.correction.loading import ModelPlan
from ocrwatch.correction.profiles import BUILT_IN
from ocrwatch.correction.protocol import Mode
from ocrwatch.errors import MissingPart, OcrwatchError, UsageError
from ocrwatch.hooks import Hook, Program, Where
from ocrwatch.intake.ignore import Patterns
from ocrwatch.intake.surroundings import InboxRules
from ocrwatch.ocr.aspose_options import AsposeOptions
from ocrwatch.ocr.engine import EngineName
from ocrwatch.ocr.languages import debian_package, tesseract_name
from ocrwatch.ocr.licence import Licence, find_licence
from ocrwatch.output.tree import OutputTree
from ocrwatch.service.whereabouts import Place, Role
from ocrwatch.settings import After, Configuration, CorrectionMode, InboxSettings, Watch
from ocrwatch.tools.openssl11 import find_openssl, named_folder
from ocrwatch.treatment import CorrectionPlan, MovePlan, Treatment
from ocrwatch.worker.process import WorkerProcess, WorkerSpec
from ocrwatch.worker.share import Reach

log = logging.getLogger(__name__)

_LONGEST_PAGE_BYTES = 16 * 2**20  # as a frame; a page of 20,000 characters with all alternatives has 0.6 MB

EngineSpecs = Mapping[EngineName, Callable[[], WorkerSpec]]


@dataclass(frozen=True)
class Engines:
    """Which engine each inbox uses, and what a person should know of the choice."""

    of_inbox: dict[str, EngineName]
    notes: tuple[str, ...]


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def engine_specs(settings: Configuration) -> EngineSpecs:
    """How to start a worker of each engine."""

    def spec(engine: EngineName) -> WorkerSpec:
        options = {
            "engine": engine,
            "tessdata": _text(settings.ocr.tesseract.tessdata),
            "alternatives": any(correction_plan(settings, inbox) for inbox in settings.inboxes),  # a tenth of a page's time
            "threads": 1,
            **(_for_aspose(settings) if engine is EngineName.ASPOSE else {}),
        }
        return WorkerSpec(
            module="ocrwatch.ocr.worker", options=options, memory_bytes=settings.ocr.page_memory, answer_bytes=_LONGEST_PAGE_BYTES
        )

    return {engine: functools.partial(spec, engine) for engine in EngineName}


def _for_aspose(settings: Configuration) -> dict[str, Any]:
    aspose = settings.ocr.aspose
    return {
        "license_file": _text(find_licence(aspose.license_file)),
        "allow_trial": aspose.allow_trial,
        "openssl": _text(find_openssl(aspose.openssl) or named_folder(aspose.openssl)),  # a worker has no HOME to search
        **_aspose_options(settings).to_json(),
    }


def _aspose_options(settings: Configuration) -> AsposeOptions:
    aspose = settings.ocr.aspose
    return AsposeOptions(aspose.detect_areas_mode, aspose.filters, aspose.threads)


def licence_of(hello: Mapping[str, Any]) -> Licence | None:
    """The licence that a worker said it has."""
    return Licence.from_json(hello["licence"]) if hello.get("licence") else None


def choose_engines(settings: Configuration, specs: EngineSpecs) -> Engines:
    """The engine of each inbox, each proven to start and to have the languages that are asked of it. Raises MissingPart."""
    wanted = {inbox.name: inbox.engine or settings.ocr.engine for inbox in settings.inboxes}
    notes: list[str] = []
    hellos: dict[EngineName, dict[str, Any]] = {}
    automatic = EngineName.TESSERACT
    if "auto" in wanted.values():
        automatic, note = _automatic_engine(settings, specs, hellos)
        notes.append(note)
    of_inbox = {name: automatic if choice == "auto" else EngineName(choice) for name, choice in wanted.items()}
    for engine in set(of_inbox.values()) - hellos.keys():
        hellos[engine] = _hello(specs[engine]())
    lacking = {lack for hello in hellos.values() for lack in hello["sandbox"]["lacking"]}
    notes += [f"workers are not wholly confined: {lack}" for lack in sorted(lacking)]
    for inbox in settings.inboxes:
        _check_languages(inbox, of_inbox[inbox.name], hellos[of_inbox[inbox.name]])
    return Engines(of_inbox, tuple(notes))


def _automatic_engine(
    settings: Configuration, specs: EngineSpecs, hellos: dict[EngineName, dict[str, Any]]
) -> tuple[EngineName, str]:
    if find_licence(settings.ocr.aspose.license_file) is None:
        return EngineName.TESSERACT, "engine auto: Tesseract, because `ocr.aspose.license_file` names no licence"
    try:
        hello = _hello(specs[EngineName.ASPOSE]())
    except OcrwatchError as error:
        return EngineName.TESSERACT, f"engine auto: Tesseract, because Aspose does not start: {error}"
    if not hello.get("licensed"):
        return EngineName.TESSERACT, "engine auto: Tesseract, because Aspose does not accept the licence"
    hellos[EngineName.ASPOSE] = hello
    return EngineName.ASPOSE, f"engine auto: Aspose, licensed {licence_of(hello) or ''}".rstrip()


def _hello(spec: WorkerSpec) -> dict[str, Any]:
    with WorkerProcess(spec) as worker:
        return worker.hello


def _check_languages(inbox: InboxSettings, engine: EngineName, hello: Mapping[str, Any]) -> None:
    lacking = [language for language in inbox.languages if language not in hello["languages"]]
    if lacking:
        raise MissingPart(
            f"inbox {inbox.name}: {engine} has no data for the language {', '.join(lacking)}",
            _language_remedy(engine, lacking),
        )


def _language_remedy(engine: EngineName, lacking: list[str]) -> str:
    if engine is EngineName.TESSERACT:
        return f"apt install {' '.join(debian_package(tesseract_name(language)) for language in lacking)}"
    return f"give this inbox `engine: {EngineName.TESSERACT}`, or other languages"


def correction_plan(settings: Configuration, inbox: InboxSettings) -> CorrectionPlan | None:
    """How an inbox's pages are corrected; None where they are not."""
    common, own = settings.correction, inbox.correction
    mode = own.mode or common.mode
    if mode is CorrectionMode.OFF:
        return None
    profile = own.profile or common.profile
    return CorrectionPlan(
        mode=Mode(mode),
        profile=profile,
        prompt=profile_prompt(settings, profile),
        caution=common.caution,
        wait_s=common.wait,
        letter_to_digit=common.letter_to_digit,
        digit_to_letter=common.digit_to_letter,
        dictionary=tuple(_words(own.dictionary)) if own.dictionary else (),
    )


def model_plan(settings: Configuration) -> ModelPlan:
    """How the model is found, placed and loaded, with the word lists that the pages of the inboxes are corrected with."""
    plans = ((inbox, correction_plan(settings, inbox)) for inbox in settings.inboxes)
    word_lists = dict.fromkeys((inbox.languages, plan.dictionary) for inbox, plan in plans if plan is not None)
    return modelling.plan_of(settings, threads=cores(), word_lists=tuple(word_lists))


def profile_prompt(settings: Configuration | None, profile: str) -> str | None:
    """The prompt of a profile: the configuration's own, else a built-in one. Raises UsageError when there is neither."""
    if settings is not None and profile in settings.correction.profiles:
        return settings.correction.profiles[profile].prompt
    if profile not in BUILT_IN:
        raise UsageError(f"there is no profile {profile!r}", f"take one of {', '.join(sorted(BUILT_IN))}")
    return BUILT_IN[profile]


def _words(path: Path) -> Iterator[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the dictionary {path}: {error}", "it should hold a word a line, in UTF-8") from error
    return (word for line in lines if (word := line.strip()) and not word.startswith("#"))


def inbox_rules(inbox: InboxSettings) -> InboxRules:
    """How an inbox is looked at."""
    return InboxRules(
        name=inbox.name,
        path=str(inbox.path),
        recursive=inbox.recursive,
        settle_s=inbox.settle,
        incomplete_max_s=inbox.incomplete_max,
        patterns=patterns(inbox),
        rescan_s=inbox.rescan,
        poll_s=inbox.poll,
        by_events=inbox.watch is Watch.AUTO,
    )


def patterns(inbox: InboxSettings) -> Patterns:
    """Which names are taken."""
    return Patterns(ignore=inbox.ignore, include=inbox.include)


def treatment(
    settings: Configuration,
    inbox: InboxSettings,
    *,
    engine: EngineName,
    scans: Callable[[str], Reach],
    texts: OutputTree | None,
    archive: OutputTree | None,
    quarantine: OutputTree | None = None,
) -> Treatment:
    """What becomes of the scans of an inbox. texts, archive, quarantine: the trees beside it, where the settings ask for them."""
    plan = correction_plan(settings, inbox)
    return Treatment(
        inbox=inbox.name,
        scans=scans,
        texts=scans if texts is None else lambda _: texts.reach(),
        text_base=str(inbox.output.directory or inbox.path),
        mirrored=texts is not None,
        naming=inbox.output.name,
        engine=engine,
        languages=inbox.languages,
        psm=_segmentation(settings, inbox),
        pdf_text=settings.ocr.pdf_text,
        page_timeout_s=settings.ocr.page_timeout,
        settings=_digest(settings, inbox, engine, plan),
        correction=plan,
        archive=None if archive is None else MovePlan(archive, after_s=inbox.archive_after),
        quarantine=None if quarantine is None else MovePlan(quarantine, after_s=inbox.settle),
        hocr=inbox.output.hocr,
        pdf=inbox.output.pdf,
    )


def _segmentation(settings: Configuration, inbox: InboxSettings) -> int:
    return settings.ocr.tesseract.psm if inbox.psm is None else inbox.psm


def archive_directory(inbox: InboxSettings) -> Path | None:
    """Where the scans of an inbox go in the end; None when they stay."""
    return inbox.archive_to if inbox.after is After.ARCHIVE else None


def places(settings: Configuration) -> tuple[Place, ...]:
    """Every folder of the inboxes, by what it is for."""
    return tuple(
        Place(inbox.name, role, str(path))
        for inbox in settings.inboxes
        for role, path in (
            (Role.INBOX, inbox.path),
            (Role.TEXTS, inbox.output.directory),
            (Role.ARCHIVE, inbox.archive_to),
            (Role.QUARANTINE, inbox.quarantine_to and inbox.quarantine_to / inbox.name),
        )
        if path is not None
    )


def hook_programs(settings: Configuration) -> dict[Hook, Program]:
    """The programs that are told of events."""
    programs = ((hook, getattr(settings.hooks, hook)) for hook in Hook)
    return {hook: Program(argv, timeout_s=settings.hooks.timeout) for hook, argv in programs if argv}


def hook_places(settings: Configuration) -> dict[str, Where]:
    """Where the files are that programs are told of."""
    return {inbox.name: Where(str(inbox.path), str(inbox.output.directory or inbox.path)) for inbox in settings.inboxes}


def _digest(settings: Configuration, inbox: InboxSettings, engine: EngineName, plan: CorrectionPlan | None) -> str:
    """What shapes a result: the same content with the same digest gives the same text."""
    shaping: dict[str, Any] = {
        "engine": engine,
        "languages": inbox.languages,
        "pdf_text": settings.ocr.pdf_text,
        "correction": asdict(plan) | {"wait_s": 0} if plan else None,
        "model": modelling.wish_of(settings).to_json() if plan else None,
    }
    if engine is EngineName.ASPOSE:
        shaping["aspose"] = _aspose_options(settings).shaping()
    else:
        shaping["tesseract"] = settings.ocr.tesseract.model_dump(mode="json") | {"psm": _segmentation(settings, inbox)}
    return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()[:16]


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
