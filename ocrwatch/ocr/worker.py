"""The recognition worker: one engine, one page of a spooled file at a time. Run as `python -m ocrwatch.ocr.worker FD PPID`.

Options (the first frame): engine; tessdata, license_file, openssl (paths or null); allow_trial; detect_areas, filters (see
`AsposeOptions`); alternatives; threads.
Hello: engine, version, languages (canonical codes), licensed, licence (see `Licence`, or null), sandbox (see `Confinement`).

Operations: `inspect {}` -> {format, pages}; `recognize {page, languages, psm, pdf_text}` -> a PageResult, with a
progress frame (`stage`: READING) unless it has a text layer; both of the file whose `descriptor` comes with the request.
`prove {languages}` -> {shown, read, proven}: what a page made on the spot shows, what was read there, whether that will do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from ocrwatch.errors import MissingPart, OversizedPage, UsageError
from ocrwatch.ocr import proof
from ocrwatch.ocr.aspose_options import AsposeOptions
from ocrwatch.ocr.engine import READING, Engine, EngineName, PageResult, PageSource, PdfText
from ocrwatch.ocr.licence import read_licence
from ocrwatch.ocr.pages import DEFAULT_DPI, DEFAULT_MAX_PIXELS, Bounds, Document, TextLayer, open_document
from ocrwatch.ocr.tessdata import find_tessdata
from ocrwatch.tools.openssl11 import find_openssl
from ocrwatch.worker import sandbox
from ocrwatch.worker.child import Handler, Message, progress, serve

# PDFium keeps what it parsed: walking 50 pages of one document grew to 142 MB.
_REOPEN_AFTER_PAGES = 25


def start(options: Message) -> tuple[Message, Mapping[str, Handler]]:
    """Prepare the environment, lock this process in, then load the engine that the options name."""
    os.chdir("/")  # what a library would drop where it stands has no place here
    os.environ["OMP_THREAD_LIMIT"] = str(int(options.get("threads") or 1))
    confinement = sandbox.enter(policy(options))
    engine, license_file = _engine(options), _path(options.get("license_file"))
    hello = {
        "engine": engine.name.value,
        "version": engine.version,
        "languages": list(engine.languages()),
        "licensed": engine.licensed,
        "licence": read_licence(license_file).to_json() if license_file and engine.licensed else None,
        "sandbox": confinement.to_json(),
    }
    worker = _Worker(engine)
    return hello, {"inspect": worker.inspect, "recognize": worker.recognize, "prove": worker.prove}


def policy(options: Message) -> sandbox.Policy:
    """To read what the engine reads of its own, and no scan, which comes open; to write, nothing: it might fill the disk."""
    readable = (
        _path(options.get("license_file")),
        _tessdata_or_none(_path(options.get("tessdata"))),
        find_openssl(_path(options.get("openssl"))) if options["engine"] == EngineName.ASPOSE else None,
    )
    return sandbox.Policy(readable=tuple(filter(None, readable)))


def _engine(options: Message) -> Engine:
    # The imports wait for the environment, which the native libraries read as they load.
    tessdata = _path(options.get("tessdata"))
    if EngineName(options["engine"]) is EngineName.TESSERACT:
        from ocrwatch.ocr.tesseract import TesseractEngine

        return TesseractEngine(find_tessdata(tessdata), alternatives=bool(options.get("alternatives", True)))

    from ocrwatch.ocr import aspose

    aspose.prepare(_path(options.get("openssl")))
    return aspose.AsposeEngine(
        license_file=_path(options.get("license_file")),
        allow_trial=bool(options.get("allow_trial", False)),
        tessdata=_tessdata_or_none(tessdata),
        options=AsposeOptions.from_json(options),
    )


def _tessdata_or_none(explicit: Path | None) -> Path | None:
    try:
        return find_tessdata(explicit)
    except MissingPart:
        return None


def _path(value: object) -> Path | None:
    return Path(str(value)) if value else None


class _Worker:
    """The operations, on one engine. Keeps the last document open: its pages come one after the other."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._opened = _Opened()

    def inspect(self, request: Message) -> Message:
        """What the file is, and how many pages it has."""
        document = self._opened.document(request["descriptor"])
        return {"format": document.format, "pages": document.pages}

    def prove(self, request: Message) -> Message:
        """Read a page that is made here and now."""
        found = self._engine.recognize(proof.page(), languages=tuple(request["languages"]), dpi=DEFAULT_DPI)
        return {"shown": proof.SHOWN, "read": " ".join(found.text.split()), "proven": proof.is_read(found.text)}

    def recognize(self, request: Message) -> Message:
        """One page."""
        try:
            return self._recognize(request).to_json()
        except MemoryError as error:
            raise OversizedPage(f"there is no memory for page {request['page']}", "scan it at a lower resolution") from error

    def _recognize(self, request: Message) -> PageResult:
        document, page = self._opened.document(request["descriptor"]), int(request["page"])
        if not 1 <= page <= document.pages:
            raise UsageError(f"there is no page {page}, the document has {document.pages}")
        bounds = Bounds(max_pixels=min(DEFAULT_MAX_PIXELS, self._engine.max_pixels))
        begun = time.monotonic()
        layer = document.text_layer(page, PdfText(request.get("pdf_text", PdfText.AUTO)), dpi=bounds.dpi)
        if layer is not None:
            return _from_layer(layer, bounds, render_s=time.monotonic() - begun)
        progress(stage=READING)
        rendered = document.render(page, bounds)
        render_s = time.monotonic() - begun
        begun = time.monotonic()
        languages, psm = tuple(request["languages"]), request.get("psm")
        found = self._engine.recognize(rendered.image, languages=languages, dpi=rendered.dpi, psm=psm)
        width_px, height_px = rendered.image.size
        if found.rotation_deg in {90, 270}:
            width_px, height_px = height_px, width_px
        return PageResult(
            text=found.text,
            engine=self._engine.name.value,
            engine_version=self._engine.version,
            source=PageSource.OCR,
            width_px=width_px,
            height_px=height_px,
            dpi=round(rendered.dpi, 2),
            rotation_deg=found.rotation_deg,
            confidence=found.confidence,
            trial=found.trial,
            words=found.words,
            warnings=(*rendered.warnings, *found.warnings),
            render_s=round(render_s, 4),
            recognize_s=round(time.monotonic() - begun, 4),
        )


