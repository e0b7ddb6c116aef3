"""One job from claimed to done, with real worker processes that do what the file says, a real journal and a real disk."""

from __future__ import annotations

import _thread
import errno
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from ocrwatch.correction.loading import ModelPlan
from ocrwatch.correction.owner import ModelOwner
from ocrwatch.correction.placing import GpuPolicy
from ocrwatch.correction.protocol import Mode
from ocrwatch.correction.store import ModelWish
from ocrwatch.dispatch import Dispatcher
from ocrwatch.errors import ShareOffline
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Entry, Identity
from ocrwatch.journal.checkpoints import Checkpoints
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.records import WHOLE_INBOX, Job
from ocrwatch.journal.states import JobState, PageState
from ocrwatch.ocr.engine import EngineName
from ocrwatch.ocr.pool import RecognitionPool
from ocrwatch.output import marks
from ocrwatch.output.document import raw_pages, read_back, render
from ocrwatch.output.searchable import PdfMaker
from ocrwatch.output.sidecar import Naming
from ocrwatch.pipeline import Parts, Pipeline
from ocrwatch.tally import Counted, Tally
from ocrwatch.treatment import CorrectionPlan, Treatment
from ocrwatch.worker.access import LocalAccess
from ocrwatch.worker.share import Reach, Share
from ocrwatch.worker.supervised import WorkerState
from tests.faults.calls import failing
from tests.faults.disks import make_read_only, mounted
from tests.faults.waiting import FakeClock, wait_until
from tests.faults.workers import scripted_model, scripted_ocr
from tests.faults.writers import rewrite_in_place

_PLAN = CorrectionPlan(
    mode=Mode.RESCORE, profile="default", prompt=None, caution=1.0, wait_s=600.0, letter_to_digit=True, digit_to_letter=True
)


