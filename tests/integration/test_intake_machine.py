"""Any sequence of what writers, people, mounts and crashes do, on real folders, with the real intake, journal and publication.

In the end each whole scan has its one right text; never is there a wrong one, or an edited one overwritten.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ocrwatch.intake.entries import lies_in
from ocrwatch.journal.records import Job
from ocrwatch.journal.states import JobState
from tests.faults.mounting import BindMounts, Mounting, SwappedFolders, may_mount
from tests.faults.rig import (
    INCOMPLETE_MAX_S,
    INTERVAL_S,
    CrashPoint,
    Rig,
    is_whole,
    more_of,
    other_of,
    pages_of,
    scan_of,
    text_of,
)

pytestmark = pytest.mark.slow

_SUFFIXES = (".txt", ".json")
_PATHS = ("a.pdf", "b.pdf", "s/a.pdf", "s/t/ä.pdf", "nas/a.pdf", "nas/d/b.pdf", "x.pdf.part")


class Kind(StrEnum):
    """What somebody does to the files."""

    WRITE = "write"  # a new scan, or other content in the same file
    REPLACE = "replace"  # another file under the same name, by a rename
    APPEND = "append"  # more pages, or the end
    EMPTY = "empty"  # a scanner's placeholder
    RENAME = "rename"  # to another name, also in another folder, over another file, and on another mount
    RENAME_FOLDER = "rename folder"  # with all that is in it, sidecars too
    DELETE = "delete"
    TOUCH = "touch"  # the same content with a new time
    LINK = "link"  # the same file under a second name
    EDIT_TEXT = "edit text"  # a person corrects the sidecar
    EDIT_JSON = "edit JSON"
    OWN_TEXT = "own text"  # a person writes a file of the sidecar's name


_OF_A_SCAN = frozenset({Kind.REPLACE, Kind.APPEND, Kind.RENAME, Kind.DELETE, Kind.TOUCH, Kind.LINK})


@dataclass(frozen=True)
class Deed:
    """One of them. hint: an event tells of it. keep_time: of the file that is replaced."""

    kind: Kind
    path: str
    other: str
    pages: tuple[str, ...]
    whole: bool
    keep_time: bool
    hint: bool


_NAMES = st.sampled_from(_PATHS)
_PAGES = st.sampled_from([("one",), ("two",), ("one", "two"), ("one", "?"), ("?",)])
_DEEDS = st.builds(
    Deed,
    kind=st.sampled_from(Kind),
    path=_NAMES,
    other=_NAMES,
    pages=_PAGES,
    whole=st.sampled_from([True, True, True, False]),
    keep_time=st.booleans(),
    hint=st.booleans(),
)


class AnySequence(RuleBasedStateMachine):
    """`mounting`, `trees` and `mirrored` are given by the subclasses below."""

    trees: tuple[str, ...] = ()
    mirrored = False

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(dir=place))
        self.rig = Rig(self.folder, self.mounting(), trees=self.trees, mirrored=self.mirrored)
        self.rig.on_run = self._published_for_what_is_there
        self.times_ns = 1_600_000_000_000_000_000
        self.count = 0
        self.scans: dict[str, bytes] = {}
        """Every content that any scan ever had, by its hash."""
        self.gone: set[str] = set()
        """When a mount went or came last."""
        self.personal: dict[str, bytes | None] = {}
        """Files in the place of sidecars, as a person left them."""

    def mounting(self) -> Mounting:
        return BindMounts()

    # -- rules -------------------------------------------------------------------------------------------------------

    @initialize(scans=st.dictionaries(_NAMES, _PAGES, min_size=1))
    def scans_are_there(self, scans: dict[str, tuple[str, ...]]) -> None:
        for path, pages in scans.items():
            self._arrives(path, pages)

    @rule(path=_NAMES, pages=_PAGES)
    def scan_arrives(self, path: str, pages: tuple[str, ...]) -> None:
        self._arrives(path, pages)

    @rule(deed=_DEEDS)
    def something_happens(self, deed: Deed) -> None:
        self._do(deed)

    @rule(deed=_DEEDS, path=_NAMES, same=st.booleans(), noticed=st.booleans())
    def something_happens_while_a_scan_is_read(self, deed: Deed, path: str, same: bool, noticed: bool) -> None:
        def meanwhile() -> None:
            self.rig.meanwhile = lambda: None
            self._do(replace(deed, path=path) if same else deed)
            if noticed:
                self.rig.look()

        self.count += 1
        self._arrives(path, ("one", f"page {self.count}"))
        self.rig.meanwhile = meanwhile
        self.rig.after(12.0)

    @rule(seconds=st.sampled_from([0.5, 3.0, 6.0, 12.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.rig.after(seconds)

    @rule()
    def service_restarts(self) -> None:
        self.rig.stop()
        self.rig.start()

    @precondition(lambda self: all(self.rig.mounted.values()))
    @rule()
    def journal_is_lost(self) -> None:
        self.rig.stop()
        self.rig.lose_journal()
        self.rig.start()
        self.gone = set()

    @rule(point=st.sampled_from(CrashPoint), nth=st.integers(1, 3), path=_NAMES, pages=_PAGES)
    def service_crashes_on_a_scan(self, point: CrashPoint, nth: int, path: str, pages: tuple[str, ...]) -> None:
        self._arrives(path, pages)
        there = self.rig.crash(point, nth=nth, after_s=12.0)
        event(f"crash: {point if there else 'elsewhere'}")

    @rule(name=st.sampled_from(["", Rig.NAS, Rig.TEXTS]))
    def mount_goes_or_comes_back(self, name: str) -> None:
        if name in self.rig.mounted:
            (self.rig.unmount if self.rig.mounted[name] else self.rig.mount)(name)
            self.gone = self._gone()

    @rule()
    def person_asks_for_another_try(self) -> None:
        journal = self.rig.journal
        for job in journal.in_state(JobState.FAILED, JobState.POISON, JobState.PARTIAL):
            journal.retry(job.id)

    # -- deeds -------------------------------------------------------------------------------------------------------

    def _do(self, deed: Deed) -> None:
        scan, other = self.rig.at(deed.path), self.rig.at(deed.other)
        if deed.kind in _OF_A_SCAN and not scan.exists():
            return
        for file in (scan, other):
            file.parent.mkdir(parents=True, exist_ok=True)
        deeds: dict[Kind, Callable[[], object]] = {
            Kind.WRITE: lambda: self._write(scan, scan_of(*deed.pages, whole=deed.whole)),
            Kind.REPLACE: lambda: self._replace(scan, deed),
            Kind.APPEND: lambda: self._write(scan, scan.read_bytes() + more_of(scan.read_bytes())),
            Kind.EMPTY: lambda: self._write(scan, b""),
            Kind.RENAME: lambda: self._rename(scan, other),
            Kind.RENAME_FOLDER: self._rename_folder,
            Kind.DELETE: scan.unlink,
            Kind.TOUCH: lambda: self._stamp(scan),
            Kind.LINK: lambda: self._link(scan, other),
            Kind.EDIT_TEXT: lambda: self._edit(deed.path, ".txt", lambda data: data + b" by hand"),
            Kind.EDIT_JSON: lambda: self._edit(deed.path, ".json", lambda data: data.replace(b"{", b"{ ", 1)),
            Kind.OWN_TEXT: lambda: self._own(deed.path),
        }
        deeds[deed.kind]()
        if deed.hint:
            for path in {deed.path, deed.other}:
                self.rig.hint(path)

    def _arrives(self, path: str, pages: tuple[str, ...]) -> None:
        scan = self.rig.at(path)
        scan.parent.mkdir(parents=True, exist_ok=True)
        self._write(scan, scan_of(*pages))

    def _write(self, scan: Path, data: bytes) -> None:
        scan.write_bytes(data)
        self.scans[hashlib.sha256(data).hexdigest()] = data
        self._stamp(scan)

    def _stamp(self, scan: Path) -> None:
        self.times_ns += 1_000_000
        os.utime(scan, ns=(self.times_ns, self.times_ns))

    def _replace(self, scan: Path, deed: Deed) -> None:
        """With the time of the old it has its size too, and only another number."""
        fresh, before, data = scan.with_name(".making"), scan.stat(), scan_of(*deed.pages, whole=deed.whole)
        self._write(fresh, other_of(scan.read_bytes()) if deed.keep_time else data)
        if deed.keep_time:
            os.utime(fresh, ns=(before.st_atime_ns, before.st_mtime_ns))
        fresh.rename(scan)

    def _rename(self, scan: Path, other: Path) -> None:
        if scan != other:
            shutil.move(scan, other)

    def _rename_folder(self) -> None:
        here, there = (self.rig.at(name) for name in ("s", "u"))
        if not here.exists():
            here, there = there, here
        if here.exists() and not there.exists():
            here.rename(there)
            if not self.rig.mirrored:
                old, new = f"{here.name}/", f"{there.name}/"
                moved = {path: data for path, data in self.personal.items() if path.startswith(old)}
                self.personal = {path: data for path, data in self.personal.items() if path not in moved}
                self.personal |= {new + path.removeprefix(old): data for path, data in moved.items()}

    def _link(self, scan: Path, other: Path) -> None:
        if not other.exists() and scan.stat().st_dev == other.parent.stat().st_dev:
            other.hardlink_to(scan)

    def _edit(self, path: str, suffix: str, change: Callable[[bytes], bytes]) -> None:
        file = self.rig.sidecar(path + suffix)
        if file.is_file():
            file.write_bytes(change(file.read_bytes()))
            self._is_personal(path)

    def _own(self, path: str) -> None:
        file = self.rig.sidecar(path + ".txt")
        if not any(self.rig.sidecar(path + suffix).exists() for suffix in _SUFFIXES):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"mine")
            self._is_personal(path)

    def _is_personal(self, path: str) -> None:
        for suffix in _SUFFIXES:
            file = self.rig.sidecar(path + suffix)
            self.personal[path + suffix] = file.read_bytes() if file.exists() else None

    def _published_for_what_is_there(self, job: Job) -> None:
        """No deed comes between the last look at a scan and here, so what was published is the text of what stands there now."""
        if job.state in (JobState.DONE, JobState.PARTIAL) and job.reason != "adopted":  # what stood there is only noted then
            assert hashlib.sha256(self.rig.at(job.path).read_bytes()).hexdigest() == job.sha256

    # -- what is always true, and what in the end ----------------------------------------------------------------------

    @invariant()
    def what_a_person_wrote_is_as_they_left_it(self) -> None:
        for path, data in self.personal.items():
            file = self.rig.sidecar(path)
            assert (file.read_bytes() if file.exists() else None) == data, path

    @invariant()
    def nothing_stands_below_a_bare_mount_point(self) -> None:
        for point in self.rig.bare_points():
            assert list(point.iterdir()) == []

    @invariant()
    def nothing_is_gone_with_its_mount(self) -> None:
        away = [name for name, is_mounted in self.rig.mounted.items() if not is_mounted and name != Rig.TEXTS]
        assert not [path for path in self._gone() - self.gone if any(lies_in(path, name) for name in away)]

    def _gone(self) -> set[str]:
        return {job.path for job in self.rig.journal.in_state(JobState.ORPHANED, JobState.VANISHED)}

    @invariant()
    def every_pair_says_what_its_scan_said(self) -> None:
        for folder in self.rig.homes().values():
            for text in folder.rglob("*.txt"):
                said = self._said(text.with_suffix(".json"))
                if said is not None and said["text_sha256"] == hashlib.sha256(text.read_bytes()).hexdigest():
                    assert text.read_text(encoding="utf-8") == text_of(self.scans[said["source"]["sha256"]]), text

    def _said(self, metadata: Path) -> dict[str, Any] | None:
        if self._path_of(metadata) in self.personal or not metadata.exists():
            return None
        data = json.loads(metadata.read_bytes())
        assert isinstance(data, dict)
        return data

    def _path_of(self, sidecar: Path) -> str:
        homes = [(name, folder) for name, folder in self.rig.homes().items() if sidecar.is_relative_to(folder)]
        name, folder = max(homes, key=lambda home: len(str(home[1])))
        relative = str(sidecar.relative_to(folder))
        return f"{name}/{relative}" if name == Rig.NAS else relative

    def teardown(self) -> None:
        try:
            self._everything_is_well_in_the_end()
        finally:
            self.rig.close()
            self.patch.undo()
            shutil.rmtree(self.folder)

    def _everything_is_well_in_the_end(self) -> None:
        self.rig.meanwhile = lambda: None
        for name in self.rig.mounted:
            self.rig.mount(name)
        self.rig.after(4 * INTERVAL_S + 2 * INCOMPLETE_MAX_S)
        present = {path: self.rig.at(path).read_bytes() for path in self._present()}
        for path, data in present.items():
            if is_whole(data) and not {path + suffix for suffix in _SUFFIXES} & self.personal.keys():
                self._has_its_text(path, data)
        if self.rig.mirrored:
            self._texts_go_everywhere()
        for folder in self.rig.homes().values():
            assert list(folder.rglob(".ocrwatch-*")) == []
        self.every_pair_says_what_its_scan_said()
        self.what_a_person_wrote_is_as_they_left_it()

    def _texts_go_everywhere(self) -> None:
        """The litter of a crash in a mirrored folder goes with the first text that comes there after a start."""
        self.service_restarts()
        mirrored = self.rig.homes()[Rig.TEXTS]
        for folder in [mirrored, *(path for path in mirrored.rglob("*") if path.is_dir())]:
            self._arrives(str(folder.relative_to(mirrored) / "late.pdf"), ("late",))
        self.rig.after(2 * INTERVAL_S)

    def _present(self) -> list[str]:
        paths = [*_PATHS, *(path.replace("s/", "u/", 1) for path in _PATHS if path.startswith("s/"))]
        return [path for path in paths if path.endswith(".pdf") and self.rig.at(path).exists()]

    def _has_its_text(self, path: str, data: bytes) -> None:
        job = self.rig.journal.current("in", path)
        assert job is not None, path
        if set(pages_of(data)) == {"?"}:
            assert job.state is JobState.FAILED
            return
        assert job.state is (JobState.PARTIAL if "?" in pages_of(data) else JobState.DONE), (path, job)
        text, metadata = (self.rig.sidecar(path + suffix) for suffix in _SUFFIXES)
        assert text.read_text(encoding="utf-8") == text_of(data), path
        said = json.loads(metadata.read_bytes())
        assert said["source"]["sha256"] == hashlib.sha256(data).hexdigest()
        assert said["text_sha256"] == hashlib.sha256(text.read_bytes()).hexdigest()


class OnMounts(AnySequence):
    """The inbox is a mount, and so is a folder of it."""

    trees = ("", Rig.NAS)


class Mirrored(AnySequence):
    """The texts go to a tree of their own, which is a mount."""

    trees = (Rig.NAS, Rig.TEXTS)
    mirrored = True


class OnSwappedFolders(AnySequence):
    """The same where mounting is not allowed."""

    trees = ("",)

    def mounting(self) -> Mounting:
        return SwappedFolders(self.patch)


_SETTINGS = settings(max_examples=70, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
_as_root = pytest.mark.skipif(not may_mount(), reason="file systems cannot be mounted here")
OnMounts.TestCase.settings = Mirrored.TestCase.settings = OnSwappedFolders.TestCase.settings = _SETTINGS
TestAnySequenceOnMounts = _as_root(OnMounts.TestCase)
TestAnySequenceWithMirroredTexts = _as_root(Mirrored.TestCase)
TestAnySequenceOnSwappedFolders = OnSwappedFolders.TestCase
