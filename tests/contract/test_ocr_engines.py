"""What every OCR engine promises, asked of the real ones in their worker process (Aspose in its trial)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont
from rapidfuzz.fuzz import ratio

from ocrwatch.errors import CorruptFile, MissingPart, UsageError
from ocrwatch.ocr.engine import PageResult, PageSource
from ocrwatch.ocr.tessdata import find_tessdata
from ocrwatch.tools.openssl11 import OVERRIDE, find_openssl
from ocrwatch.worker.process import WorkerProcess, WorkerSpec

PROJECT = Path(__file__).resolve().parents[2]
FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
LINES = (
    "The quick brown fox jumps over",
    "the lazy dog near the river bank",
    "Invoice 2024-117 of 12 March",
    "Total amount 1,234.50 EUR",
)
LIMIT_S = 120


def page_image(lines: tuple[str, ...] = LINES, *, width: int = 1240) -> Image.Image:
    """A printed page, black on white, at 150 dots per inch."""
    if not FONT.is_file():
        pytest.skip(f"no font at {FONT} (apt install fonts-dejavu-core)")
    image = Image.new("L", (width, 200 + 60 * len(lines)), 255)
    draw, font = ImageDraw.Draw(image), ImageFont.truetype(str(FONT), 34)
    for number, line in enumerate(lines):
        draw.text((80, 80 + 60 * number), line, font=font, fill=0)
    return image


def likeness(text: str, lines: tuple[str, ...] = LINES) -> float:
    """How much of the page was read rightly, 0 to 100; of a trial's cut text, the part that it has."""
    expected = " ".join(lines)
    found = " ".join(text.split())
    return ratio(found, expected[: len(found)])


def project_openssl() -> Path | None:
    """OpenSSL 1.1 as the machine has it, or the project's own copy."""
    return find_openssl() or (None if os.environ.get(OVERRIDE) else find_openssl(PROJECT / ".cache" / "openssl-1.1"))


def options_of(engine: str) -> dict[str, Any]:
    """The first frame of a worker of this engine; skips where the machine has not what it needs."""
    if engine == "tesseract":
        try:
            find_tessdata()
        except MissingPart as error:
            pytest.skip(str(error))
        return {"engine": engine}
    openssl = project_openssl()
    if openssl is None:
        pytest.skip("no OpenSSL 1.1 for Aspose: python -m ocrwatch.tools.openssl11 .cache/openssl-1.1")
    return {"engine": engine, "allow_trial": True, "openssl": str(openssl)}


