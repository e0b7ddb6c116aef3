"""The pair on the disk: published as a whole, known again, never over a person's work."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.correction.edits import Edit, Reason
from ocrwatch.errors import CorruptFile, ForeignFile, OutputUnwritable
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Identity
from ocrwatch.intake.mounts import read_mounts
from ocrwatch.output import files, sidecar
from ocrwatch.output.document import Document, Page, PageStatus, Source, raw_pages
from ocrwatch.output.files import Likeness
from ocrwatch.output.sidecar import Names, Naming, Published, SidecarState, examine, names, publish
from ocrwatch.service.onlook import pdf_of
from tests.faults.calls import failing

RAW = Document(
    source=Source(path="scan.pdf", identity=Identity(1, 2, 3), sha256="ab" * 32),
    pages=(Page(raw="The qu1ck fox\n", status=PageStatus.OK),),
    engine="tesseract",
    engine_version="5",
    languages=("en",),
    uncorrected_reason="the model is not there",
)
EDIT = Edit(4, "qu1ck", "quick", Reason.DIGIT_TO_LETTER, 2.0)
CORRECTED = replace(RAW, pages=(replace(RAW.pages[0], edits=(EDIT,)),), uncorrected_reason="")
NAMES = names("scan.pdf", naming=Naming.APPEND)


def put(folder: Path, document: Document = RAW, **options: Any) -> Published:
    return publish(Root(str(folder)), NAMES, document, **options)


def state(folder: Path, known: tuple[str, ...] = ()) -> SidecarState:
    return examine(Root(str(folder)), NAMES, known=known).state


def test_published_pair_is_known_again_without_a_journal(tmp_path: Path) -> None:
    """What was published verifies by itself, so that a lost journal does not mean everything is read again."""
    assert state(tmp_path) is SidecarState.ABSENT
    published = put(tmp_path, like=Likeness(0o640, os.getgid()))
    found = examine(Root(str(tmp_path)), NAMES)
    assert found.state is SidecarState.OURS
    assert (found.text_sha256, found.metadata_sha256) == (published.text_sha256, published.metadata_sha256)
    assert (found.source_sha256, found.complete, found.corrected) == ("ab" * 32, True, False)
    text, metadata = (tmp_path / "scan.pdf.txt").read_bytes(), (tmp_path / "scan.pdf.json").read_bytes()
    assert published.text_sha256 == hashlib.sha256(text).hexdigest() == json.loads(metadata)["text_sha256"]
    assert published.metadata_sha256 == hashlib.sha256(metadata).hexdigest()
    assert raw_pages(text, metadata) == ("The qu1ck fox\n",)
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("scan.pdf.txt", "scan.pdf.json")} == {0o640}


def test_corrected_text_supersedes_the_raw_one(tmp_path: Path) -> None:
    """The raw text is published when the model is away, and replaced by the corrected one when it is back."""
    put(tmp_path)
    put(tmp_path, CORRECTED)
    assert (tmp_path / "scan.pdf.txt").read_text() == "The quick fox\n"
    assert examine(Root(str(tmp_path)), NAMES).corrected
    assert sorted(os.listdir(tmp_path)) == ["scan.pdf.json", "scan.pdf.txt"]
    put(tmp_path, CORRECTED)
    assert state(tmp_path) is SidecarState.OURS


@pytest.mark.parametrize("name", ["scan.pdf.txt", "scan.pdf.json"])
def test_file_that_stood_there_before_is_foreign(tmp_path: Path, name: str) -> None:
    """Nothing is written, not even the other file of the pair."""
    (tmp_path / name).write_text('{"schema_version": 1}')
    assert state(tmp_path) is SidecarState.FOREIGN
    with pytest.raises(ForeignFile, match="was not written by ocrwatch"):
        put(tmp_path)
    assert (tmp_path / name).read_text() == '{"schema_version": 1}'
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["scan.pdf.txt", "scan.pdf.json"])
def test_persons_edit_is_respected(tmp_path: Path, name: str) -> None:
    """A text that somebody corrected by hand is never replaced, whatever the journal says of its earlier version."""
    published = put(tmp_path)
    path = tmp_path / name
    path.write_text(path.read_text().replace("tesseract", "Tesseract").replace("qu1ck", "quick"))
    edited = path.read_bytes()
    known = (published.text_sha256, published.metadata_sha256)
    assert state(tmp_path, known) is SidecarState.EDITED
    with pytest.raises(ForeignFile, match="has been changed since"):
        put(tmp_path, CORRECTED, known=known)
    assert path.read_bytes() == edited


def test_crash_between_json_and_text_counts_as_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is the commit: a JSON alone, or with the text that it was to supersede, may be replaced."""
    put(tmp_path)
    first_text = (tmp_path / "scan.pdf.txt").read_bytes()
    put(tmp_path, CORRECTED)
    (tmp_path / "scan.pdf.txt").write_bytes(first_text)
    assert state(tmp_path) is SidecarState.BROKEN
    (tmp_path / "scan.pdf.txt").unlink()
    assert state(tmp_path) is SidecarState.BROKEN
    put(tmp_path, replace(CORRECTED, pages=(replace(CORRECTED.pages[0], recognize_s=9.0),)))
    assert state(tmp_path) is SidecarState.OURS


