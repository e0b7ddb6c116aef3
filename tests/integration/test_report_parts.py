"""Reports from real sidecars and scans, drawn by the real worker: what is gone, changed, hostile or hangs costs one image."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from ocrwatch.errors import ForeignFile, OutputUnwritable, ShareOffline
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Identity
from ocrwatch.intake.mounts import MountTable
from ocrwatch.output import sidecar
from ocrwatch.output.document import Document, Page, PageStatus, Source
from ocrwatch.output.sidecar import Naming
from ocrwatch.report import gather, saving
from ocrwatch.report.compose import Composer
from ocrwatch.report.content import Collection, FileResult, Place
from ocrwatch.report.page import MARK, Heading
from ocrwatch.report.pictures import Absent, Picture, PictureMaker, picture_worker
from ocrwatch.report.reaching import Reaching
from ocrwatch.worker import sandbox
from ocrwatch.worker.access import RemoteAccess
from ocrwatch.worker.process import WorkerProcess, WorkerSpec
from tests.conftest import PROJECT
from tests.faults import hostile, scans
from tests.faults.share import FaultShare

_MEMORY_BYTES = 10**9
_HEADING = Heading("x", "now", "only its owner can read it")
_READ = Page(raw="page of text", status=PageStatus.OK)


def source_of(scan: Path, path: str | None = None) -> Source:
    """As the daemon has it in the sidecar."""
    digest = hashlib.sha256(scan.read_bytes()).hexdigest()
    return Source(path=path or scan.name, identity=Identity.of(scan.stat()), sha256=digest)


def publish(folder: Path, source: Source, *pages: Page) -> None:
    """Write the sidecar of a scan."""
    document = Document(source=source, pages=pages or (_READ,), engine="e", engine_version="1", languages=("en",))
    sidecar.publish(Root(str(folder)), sidecar.names(source.path, naming=Naming.APPEND), document, make_directories=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Scans and texts."""
    made = tmp_path / "in"
    made.mkdir()
    return made


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """The report's own folder."""
    made = tmp_path / "parts"
    made.mkdir()
    return made


@pytest.fixture
def reaching() -> Iterator[Reaching]:
    """The usual way to files."""
    with Reaching.by_mounts(time.monotonic) as reaching:
        yield reaching


@pytest.fixture
def maker(reaching: Reaching, parts: Path) -> Iterator[PictureMaker]:
    """The real worker."""
    with PictureMaker(reaching, parts, spec=picture_worker(_MEMORY_BYTES)) as maker:
        yield maker


@pytest.fixture
def scripted(reaching: Reaching, parts: Path) -> Iterator[PictureMaker]:
    """A worker that hangs, dies and lies."""
    spec = WorkerSpec(module="tests.faults.scripted_picture", environment={"PYTHONPATH": str(PROJECT)})
    with PictureMaker(reaching, parts, spec=spec, picture_s=1.0) as maker:
        yield maker


def found_in(folder: Path, reaching: Reaching, collection: Collection | None = None) -> list[FileResult]:
    """What a report of a folder is about."""
    collection = collection or Collection(100)
    return list(gather.in_folder(str(folder), reaching=reaching, elsewhere=lambda _: (), unlisted=collection.could_not_list))


def decoded(picture: Picture | Absent) -> Image.Image:
    """The image as a browser gets it."""
    assert isinstance(picture, Picture), picture
    image = Image.open(io.BytesIO(base64.b64decode(picture.data)))
    assert (image.width, image.height) == (picture.width_px, picture.height_px)
    return image


@pytest.mark.parametrize("name", ["a.pdf", "a.tif", "a.png", "a.jpg"])
def test_each_page_is_drawn_small_and_legible(folder: Path, maker: PictureMaker, name: str) -> None:
    """Letters keep their strokes, and a page costs less than a photograph."""
    scan = scans.write(folder / name, "first page with words", *(["second"] if name in ("a.pdf", "a.tif") else []))
    picture = maker.picture(source_of(scan), [Place(str(folder), name)], 1)
    image = decoded(picture).convert("L")
    assert isinstance(picture, Picture)
    assert len(picture.data) < 60_000
    assert image.width * image.height <= 1_210_000
    darkest, lightest = image.getextrema()
    assert (darkest, lightest) == pytest.approx((0, 255), abs=50)


