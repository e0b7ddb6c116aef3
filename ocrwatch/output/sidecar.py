"""The text file and the JSON beside a scan, and hOCR and PDF where wanted: how they are named, put on disk, and known again.

The JSON goes first, the text is the commit. The JSON carries its own checksum, the others', and those of what they supersede, so
that a sidecar can be judged by itself, without a journal. What the JSON says is `ocrwatch.output.document`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from ocrwatch.errors import CorruptFile, ForeignFile, OcrwatchError
from ocrwatch.intake import beneath
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.ignore import PDF_SUFFIX, SCAN_SUFFIXES
from ocrwatch.output import files
from ocrwatch.output.document import MOST_METADATA_BYTES, Change, Claims, Document, claims, render
from ocrwatch.output.document import read_back as document_of
from ocrwatch.output.files import Likeness

TEXT_SUFFIX, METADATA_SUFFIX, HOCR_SUFFIX = ".txt", ".json", ".hocr"
_NAME_MAX_BYTES = 255
_HASH_DIGITS = 16


class Naming(StrEnum):
    """How a sidecar is named after its scan."""

    APPEND = "append"  # scan.pdf.txt, which no other scan can have
    REPLACE = "replace"  # scan.txt for scan.pdf; other suffixes are kept, or scan.tif would have the same


@dataclass(frozen=True)
class Names:
    """Paths of the files, relative to the output root."""

    text: str
    metadata: str

    @property
    def hocr(self) -> str:
        """The path of the hOCR."""
        return self.text.removesuffix(TEXT_SUFFIX) + HOCR_SUFFIX

    @property
    def pdf(self) -> str:
        """The path of the searchable PDF."""
        directory, slash, stem = self.text.removesuffix(TEXT_SUFFIX).rpartition("/")
        return f"{directory}{slash}{_shortened(stem, scan=stem, suffix=PDF_SUFFIX)}{PDF_SUFFIX}"


def names(path: str, *, naming: Naming) -> Names:
    """The sidecar of the scan `path`: deterministic, and different for different scans."""
    directory, slash, name = path.rpartition("/")
    stem = _shortened(_replaced(name) if naming is Naming.REPLACE else name, scan=name)
    return Names(text=f"{directory}{slash}{stem}{TEXT_SUFFIX}", metadata=f"{directory}{slash}{stem}{METADATA_SUFFIX}")


def _replaced(name: str) -> str:
    stem, _, suffix = name.rpartition(".")
    # scan.tif.pdf keeps its suffix: without it, it would have the sidecar of scan.tif.
    ambiguous = not stem or stem.rpartition(".")[2].lower() in SCAN_SUFFIXES
    return name if suffix != "pdf" or ambiguous else stem


def _shortened(stem: str, *, scan: str, suffix: str = METADATA_SUFFIX) -> str:
    """A stem that leaves room for the suffix; the hash keeps what was cut off apart."""
    room_bytes = _NAME_MAX_BYTES - len(suffix)
    raw = os.fsencode(stem)
    if len(raw) <= room_bytes:
        return stem
    mark = "~" + hashlib.sha256(os.fsencode(scan)).hexdigest()[:_HASH_DIGITS]
    kept = raw[: room_bytes - len(mark)]
    while kept and raw[len(kept)] & 0xC0 == 0x80:  # not in the middle of a UTF-8 character
        kept = kept[:-1]
    return os.fsdecode(kept) + mark


class SidecarState(StrEnum):
    """What stands under a sidecar's names."""

    ABSENT = "absent"  # neither file
    OURS = "ours"  # both, and they belong together
    BROKEN = "broken"  # ours, but not a whole pair (a crash between the two): counts as absent, may be replaced
    EDITED = "edited"  # ours, changed by somebody since: never replaced
    FOREIGN = "foreign"  # somebody else's: never replaced


_REPLACEABLE = frozenset({SidecarState.ABSENT, SidecarState.OURS, SidecarState.BROKEN})


@dataclass(frozen=True)
class Examined:
    """A sidecar as it stands: the hashes of both files (empty: no such file), and what its JSON says, if it is one of ours.

    hocr_sha256: of the hOCR that was published with it; supersedes_hocr_sha256: of the one that was there before. So for the PDF;
    pdf_reason: why there is none, where one was wanted.
    """

    state: SidecarState
    source_sha256: str = ""
    text_sha256: str = ""
    metadata_sha256: str = ""
    hocr_sha256: str = ""
    supersedes_hocr_sha256: str = ""
    pdf_sha256: str = ""
    supersedes_pdf_sha256: str = ""
    pdf_reason: str = ""
    complete: bool = False
    corrected: bool = False