class Bench:
    """Everything that a job needs. `start` is a service that starts, `crash` one that is cut off."""

    def __init__(self, folder: Path) -> None:
        self.inbox = folder / "inbox"
        self.inbox.mkdir()
        self.folder = folder
        self.record = folder / "record"
        self.wall = FakeClock(1_700_000_000.0)
        self.treatment = self._treatment()
        self.model: ModelOwner | None = None
        self.pdfs: PdfMaker | None = None
        self.tally = Tally()
        self.start()

    def _treatment(self) -> Treatment:
        root = Root(str(self.inbox))
        share = Share(LocalAccess())
        return Treatment(
            inbox="in",
            scans=lambda _: Reach(share, root),
            texts=lambda _: Reach(share, root),
            text_base=root.path,
            mirrored=False,
            naming=Naming.APPEND,
            engine=EngineName.TESSERACT,
            languages=("en",),
            pdf_text="auto",
            page_timeout_s=20.0,
            settings="digest",
        )

    def start(self, *, workers: int = 1) -> None:
        self.journal = Journal(self.folder / "journal.db", wall_clock=self.wall)
        self.checkpoints = Checkpoints(self.folder / "jobs")
        self.pool = RecognitionPool(
            {EngineName.TESSERACT: lambda: scripted_ocr(record=str(self.record))}, workers=workers, clock=time.monotonic
        )
        self._build()

    def with_model(self, *, wait_s: float = 600.0, gpu_layers: int | None = None, **options: Any) -> ModelOwner:
        """Correction is on; the model is there as long as the file `no-memory` is not. options: of its scripted worker."""
        (self.folder / "model.gguf").touch()
        plan = ModelPlan(
            wish=ModelWish(path=self.folder / "model.gguf"),
            fetch=scripted_model(),
            devices=None,
            gpu=GpuPolicy(layers=gpu_layers, device=None, require=False, margin_bytes=0, context_tokens=4096),
            load=lambda _, placing: scripted_model(
                **{"layers": placing.layers, "fails_while": str(self.folder / "no-memory"), **options}
            ),
            idle_s=300.0,
            page_timeout_s=20.0,
        )
        self.model = ModelOwner(plan, clock=time.monotonic, on_back=lambda: None)
        self.treatment = replace(self.treatment, correction=replace(_PLAN, wait_s=wait_s))
        self._build()
        return self.model

    def _build(self) -> None:
        parts = Parts(self.journal, self.checkpoints, self.pool, self.model, time.monotonic, self.pdfs, self.tally)
        self.pipeline = Pipeline(parts)

    def crash(self) -> None:
        """As far as one process can: the pages in hand are lost, the journal is opened anew."""
        self.stop()
        self.start()

    def stop(self) -> None:
        self.pool.stop(drain_s=0.1)
        if self.model is not None:
            self.model.stop(drain_s=0.1)
            self.model = None
        self.journal.close()

    def put(self, name: str, *pages: dict[str, Any], **fields: Any) -> Path:
        path = self.inbox / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"pages": list(pages), **fields}), encoding="ascii")
        return path

    def enter(self, path: Path) -> Job:
        relative = str(path.relative_to(self.inbox))
        (job,) = self.journal.add("in", [Entry(relative, Identity.of(path.lstat()))])
        return job

    def run(self, job: Job) -> Job:
        self.pipeline.run(self.journal.job(job.id), self.treatment)
        return self.journal.job(job.id)

    def run_new(self, name: str, *pages: dict[str, Any], **fields: Any) -> Job:
        return self.run(self.enter(self.put(name, *pages, **fields)))

    def read_pages(self) -> list[int]:
        """The pages that any worker began, in order."""
        return [int(line) for line in self.record.read_text(encoding="ascii").split()] if self.record.exists() else []

    def text(self, name: str) -> str:
        return (self.inbox / f"{name}.txt").read_text(encoding="utf-8")

    def metadata(self, name: str) -> dict[str, Any]:
        data = json.loads((self.inbox / f"{name}.json").read_bytes())
        assert isinstance(data, dict)
        return data

    def sidecars(self) -> set[str]:
        return {p.name for p in self.inbox.rglob("*") if p.suffix in (".txt", ".json") or p.name.startswith(".")}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench without correction."""
    made = Bench(tmp_path)
    yield made
    made.stop()


def test_every_page_is_there_in_order(bench: Bench) -> None:
    """However the workers finish; nothing of the job stays in the state directory."""
    bench.stop()
    bench.start(workers=3)
    mark = bench.folder / "late"
    pages = [{"text": "first\n", "wait_for": str(mark)}, {"text": "second\n"}, {"text": ""}, {"text": "fourth\n"}]
    job = bench.enter(bench.put("a.pdf", *pages))
    runner = threading.Thread(target=bench.run, args=(job,))
    runner.start()
    wait_until(lambda: len(bench.read_pages()) == 4)
    mark.touch()
    runner.join(20)
    done = bench.journal.job(job.id)
    assert (done.state, done.pages, done.tries, done.text_name) == (JobState.DONE, 4, 1, "a.pdf.txt")
    assert bench.text("a.pdf") == "first\n\fsecond\n\f\ffourth\n"
    said = bench.metadata("a.pdf")
    assert (said["complete"], said["corrected"], said["uncorrected_reason"]) == (True, False, "correction is off")
    assert said["source"]["sha256"] == done.sha256
    assert [page["status"] for page in said["pages"]] == ["ok", "ok", "blank", "ok"]
    assert bench.checkpoints.jobs() == []


def test_page_that_cannot_be_read_makes_the_result_partial(bench: Bench) -> None:
    """And the sidecar says so; the other pages keep their place."""
    job = bench.run_new("a.pdf", {"text": "one"}, {"corrupt": True}, {"bug": True}, {"text": "four"})
    assert (job.state, job.reason) == (JobState.PARTIAL, "partial")
    assert "page 2, 3 could not be read: the page is damaged" in job.detail
    assert bench.text("a.pdf") == "one\f\f\ffour"
    said = bench.metadata("a.pdf")
    assert said["complete"] is False
    assert [page["status"] for page in said["pages"]] == ["ok", "failed", "failed", "ok"]
    assert bench.tally.counts(Counted.TO_REVIEW) == {("in",): 2}


def test_trial_text_is_never_called_complete(bench: Bench) -> None:
    """The engine cut it."""
    job = bench.run_new("a.pdf", {"text": "cut", "trial": True})
    assert (job.state, job.reason) == (JobState.PARTIAL, "trial")
    assert bench.metadata("a.pdf")["complete"] is False


def test_retry_of_a_partial_result_reads_the_failed_pages_only(bench: Bench) -> None:
    """And replaces its own sidecar."""
    job = bench.run_new("a.pdf", {"text": "one"}, {"corrupt": True})
    assert job.state is JobState.PARTIAL
    bench.journal.retry(job.id)
    assert bench.run(job).state is JobState.PARTIAL
    assert bench.read_pages() == [1, 2, 2]


def test_worker_that_dies_once_costs_nothing(bench: Bench) -> None:
    """The page is tried again."""
    job = bench.run_new("a.pdf", {"text": "one"}, {"text": "two", "die_once": str(bench.folder / "mark")}, {"text": "three"})
    assert job.state is JobState.DONE
    assert bench.text("a.pdf") == "one\ftwo\fthree"
    assert bench.read_pages().count(2) == 2


def test_file_that_kills_two_workers_is_set_aside_and_the_next_is_read(bench: Bench) -> None:
    """It is not tried again by itself; nothing was published."""
    job = bench.run_new("bad.pdf", {"text": "one"}, {"die": True})
    assert (job.state, job.reason) == (JobState.POISON, "poison_file")
    assert "page 2 of bad.pdf cost 2 workers" in job.detail
    assert bench.read_pages().count(2) == 2
    assert bench.sidecars() == set()
    assert bench.run_new("good.pdf", {"text": "fine"}).state is JobState.DONE
    assert bench.checkpoints.jobs() == []


def test_file_that_hangs_two_workers_is_set_aside(bench: Bench) -> None:
    """At the page's time limit."""
    bench.treatment = replace(bench.treatment, page_timeout_s=0.3)
    assert bench.run_new("bad.pdf", {"hang": True}).state is JobState.POISON


def test_poison_gets_its_whole_budget_again_by_retry(bench: Bench) -> None:
    """What was mended meanwhile works."""
    pages = [{"text": f"{n}", "die_once": str(bench.folder / f"mark-{n}")} for n in (1, 2)]
    job = bench.run_new("a.pdf", *pages)
    assert job.state is JobState.POISON
    bench.journal.retry(job.id)
    assert [page.deaths for page in bench.journal.pages(job.id)] == [0, 0]
    assert bench.run(job).state is JobState.DONE
    assert bench.text("a.pdf") == "1\f2"


@pytest.mark.parametrize(
    ("pages", "fields", "reason"),
    [
        ([{"corrupt": True}, {"bug": True}], {}, "corrupt_file"),
        ([], {"encrypted": True}, "encrypted_file"),
        ([], {}, "empty_document"),
        ([], {"bug": True}, "corrupt_file"),
    ],
)
def test_file_of_which_nothing_can_be_read_fails_with_its_reason(
    bench: Bench, pages: list[dict[str, Any]], fields: dict[str, Any], reason: str
) -> None:
    """No sidecar: an empty text would be a lie."""
    job = bench.run_new("a.pdf", *pages, **fields)
    assert (job.state, job.reason) == (JobState.FAILED, reason)
    assert bench.sidecars() == set()


