"""The recognition worker: one engine, one page of a spooled file at a time. Run as `python -m ocrwatch.ocr.worker FD PPID`.

Options (the first frame): engine; tessdata, license_file, openssl (paths or null); allow_trial; alternatives; threads; scratch
(the working directory: Aspose writes there). Hello: engine, version, languages (canonical codes), licensed.

Operations: `inspect {path}` -> {format, pages}; `recognize {path, page, languages, pdf_text, dpi, max_pixels}` -> a PageResult.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from ocrwatch.errors import MissingPart, OversizedPage, UsageError
from ocrwatch.ocr.engine import Engine, EngineName, PageResult, PageSource, PdfText
from ocrwatch.ocr.pages import DEFAULT_DPI, DEFAULT_MAX_PIXELS, Bounds, Document, TextLayer, open_document
from ocrwatch.ocr.tessdata import find_tessdata
from ocrwatch.worker.child import Handler, Message, progress, serve

# PDFium keeps what it parsed: walking 50 pages of one document grew to 142 MB.
_REOPEN_AFTER_PAGES = 25


def start(options: Message) -> tuple[Message, Mapping[str, Handler]]:
    """Prepare the environment, then load the engine that the options name."""
    if scratch := options.get("scratch"):
        os.chdir(scratch)
    os.environ["OMP_THREAD_LIMIT"] = str(int(options.get("threads") or 1))
    engine = _engine(options)
    hello = {
        "engine": engine.name.value,
        "version": engine.version,
        "languages": list(engine.languages()),
        "licensed": engine.licensed,
    }
    worker = _Worker(engine)
    return hello, {"inspect": worker.inspect, "recognize": worker.recognize}


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
        document = self._opened.document(Path(request["path"]))
        return {"format": document.format, "pages": document.pages}

    def recognize(self, request: Message) -> Message:
        """One page."""
        try:
            return self._recognize(request).to_json()
        except MemoryError as error:
            raise OversizedPage(f"there is no memory for page {request['page']}", "scan it at a lower resolution") from error

    def _recognize(self, request: Message) -> PageResult:
        document, page = self._opened.document(Path(request["path"])), int(request["page"])
        if not 1 <= page <= document.pages:
            raise UsageError(f"there is no page {page}, the document has {document.pages}")
        max_pixels = min(int(request.get("max_pixels") or DEFAULT_MAX_PIXELS), self._engine.max_pixels)
        bounds = Bounds(dpi=float(request.get("dpi") or DEFAULT_DPI), max_pixels=max_pixels)
        progress(stage="render", page=page)
        begun = time.monotonic()
        layer = document.text_layer(page, PdfText(request.get("pdf_text", PdfText.AUTO)))
        if layer is not None:
            return _from_layer(layer, bounds, render_s=time.monotonic() - begun)
        rendered = document.render(page, bounds)
        render_s = time.monotonic() - begun
        progress(stage="recognize", page=page)
        begun = time.monotonic()
        found = self._engine.recognize(rendered.image, languages=tuple(request["languages"]), dpi=rendered.dpi)
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
        width_px=round(layer.width_pt * bounds.dpi / 72),
        height_px=round(layer.height_pt * bounds.dpi / 72),
        dpi=bounds.dpi,
        render_s=round(render_s, 4),
    )


class _Opened:
    """The document that was asked for last, opened anew when its file is another or it has served many pages."""

    def __init__(self) -> None:
        self._document: Document | None = None
        self._identity: tuple[object, ...] = ()
        self._served = 0

    def document(self, path: Path) -> Document:
        """The open document of this path. Raises what `open_document` raises."""
        identity = _identity(path)
        if self._document is None or identity != self._identity or self._served >= _REOPEN_AFTER_PAGES:
            self.close()
            self._document, self._identity = open_document(path), identity
        self._served += 1
        return self._document

    def close(self) -> None:
        """Give the document back, if there is one."""
        if self._document is not None:
            self._document.close()
        self._document, self._served = None, 0


def _identity(path: Path) -> tuple[object, ...]:
    try:
        status = os.stat(path)
    except OSError:
        return (path,)  # opening it tells what is wrong
    return (path, status.st_ino, status.st_size, status.st_mtime_ns)


if __name__ == "__main__":
    serve(start)