@dataclass(frozen=True)
class Published:
    """What was published: hashes of the two files' bytes, and what the file system could not do."""

    names: Names
    text_sha256: str
    metadata_sha256: str
    notes: tuple[str, ...] = ()


def examine(root: Root, names: Names, *, known: Collection[str] = ()) -> Examined:
    """What stands under these names. known: hashes (text or JSON) that the journal has of earlier versions of ours."""
    try:
        text_sha256, metadata = files.sha256_of(root, names.text), _read(root, names.metadata)
    except ForeignFile:
        return Examined(SidecarState.FOREIGN)
    said = claims(metadata) if metadata is not None else None
    metadata_sha256 = hashlib.sha256(metadata).hexdigest() if metadata is not None else ""
    state = _state(said, text_sha256=text_sha256, metadata_sha256=metadata_sha256, known=known)
    found = Examined(state, text_sha256=text_sha256 or "", metadata_sha256=metadata_sha256)
    if said is None:
        return found
    return replace(
        found,
        source_sha256=said.source_sha256,
        hocr_sha256=said.hocr_sha256,
        supersedes_hocr_sha256=said.supersedes_hocr_sha256,
        pdf_sha256=said.pdf_sha256,
        supersedes_pdf_sha256=said.supersedes_pdf_sha256,
        pdf_reason=said.pdf_reason,
        complete=said.complete,
        corrected=said.corrected,
    )


def read_back(root: Root, names: Names, *, published: Collection[str] | None = None) -> Document | None:
    """The document under these names; None unless both files are there, ours, unedited, and belong together.

    published: the hashes of the two, from the journal, which nobody else can write; None takes what agrees with itself.
    """
    if examine(root, names).state is not SidecarState.OURS:
        return None
    text, metadata = _read(root, names.text), _read(root, names.metadata)
    if text is None or metadata is None:
        return None
    if published is not None and {hashlib.sha256(data).hexdigest() for data in (text, metadata)} != set(published):
        return None
    try:
        return document_of(text, metadata)
    except ValueError:
        return None  # changed since it was examined


def _state(said: Claims | None, *, text_sha256: str | None, metadata_sha256: str, known: Collection[str]) -> SidecarState:
    if said is None:
        return _state_without_claims(text_sha256, metadata_sha256, known)
    if not said.unchanged and metadata_sha256 not in known:
        return SidecarState.EDITED
    if text_sha256 == said.text_sha256:
        return SidecarState.OURS
    # A crash after the JSON and before the text leaves no text, or the one that was to be superseded.
    if text_sha256 is None or text_sha256 == said.supersedes_text_sha256 or text_sha256 in known:
        return SidecarState.BROKEN
    return SidecarState.EDITED


def _state_without_claims(text_sha256: str | None, metadata_sha256: str, known: Collection[str]) -> SidecarState:
    if metadata_sha256:
        return SidecarState.FOREIGN
    if text_sha256 is None:
        return SidecarState.ABSENT
    return SidecarState.BROKEN if text_sha256 in known else SidecarState.FOREIGN