# -- crashes and other interruptions ---------------------------------------------------------------------------------


def _cut_off(bench: Bench) -> Job:
    """A job of three pages whose service ended while the third was in work."""
    mark = bench.folder / "go"
    job = bench.enter(bench.put("a.pdf", {"text": "one"}, {"text": "two"}, {"text": "three", "wait_for": str(mark)}))
    runner = threading.Thread(target=bench.run, args=(job,))
    runner.start()
    wait_until(
        lambda: [p.state for p in bench.journal.pages(job.id)][:2] == [PageState.RECOGNIZED] * 2 and 3 in bench.read_pages()
    )
    bench.pool.stop(drain_s=0.0)
    runner.join(20)
    bench.crash()
    mark.touch()
    return bench.journal.job(job.id)


def test_job_that_was_cut_off_goes_on_where_it_was(bench: Bench) -> None:
    """Finished pages are not recognized again."""
    job = _cut_off(bench)
    assert job.state is JobState.SPOOLED
    assert bench.run(job).state is JobState.DONE
    assert bench.text("a.pdf") == "one\ftwo\fthree"
    assert bench.read_pages() == [1, 2, 3, 3]


def test_job_that_was_cut_off_starts_anew_with_other_settings(bench: Bench) -> None:
    """Other settings mean another text: every page is read again."""
    job = _cut_off(bench)
    bench.treatment = replace(bench.treatment, settings="other")
    assert bench.run(job).state is JobState.DONE
    assert bench.read_pages() == [1, 2, 3, 1, 2, 3]


def test_page_that_failed_with_other_settings_is_read_again(bench: Bench) -> None:
    """A page that was too large at 600 dpi is none at 300; and the text is known as one of the settings that made it."""
    job = _cut_off(bench)
    bench.journal.page_is(job.id, 2, PageState.FAILED, reason="oversized_page", detail="too large as it was rendered")
    bench.treatment = replace(bench.treatment, settings="other")
    done = bench.run(job)
    assert (done.state, done.settings) == (JobState.DONE, "other")
    assert bench.text("a.pdf") == "one\ftwo\fthree"
    twin = bench.inbox / "twin.pdf"
    twin.write_bytes((bench.inbox / "a.pdf").read_bytes())
    bench.treatment = replace(bench.treatment, settings="digest")
    before = len(bench.read_pages())
    assert bench.run(bench.enter(twin)).state is JobState.DONE
    assert len(bench.read_pages()) == before + 3


def test_content_that_changed_under_the_same_time_is_read_whole(bench: Bench) -> None:
    """The copy was lost and is made again: no page of the old content stays, and none of what was known of them."""
    job = _cut_off(bench)
    bench.journal.page_is(job.id, 2, PageState.FAILED, reason="corrupt_file", detail="the page is damaged")
    scan = bench.inbox / "a.pdf"
    status = scan.stat()
    scan.write_bytes(scan.read_bytes().replace(b'"one"', b'"ONE"'))
    os.utime(scan, ns=(status.st_atime_ns, status.st_mtime_ns))
    (bench.folder / "jobs" / str(job.id) / "source").unlink()
    done = bench.run(job)
    assert (done.state, done.sha256) == (JobState.DONE, hashlib.sha256(scan.read_bytes()).hexdigest())
    assert bench.text("a.pdf") == "ONE\ftwo\fthree"