def test_worker_that_draws_is_confined() -> None:
    """It reads what anybody dropped: it has what this kernel gives of seccomp and Landlock."""
    worker = WorkerProcess(picture_worker(_MEMORY_BYTES))
    try:
        assert worker.hello["sandbox"] == sandbox.available().to_json()
    finally:
        worker.stop()


def test_noise_is_compressed_until_it_fits(folder: Path, maker: PictureMaker) -> None:
    """No page of a report is larger than 214 kB, whatever a scanner makes of a blanket."""
    Image.frombytes("RGB", (2000, 3000), os.urandom(18_000_000)).save(folder / "n.png")
    picture = maker.picture(source_of(folder / "n.png"), [Place(str(folder), "n.png")], 1)
    decoded(picture)
    assert isinstance(picture, Picture)
    assert len(picture.data) <= 214_000


def test_a_scan_that_is_gone_changed_or_broken_says_so(folder: Path, maker: PictureMaker) -> None:
    """Each has its reason in the image's place; none is an error, and the next is drawn as ever."""
    place = str(folder)
    scan = scans.write(folder / "a.png", "words")
    source = source_of(scan)
    scan.rename(folder / "b.png")
    assert maker.picture(source, [Place(place, "a.png")], 1) == Absent("the scan is not where it was")
    assert isinstance(maker.picture(source_of(folder / "b.png"), [Place(place, "b.png")], 1), Absent)  # the same scan: known
    scans.write(folder / "c.png", "other words")
    other = source_of(folder / "c.png")
    data = bytearray((folder / "c.png").read_bytes())
    data[-1] ^= 1
    (folder / "c.png").write_bytes(data)
    assert maker.picture(other, [Place(place, "c.png")], 1) == Absent("the scan was changed since it was read")
    for number, bad in enumerate((hostile.pdf_with_password(), hostile.pdf_without_pages(), b"", b"no scan")):
        path = folder / f"bad{number}.pdf"
        path.write_bytes(bad)
        assert isinstance(maker.picture(source_of(path), [Place(place, path.name)], 1), Absent), number
    good = scans.write(folder / "d.png", "more words")
    decoded(maker.picture(source_of(good), [Place(place, "nowhere.png"), Place(place, "d.png")], 1))
    assert isinstance(maker.picture(source_of(good), [Place(place, "d.png")], 2), Absent)  # there is one page


def test_a_path_that_leads_out_of_its_folder_finds_nothing(folder: Path, maker: PictureMaker) -> None:
    """A sidecar that somebody made up cannot have any other file shown."""
    outside = scans.write(folder.parent / "secret.png", "secret")
    (folder / "link.png").symlink_to(outside)
    for number, path in enumerate(("../secret.png", str(outside), "link.png", "", "a/../../secret.png")):
        source = Source(path=path, identity=source_of(outside).identity, sha256=source_of(outside).sha256)
        maker.picture(Source(path="x", identity=Identity(1, 1, 1), sha256=str(number)), [], 1)  # forget the one before
        assert isinstance(maker.picture(source, [Place(str(folder), path)], 1), Absent), path


def test_a_page_that_hangs_or_ends_the_worker_costs_its_scan_alone(folder: Path, scripted: PictureMaker) -> None:
    """A minute a page for a scan of a thousand would be a day."""
    hung, dying, good = (scans.write(folder / name, name) for name in ("hung.png", "dying.png", "good.png"))
    begun = time.monotonic()
    for scan, page, why in ((hung, 2, "within 1 s"), (dying, 3, "status 7")):
        source, places = source_of(scan), [Place(str(folder), scan.name)]
        assert isinstance(scripted.picture(source, places, 1), Picture)
        lost = scripted.picture(source, places, page)
        assert isinstance(lost, Absent)
        assert why in lost.why
        after = [scripted.picture(source, places, number) for number in range(5, 9)]
        assert all(isinstance(each, Absent) and each.why.startswith("not drawn: another page") for each in after)
    assert isinstance(scripted.picture(source_of(good), [Place(str(folder), "good.png")], 1), Picture)
    assert time.monotonic() - begun < 20