def test_text_without_its_json_is_known_by_the_journal_only(tmp_path: Path) -> None:
    """Somebody deleted the JSON: the text is ours if the journal has its hash."""
    published = put(tmp_path)
    (tmp_path / "scan.pdf.json").unlink()
    assert state(tmp_path) is SidecarState.FOREIGN
    assert state(tmp_path, (published.text_sha256,)) is SidecarState.BROKEN
    put(tmp_path, known=(published.text_sha256,))
    assert state(tmp_path) is SidecarState.OURS


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("nth", [1, 2])
def test_failed_publication_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, nth: int) -> None:
    """NGX#8329: whether the JSON or the text cannot be written, neither is there afterwards, and a retry works."""
    failing(monkeypatch, "write", number, first=nth, times=1)
    if number == errno.EIO:
        failing(monkeypatch, "write", number, first=nth)
    with pytest.raises(OutputUnwritable):
        put(tmp_path)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == []
    put(tmp_path)
    assert state(tmp_path) is SidecarState.OURS


def test_failed_supersession_keeps_the_old_text_and_can_be_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader keeps the raw text until the corrected one is whole."""
    put(tmp_path)
    failing(monkeypatch, "write", errno.ENOSPC, first=2)
    with pytest.raises(OutputUnwritable):
        put(tmp_path, CORRECTED)
    monkeypatch.undo()
    assert (tmp_path / "scan.pdf.txt").read_text() == "The qu1ck fox\n"
    put(tmp_path, CORRECTED)
    assert state(tmp_path) is SidecarState.OURS
    assert (tmp_path / "scan.pdf.txt").read_text() == "The quick fox\n"


@pytest.fixture
def hocr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hOCR as the pipeline has it, in a file of its own."""
    path = tmp_path_factory.mktemp("state") / "hocr"
    path.write_bytes(b"<html/>")
    return path


def test_hocr_stands_beside_the_text_and_is_known(tmp_path: Path, hocr: Path) -> None:
    """Like the other files in mode and group; the JSON has its hash."""
    put(tmp_path, like=Likeness(0o640, os.getgid()), hocr=hocr)
    assert (tmp_path / "scan.pdf.hocr").read_bytes() == b"<html/>"
    assert (tmp_path / "scan.pdf.hocr").stat().st_mode & 0o777 == 0o640
    said = json.loads((tmp_path / "scan.pdf.json").read_bytes())
    assert said["hocr_sha256"] == hashlib.sha256(b"<html/>").hexdigest() == examine(Root(str(tmp_path)), NAMES).hocr_sha256
    assert state(tmp_path) is SidecarState.OURS


def test_hocr_is_superseded_with_its_text(tmp_path: Path, hocr: Path) -> None:
    """The correction leaves it as it is, another scan under the name replaces it."""
    put(tmp_path, hocr=hocr)
    put(tmp_path, CORRECTED, hocr=hocr)
    hocr.write_bytes(b"<html>2</html>")
    put(tmp_path, CORRECTED, hocr=hocr)
    assert (tmp_path / "scan.pdf.hocr").read_bytes() == b"<html>2</html>"


