"""What a finished document says of itself: the values of the sidecar, its text and its JSON. Pure.

The JSON is schema version 1, described in the README. Undoing its edits on the text gives the raw text of every page.
It ends with a checksum of all that stands before, so that an edit by somebody is told from a file of ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from ocrwatch import __version__
from ocrwatch.correction import edits as edits_
from ocrwatch.correction.edits import Edit
from ocrwatch.intake.entries import Identity

SCHEMA_VERSION = 1
PAGE_SEPARATOR = "\f"
MOST_METADATA_BYTES = 256 * 2**20
"""The longest JSON that is written, and read: fifty thousand pages with forty edits each have less."""

# One character for one: offsets of edits hold in the cleaned text too. A form feed separates pages and nothing else.
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
_UNCLEAN = {**_SURROGATES, ord("\0"): "\ufffd", ord("\f"): "\n", ord("\r"): " "}
_SEAL = b' "metadata_sha256": "'


class PageStatus(StrEnum):
    """How much of a page is in the text."""

    OK = "ok"  # all that the engine read
    BLANK = "blank"  # the engine read nothing
    TRIAL = "trial"  # cut by the engine for want of a licence
    FAILED = "failed"  # could not be recognized; its text is empty


_WHOLE = frozenset({PageStatus.OK, PageStatus.BLANK})
DOUBTFUL = frozenset(PageStatus) - _WHOLE
"""A page that a person should look at, whatever else is said of it."""


@dataclass(frozen=True)
class Page:
    """One page: its raw text, and the edits that make the published text of it.

    engine: where it is another than the document's. detail: why the status is not `ok`. review: what a person should look at.
    """

    raw: str
    status: PageStatus
    source: str = "ocr"
    engine: str = ""
    confidence: float | None = None
    render_s: float = 0.0
    recognize_s: float = 0.0
    correct_s: float = 0.0
    detail: str = ""
    warnings: tuple[str, ...] = ()
    review: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = ()
    uncorrected_reason: str = ""


@dataclass(frozen=True)
class Source:
    """The scan that was read. path: relative to its inbox."""

    path: str
    identity: Identity
    sha256: str


@dataclass(frozen=True)
class Model:
    """The model that corrected."""

    repository: str
    file: str
    revision: str
    sha256: str


@dataclass(frozen=True)
class Document:
    """A whole document. An empty reason means complete, or corrected, unless a page says otherwise.

    pdf_reason: why there is no searchable PDF, where one is wanted.
    """

    source: Source
    pages: tuple[Page, ...]
    engine: str
    engine_version: str
    languages: tuple[str, ...]
    model: Model | None = None
    mode: str = ""
    profile: str = ""
    incomplete_reason: str = ""
    uncorrected_reason: str = ""
    pdf_reason: str = ""

    @property
    def is_final(self) -> bool:
        """Whether it is whole, and corrected as far as it is to be: nothing will come that makes it better."""
        whole = not self.incomplete_reason and all(page.status in _WHOLE for page in self.pages)
        return whole and (self.mode == "off" or not self.uncorrected_reason)

    def to_json(self) -> dict[str, Any]:
        """The document as a JSON object, for a frame."""
        source = asdict(self.source) | {"identity": self.source.identity._asdict()}
        return asdict(self) | {"source": source}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Document:
        """The document of `to_json`. Raises KeyError, TypeError or ValueError on anything else."""
        source = data["source"]
        fixed = {
            "source": Source(**(source | {"identity": Identity(**source["identity"])})),
            "pages": tuple(_page_from_json(page) for page in data["pages"]),
            "languages": tuple(data["languages"]),
            "model": None if data["model"] is None else Model(**data["model"]),
        }
        return Document(**(data | fixed))


def _page_from_json(data: dict[str, Any]) -> Page:
    fixed = {
        "status": PageStatus(data["status"]),
        "warnings": tuple(data["warnings"]),
        "review": tuple(data["review"]),
        "edits": tuple(Edit.from_json(edit) for edit in data["edits"]),
    }
    return Page(**(data | fixed))


@dataclass(frozen=True)
class Rendered:
    """The bytes of both files, and the hash of the text, which the JSON holds too."""

    text: bytes
    metadata: bytes
    text_sha256: str


@dataclass(frozen=True)
class Claims:
    """What a JSON of ours says; `unchanged` is whether its checksum holds."""

    unchanged: bool
    source_path: str
    source_sha256: str
    text_sha256: str
    supersedes_text_sha256: str
    hocr_sha256: str
    supersedes_hocr_sha256: str
    pdf_sha256: str
    supersedes_pdf_sha256: str
    pdf_reason: str
    complete: bool
    corrected: bool


def clean(text: str) -> str:
    """The text as it may stand on a page: UTF-8 can hold it, and only we separate pages. Its length stays the same."""
    return text.translate(_UNCLEAN)


class Change(NamedTuple):
    """Hashes of a file beside the text: of the one that was there, and of the one that is to be; empty for none."""

    before: str = ""
    after: str = ""


NO_CHANGE = Change()


def render(
    document: Document, *, supersedes_text_sha256: str = "", hocr: Change = NO_CHANGE, pdf: Change = NO_CHANGE, pdf_name: str = ""
) -> Rendered:
    """The text and the JSON, which names what is beside. Raises ValueError when an edit does not fit or a number is none."""
    pages = [_cleaned(page) for page in document.pages]
    text = PAGE_SEPARATOR.join(edits_.apply(page.raw, page.edits) for page in pages).encode()
    text_sha256 = hashlib.sha256(text).hexdigest()
    hashes = {
        "text_sha256": text_sha256,
        "supersedes_text_sha256": supersedes_text_sha256,
        "hocr_sha256": hocr.after,
        "supersedes_hocr_sha256": hocr.before,
        "pdf": pdf_name if pdf.after else None,
        "pdf_reason": "" if pdf.after else document.pdf_reason,
        "pdf_sha256": pdf.after,
        "supersedes_pdf_sha256": pdf.before,
    }
    return Rendered(text=text, metadata=_seal(_body(document, pages) | hashes), text_sha256=text_sha256)


_NOT_AS_WRITTEN = (KeyError, TypeError, IndexError, AttributeError, OverflowError)
"""What reading a JSON object brings that has something else in some place."""


def raw_pages(text: bytes, metadata: bytes) -> tuple[str, ...]:
    """The raw text of every page, from the two files. Raises ValueError when they do not belong together."""
    data = _parse(metadata)
    if data is None or data.get("text_sha256") != hashlib.sha256(text).hexdigest():
        raise ValueError("the text is not the one that the metadata describes")
    try:
        listed = [(int(edit["page"]), Edit.from_json(edit)) for edit in data["edits"]]
    except _NOT_AS_WRITTEN as error:
        raise ValueError(f"the list of edits is not as ocrwatch writes it: {error}") from error
    pages = text.decode().split(PAGE_SEPARATOR)
    return tuple(edits_.undo(page, [e for n, e in listed if n == number]) for number, page in enumerate(pages, start=1))


def read_back(text: bytes, metadata: bytes) -> Document:
    """The document whose two files these are. Raises ValueError when they do not belong together or are not as we write them."""
    try:
        raw = raw_pages(text, metadata)
        data = json.loads(metadata)
        source, engine, correction = data["source"], data["engine"], data["correction"]
        identity = {name: source[name] for name in ("size", "mtime_ns", "inode")}
        return Document.from_json(
            {
                "source": {"path": source["path"], "sha256": source["sha256"], "identity": identity},
                "pages": [_page_as_made(data, page, raw) for page in data["pages"]],
                "engine": engine["name"],
                "engine_version": engine["version"],
                "languages": engine["languages"],
                **{name: correction[name] for name in ("mode", "profile", "model")},
                "incomplete_reason": data["incomplete_reason"],
                "uncorrected_reason": data["uncorrected_reason"],
            }
        )
    except _NOT_AS_WRITTEN as error:
        raise ValueError(f"the metadata is not as ocrwatch writes it: {error}") from error


def _page_as_made(data: dict[str, Any], page: dict[str, Any], raw: Sequence[str]) -> dict[str, Any]:
    number = page["page"]
    own = {name: value for name, value in page.items() if name != "page"}
    return own | {"raw": raw[number - 1], "edits": [edit for edit in data["edits"] if edit["page"] == number]}


def claims(metadata: bytes) -> Claims | None:
    """What a JSON file says, if it is one of ours."""
    data = _parse(metadata)
    if data is None or not isinstance(data.get("source"), dict) or "ocrwatch" not in data:
        return None
    before, seal, after = metadata.rpartition(_SEAL)
    return Claims(
        unchanged=bool(seal) and after == hashlib.sha256(before).hexdigest().encode() + b'"\n}\n',
        source_path=str(data["source"].get("path", "")),
        source_sha256=str(data["source"].get("sha256", "")),
        text_sha256=str(data.get("text_sha256", "")),
        supersedes_text_sha256=str(data.get("supersedes_text_sha256", "")),
        hocr_sha256=str(data.get("hocr_sha256", "")),
        supersedes_hocr_sha256=str(data.get("supersedes_hocr_sha256", "")),
        pdf_sha256=str(data.get("pdf_sha256", "")),
        supersedes_pdf_sha256=str(data.get("supersedes_pdf_sha256", "")),
        pdf_reason=str(data.get("pdf_reason", "")),
        complete=data.get("complete") is True,
        corrected=data.get("corrected") is True,
    )


def _cleaned(page: Page) -> Page:
    edits = tuple(replace(edit, before=clean(edit.before), after=clean(edit.after)) for edit in page.edits)
    return replace(page, raw=clean(page.raw), edits=edits)


def _body(document: Document, pages: Sequence[Page]) -> dict[str, Any]:
    incomplete = document.incomplete_reason or _why(
        "incomplete", [(n, f"{p.status}: {p.detail}") for n, p in enumerate(pages, start=1) if p.status not in _WHOLE]
    )
    uncorrected = document.uncorrected_reason or _why(
        "uncorrected", [(n, p.uncorrected_reason) for n, p in enumerate(pages, start=1) if p.uncorrected_reason]
    )
    identity = document.source.identity
    return {
        "schema_version": SCHEMA_VERSION,
        "ocrwatch": __version__,
        "source": {
            "path": document.source.path,
            "size": identity.size,
            "mtime_ns": identity.mtime_ns,
            "inode": identity.inode,
            "sha256": document.source.sha256,
        },
        "engine": {"name": document.engine, "version": document.engine_version, "languages": list(document.languages)},
        "correction": {
            "mode": document.mode,
            "profile": document.profile,
            "model": asdict(document.model) if document.model else None,
        },
        "complete": not incomplete,
        "incomplete_reason": incomplete,
        "corrected": not uncorrected,
        "uncorrected_reason": uncorrected,
        "pages": [_page(document, number, page) for number, page in enumerate(pages, start=1)],
        "edits": [{"page": number, **e.to_json()} for number, page in enumerate(pages, start=1) for e in page.edits],
    }


def _page(document: Document, number: int, page: Page) -> dict[str, Any]:
    return {
        "page": number,
        "status": page.status.value,
        "detail": page.detail,
        "source": page.source,
        "engine": page.engine or document.engine,
        "confidence": page.confidence,
        "render_s": round(page.render_s, 3),
        "recognize_s": round(page.recognize_s, 3),
        "correct_s": round(page.correct_s, 3),
        "warnings": list(page.warnings),
        "uncorrected_reason": page.uncorrected_reason,
        "review": list(page.review),
    }


def _why(what: str, reasons: Sequence[tuple[int, str]]) -> str:
    if not reasons:
        return ""
    number, reason = reasons[0]
    others = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    return f"{what}: page {number} ({reason.rstrip(': ')}){others}"


def _seal(body: dict[str, Any]) -> bytes:
    text = json.dumps(body, ensure_ascii=False, indent=1, allow_nan=False).translate(_SURROGATES)
    before = text.removesuffix("\n}").encode() + b",\n"
    return before + _SEAL + hashlib.sha256(before).hexdigest().encode() + b'"\n}\n'


def _parse(metadata: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(metadata)
    except (ValueError, RecursionError):
        return None
    is_ours = isinstance(data, dict) and data.get("schema_version") == SCHEMA_VERSION
    return data if is_ours else None