def _from_layer(layer: TextLayer, bounds: Bounds, *, render_s: float) -> PageResult:
    name, version = layer.reader
    return PageResult(
        text=layer.text,
        engine=name,
        engine_version=version,
        source=PageSource.TEXT_LAYER,
        width_px=layer.width_px,
        height_px=layer.height_px,
        dpi=bounds.dpi,
        words=layer.words,
        render_s=round(render_s, 4),
    )


class _Opened:
    """The document that was asked for last, opened anew when its file is another or it has served many pages."""

    def __init__(self) -> None:
        self._document: Document | None = None
        self._file: BinaryIO | None = None
        self._identity: tuple[int, ...] = ()
        self._served = 0

    def document(self, descriptor: int) -> Document:
        """The open document of this file; the descriptor is taken over. Raises what `open_document` raises."""
        file = os.fdopen(descriptor, "rb")
        identity = _identity(descriptor)
        if self._document is None or identity != self._identity or self._served >= _REOPEN_AFTER_PAGES:
            self.close()
            self._file, self._identity = file, identity
            self._document = open_document(file)
        else:
            file.close()
        self._served += 1
        return self._document

    def close(self) -> None:
        """Give the document back, if there is one."""
        if self._document is not None:
            self._document.close()
        if self._file is not None:
            self._file.close()
        self._document, self._file, self._served = None, None, 0


def _identity(descriptor: int) -> tuple[int, ...]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


if __name__ == "__main__":
    serve(start)