def test_hocr_is_ours_after_it_was_switched_off_and_on(tmp_path: Path, hocr: Path) -> None:
    """Without it the text is published, and what stands there is left alone; with it again it is replaced."""
    put(tmp_path, hocr=hocr)
    put(tmp_path, CORRECTED)
    assert (tmp_path / "scan.pdf.hocr").read_bytes() == b"<html/>"
    hocr.write_bytes(b"<html>2</html>")
    put(tmp_path, CORRECTED, hocr=hocr)
    assert (tmp_path / "scan.pdf.hocr").read_bytes() == b"<html>2</html>"


@pytest.mark.parametrize("is_edited", [False, True])
def test_hocr_of_somebody_else_is_never_replaced(tmp_path: Path, hocr: Path, is_edited: bool) -> None:
    """Another program's or an edited one: nothing is written, unless no hOCR is wanted."""
    if is_edited:
        put(tmp_path, hocr=hocr)
    (tmp_path / "scan.pdf.hocr").write_bytes(b"precious")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ForeignFile, match=r"scan\.pdf\.hocr"):
        put(tmp_path, CORRECTED, hocr=hocr)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    put(tmp_path, CORRECTED)
    assert (tmp_path / "scan.pdf.hocr").read_bytes() == b"precious"


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_failed_publication_with_hocr_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hocr: Path, nth: int
) -> None:
    """Whichever of the three cannot be written, none is there afterwards, and a retry works."""
    failing(monkeypatch, "write", errno.ENOSPC, first=nth, times=1)
    with pytest.raises(OutputUnwritable):
        put(tmp_path, hocr=hocr)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == []
    put(tmp_path, hocr=hocr)
    assert state(tmp_path) is SidecarState.OURS


@pytest.mark.parametrize("nth", [2, 3])
def test_crash_amid_a_supersession_with_hocr_can_be_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hocr: Path, nth: int
) -> None:
    """Before or after the hOCR: the JSON names the one that it replaces too, so that a third version may replace either."""
    put(tmp_path, hocr=hocr)
    hocr.write_bytes(b"<html>2</html>")
    failing(monkeypatch, "write", errno.ENOSPC, first=nth)
    with pytest.raises(OutputUnwritable):
        put(tmp_path, CORRECTED, hocr=hocr)
    monkeypatch.undo()
    hocr.write_bytes(b"<html>3</html>")
    put(tmp_path, CORRECTED, hocr=hocr)
    assert state(tmp_path) is SidecarState.OURS
    assert (tmp_path / "scan.pdf.hocr").read_bytes() == b"<html>3</html>"


@pytest.mark.parametrize("nth", [2, 3, 4])
def test_crash_amid_a_supersession_with_pdf_can_be_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hocr: Path, nth: int
) -> None:
    """With an hOCR beside it: whichever was not written, a third version may replace what stands there."""
    pdf = hocr.with_name("searchable.pdf")
    pdf.write_bytes(b"%PDF 1")
    put(tmp_path, hocr=hocr, pdf=pdf)
    pdf.write_bytes(b"%PDF 2")
    hocr.write_bytes(b"<html>2</html>")
    failing(monkeypatch, "write", errno.ENOSPC, first=nth)
    with pytest.raises(OutputUnwritable):
        put(tmp_path, CORRECTED, hocr=hocr, pdf=pdf)
    monkeypatch.undo()
    pdf.write_bytes(b"%PDF 3")
    put(tmp_path, CORRECTED, hocr=hocr, pdf=pdf)
    assert state(tmp_path) is SidecarState.OURS
    assert (tmp_path / "scan.pdf.ocr.pdf").read_bytes() == b"%PDF 3"


@pytest.mark.parametrize("nth", [None, 2, 3])
def test_pdf_that_cannot_be_made_anew_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hocr: Path, nth: int | None) -> None:
    """Also after a crash amid an earlier supersession, which left the first or the second one there."""
    pdf = hocr.with_name("searchable.pdf")
    pdf.write_bytes(b"%PDF 1")
    put(tmp_path, pdf=pdf)
    pdf.write_bytes(b"%PDF 2")
    if nth is not None:
        failing(monkeypatch, "write", errno.ENOSPC, first=nth)
        with pytest.raises(OutputUnwritable):
            put(tmp_path, CORRECTED, pdf=pdf)
        monkeypatch.undo()
    put(tmp_path, replace(CORRECTED, pdf_reason="it is signed"))
    assert state(tmp_path) is SidecarState.OURS
    assert not (tmp_path / "scan.pdf.ocr.pdf").exists()
    said = json.loads((tmp_path / "scan.pdf.json").read_bytes())
    assert (said["pdf"], said["pdf_reason"]) == (None, "it is signed")