def publish(
    root: Root,
    names: Names,
    document: Document,
    *,
    like: Likeness | None = None,
    known: Collection[str] = (),
    make_directories: bool = False,
    hocr: Path | None = None,
    pdf: Path | None = None,
) -> Published:
    """Write the files, or raise ForeignFile, CorruptFile, OutputUnwritable or ShareOffline and leave nothing new that counts.

    hocr, pdf: files of ours that hold the hOCR and the searchable PDF; None for none, and one that stands there is left alone.
    But a PDF of ours that could not be made anew (`pdf_reason`) goes: it shows what was read before. One that is somebody else's
    costs only the PDF.
    """
    before = _replaceable(root, names, known)
    hocr_beside = _beside(root, names.hocr, hocr, known=(before.hocr_sha256, before.supersedes_hocr_sha256))
    pdf_known = before.pdf_sha256, before.supersedes_pdf_sha256
    try:
        pdf_beside = _beside(root, names.pdf, pdf, known=pdf_known)
    except ForeignFile as error:
        pdf_beside = _beside(root, names.pdf, None, known=pdf_known)
        document = replace(document, pdf_reason=str(error))
    beside = hocr_beside, pdf_beside
    rendered = render(
        document,
        supersedes_text_sha256=before.text_sha256,
        hocr=hocr_beside.change,
        pdf=pdf_beside.change,
        pdf_name=names.pdf.rpartition("/")[2],
    )
    if len(rendered.metadata) > MOST_METADATA_BYTES:  # nobody would know it again
        raise CorruptFile(
            f"{names.metadata!r} would have {len(rendered.metadata)} bytes, and {MOST_METADATA_BYTES} are the most",
            "split the scan",
        )
    metadata = files.write_durably(
        root,
        names.metadata,
        rendered.metadata,
        like=like,
        replaces={before.metadata_sha256},
        make_directories=make_directories,
    )
    try:
        for path, data, change in beside:
            if data is not None:
                files.write_durably(root, path, data, like=like, replaces={change.before})
        if document.pdf_reason and pdf_beside.data is None:
            _remove(root, names.pdf, pdf_known)
        text = files.write_durably(root, names.text, rendered.text, like=like, replaces={before.text_sha256})
    except OcrwatchError:
        _withdraw(root, names, before=before, metadata_sha256=metadata.sha256, beside=beside)
        raise
    return Published(
        names=names,
        text_sha256=text.sha256,
        metadata_sha256=metadata.sha256,
        notes=tuple(dict.fromkeys((*metadata.notes, *text.notes))),
    )


def _replaceable(root: Root, names: Names, known: Collection[str]) -> Examined:
    before = examine(root, names, known=known)
    if before.state not in _REPLACEABLE:
        whose = (
            "has been changed since ocrwatch wrote it" if before.state is SidecarState.EDITED else "was not written by ocrwatch"
        )
        raise ForeignFile(
            f"{names.text!r} or {names.metadata!r} {whose}", "move both away and run `ocrwatch retry` to have them written anew"
        )
    return before


class _Beside(NamedTuple):
    """A file that is published beside the text."""

    path: str
    data: Path | None
    change: Change


def _beside(root: Root, path: str, data: Path | None, *, known: tuple[str, str]) -> _Beside:
    """What is to become of it. known: hashes of the one that the JSON has, and had when a crash came.

    Raises ForeignFile when what stands there is none of these, CorruptFile when it would be larger than a file of ours may be.
    """
    if data is None:
        return _Beside(path, None, Change(known[0] or known[1]))
    if data.stat().st_size > files.OWN_MAX_BYTES:  # nobody would know it again
        message = f"{path!r} would have {data.stat().st_size} bytes, and {files.OWN_MAX_BYTES} are the most"
        raise CorruptFile(message, "split the scan, or do without this output")
    standing, wanted = files.sha256_of(root, path) or "", files.hash_of(data)
    if standing not in ("", wanted, *known):
        raise ForeignFile(
            f"{path!r} was not written by ocrwatch, or was changed since",
            "move it away and run `ocrwatch retry` to have it written anew",
        )
    return _Beside(path, data, Change(standing, wanted))


def _remove(root: Root, path: str, known: Collection[str]) -> None:
    with contextlib.suppress(ForeignFile):  # no file any more: it stays, like any that is not one that we know
        for sha256 in filter(None, known):
            files.remove(root, path, sha256=sha256)


def _withdraw(root: Root, names: Names, *, before: Examined, metadata_sha256: str, beside: Iterable[_Beside]) -> None:
    """Take back a JSON whose text could not be written. One that replaced another stays: it names the text that it found."""
    if before.metadata_sha256:
        return
    try:
        for path, _, change in beside:
            if change.after and not change.before:
                files.remove(root, path, sha256=change.after)
        files.remove(root, names.metadata, sha256=metadata_sha256)
    except OcrwatchError:
        return  # the pair is broken, which counts as absent; the error that led here is the one to tell


def _read(root: Root, path: str) -> bytes | None:
    """A file of the pair; None when there is none. Raises ForeignFile when it is no regular file, or larger than ours."""
    with beneath.opened(root) as root_fd, files.translated(path):
        descriptor = files.open_standing(root_fd, path)
        if descriptor is None:
            return None
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(MOST_METADATA_BYTES + 1)
    if len(data) > MOST_METADATA_BYTES:
        raise ForeignFile(f"{path!r} is too large for a file of ocrwatch", "move it away")
    return data