class Worker:
    """A recognition worker, asked as the parent asks it."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.process = WorkerProcess(WorkerSpec("ocrwatch.ocr.worker", options=options))

    def inspect(self, path: Path) -> dict[str, Any]:
        """Format and number of pages."""
        return self._ask(path, {"op": "inspect"})

    def recognize(self, path: Path, *, page: int = 1, languages: tuple[str, ...] = ("en",), **more: object) -> PageResult:
        """One page."""
        request = {"op": "recognize", "page": page, "languages": list(languages), **more}
        return PageResult.from_json(self._ask(path, request))

    def _ask(self, path: Path, request: Mapping[str, Any]) -> dict[str, Any]:
        with path.open("rb") as file:
            return self.process.call(request, deadline_s=LIMIT_S, descriptor=file.fileno())


@pytest.fixture(scope="module", params=["tesseract", pytest.param("aspose", marks=pytest.mark.slow)])
def worker(request: pytest.FixtureRequest) -> Iterator[Worker]:
    """A worker of each engine; the same for all tests of it, as in service."""
    worker = Worker(options_of(request.param))
    yield worker
    worker.process.stop()


@pytest.fixture(scope="module")
def tesseract() -> Iterator[Worker]:
    """A worker of the engine that gives whole texts."""
    worker = Worker(options_of("tesseract"))
    yield worker
    worker.process.stop()


def engine_of(worker: Worker) -> str:
    """The engine that the worker said it has."""
    return str(worker.process.hello["engine"])


def test_hello_tells_what_the_worker_can(worker: Worker) -> None:
    """Engine, version, canonical languages and licence are known before the first page."""
    hello = worker.process.hello
    assert set(hello) == {"engine", "version", "languages", "licensed", "licence", "sandbox"}
    assert hello["version"][0].isdigit()
    assert "en" in hello["languages"]
    assert hello["licensed"] is (None if engine_of(worker) == "tesseract" else False)


def test_page_is_read(worker: Worker, tmp_path: Path) -> None:
    """The text is that of the page, and the result says how it came about."""
    page_image().save(tmp_path / "a.png", dpi=(150, 150))
    result = worker.recognize(tmp_path / "a.png")
    assert likeness(result.text) > 97
    assert result.source is PageSource.OCR
    assert (result.engine, result.engine_version) == (engine_of(worker), worker.process.hello["version"])
    assert (result.width_px, result.height_px, result.rotation_deg) == (1240, 440, 0)
    assert result.dpi == pytest.approx(150, rel=0.01)
    assert result.recognize_s > 0


def test_lines_of_the_page_are_lines_of_the_text(worker: Worker, tmp_path: Path) -> None:
    """Line breaks stay, each line ends in one newline, and nothing but text is in it."""
    page_image().save(tmp_path / "a.png")
    text = worker.recognize(tmp_path / "a.png").text
    assert likeness(text.splitlines()[0]) > 95
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert text.replace("\n", "").isprintable()


def test_words_stand_where_they_say(worker: Worker, tmp_path: Path) -> None:
    """Offsets, order and boxes of the words hold; alternatives lie within their word."""
    page_image().save(tmp_path / "a.png")
    result = worker.recognize(tmp_path / "a.png")
    assert [word.text for word in result.words] == result.text.split()
    assert [word.offset for word in result.words] == sorted(word.offset for word in result.words)
    for word in result.words:
        assert result.text[word.offset : word.offset + len(word.text)] == word.text
        assert word.confidence is None or 0 <= word.confidence <= 1
        assert all(0 <= choice.start < choice.end <= len(word.text) for choice in word.alternatives)
    left, top, right, bottom = result.words[0].box or (0, 0, 0, 0)
    assert 70 < left < 100 < right
    assert 70 < top < bottom < 140


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_boxes_are_those_of_the_upright_page(worker: Worker, tmp_path: Path, degrees: int) -> None:
    """What was turned back stands where its boxes say, on a page of the size that the result has."""
    upright = page_image()
    upright.rotate(-degrees, expand=True).save(tmp_path / "a.png", dpi=(150, 150))
    result = worker.recognize(tmp_path / "a.png")
    assert (result.width_px, result.height_px) == upright.size
    boxes = [word.box for word in result.words if word.box]
    assert len(boxes) > len(LINES)
    assert all(0 <= left < right <= upright.width and 0 <= top < bottom <= upright.height for left, top, right, bottom in boxes)
    assert all(int(upright.crop(box).getextrema()[0]) < 128 for box in boxes)  # type: ignore[arg-type]


def test_blank_page_has_no_text(worker: Worker, tmp_path: Path) -> None:
    """An empty sheet is an empty text, not an error, and no notice stands in it."""
    Image.new("L", (1240, 1754), 255).save(tmp_path / "a.png")
    result = worker.recognize(tmp_path / "a.png")
    assert (result.text, result.words) == ("", ())


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turned_page_is_set_upright(worker: Worker, tmp_path: Path, degrees: int) -> None:
    """A page that lay wrongly on the glass is read, and the result says by how much it was turned."""
    page_image().rotate(-degrees, expand=True).save(tmp_path / "a.png", dpi=(150, 150))
    result = worker.recognize(tmp_path / "a.png")
    assert likeness(result.text) > 95
    assert result.rotation_deg == 360 - degrees
    assert (result.width_px, result.height_px) == (1240, 440)


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "16-bit", "alpha"])
def test_colours_and_depths_are_read(worker: Worker, tmp_path: Path, mode: str) -> None:
    """Whatever a scanner or an export makes of a page, its text is the same."""
    image = page_image()
    if mode == "16-bit":
        image = image.convert("I").point(lambda value: value * 257).convert("I;16")
    elif mode == "alpha":
        letters = image.point(lambda value: 255 - value)
        image = Image.new("RGBA", image.size, (0, 0, 0, 0))
        image.putalpha(letters)
    else:
        image = image.convert(mode)
    image.save(tmp_path / "a.tif")
    assert likeness(worker.recognize(tmp_path / "a.tif").text) > 95


def test_document_is_read_page_by_page(worker: Worker, tmp_path: Path) -> None:
    """Each page of a PDF and of a TIFF by its number, in any order; a page that is not there is refused."""
    pages = [page_image((f"This is sheet number {name} of the set", *LINES)).convert("1") for name in ("one", "two", "three")]
    pages[0].save(tmp_path / "a.pdf", save_all=True, append_images=pages[1:2], resolution=150)
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression="group4", dpi=(150, 150))
    assert worker.inspect(tmp_path / "a.pdf") == {"format": "pdf", "pages": 2}
    assert worker.inspect(tmp_path / "a.tif") == {"format": "tiff", "pages": 3}
    assert "two" in worker.recognize(tmp_path / "a.pdf", page=2).text.splitlines()[0]
    assert "three" in worker.recognize(tmp_path / "a.tif", page=3).text.splitlines()[0]
    assert "one" in worker.recognize(tmp_path / "a.tif", page=1).text.splitlines()[0]
    with pytest.raises(UsageError, match="no page 4"):
        worker.recognize(tmp_path / "a.tif", page=4)


def test_bad_file_leaves_the_worker_at_work(worker: Worker, tmp_path: Path) -> None:
    """A broken file is an error by name, and the next page is read."""
    (tmp_path / "bad.tif").write_bytes(b"II*\0" + b"\xff" * 50)
    with pytest.raises(CorruptFile, match="begins like a tiff file and is none"):
        worker.inspect(tmp_path / "bad.tif")
    page_image().save(tmp_path / "a.png")
    assert likeness(worker.recognize(tmp_path / "a.png").text) > 95


def test_unreadable_language_names_what_to_do(worker: Worker, tmp_path: Path) -> None:
    """A language that is not there says what brings it: a package, or the other engine."""
    page_image().save(tmp_path / "a.png")
    code, advice = ("kk", "apt install tesseract-ocr-kaz") if engine_of(worker) == "tesseract" else ("ru", "Tesseract")
    with pytest.raises(MissingPart, match=advice):
        worker.recognize(tmp_path / "a.png", languages=(code,))


def test_several_languages_are_read_together(worker: Worker, tmp_path: Path) -> None:
    """A page in one of two languages needs no choice beforehand."""
    languages = ("de", "en")
    if not set(languages) <= set(worker.process.hello["languages"]):
        pytest.skip("no German data (apt install tesseract-ocr-deu)")
    lines = ("Größe und Übermaß müssen schön", *LINES)
    page_image(lines).save(tmp_path / "a.png")
    assert likeness(worker.recognize(tmp_path / "a.png", languages=languages).text, lines) > 90


def test_trial_text_says_so_and_holds_no_notice(worker: Worker, tmp_path: Path) -> None:
    """A text that was cut never passes as whole, and the engine's notice never as the scan's text."""
    page_image().save(tmp_path / "a.png")
    result = worker.recognize(tmp_path / "a.png")
    assert result.trial is (engine_of(worker) == "aspose")
    assert "Trial" not in result.text
    assert "*" not in result.text


def test_engine_tells_what_else_it_might_have_read(worker: Worker, tmp_path: Path) -> None:
    """Alternatives are each for a part of its word, and say something else."""
    page_image().save(tmp_path / "a.png")
    words = worker.recognize(tmp_path / "a.png").words
    assert any(word.alternatives for word in words)
    assert all(choice.text not in ("", word.text[choice.start : choice.end]) for word in words for choice in word.alternatives)


def test_tesseract_tells_how_sure_it_is(tesseract: Worker, tmp_path: Path) -> None:
    """Of each word and of the page."""
    page_image().save(tmp_path / "a.png")
    result = tesseract.recognize(tmp_path / "a.png")
    assert all(word.confidence is not None for word in result.words)
    assert result.confidence is not None
    assert result.confidence > 0.8


def test_paragraphs_are_kept(tesseract: Worker, tmp_path: Path) -> None:
    """A blank line stands between paragraphs, as Tesseract found them."""
    page_image((*LINES[:2], "", "", *LINES[2:])).save(tmp_path / "a.png")
    assert "bank\n\nInvoice" in tesseract.recognize(tmp_path / "a.png").text


def test_columns_of_a_line_stand_apart(tesseract: Worker, tmp_path: Path) -> None:
    """Two numbers of a table never read as one, and the blanks of its words stay blanks."""
    image = page_image((*LINES, "", "", ""))
    draw, font = ImageDraw.Draw(image), ImageFont.truetype(str(FONT), 34)
    rows = (("Goods of copper", "12", "345,00"), ("Goods of leather", "32", "120,50"), ("Goods of silver", "8", "75,20"))
    for number, row in enumerate(rows, start=len(LINES)):
        for left, text in zip((80, 460, 560), row, strict=True):
            draw.text((left, 80 + 60 * number), text, font=font, fill=0)
    image.save(tmp_path / "a.png", dpi=(150, 150))
    lines = tesseract.recognize(tmp_path / "a.png").text.splitlines()
    assert [line for line in lines if "Goods" in line] == ["  ".join(row) for row in rows]
    assert LINES[0] in lines


def test_words_anywhere_are_found_when_the_page_is_said_to_be_such(tesseract: Worker, tmp_path: Path) -> None:
    """The page segmentation mode reaches the engine: with 11 no line is a paragraph of others. The next page has its own."""
    page_image().save(tmp_path / "a.png")
    results = [tesseract.recognize(tmp_path / "a.png", psm=psm) for psm in (11, None, 11, 3)]
    assert min(likeness(result.text) for result in results) > 95
    assert [result.text.count("\n\n") for result in results] == [len(LINES) - 1, 0, len(LINES) - 1, 0]


def start_fails(options: Mapping[str, Any]) -> MissingPart:
    """The error with which a worker refuses to start."""
    with pytest.raises(MissingPart) as refusal:
        Worker(options)
    return refusal.value


@pytest.fixture
def aspose_options() -> Callable[..., dict[str, Any]]:
    """Options of an Aspose worker, with changes."""
    return lambda **changes: options_of("aspose") | changes


def test_missing_openssl_is_told_before_the_runtime_aborts(tmp_path: Path) -> None:
    """Without OpenSSL 1.1 the worker answers with the command that mends it; it does not die of SIGABRT."""
    error = start_fails({"engine": "aspose", "allow_trial": True, "openssl": str(tmp_path)})
    assert "python -m ocrwatch.tools.openssl11" in error.remedy


def test_openssl_that_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    """Files of the right names that are no libraries are an error by name too."""
    for name in ("libcrypto.so.1.1", "libssl.so.1.1"):
        (tmp_path / name).write_bytes(b"no library")
    error = start_fails({"engine": "aspose", "allow_trial": True, "openssl": str(tmp_path)})
    assert "cannot be loaded" in error.message


def test_aspose_without_a_licence_refuses_to_cut_texts(aspose_options: Callable[..., dict[str, Any]]) -> None:
    """The trial must be asked for; the error names the settings."""
    error = start_fails(aspose_options(allow_trial=False))
    assert "ocr.aspose.license_file" in error.remedy
    assert "ocr.aspose.allow_trial" in error.remedy


@pytest.mark.parametrize("content", [None, "<License/>"], ids=["absent", "nonsense"])
def test_licence_that_is_not_accepted_is_told(
    aspose_options: Callable[..., dict[str, Any]], tmp_path: Path, content: str | None
) -> None:
    """A licence file that is set and does not work stops the worker, whether or not the trial is allowed."""
    path = tmp_path / "aspose.lic"
    if content:
        path.write_text(content, encoding="utf-8")
    assert str(path) in start_fails(aspose_options(license_file=str(path))).message


def test_missing_tessdata_names_the_package(tmp_path: Path) -> None:
    """A folder without language data says what to install."""
    assert "apt install tesseract-ocr-eng" in start_fails({"engine": "tesseract", "tessdata": str(tmp_path)}).remedy