def test_what_a_worker_says_is_an_image_must_look_like_one(folder: Path, scripted: PictureMaker) -> None:
    """It met what others wrote; nothing that it says gets into the page unseen."""
    scan = scans.write(folder / "a.png", "words")
    answer = scripted.picture(source_of(scan), [Place(str(folder), "a.png")], 4)
    assert answer == Absent("the page could not be drawn: the worker gave no image")


def test_a_folder_is_told_with_what_is_ours_and_nothing_else(folder: Path, reaching: Reaching) -> None:
    """Sidecars below it too; other JSON is passed over; one that was edited is told; links and snapshots are not entered."""
    for name in ("a.png", "sub/b.png", "edited.png", ".snapshot/old.png"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        publish(folder, source_of(scans.write(path, name), name))
    (folder / "edited.png.txt").write_text("changed by a person")
    (folder / "package.json").write_text('{"name": "x"}')
    (folder / "broken.json").write_text("{")
    (folder / "loop").symlink_to(folder)
    found = {file.path: file for file in found_in(folder, reaching)}
    assert list(found) == ["a.png", "edited.png", "sub/b.png"]
    assert found["edited.png"].problem == "its text or its JSON was changed since ocrwatch wrote it"
    outline = found["sub/b.png"].outline
    assert outline is not None
    assert set(outline.places) == {Place(str(folder), "sub/b.png")}


def test_a_folder_that_is_not_there_is_one_line(folder: Path, reaching: Reaching) -> None:
    """Not an empty report."""
    with pytest.raises(ShareOffline, match="cannot be entered"):
        found_in(folder / "none", reaching)


def test_report_is_written_page_by_page(folder: Path, parts: Path, reaching: Reaching, maker: PictureMaker) -> None:
    """The doubtful page first; every image there; a scan that went since is told on its page."""
    publish(folder, source_of(scans.write(folder / "a.tif", "one", "two")), _READ, Page("two", PageStatus.OK, review=("unsure",)))
    publish(folder, source_of(scans.write(folder / "b.png", "three")))
    (folder / "b.png").unlink()
    collection = Collection(100)
    for file in found_in(folder, reaching):
        collection.add(file)
    told: list[tuple[int, int]] = []
    composer = Composer(parts, reaching=reaching, maker=maker)
    whole, pages = composer.write(_HEADING, collection, most_pages=50, progress=lambda *each: told.append(each))
    html = whole.read_text(encoding="utf-8")
    assert pages == 3
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert re.findall(r'<article class="page[^"]*" id="(\w+)"', html) == ["f1p2", "f1p1", "f2p1"]
    assert html.count("<img ") == 2
    assert "1 page without an image" in html
    assert "No image: the scan is not where it was" in html


def test_a_text_that_goes_or_is_of_another_scan_meanwhile_is_told(
    folder: Path, parts: Path, reaching: Reaching, maker: PictureMaker
) -> None:
    """The daemon goes on; what was counted and what is shown must not be mixed."""
    for name in ("a.png", "b.png", "c.png"):
        publish(folder, source_of(scans.write(folder / name, name)))
    collection = Collection(100)
    for file in found_in(folder, reaching):
        collection.add(file)
    (folder / "a.png.txt").unlink()
    (folder / "b.png").unlink()
    publish(folder, source_of(scans.write(folder / "b.png", "another")), Page("another", PageStatus.OK))
    composer = Composer(parts, reaching=reaching, maker=maker)
    html = composer.write(_HEADING, collection, most_pages=50, progress=lambda *_: None)[0].read_text(encoding="utf-8")
    assert html.count("No text: it was replaced or removed") == 2
    assert "another" not in html
    assert html.count("<img ") == 1


def test_half_a_surrogate_does_not_end_a_report(folder: Path, parts: Path, reaching: Reaching, maker: PictureMaker) -> None:
    """File names are bytes."""
    name = os.fsdecode(b"\xff.png")
    publish(folder, source_of(scans.write(folder / "a.png", "x").rename(folder / name)))
    collection = Collection(100)
    for file in found_in(folder, reaching):
        collection.add(file)
    composer = Composer(parts, reaching=reaching, maker=maker)
    html = composer.write(_HEADING, collection, most_pages=50, progress=lambda *_: None)[0].read_bytes().decode("utf-8")
    assert r"\udcff.png" in html
    assert html.count("<img ") == 1


def test_memory_does_not_grow_with_the_pages(folder: Path, parts: Path, reaching: Reaching, scripted: PictureMaker) -> None:
    """A report of ten times as many documents needs no more of it."""
    import tracemalloc

    scan = scans.write(folder / "a.png", "x")
    text = Page("many words " * 2000, PageStatus.OK)
    peaks = []
    for count in (10, 100):
        for number in range(count):
            publish(folder, source_of(scan, f"{number:03}.png"), text)
        collection = Collection(1000)
        tracemalloc.start()
        for file in found_in(folder, reaching):
            collection.add(file)
        composer = Composer(parts, reaching=reaching, maker=scripted)
        whole, pages = composer.write(_HEADING, collection, most_pages=1000, progress=lambda *_: None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert pages == count
        assert whole.stat().st_size > count * 22_000
    assert peaks[1] < peaks[0] + 500_000, peaks


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_file_is_for_whom_was_said_and_replaces_only_a_report(tmp_path: Path, mode: int) -> None:
    """It holds what the documents say. Another file of that name stays as it is; an earlier report's mode does not."""
    report, path = tmp_path / "made", tmp_path / "report.html"
    report.write_text(MARK + "one")
    old = os.umask(0)
    try:
        saving.save(path, report, mode=0o644, replaces=saving.earlier(path))
        saving.save(path, report, mode=mode, replaces=saving.earlier(path))
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == mode
    report.write_text(MARK + "two")
    saving.save(path, report, mode=mode, replaces=saving.earlier(path))
    assert path.read_text() == MARK + "two"
    assert path.stat().st_mode & 0o777 == mode
    path.write_text("<html>mine")
    with pytest.raises(ForeignFile, match="no report of ocrwatch"):
        saving.earlier(path)
    (tmp_path / "link.html").symlink_to(path)
    with pytest.raises(ForeignFile, match="no plain file"):
        saving.earlier(tmp_path / "link.html")
    with pytest.raises(OutputUnwritable, match="cannot be entered"):
        saving.earlier(tmp_path / "none" / "report.html")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link.html", "made", "report.html"]


def test_a_share_that_hangs_is_given_up_and_the_rest_is_drawn(tmp_path: Path, folder: Path, parts: Path) -> None:
    """Its pages say so; what is elsewhere is shown; a command that a dead mount holds for ever is no command."""
    share = FaultShare(tmp_path / "nas")
    mounts = MountTable()
    near = source_of(scans.write(folder / "near.png", "near"))
    far = [source_of(scans.write(share.backing / f"{number}.png", f"far {number}")) for number in range(6)]
    try:
        share.mount()
        access = lambda root: RemoteAccess(root, clock=time.monotonic, answer_s=1.0)  # noqa: E731
        with (
            Reaching(mounts=mounts, access=access) as reaching,
            PictureMaker(reaching, parts, spec=picture_worker(_MEMORY_BYTES)) as maker,
        ):
            decoded(maker.picture(far[0], [Place(str(share.point), "0.png")], 1))
            share.hang()
            begun = time.monotonic()
            lost = [maker.picture(each, [Place(str(share.point), each.path)], 1) for each in far[1:]]
            assert time.monotonic() - begun < 30
            for each in lost:
                assert isinstance(each, Absent)
                assert "gives no answer" in each.why or "gave no answer" in each.why
            assert isinstance(lost[-1], Absent)
            assert "is not asked any more" in lost[-1].why
            decoded(maker.picture(near, [Place(str(share.point), "near.png"), Place(str(folder), "near.png")], 1))
    finally:
        share.unmount()