def test_old_pages_that_cannot_be_removed_are_not_mixed_with_new_ones(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state directory that turned read-only defers the file."""
    job = _cut_off(bench)
    bench.treatment = replace(bench.treatment, settings="other")
    with monkeypatch.context() as patch:
        failing(patch, "unlink", errno.EROFS, when=lambda path, **_: "page-" in str(path))
        job = bench.run(job)
    assert (job.state, job.reason) == (JobState.DEFERRED, "state_unwritable")
    bench.wall.now += 3600
    bench.journal.wake(longest_s=3600)
    assert bench.run(job).state is JobState.DONE
    assert bench.read_pages() == [1, 2, 3, 1, 2, 3]


def test_damaged_checkpoint_is_read_again(bench: Bench) -> None:
    """And the copy that was lost is made again."""
    job = _cut_off(bench)
    folder = bench.folder / "jobs" / str(job.id)
    (folder / "page-000002.json").write_bytes(b"{")
    (folder / "source").unlink()
    assert bench.run(job).state is JobState.DONE
    assert bench.text("a.pdf") == "one\ftwo\fthree"
    assert bench.read_pages() == [1, 2, 3, 2, 3]


@pytest.mark.parametrize(("trouble", "reason"), [("lacks_until", "missing_part"), ("refused_until", "infrastructure")])
def test_engine_that_lacks_something_defers_and_never_blames_the_file(bench: Bench, trouble: str, reason: str) -> None:
    """A language, or a descriptor of the machine's: however often it is tried; when it is there, the file is done."""
    mark = bench.folder / "installed"
    job = bench.run_new("a.pdf", {"text": "one", trouble: str(mark)})
    for _ in range(12):
        assert (job.state, job.reason) == (JobState.DEFERRED, reason)
        bench.wall.now += 3600
        bench.journal.wake(longest_s=3600)
        job = bench.run(job)
    assert job.deferrals == 13
    mark.touch()
    bench.wall.now += 3600
    bench.journal.wake(longest_s=3600)
    done = bench.run(job)
    assert (done.state, done.deferrals) == (JobState.DONE, 0)


def test_file_that_ends_the_whole_service_again_and_again_is_set_aside(bench: Bench) -> None:
    """A try is counted before it begins."""
    scan = bench.put("a.pdf", {"text": "one"})
    job = bench.enter(scan)
    bench.journal.spooled(job.id, sha256=hashlib.sha256(scan.read_bytes()).hexdigest(), settings=bench.treatment.settings)
    for _ in range(9):
        bench.journal.page_begins(job.id, 1)
    done = bench.run(job)
    assert (done.state, done.reason) == (JobState.POISON, "poison_file")


# -- the scan and its sidecar ------------------------------------------------------------------------------------------


def test_scan_that_changes_in_work_is_superseded_and_not_published(bench: Bench) -> None:
    """Its old text would stand beside the new scan."""
    mark = bench.folder / "go"
    path = bench.put("a.pdf", {"text": "old", "wait_for": str(mark)})
    job = bench.enter(path)
    runner = threading.Thread(target=bench.run, args=(job,))
    runner.start()
    wait_until(lambda: bench.read_pages() == [1])
    rewrite_in_place(path, json.dumps({"pages": [{"text": "new"}]}).encode())
    mark.touch()
    runner.join(20)
    assert bench.journal.job(job.id).state is JobState.SUPERSEDED
    assert bench.sidecars() == set()
    assert bench.run(bench.enter(path)).state is JobState.DONE
    assert bench.text("a.pdf") == "new"


@pytest.mark.parametrize("noticed", [False, True])
def test_scan_that_goes_in_work_is_not_published(bench: Bench, noticed: bool) -> None:
    """Whoever sees it first, the inbox or the job."""
    mark = bench.folder / "go"
    path = bench.put("a.pdf", {"text": "old", "wait_for": str(mark)})
    job = bench.enter(path)
    runner = threading.Thread(target=bench.run, args=(job,))
    runner.start()
    wait_until(lambda: bench.read_pages() == [1])
    path.unlink()
    if noticed:
        bench.journal.gone("in", "a.pdf")
    mark.touch()
    runner.join(20)
    assert bench.journal.job(job.id).state is JobState.VANISHED
    assert bench.sidecars() == set()
    assert bench.checkpoints.jobs() == []


def test_partial_scan_that_goes_while_it_is_tried_again_keeps_its_text_and_says_so(bench: Bench) -> None:
    """`orphaned`, not `vanished`; when the scan is back, the retry goes on."""
    job = bench.run_new("a.pdf", {"text": "one"}, {"corrupt": True})
    assert job.state is JobState.PARTIAL
    bench.journal.retry(job.id)
    path = bench.inbox / "a.pdf"
    away = path.rename(bench.folder / "away")
    gone = bench.run(job)
    assert (gone.state, gone.reason) == (JobState.ORPHANED, "source_vanished")
    assert bench.text("a.pdf") == "one\f"
    assert bench.checkpoints.jobs() == []
    away.rename(path)
    (back,) = bench.journal.add("in", [Entry("a.pdf", job.identity)])
    assert (back.id, back.state) == (job.id, JobState.QUEUED)
    assert bench.run(job).state is JobState.PARTIAL
    assert bench.text("a.pdf") == "one\f"


@pytest.mark.parametrize("name", ["a.pdf.txt", "a.pdf.json"])
def test_file_of_somebody_else_in_the_sidecars_place_is_left_alone(bench: Bench, name: str) -> None:
    """The job says why it failed; `retry` publishes once the file is gone."""
    (bench.inbox / name).write_text("mine", encoding="ascii")
    job = bench.run_new("a.pdf", {"text": "one"})
    assert (job.state, job.reason) == (JobState.FAILED, "foreign_file")
    assert "not written by ocrwatch" in job.detail
    assert (bench.inbox / name).read_text(encoding="ascii") == "mine"
    assert bench.sidecars() == {name}
    (bench.inbox / name).unlink()
    bench.journal.retry(job.id)
    assert bench.run(job).state is JobState.DONE


def test_output_that_cannot_be_written_defers_and_keeps_the_pages(bench: Bench) -> None:
    """It is published when the disk is writable again, without another recognition."""
    with mounted(bench.folder / "out") as out:
        bench.treatment = replace(bench.treatment, texts=lambda _: Reach(Share(LocalAccess()), Root(str(out))), mirrored=True)
        make_read_only(out)
        job = bench.run_new("sub/a.pdf", {"text": "one"})
        assert (job.state, job.reason) == (JobState.DEFERRED, "output_unwritable")
        assert "mount it writable" in job.detail
        bench.treatment = replace(
            bench.treatment, texts=lambda _: Reach(Share(LocalAccess()), Root(str(bench.folder / "elsewhere")))
        )
        (bench.folder / "elsewhere").mkdir()
        bench.wall.now += 5
        (woken,) = bench.journal.wake(longest_s=3600)
        assert bench.run(woken).state is JobState.DONE
        assert (bench.folder / "elsewhere" / "sub" / "a.pdf.txt").read_text(encoding="utf-8") == "one"
        assert bench.read_pages() == [1]


def test_temporary_file_of_a_crash_is_removed_from_the_mirrored_folder(bench: Bench) -> None:
    """By the first text that goes there after a start, whatever the journal knows: no listing comes by there."""
    out = bench.folder / "out"
    (out / "sub").mkdir(parents=True)
    bench.treatment = replace(bench.treatment, texts=lambda _: Reach(Share(LocalAccess()), Root(str(out))), mirrored=True)
    mark, other = f"{marks._machine()}-{marks._boot()}-{os.getpid()}-1-abcd", "0123-4567-1-1-abcd"
    for litter in (mark, other):
        (out / "sub" / f".ocrwatch-{litter}.tmp").touch()
    assert bench.run_new("sub/a.pdf", {"text": "one"}).state is JobState.DONE
    kept = f".ocrwatch-{other}.tmp"  # a neighbour's, who may be at work
    assert {path.name for path in (out / "sub").iterdir()} == {"a.pdf.txt", "a.pdf.json", kept}


def test_whole_sidecar_is_adopted_when_the_journal_was_lost(bench: Bench) -> None:
    """Nothing is recognized again, and nothing is written."""
    assert bench.run_new("a.pdf", {"text": "one"}).state is JobState.DONE
    before = (bench.inbox / "a.pdf.json").stat().st_mtime_ns
    bench.stop()
    for file in bench.folder.glob("journal.db*"):
        file.unlink()
    bench.start()
    job = bench.run(bench.enter(bench.inbox / "a.pdf"))
    assert (job.state, job.reason) == (JobState.DONE, "adopted")
    assert bench.read_pages() == [1]
    assert (bench.inbox / "a.pdf.json").stat().st_mtime_ns == before
    assert bench.journal.published_hashes("in", "a.pdf") == {job.text_sha256, job.json_sha256}


def test_same_content_under_another_name_is_not_recognized_again(bench: Bench) -> None:
    """A renamed or copied scan gets the text that was read before, with its own name in the metadata."""
    first = bench.run_new("a.pdf", {"text": "one"}, {"text": "two"})
    assert first.state is JobState.DONE
    copy = bench.inbox / "renamed.pdf"
    copy.write_bytes((bench.inbox / "a.pdf").read_bytes())
    job = bench.run(bench.enter(copy))
    assert job.state is JobState.DONE
    assert bench.read_pages() == [1, 2]
    assert (bench.inbox / "renamed.pdf.txt").read_bytes() == (bench.inbox / "a.pdf.txt").read_bytes()
    assert json.loads((bench.inbox / "renamed.pdf.json").read_bytes())["source"]["path"] == "renamed.pdf"


@pytest.mark.parametrize("change", ["edited", "sealed anew", "gone", "settings"])
def test_same_content_is_recognized_when_the_first_result_is_not_as_it_was(bench: Bench, change: str) -> None:
    """Only a text that still is what we published, by the same settings, is used again."""
    bench.run_new("a.pdf", {"text": "one"})
    if change == "edited":
        (bench.inbox / "a.pdf.txt").write_text("mine", encoding="utf-8")
    elif change == "sealed anew":  # anybody can make a pair that agrees with itself
        text, metadata = bench.inbox / "a.pdf.txt", bench.inbox / "a.pdf.json"
        true = read_back(text.read_bytes(), metadata.read_bytes())
        forged = render(replace(true, pages=tuple(replace(page, raw="nine") for page in true.pages)))
        text.write_bytes(forged.text)
        metadata.write_bytes(forged.metadata)
    elif change == "gone":
        (bench.inbox / "a.pdf.txt").unlink()
    else:
        bench.treatment = replace(bench.treatment, settings="other")
    copy = bench.inbox / "renamed.pdf"
    copy.write_bytes((bench.inbox / "a.pdf").read_bytes())
    assert bench.run(bench.enter(copy)).state is JobState.DONE
    assert bench.read_pages() == [1, 1]


@pytest.mark.parametrize("damage", ["edited", "no text", "partial"])
def test_sidecar_that_is_not_whole_is_not_adopted(bench: Bench, damage: str) -> None:
    """An edited one is left alone, another is written anew."""
    pages = [{"text": "one"}, {"corrupt": True}] if damage == "partial" else [{"text": "one"}]
    bench.run_new("a.pdf", *pages)
    if damage == "edited":
        (bench.inbox / "a.pdf.txt").write_text("by hand", encoding="ascii")
    elif damage == "no text":
        (bench.inbox / "a.pdf.txt").unlink()
    bench.stop()
    for file in bench.folder.glob("journal.db*"):
        file.unlink()
    bench.start()
    job = bench.run(bench.enter(bench.inbox / "a.pdf"))
    expected = {"edited": JobState.FAILED, "no text": JobState.DONE, "partial": JobState.PARTIAL}
    assert job.state is expected[damage]
    assert bench.text("a.pdf") == ("by hand" if damage == "edited" else "one" if damage == "no text" else "one\f")


# -- hOCR ------------------------------------------------------------------------------------------------------------


def _hocr(bench: Bench, name: str) -> list[list[str]]:
    """The words of each page."""
    document = ElementTree.fromstring((bench.inbox / f"{name}.hocr").read_bytes())
    pages = [element for element in document.iter() if element.get("class") == "ocr_page"]
    return [[word.text or "" for word in page.iter() if word.get("class") == "ocrx_word"] for page in pages]


def test_hocr_is_there_where_it_is_wanted(bench: Bench) -> None:
    """With as many pages as the scan, the damaged ones among them, and named by the JSON."""
    bench.run_new("a.pdf", {"text": "plain"})
    assert not (bench.inbox / "a.pdf.hocr").exists()
    bench.treatment = replace(bench.treatment, hocr=True)
    assert bench.run_new("b.pdf", {"text": "one\n"}, {"corrupt": True}, {"text": "three pages\n"}).state is JobState.PARTIAL
    assert _hocr(bench, "b.pdf") == [["one"], [], ["three", "pages"]]
    hashed = hashlib.sha256((bench.inbox / "b.pdf.hocr").read_bytes()).hexdigest()
    assert bench.metadata("b.pdf")["hocr_sha256"] == hashed


def test_hocr_holds_what_was_read_whatever_was_corrected(bench: Bench) -> None:
    """Published with the raw text, and again with the corrected one."""
    (bench.folder / "no-memory").touch()
    model = bench.with_model(wait_s=1.0)
    bench.treatment = replace(bench.treatment, hocr=True)
    job = bench.run_new("a.pdf", {"text": "tbe one"})
    assert _hocr(bench, "a.pdf") == [["tbe", "one"]]
    (bench.folder / "no-memory").unlink()
    wait_until(lambda: model.status().unavailable_since is None)
    bench.treatment = replace(bench.treatment, correction=_PLAN)
    assert bench.run(job).state is JobState.DONE
    assert bench.text("a.pdf") == "the one"
    assert _hocr(bench, "a.pdf") == [["tbe", "one"]]


def test_same_content_has_an_hocr_of_its_own(bench: Bench) -> None:
    """Where the words stand is in no text: the twin is read again for it."""
    bench.treatment = replace(bench.treatment, hocr=True)
    for name in ("a.pdf", "b.pdf"):
        assert bench.run_new(name, {"text": "one"}).state is JobState.DONE
        assert _hocr(bench, name) == [["one"]]


@pytest.mark.parametrize("wanted_before", [False, True])
def test_sidecar_without_a_wanted_hocr_is_not_whole(bench: Bench, wanted_before: bool) -> None:
    """When the journal was lost, it is adopted only with it."""
    bench.treatment = replace(bench.treatment, hocr=wanted_before)
    bench.run_new("a.pdf", {"text": "one"})
    bench.stop()
    for file in bench.folder.glob("journal.db*"):
        file.unlink()
    bench.start()
    bench.treatment = replace(bench.treatment, hocr=True)
    job = bench.run(bench.enter(bench.inbox / "a.pdf"))
    assert (job.state, job.reason) == (JobState.DONE, "adopted" if wanted_before else "")
    assert _hocr(bench, "a.pdf") == [["one"]]


# -- correction --------------------------------------------------------------------------------------------------------


def test_pages_are_corrected_and_every_edit_can_be_undone(bench: Bench) -> None:
    """The model's file is named in the sidecar; a text layer is left as it is."""
    bench.with_model()
    job = bench.run_new("a.pdf", {"text": "tbe one"}, {"text": "tbe layer", "source": "text_layer"}, {"text": "fine"})
    assert job.state is JobState.DONE
    assert bench.text("a.pdf") == "the one\ftbe layer\ffine"
    said = bench.metadata("a.pdf")
    assert (said["corrected"], said["correction"]["model"]["file"]) == (True, "model.gguf")
    files = [(bench.inbox / f"a.pdf.{suffix}").read_bytes() for suffix in ("txt", "json")]
    assert raw_pages(*files) == ("tbe one", "tbe layer", "fine")


def test_raw_text_is_published_when_no_model_is_to_be_had_and_superseded_when_it_is(bench: Bench) -> None:
    """It says that it is not corrected; the pages are not recognized again."""
    (bench.folder / "no-memory").touch()
    model = bench.with_model(wait_s=1.0)
    job = bench.run_new("a.pdf", {"text": "tbe one"})
    assert job.state is JobState.AWAITING_CORRECTION
    assert "not to be had: no memory for the model" in job.detail
    assert bench.text("a.pdf") == "tbe one"
    assert bench.metadata("a.pdf")["corrected"] is False
    assert bench.run(job) == job  # still no model: nothing changes
    (bench.folder / "no-memory").unlink()
    wait_until(lambda: model.status().unavailable_since is None)
    bench.treatment = replace(bench.treatment, correction=_PLAN)
    done = bench.run(job)
    assert done.state is JobState.DONE
    assert bench.text("a.pdf") == "the one"
    assert bench.metadata("a.pdf")["corrected"] is True
    assert bench.read_pages() == [1]
    assert model.status().waiting == 0


def test_raw_text_is_published_when_the_model_takes_too_long_to_load(bench: Bench) -> None:
    """Or to be fetched, at the first run: the sidecar says that it was not busy with others."""
    bench.with_model(wait_s=0.5, hangs=True)
    job = bench.run_new("a.pdf", {"text": "tbe one"})
    assert (job.state, bench.text("a.pdf")) == (JobState.AWAITING_CORRECTION, "tbe one")
    assert "still being fetched or loaded" in bench.metadata("a.pdf")["uncorrected_reason"]


def test_raw_text_stays_when_its_scan_goes_before_the_model_is_back(bench: Bench) -> None:
    """The inbox saw it while the job was waiting for the model."""
    (bench.folder / "no-memory").touch()
    bench.with_model(wait_s=1.0)
    job = bench.run_new("a.pdf", {"text": "tbe one"})
    (bench.folder / "no-memory").unlink()
    (bench.inbox / "a.pdf").unlink()
    awaiting = bench.journal.job(job.id)
    bench.journal.gone("in", "a.pdf")
    bench.pipeline.run(awaiting, replace(bench.treatment, correction=_PLAN))
    assert bench.journal.job(job.id).state is JobState.ORPHANED
    assert bench.text("a.pdf") == "tbe one"
    assert bench.checkpoints.jobs() == []


def test_raw_text_that_a_person_edited_meanwhile_is_left_as_it_is(bench: Bench) -> None:
    """Theirs is worth more than the correction."""
    (bench.folder / "no-memory").touch()
    bench.with_model(wait_s=1.0)
    job = bench.run_new("a.pdf", {"text": "tbe one"})
    (bench.folder / "no-memory").unlink()
    (bench.inbox / "a.pdf.txt").write_text("by hand", encoding="ascii")
    bench.treatment = replace(bench.treatment, correction=_PLAN)
    done = bench.run(job)
    assert (done.state, done.reason) == (JobState.DONE, "foreign_file")
    assert bench.text("a.pdf") == "by hand"


def test_page_that_ends_the_model_stays_raw_and_the_others_are_corrected(bench: Bench) -> None:
    """And the sidecar says which."""
    bench.with_model()
    job = bench.run_new("a.pdf", {"text": "tbe one"}, {"text": "tbe fatal"}, {"text": "tbe three"})
    assert job.state is JobState.DONE
    assert bench.text("a.pdf") == "the one\ftbe fatal\fthe three"
    said = bench.metadata("a.pdf")
    assert said["corrected"] is False
    assert "cost 2 correction workers their life" in said["pages"][1]["uncorrected_reason"]


def test_page_under_which_the_model_died_once_is_corrected_by_the_next_process(bench: Bench) -> None:
    """B7. The same page, whole; a death costs a process and no text."""
    model = bench.with_model(dies_once=str(bench.folder / "died"))
    job = bench.run_new("a.pdf", {"text": "tbe one"}, {"text": "tbe two"})
    assert job.state is JobState.DONE
    assert bench.text("a.pdf") == "the one\fthe two"
    assert bench.metadata("a.pdf")["corrected"] is True
    now = model.status()
    assert (now.worker.deaths, now.epoch, now.unavailable_since) == (1, 2, None)


def test_gpu_that_is_full_when_a_page_comes_costs_layers_and_no_page(bench: Bench) -> None:
    """B13, B25. llama.cpp ends its process with an error of CUDA: each new one has fewer layers, and nobody is to blame."""
    model = bench.with_model(gpu_layers=28, aborts_above=14, record=str(bench.folder / "layers"))
    job = bench.run_new("a.pdf", {"text": "tbe one"}, {"text": "tbe two"})
    assert job.state is JobState.DONE
    assert bench.text("a.pdf") == "the one\fthe two"
    assert bench.metadata("a.pdf")["corrected"] is True
    assert (bench.folder / "layers").read_text(encoding="ascii").split() == ["28", "21", "14"]
    now = model.status()
    assert (now.worker.deaths, (now.worker.hello or {})["layers_on_gpu"]) == (2, 14)
    assert "ran out of memory with more than 14 of 28 layers" in now.degraded


def test_gpu_that_is_full_when_the_model_loads_costs_layers(bench: Bench) -> None:
    """B13. Each try in a process of its own, to the CPU if need be; a page waits, and none is lost."""
    model = bench.with_model(gpu_layers=28, room=0, record=str(bench.folder / "layers"))
    assert bench.run_new("a.pdf", {"text": "tbe one"}).state is JobState.DONE
    assert bench.text("a.pdf") == "the one"
    assert (bench.folder / "layers").read_text(encoding="ascii").split() == ["28", "21", "14", "7", "0"]
    assert (model.status().worker.deaths, model.status().unavailable_since) == (0, None)


def test_load_that_is_slow_and_says_so_is_not_cut_off(bench: Bench) -> None:
    """B10. Its limit is one of silence."""
    mark = bench.folder / "loaded"
    model = bench.with_model(loads_until=str(mark))
    job = bench.enter(bench.put("a.pdf", {"text": "tbe one"}))
    runner = threading.Thread(target=bench.run, args=(job,))
    runner.start()
    wait_until(lambda: model.status().worker.state is WorkerState.LOADING)
    mark.touch()
    runner.join(20)
    assert bench.text("a.pdf") == "the one"
    assert model.status().epoch == 1


def test_model_is_unloaded_at_once_while_it_loads(bench: Bench) -> None:
    """A person wants the memory, and no page waits: the process is ended, and nothing is called a failure."""
    model = bench.with_model(hangs=True)
    with model.soft_lease() as lease:
        lease.take()
        wait_until(lambda: model.status().worker.state is WorkerState.LOADING)
        model.unload()
        wait_until(lambda: model.status().worker.state is WorkerState.COLD)
    assert (model.status().unavailable_since, model.status().worker.problem) == (None, "")


def test_model_loads_while_the_first_page_is_recognized(bench: Bench) -> None:
    """Not when the job begins: other files may be before it."""
    mark = bench.folder / "read"
    model = bench.with_model()
    job = bench.enter(bench.put("a.pdf", {"text": "tbe one", "wait_for": str(mark)}))
    runner = threading.Thread(target=bench.run, args=(job,))
    runner.start()
    wait_until(lambda: model.status().worker.state is WorkerState.READY)
    assert not model.status().waiting
    assert model.status().leases == 1
    mark.touch()
    runner.join(20)
    assert (bench.text("a.pdf"), model.status().leases) == ("the one", 0)


def test_model_is_not_loaded_for_a_job_whose_recognition_has_not_begun(bench: Bench) -> None:
    """It waits behind another, which needs no correction; the model would stand about loaded."""
    mark = bench.folder / "read"
    before = bench.enter(bench.put("before.pdf", {"text": "one", "wait_for": str(mark)}))
    first = threading.Thread(target=bench.run, args=(before,))
    first.start()
    wait_until(lambda: bench.read_pages() == [1])
    model = bench.with_model()
    job = bench.enter(bench.put("a.pdf", {"text": "tbe two"}))
    second = threading.Thread(target=bench.run, args=(job,))
    second.start()
    wait_until(lambda: bench.pool.waiting() == 1)
    assert (model.status().epoch, model.status().leases) == (0, 0)
    mark.touch()
    first.join(20)
    second.join(20)
    assert bench.text("a.pdf") == "the two"


def test_model_is_not_loaded_for_pages_that_have_a_text_of_their_own(bench: Bench) -> None:
    """Born digital: nothing was misread, and nothing is corrected. With the first page that is an image it is loaded."""
    model, layer = bench.with_model(), {"text": "tbe layer", "source": "text_layer"}
    assert bench.run_new("a.pdf", layer, layer).state is JobState.DONE
    assert (model.status().epoch, model.status().leases) == (0, 0)
    bench.run_new("b.pdf", layer, {"text": "tbe scan"})
    assert bench.text("b.pdf") == "tbe layer\fthe scan"
    assert model.status().epoch == 1


def test_model_is_not_loaded_for_a_job_that_was_read_and_corrected_before(bench: Bench) -> None:
    """Its share went before it was published; after a restart nothing but that is left to do."""
    bench.with_model()
    reach, asked = bench.treatment.scans, 0

    def scans(path: str) -> Reach:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise ShareOffline("the share went")
        return reach(path)

    bench.treatment = replace(bench.treatment, scans=scans)
    job = bench.run_new("a.pdf", {"text": "tbe one"})
    assert (job.state, bench.read_pages()) == (JobState.DEFERRED, [1])
    bench.crash()
    model = bench.with_model()
    bench.wall.now += 5
    (woken,) = bench.journal.wake(longest_s=3600)
    assert bench.run(woken).state is JobState.DONE
    assert bench.text("a.pdf") == "the one"
    assert (model.status().epoch, model.status().worker.state) == (0, WorkerState.COLD)
    assert bench.metadata("a.pdf")["correction"]["model"]["file"] == "model.gguf"


def test_nothing_is_left_with_the_model_of_a_job_that_ended(bench: Bench) -> None:
    """A file that is set aside leaves no page waiting for a model that is away."""
    (bench.folder / "no-memory").touch()
    model = bench.with_model()
    assert bench.run_new("a.pdf", {"text": "tbe one"}, {"die": True}).state is JobState.POISON
    wait_until(lambda: model.status().unavailable_since is not None)
    wait_until(lambda: model.status().waiting == 0)


def test_text_that_no_model_saw_is_not_called_corrected(bench: Bench) -> None:
    """Even where correction is asked for and nobody is there to do it."""
    bench.treatment = replace(bench.treatment, correction=_PLAN)
    assert bench.run_new("a.pdf", {"text": "tbe one"}).state is JobState.DONE
    assert bench.metadata("a.pdf")["corrected"] is False


# -- many jobs -----------------------------------------------------------------------------------------------------------


def test_dispatcher_brings_every_waiting_job_to_its_end(bench: Bench) -> None:
    """More jobs than it takes at a time, a poisonous one among them, and those that a crash left behind."""
    for n in range(30):
        bench.enter(bench.put(f"{n}.pdf", {"die": True} if n == 7 else {"text": f"file {n}"}))
    dispatcher = Dispatcher(
        bench.pipeline,
        journal=bench.journal,
        treatments={"in": bench.treatment},
        clock=time.monotonic,
        scopes=lambda _: [WHOLE_INBOX],
        may_correct=lambda: False,
    )
    dispatcher.feed_all()
    wait_until(lambda: dispatcher.active() == 0, 60)
    dispatcher.begin_stop()
    dispatcher.finish_stop()
    assert bench.journal.counts() == {("in", JobState.DONE): 29, ("in", JobState.POISON): 1}


def test_dispatcher_leaves_a_closed_inbox_alone(bench: Bench) -> None:
    """Its share is away."""
    bench.enter(bench.put("a.pdf", {"text": "one"}))
    dispatcher = Dispatcher(
        bench.pipeline,
        journal=bench.journal,
        treatments={"in": bench.treatment},
        clock=time.monotonic,
        scopes=lambda _: [],
        may_correct=lambda: False,
    )
    dispatcher.feed_all()
    assert dispatcher.active() == 0
    dispatcher.finish_stop()


def test_dispatcher_goes_on_when_the_machine_had_no_thread_for_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many jobs were refused one, and in the middle of the work: they rest, and are taken up when there are threads."""
    for n in range(40):
        bench.enter(bench.put(f"{n}.pdf", {"text": f"file {n}"}))
    clock = FakeClock(0.0)
    dispatcher = Dispatcher(
        bench.pipeline,
        journal=bench.journal,
        treatments={"in": bench.treatment},
        clock=clock,
        scopes=lambda _: [WHOLE_INBOX],
        may_correct=lambda: False,
    )
    start, refused = _thread.start_new_thread, iter([True] * 5 + [False] * 3 + [True] * 30)

    def start_or_not(run: Callable[[], None], arguments: tuple[()]) -> int:
        if getattr(getattr(run, "__self__", None), "_name", "").startswith("job-") and next(refused, False):
            raise RuntimeError("can't start new thread")
        return start(run, arguments)

    monkeypatch.setattr(_thread, "start_new_thread", start_or_not)
    for _ in range(60):
        dispatcher.feed_all()
        wait_until(lambda: dispatcher.active() == 0, 60)
        clock.now += 60
    dispatcher.begin_stop()
    dispatcher.finish_stop()
    assert bench.journal.counts() == {("in", JobState.DONE): 40}