def test_pair_of_a_replaced_scan_is_superseded(tmp_path: Path) -> None:
    """The name is used again a day later: the sidecar is then that of the new bytes."""
    put(tmp_path, CORRECTED)
    put(tmp_path, replace(RAW, source=replace(RAW.source, sha256="cd" * 32)))
    assert examine(Root(str(tmp_path)), NAMES).source_sha256 == "cd" * 32


def test_mirrored_output_keeps_scans_of_one_name_apart(tmp_path: Path) -> None:
    """`a/x.pdf` and `b/x.pdf` have each its own text; long and odd names work."""
    for path in ("a/x.pdf", "b/x.pdf", "a/x.tif", "a/" + "n" * 251 + ".pdf", "a/" + os.fsdecode(b"\xe4\n.pdf"), "a/-x.pdf"):
        made = names(path, naming=Naming.APPEND)
        document = replace(RAW, source=replace(RAW.source, path=path))
        publish(Root(str(tmp_path)), made, document, make_directories=True)
        assert examine(Root(str(tmp_path)), made).state is SidecarState.OURS
    assert len(list(tmp_path.rglob("*.txt"))) == 6


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory"])
@pytest.mark.parametrize("name", ["scan.pdf.txt", "scan.pdf.json"])
def test_planted_node_is_foreign_and_not_followed(tmp_path: Path, name: str, kind: str) -> None:
    """Neither reading nor writing goes through what is no regular file."""
    (tmp_path / "victim").write_bytes(b"precious")
    path = tmp_path / name
    plant: dict[str, Callable[[], object]] = {
        "symlink": lambda: path.symlink_to("victim"),
        "fifo": lambda: os.mkfifo(path),
        "directory": path.mkdir,
    }
    plant[kind]()
    assert state(tmp_path) is SidecarState.FOREIGN
    with pytest.raises(ForeignFile):
        put(tmp_path)
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_long_description_of_ours_is_known_by_whoever_reads_it(tmp_path: Path) -> None:
    """A book with an edit in every line: what we wrote must not be taken for somebody else's, or it is never replaced."""
    put(tmp_path, replace(RAW, pages=(replace(RAW.pages[0], detail="x" * 80 * 2**20),)))
    assert state(tmp_path) is SidecarState.OURS
    absolute = Names(text=str(tmp_path / NAMES.text), metadata=str(tmp_path / NAMES.metadata))
    assert pdf_of(absolute, table=read_mounts()) == {"pdf_reason": "none was wanted when its text was written"}
    put(tmp_path, CORRECTED)
    assert examine(Root(str(tmp_path)), NAMES).corrected


def test_description_that_nobody_would_know_again_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to do, and what stands there stays; up to the bound everything is as ever."""
    put(tmp_path)
    size_bytes = (tmp_path / NAMES.metadata).stat().st_size
    monkeypatch.setattr(sidecar, "MOST_METADATA_BYTES", size_bytes)
    assert state(tmp_path) is SidecarState.OURS
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CorruptFile, match=r"scan\.pdf\.json.* would have .* bytes, .* are the most; split the scan"):
        put(tmp_path, replace(CORRECTED, pages=CORRECTED.pages * 9))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_hocr_that_nobody_would_know_again_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for what is published beside the text: nothing is written at all."""
    hocr = tmp_path / "made"
    hocr.write_bytes(b"x" * 101)
    (tmp_path / "inbox").mkdir()
    monkeypatch.setattr(files, "OWN_MAX_BYTES", 100)
    with pytest.raises(CorruptFile, match=r"would have 101 bytes, and 100 are the most; split the scan"):
        sidecar.publish(Root(str(tmp_path / "inbox")), NAMES, CORRECTED, hocr=hocr)
    assert list((tmp_path / "inbox").iterdir()) == []
