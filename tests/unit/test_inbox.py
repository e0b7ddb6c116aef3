"""One inbox, with a share in memory and a clock that the test moves: what it takes, when it looks, and what counts as gone."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, precondition, rule

from ocrwatch.errors import StateUnwritable
from ocrwatch.intake.beneath import Root, RootIdentity
from ocrwatch.intake.entries import Entry
from ocrwatch.intake.ignore import NO_PATTERNS, Patterns
from ocrwatch.intake.inbox import Inbox
from ocrwatch.intake.mounts import MountTable
from ocrwatch.intake.settle import WaitReason
from ocrwatch.intake.surroundings import InboxRules, InboxState, Surroundings, TerritoryStatus
from ocrwatch.intake.territory import Territory
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.records import Job
from ocrwatch.journal.states import JobState
from ocrwatch.worker.share import Share
from tests.faults.fake_share import EMPTY_MOUNT_POINT, HOME, FakeEvents, FakeFile, FakeShare, FakeTable
from tests.faults.waiting import FakeClock

_SETTLE_S = 5.0
_INTERVAL_S = 300.0


class Stage:
    """An inbox with everything around it in the test's hands."""

    def __init__(self, folder: Path, *, recursive: bool = True, patterns: Patterns = NO_PATTERNS) -> None:
        self.clock, self.wall = FakeClock(), FakeClock(1_700_000_000.0)
        self.share = FakeShare()
        self.shares = {"": self.share}
        self.table = FakeTable()
        self.journal = Journal(folder / "journal.db", wall_clock=self.wall)
        self.journal._db.execute("PRAGMA synchronous = OFF")  # durability is tested elsewhere
        self.events = FakeEvents()
        self.lines: list[str] = []
        self.on_territory: Callable[[Territory], None] = lambda _: None
        self.told = 0
        self.rules = InboxRules("in", "/srv/in", recursive, _SETTLE_S, 600.0, patterns, _INTERVAL_S, _INTERVAL_S)
        self.inbox = self.make()

    def make(self) -> Inbox:
        """The inbox of a service that just started."""

        def on_jobs() -> None:
            self.told += 1

        inbox = Inbox(
            self.rules,
            share=lambda below: cast(Share, self.shares[below]),
            around=Surroundings(self.journal, self.events, self.clock, on_jobs, lambda line, _: self.lines.append(line)),
            table=cast(MountTable, self.table),
            on_territory=lambda territory: self.on_territory(territory),
        )
        inbox.follow_mounts()
        return inbox

    def mount(self, below: str, kind: str = "nfs4") -> FakeShare:
        """A share appears below the inbox; what it holds."""
        self.table.points[below] = kind
        self.share.directories.add(below)
        share = self.shares.setdefault(below, FakeShare(directories={below}))
        share.root = RootIdentity(0, kind, f"/srv/in/{below}", "/", "nas:/x")
        self.inbox.follow_mounts()
        return share

    def unmount(self, below: str) -> None:
        """Only its mount point is left."""
        del self.table.points[below]
        self.shares[below].root = HOME
        self.inbox.follow_mounts()

    def step(self) -> float:
        """Do what is due everywhere; seconds until something is due again."""
        return min(territory.step() for territory in self.inbox.territories())

    def status(self) -> TerritoryStatus:
        """Of the inbox's own territory."""
        return self.inbox.status().own

    def after(self, seconds: float) -> None:
        """Let time pass, with a step whenever one is due."""
        end = self.clock.now + seconds
        for _ in range(10_000):
            rest_s = self.step()
            if self.clock.now + rest_s > end:
                self.clock.now = end
                return
            self.clock.now += max(rest_s, 0.01)
        pytest.fail("the inbox has something to do all the time")

    def hint(self, path: str, *, is_directory: bool = False) -> None:
        self.inbox.hint(self.rules.path, path, is_directory=is_directory)

    def states(self) -> dict[str, JobState]:
        """The current job of each path."""
        current = set(JobState) - {JobState.SUPERSEDED, JobState.VANISHED}
        return {job.path: job.state for job in self.journal.in_state(*current, inbox="in")}

    def finish(self, path: str, state: JobState = JobState.DONE) -> None:
        """The pipeline has done its work."""
        job = self.journal.current("in", path)
        assert job is not None
        self.journal.move(job.id, JobState.SPOOLED)
        self.journal.move(job.id, state)

    def calls(self) -> list[tuple[str, str]]:
        """What was asked of the share since the last time."""
        calls, self.share.calls = self.share.calls, []
        return calls


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """An inbox on an empty journal."""
    made = Stage(tmp_path)
    yield made
    made.journal.close()


def test_new_file_waits_until_it_is_at_rest_and_is_then_a_job(stage: Stage) -> None:
    """Not at the first sight, however old its own times are."""
    stage.share.write("a.pdf")
    stage.after(_SETTLE_S - 0.1)
    assert stage.states() == {}
    assert [w.reason for w in stage.status().waiting] == [WaitReason.SETTLING]
    stage.after(0.2)
    assert stage.states() == {"a.pdf": JobState.QUEUED}
    assert stage.told == 1
    assert stage.status() == TerritoryStatus(InboxState.ONLINE, "", (), "")


def test_file_that_grows_waits(stage: Stage) -> None:
    """As long as it does."""
    stage.share.write("a.pdf")
    for _ in range(10):
        stage.after(4)
        stage.share.append("a.pdf")
    assert stage.states() == {}
    assert [w.reason for w in stage.status().waiting] == [WaitReason.GROWING]
    stage.after(3 * _SETTLE_S)
    assert stage.states() == {"a.pdf": JobState.QUEUED}


def test_file_that_is_not_whole_waits_with_its_reason_and_is_taken_in_the_end(stage: Stage) -> None:
    """The worker decides when nothing comes for ten minutes."""
    stage.share.write("a.pdf", whole=False)
    stage.after(60)
    (waiting,) = stage.status().waiting
    assert (waiting.reason, waiting.detail) == (WaitReason.TRUNCATED, "its end is missing")
    stage.after(600)
    assert stage.states() == {"a.pdf": JobState.QUEUED}


def test_replaced_file_takes_the_place_of_its_older_version(stage: Stage) -> None:
    """Seen at the next listing at the latest."""
    stage.share.write("a.pdf")
    stage.after(2 * _SETTLE_S)
    stage.finish("a.pdf")
    new = stage.share.write("a.pdf")
    stage.after(1.2 * _INTERVAL_S)
    job = stage.journal.current("in", "a.pdf")
    assert job is not None
    assert (job.state, job.identity) == (JobState.QUEUED, new)


@pytest.mark.parametrize(("finished", "after"), [(False, JobState.VANISHED), (True, JobState.ORPHANED)])
def test_file_that_goes_is_gone_and_its_text_stays(stage: Stage, finished: bool, after: JobState) -> None:
    """And comes back as what it was."""
    stage.share.write("a.pdf")
    stage.share.write("sub/b.pdf")
    stage.after(2 * _SETTLE_S)
    if finished:
        stage.finish("a.pdf")
    file = stage.share.files.pop("a.pdf")
    stage.after(1.2 * _INTERVAL_S)
    job = stage.journal.current("in", "a.pdf")
    assert job is not None
    assert job.state is after
    stage.share.files["a.pdf"] = file
    stage.after(1.2 * _INTERVAL_S)
    assert stage.states() == {"a.pdf": JobState.DONE if finished else JobState.QUEUED, "sub/b.pdf": JobState.QUEUED}


def test_folder_that_goes_takes_its_files_along(stage: Stage) -> None:
    """Those below it too, and no other's."""
    for path in ("a/x.pdf", "a/b/x.pdf", "ab/x.pdf"):
        stage.share.write(path)
    stage.after(2 * _SETTLE_S)
    stage.share.directories -= {"a", "a/b"}
    del stage.share.files["a/x.pdf"], stage.share.files["a/b/x.pdf"]
    stage.after(1.2 * _INTERVAL_S)
    assert stage.states() == {"ab/x.pdf": JobState.QUEUED}


def test_file_that_vanishes_before_it_is_at_rest_is_forgotten(stage: Stage) -> None:
    """A scanner's temporary name."""
    stage.share.write("a.pdf")
    stage.after(1)
    stage.share.rename("a.pdf", "b.pdf")
    stage.after(_INTERVAL_S * 1.2)
    assert stage.states() == {"b.pdf": JobState.QUEUED}
    assert stage.status().waiting == ()


# -- offline ---------------------------------------------------------------------------------------------------------


def test_nothing_counts_as_gone_while_the_share_is_away(stage: Stage) -> None:
    """One line when it goes, one when it is back; nothing is done again."""
    stage.share.write("a.pdf")
    stage.after(2 * _SETTLE_S)
    stage.finish("a.pdf")
    events = len(stage.journal.events(1))
    stage.share.offline = True
    stage.after(2 * _INTERVAL_S)
    assert stage.status().state is InboxState.OFFLINE
    assert "no answer" in stage.status().problem
    assert stage.lines == ["inbox in is offline: no answer; check it"]
    stage.share.offline = False
    stage.after(60)
    assert stage.lines[1:] == ["inbox in is back"]
    assert stage.states() == {"a.pdf": JobState.DONE}
    assert len(stage.journal.events(1)) == events
    assert stage.told == 1


def test_share_that_is_away_is_not_asked_all_the_time(stage: Stage) -> None:
    """However many hints come: a look every few seconds."""
    stage.share.offline = True
    stage.after(1)
    stage.calls()
    for _ in range(100):
        stage.hint("a.pdf")
        stage.after(0.05)
    assert len(stage.calls()) <= 2


def test_inbox_counts_as_looked_at_after_its_first_listing(stage: Stage) -> None:
    """The service is ready when what was there is known, or when the inbox was found to be away."""
    assert not stage.inbox.was_looked_at()
    stage.after(1)
    assert stage.inbox.was_looked_at()
    stage.share.offline = True
    stage.inbox = stage.make()
    stage.after(1)
    assert stage.inbox.was_looked_at()


def test_share_that_is_away_at_the_start_is_waited_for(stage: Stage) -> None:
    """The service starts before the NAS."""
    stage.share.offline = True
    stage.share.write("a.pdf")
    stage.after(60)
    assert stage.status().state is InboxState.OFFLINE
    stage.share.offline = False
    stage.after(60)
    assert stage.states() == {"a.pdf": JobState.QUEUED}


def test_mount_point_without_its_mount_is_no_empty_inbox(stage: Stage) -> None:
    """What stands there is taken if it stays; nothing is declared gone."""
    stage.share.write("a.pdf")
    stage.after(2 * _SETTLE_S)
    stage.finish("a.pdf")
    files, stage.share.files = stage.share.files, {}
    stage.share.root = EMPTY_MOUNT_POINT
    stage.after(1.2 * _INTERVAL_S)
    assert stage.lines[0].startswith("inbox in is offline: another mount")
    assert stage.states() == {"a.pdf": JobState.DONE}
    stage.after(3 * _INTERVAL_S)
    assert stage.status().state is InboxState.OFFLINE, "an empty mount point is never an inbox"
    new = stage.share.write("new.pdf")
    stage.after(1.2 * _INTERVAL_S)
    assert stage.states() == {"a.pdf": JobState.DONE, "new.pdf": JobState.QUEUED}
    stage.share.root = HOME
    stage.share.files = files
    stage.after(1.2 * _INTERVAL_S)
    assert stage.states()["a.pdf"] is JobState.DONE
    assert new is not None


def test_other_mount_at_the_start_is_looked_at_twice(stage: Stage) -> None:
    """The service starts before the mount: what the journal knows is not gone."""
    stage.share.write("a.pdf")
    stage.after(2 * _SETTLE_S)
    stage.finish("a.pdf")
    files, stage.share.files, stage.share.root = stage.share.files, {}, EMPTY_MOUNT_POINT
    stage.inbox = stage.make()
    stage.after(1)
    assert stage.status().state is InboxState.OFFLINE
    assert "another mount than the known one" in stage.status().problem
    stage.share.files, stage.share.root = files, HOME
    stage.after(60)
    assert stage.status().state is InboxState.ONLINE
    assert stage.states() == {"a.pdf": JobState.DONE}


# -- hints and how often -----------------------------------------------------------------------------------------------


def test_hint_leads_to_a_look_at_that_file_only(stage: Stage) -> None:
    """Not to a listing."""
    stage.after(1)
    stage.calls()
    stage.share.write("a.pdf")
    stage.hint("a.pdf")
    stage.after(1)
    assert stage.calls() == [("look", "a.pdf")]
    stage.after(2 * _SETTLE_S)
    assert stage.states() == {"a.pdf": JobState.QUEUED}
    assert ("scan", "") not in stage.calls()


def test_hint_at_what_can_be_no_scan_costs_nothing(stage: Stage) -> None:
    """A sidecar, a lock file, what the patterns ignore."""
    stage.inbox = replace_patterns(stage, Patterns(ignore=("private/*",)))
    stage.after(1)
    stage.calls()
    for path in ("a.pdf.txt", ".~lock.a.pdf#", "private/a.pdf"):
        stage.hint(path)
    stage.after(1)
    assert stage.calls() == []


def replace_patterns(stage: Stage, patterns: Patterns) -> Inbox:
    """The inbox of a service with other patterns."""
    stage.rules = replace(stage.rules, patterns=patterns)
    return stage.make()


def test_hint_of_a_file_that_went_says_so_at_once(stage: Stage) -> None:
    """Deleted and renamed files do not wait for the next listing."""
    stage.share.write("a.pdf")
    stage.after(2 * _SETTLE_S)
    stage.share.rename("a.pdf", "b.pdf")
    stage.hint("a.pdf")
    stage.hint("b.pdf")
    stage.after(2 * _SETTLE_S)
    assert stage.states() == {"b.pdf": JobState.QUEUED}


def test_hint_of_a_scan_that_came_back_brings_its_job_back(stage: Stage) -> None:
    """Moved out and in again."""
    stage.share.write("a.pdf")
    stage.after(2 * _SETTLE_S)
    stage.finish("a.pdf", JobState.PARTIAL)
    file = stage.share.files.pop("a.pdf")
    stage.hint("a.pdf")
    stage.after(1)
    assert stage.states() == {"a.pdf": JobState.ORPHANED}
    stage.share.files["a.pdf"] = file
    stage.hint("a.pdf")
    stage.after(1)
    assert stage.states() == {"a.pdf": JobState.PARTIAL}


def test_very_many_hints_become_listings_of_their_folders(stage: Stage) -> None:
    """A burst costs as much as a listing, not a look each."""
    stage.after(1)
    for n in range(2000):
        stage.share.write(f"burst/{n}.pdf")
        stage.hint(f"burst/{n}.pdf")
    stage.calls()
    stage.after(1)
    calls = stage.calls()
    assert calls.count(("scan", "burst")) == 1
    assert len(calls) <= 501
    stage.after(2 * _SETTLE_S)
    assert len(stage.states()) == 2000


@pytest.mark.parametrize("folder", ["", "sub"])
def test_listings_by_hints_take_a_tenth_of_the_time_at_most(stage: Stage, folder: str) -> None:
    """Of the whole tree as well as of a folder of it."""
    stage.share.directories.add("sub")
    stage.after(1)
    stage.calls()
    scan = stage.share.scan

    def slow(*arguments: object, **options: object) -> None:
        stage.clock.now += 1
        scan(*arguments, **options)  # type: ignore[arg-type] # passed on as they are

    stage.share.scan = slow  # type: ignore[method-assign] # a slower share
    begin = stage.clock.now
    while stage.clock.now < begin + 100:
        stage.hint(folder, is_directory=True)
        stage.step()
        stage.clock.now += 0.1
    assert 5 <= sum(operation == "scan" for operation, _ in stage.calls()) <= 12


def test_full_listings_are_spread_a_little_around_their_interval(stage: Stage) -> None:
    """A tenth earlier or later, never more."""
    rests = set()
    for _ in range(50):
        rests.add(rest := stage.step())
        assert 0.9 * _INTERVAL_S <= rest <= 1.1 * _INTERVAL_S
        stage.clock.now += 1.1 * _INTERVAL_S
    assert len(rests) > 10


@pytest.mark.parametrize(("took_s", "least_s", "most_s"), [(0.0, 9.0, 11.0), (4.0, 32.4, 39.6), (100.0, 270.0, 330.0)])
def test_polling_a_large_share_leaves_it_time(tmp_path: Path, took_s: float, least_s: float, most_s: float) -> None:
    """Listings take a tenth of the time at most, but each rescan interval has one."""
    stage = Stage(tmp_path)
    stage.rules = replace(stage.rules, poll_s=10.0, by_events=False)
    stage.inbox = stage.make()
    scan = stage.share.scan

    def slow(*arguments: object, **options: object) -> None:
        stage.clock.now += took_s
        scan(*arguments, **options)  # type: ignore[arg-type] # passed on as they are

    stage.share.scan = slow  # type: ignore[method-assign] # a slower share
    assert least_s <= stage.step() <= most_s
    stage.journal.close()


# -- faults ------------------------------------------------------------------------------------------------------------


def test_folder_that_cannot_be_read_says_nothing_of_what_is_gone(stage: Stage) -> None:
    """Nor do those below it; the others go on."""
    for path in ("closed/a.pdf", "closed/below/b.pdf", "open/c.pdf"):
        stage.share.write(path)
    stage.after(2 * _SETTLE_S)
    stage.share.unreadable = {"closed"}
    del stage.share.files["open/c.pdf"]
    stage.after(1.2 * _INTERVAL_S)
    assert stage.states() == {"closed/a.pdf": JobState.QUEUED, "closed/below/b.pdf": JobState.QUEUED}


def test_file_that_cannot_be_looked_at_does_not_hold_up_the_others(stage: Stage) -> None:
    """A hint into a folder without rights; `why` tells of it."""
    stage.after(1)
    stage.share.unreadable = {"closed"}
    stage.share.write("closed/a.pdf")
    stage.share.write("b.pdf")
    stage.hint("closed/a.pdf")
    stage.hint("b.pdf")
    stage.after(2 * _SETTLE_S)
    assert stage.states() == {"b.pdf": JobState.QUEUED}
    assert [(w.path, w.reason) for w in stage.status().waiting] == [("closed/a.pdf", WaitReason.UNREADABLE)]
    stage.share.unreadable = set()
    stage.after(60)
    assert stage.states() == {"b.pdf": JobState.QUEUED, "closed/a.pdf": JobState.QUEUED}


def test_leftovers_are_tidied_after_the_listing(stage: Stage) -> None:
    """A share answers one request at a time: to ask it from within a listing would wait for ever."""
    stage.share.write("sub/a.pdf")
    stage.share.leftovers = {"sub": (".ocrwatch-x.tmp",)}
    stage.after(1)
    assert stage.calls()[1:] == [("scan", ""), ("tidy", "sub")]


def test_inodes_that_the_file_system_makes_up_do_not_count(stage: Stage) -> None:
    """SMB and FUSE give other ones after each mount; every scan would be read again."""
    stage.share.root = replace(HOME, fs_type="cifs", inode=0)
    stage.share.write("a.pdf")
    stage.after(40)  # what a mount caches may be older than `settle`
    stage.finish("a.pdf")
    file = stage.share.files["a.pdf"]
    file.identity = file.identity._replace(inode=4711)
    stage.hint("a.pdf")
    stage.after(2 * _INTERVAL_S)
    assert stage.states() == {"a.pdf": JobState.DONE}
    assert stage.status().waiting == ()


def test_inodes_that_change_from_look_to_look_do_not_keep_a_file_from_settling(stage: Stage) -> None:
    """Some FUSE file systems give another number at every lookup."""
    stage.share.root = replace(HOME, fs_type="fuse.sshfs", inode=0)
    stage.share.write("a.pdf")
    file = stage.share.files["a.pdf"]
    for _ in range(40):
        stage.after(1)
        file.identity = file.identity._replace(inode=file.identity.inode + 1)
    assert stage.states() == {"a.pdf": JobState.QUEUED}


def test_journal_that_cannot_be_written_loses_no_file(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full when the file has settled; it is taken when there is room."""
    stage.share.write("a.pdf")
    stage.after(1)

    def full(*_: object) -> None:
        raise StateUnwritable("full", "free space")

    with monkeypatch.context() as patch:
        patch.setattr(stage.journal, "add", full)
        with pytest.raises(StateUnwritable):
            stage.after(2 * _SETTLE_S)
    stage.after(2 * _SETTLE_S)
    assert stage.states() == {"a.pdf": JobState.QUEUED}


def test_folders_are_left_alone_where_only_the_top_is_watched(tmp_path: Path) -> None:
    """Hints of folders included."""
    stage = Stage(tmp_path, recursive=False)
    stage.after(1)
    stage.share.write("sub/a.pdf")
    stage.share.write("b.pdf")
    stage.hint("sub", is_directory=True)
    stage.hint("sub/a.pdf")
    stage.hint("", is_directory=True)
    stage.after(2 * _INTERVAL_S)
    assert stage.states() == {"b.pdf": JobState.QUEUED}
    assert stage.journal.current("in", "sub/a.pdf") is None
    stage.journal.close()


# -- mounts below --------------------------------------------------------------------------------------------------------


def test_share_below_is_looked_at_by_itself(stage: Stage) -> None:
    """The outer part lives by events and its inodes count; the share is polled, settles longer, and has its own listing."""
    share = stage.mount("nas")
    stage.share.write("a.pdf")
    share.write("nas/b.pdf")
    stage.after(2 * _SETTLE_S)
    assert stage.states() == {"a.pdf": JobState.QUEUED}
    stage.after(40)
    assert stage.states() == {"a.pdf": JobState.QUEUED, "nas/b.pdf": JobState.QUEUED}
    status = stage.inbox.status()
    assert status.own.why_polling == ""
    assert "nfs4" in status.below["nas"].why_polling
    assert ("scan", "nas") not in stage.calls()


def test_share_below_that_is_away_says_nothing_of_its_files_nor_of_the_others(stage: Stage) -> None:
    """Not when it gives no answer, and not when only its mount point is left; the rest goes on, restart or not."""
    share = stage.mount("nas")
    share.write("nas/b.pdf")
    stage.after(40)
    stage.finish("nas/b.pdf")
    files, share.files = share.files, {}
    stage.unmount("nas")
    stage.share.write("a.pdf")
    for _ in range(2):
        stage.after(2 * _INTERVAL_S)
        assert stage.states() == {"a.pdf": JobState.QUEUED, "nas/b.pdf": JobState.DONE}
        status = stage.inbox.status()
        assert (status.own.state, status.below["nas"].state) == (InboxState.ONLINE, InboxState.OFFLINE)
        assert "another mount than the known one" in status.below["nas"].problem
        stage.inbox = stage.make()
    assert [(scope.below, scope.without) for scope in stage.inbox.open_scopes()] == []
    stage.after(1)
    assert [(scope.below, scope.without) for scope in stage.inbox.open_scopes()] == [("", ("nas",))]
    share.files = files
    stage.mount("nas")
    stage.after(40)
    assert stage.states() == {"a.pdf": JobState.QUEUED, "nas/b.pdf": JobState.DONE}
    assert stage.inbox.status().below["nas"].state is InboxState.ONLINE


def test_share_mounted_over_a_folder_of_the_inbox_does_not_delete_what_it_hides(stage: Stage) -> None:
    """The files below the new mount are not gone; they are there when it is gone."""
    stage.share.write("nas/local.pdf")
    stage.after(2 * _SETTLE_S)
    stage.finish("nas/local.pdf")
    share = stage.mount("nas")
    share.write("nas/remote.pdf")
    stage.after(100)
    assert stage.inbox.status().below["nas"].state is InboxState.OFFLINE
    stage.after(2 * _INTERVAL_S)
    assert stage.states() == {"nas/local.pdf": JobState.DONE, "nas/remote.pdf": JobState.QUEUED}


def test_mount_point_that_was_removed_with_its_mount_is_forgotten(stage: Stage) -> None:
    """Its files are gone then, and status does not miss it for ever."""
    share = stage.mount("nas")
    share.write("nas/b.pdf")
    stage.after(40)
    stage.finish("nas/b.pdf")
    stage.unmount("nas")
    share.offline = True
    stage.after(1.2 * _INTERVAL_S)
    assert stage.inbox.status().below["nas"].state is InboxState.OFFLINE
    stage.share.directories.discard("nas")
    stage.after(10)
    assert stage.states() == {"nas/b.pdf": JobState.ORPHANED}
    assert stage.inbox.status().below == {}
    assert stage.lines[-1] == "inbox in, nas, was removed"
    stage.inbox = stage.make()
    assert stage.inbox.status().below == {}


def test_share_below_an_ignored_folder_is_left_alone(stage: Stage) -> None:
    """It is not entered, so nobody asks it."""
    stage.shares["@eaDir"] = FakeShare()
    stage.mount("@eaDir")
    stage.after(10)
    assert stage.inbox.status().below == {}
    assert stage.shares["@eaDir"].calls == []


def test_ready_does_not_wait_for_a_mount_that_may_hang(stage: Stage) -> None:
    """The first listing of everything local is enough."""
    stage.mount("nas")
    own, nas = stage.inbox.territories()
    own.step()
    assert stage.inbox.was_looked_at()
    assert not nas.was_looked_at


def test_file_without_a_status_waits_and_is_not_gone(stage: Stage) -> None:
    """A bad sector, a stale handle: known files stay what they are, new ones say what is wrong."""
    stage.share.write("a.pdf")
    stage.after(2 * _SETTLE_S)
    stage.share.write("b.pdf")
    stage.share.unread = {"a.pdf", "b.pdf"}
    stage.after(1.2 * _INTERVAL_S)
    assert stage.states() == {"a.pdf": JobState.QUEUED}
    (waiting,) = stage.status().waiting
    assert (waiting.path, waiting.reason) == ("b.pdf", WaitReason.UNREADABLE)
    stage.share.unread = set()
    stage.after(1.2 * _INTERVAL_S)
    assert stage.states() == {"a.pdf": JobState.QUEUED, "b.pdf": JobState.QUEUED}


def test_folder_that_cannot_be_listed_is_told(stage: Stage) -> None:
    """Once in the log, and in the status as long as it lasts."""
    stage.share.write("closed/a.pdf")
    stage.share.unreadable = {"closed"}
    stage.after(3 * _INTERVAL_S)
    assert stage.status().unread == (("closed", "permission denied"),)
    assert stage.lines == ["inbox in: the folder 'closed' cannot be listed: permission denied"]
    stage.share.unreadable = set()
    stage.after(1.2 * _INTERVAL_S)
    assert stage.status().unread == ()


def test_mount_that_the_journal_could_not_take_up_is_taken_up_at_the_next_try(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full when a share is mounted over known files: half a territory would be looked after by nobody."""
    looked_after: list[str] = []
    monkeypatch.setattr(stage.inbox, "_on_territory", lambda territory: looked_after.append(territory.below))
    stage.share.write("nas/a.pdf")
    stage.after(2 * _SETTLE_S)

    def full(*_: object) -> None:
        raise StateUnwritable("full", "free space")

    with monkeypatch.context() as patch:
        patch.setattr(stage.journal, "set_root", full)
        with pytest.raises(StateUnwritable):
            stage.mount("nas")
    stage.inbox.follow_mounts()
    assert looked_after == ["nas"]
    stage.after(10)
    assert stage.inbox.status().below["nas"].state is InboxState.OFFLINE
    assert stage.states() == {"nas/a.pdf": JobState.QUEUED}


# -- any sequence --------------------------------------------------------------------------------------------------------


class AnySequence(RuleBasedStateMachine):
    """Whatever writers, people, mounts and the service do: in the end each whole file has one job, of its present version."""

    paths = Bundle("paths")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.stage = Stage(Path(self.folder.name))
        self.share = self.stage.share

    @rule(target=paths, name=st.sampled_from(["a.pdf", "b.pdf", "s/a.pdf", "s/t/ä.tif"]), whole=st.booleans(), hint=st.booleans())
    def create(self, name: str, whole: bool, hint: bool) -> str:
        self.share.write(name, whole=whole)
        self._hint(name, hint)
        return name

    @rule(path=paths, whole=st.booleans(), hint=st.booleans())
    def append(self, path: str, whole: bool, hint: bool) -> None:
        if path in self.share.files:
            self.share.append(path, whole=whole)
            self._hint(path, hint)

    @rule(target=paths, path=consumes(paths), name=st.sampled_from(["c.pdf", "s/c.pdf", "u/c.pdf", "x.part"]), hint=st.booleans())
    def rename(self, path: str, name: str, hint: bool) -> str:
        if path in self.share.files:
            self.share.directories |= {name.rpartition("/")[0]}
            self.share.rename(path, name)
            self._hint(path, hint)
            self._hint(name, hint)
        return name

    @rule(path=paths, hint=st.booleans())
    def delete(self, path: str, hint: bool) -> None:
        self.share.files.pop(path, None)
        self._hint(path, hint)

    @rule(path=paths, state=st.sampled_from([JobState.DONE, JobState.PARTIAL, JobState.AWAITING_CORRECTION, JobState.FAILED]))
    def work(self, path: str, state: JobState) -> None:
        job = self.stage.journal.current("in", path)
        if job is not None and job.state is JobState.QUEUED:
            self.stage.finish(path, state)

    @rule(offline=st.booleans())
    def mount(self, offline: bool) -> None:
        self.share.offline = offline

    @precondition(lambda self: "s" in self.share.directories)
    @rule(unreadable=st.booleans())
    def rights(self, unreadable: bool) -> None:
        self.share.unreadable = {"s"} if unreadable else set()

    @rule()
    def restart(self) -> None:
        self.stage.inbox = self.stage.make()

    @rule(seconds=st.sampled_from([0.5, 3.0, 6.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.stage.after(seconds)

    def _hint(self, path: str, tell: bool) -> None:
        if tell and not self.share.offline:
            self.stage.hint(path)

    def teardown(self) -> None:
        self.share.offline, self.share.unreadable = False, set()
        self.stage.after(3 * _INTERVAL_S + 2000)
        present = {p: f.identity for p, f in self.share.files.items() if not p.endswith(".part")}
        expected = [self.stage.journal.expected_in("in", folder) for folder in self.stage.journal.directories("in")]
        current = {path: identity for each in expected for path, identity in each.items()}
        self.stage.journal.close()
        self.folder.cleanup()
        assert current == present


AnySequence.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
test_any_sequence_ends_with_one_job_for_each_file = AnySequence.TestCase


def test_archived_scan_that_is_put_back_is_done_and_waits_for_the_archive_again(stage: Stage) -> None:
    """The same file, by `mv`: it does not lie in the inbox for ever as one that lies in the archive."""
    identity = stage.share.write("a.pdf")
    stage.after(30)
    stage.finish("a.pdf")
    job = stage.journal.current("in", "a.pdf")
    assert job is not None
    del stage.share.files["a.pdf"]
    stage.journal.move(job.id, JobState.ARCHIVED, reason="archived", moved_to="/srv/old/a.pdf")
    stage.after(_INTERVAL_S * 1.2)
    assert stage.states() == {"a.pdf": JobState.ARCHIVED}
    stage.share.files["a.pdf"] = FakeFile(identity)
    stage.after(_INTERVAL_S * 1.2)
    back = stage.journal.current("in", "a.pdf")
    assert back is not None
    assert (back.id, back.state, back.moved_to, back.detail) == (job.id, JobState.DONE, None, "it was put back from the archive")


def test_listing_older_than_the_archive_s_move_puts_nothing_back(stage: Stage) -> None:
    """The file is looked at again before it counts as put back."""
    stage.share.write("a.pdf")
    stage.after(30)
    stage.finish("a.pdf")
    job = stage.journal.current("in", "a.pdf")
    assert job is not None

    def moved_away() -> None:
        del stage.share.files["a.pdf"]
        stage.journal.move(job.id, JobState.ARCHIVED, reason="archived", moved_to="/srv/old/a.pdf")

    stage.share.meanwhile = moved_away
    stage.after(_INTERVAL_S * 1.2)
    assert stage.share.meanwhile is None
    assert stage.states() == {"a.pdf": JobState.ARCHIVED}


def test_file_that_the_journal_cannot_take_waits_alone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever one file has that nobody foresaw: those that settled with it are taken, and `status` names it."""
    real = stage.journal.add

    def add(inbox: str, entries: Sequence[Entry]) -> list[Job]:
        if any(entry.path == "evil.pdf" for entry in entries):
            raise OverflowError("int too large to convert to SQLite INTEGER")
        return real(inbox, entries)

    monkeypatch.setattr(stage.journal, "add", add)
    for name in ("a.pdf", "evil.pdf", "z.pdf"):
        stage.share.write(name)
    stage.after(60)
    assert set(stage.states()) == {"a.pdf", "z.pdf"}
    (waiting,) = stage.status().waiting
    assert (waiting.path, waiting.reason) == ("evil.pdf", WaitReason.UNREADABLE)
    assert "int too large" in waiting.detail
    monkeypatch.setattr(stage.journal, "add", real)
    stage.after(60)
    assert set(stage.states()) == {"a.pdf", "evil.pdf", "z.pdf"}


@pytest.mark.parametrize("operation", ["look", "completeness"])
def test_file_whose_look_brings_what_nobody_foresaw_waits_alone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """A bug of ours in one format is one file's trouble."""
    real = getattr(stage.share, operation)

    def broken(root: Root, path: str, *arguments: object, **options: object) -> object:
        if path == "evil.pdf":
            raise ZeroDivisionError
        return real(root, path, *arguments, **options)

    monkeypatch.setattr(stage.share, operation, broken)
    for name in ("a.pdf", "evil.pdf", "z.pdf"):
        stage.share.write(name)
        stage.hint(name)
    stage.after(60)
    assert set(stage.states()) == {"a.pdf", "z.pdf"}
    assert [(waiting.path, waiting.reason) for waiting in stage.status().waiting] == [("evil.pdf", WaitReason.UNREADABLE)]


def test_end_of_the_daemon_is_not_a_file_s_trouble(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that the end cut off says nothing of the file."""

    def ended(*_: object, **__: object) -> None:
        raise CancelledError

    stage.share.write("a.pdf")
    stage.step()
    monkeypatch.setattr(stage.share, "look", ended)
    stage.hint("a.pdf")
    with pytest.raises(CancelledError):
        stage.step()


def test_events_that_cannot_be_had_are_asked_for_ever_less_often_and_bring_no_listings(tmp_path: Path) -> None:
    """The limit of watches is reached: each try walks the tree, and a full listing takes its time too."""
    stage = Stage(tmp_path)
    stage.events.refused = "the kernel's limit of watches is reached"
    stage.after(3600)
    assert 5 <= stage.events.tries <= 12
    assert len([call for call in stage.calls() if call[0] == "scan"]) <= 3600 / (_INTERVAL_S * 0.9) + 1
    stage.events.refused = ""
    stage.after(600 + _INTERVAL_S * 1.2)  # until the next try, at the next step after it
    assert stage.status().why_polling == ""
    stage.journal.close()


def test_mount_that_gets_no_threads_is_followed_at_the_next_try(tmp_path: Path) -> None:
    """What was begun for it ends, and it does not count as looked after."""
    stage = Stage(tmp_path)
    begun: list[Territory] = []

    def refuse(territory: Territory) -> None:
        begun.append(territory)
        raise OSError(errno.EAGAIN, "can't start new thread")

    stage.on_territory = refuse
    with pytest.raises(OSError, match="can't start new thread"):
        stage.mount("s")
    assert [territory.is_over for territory in begun] == [True]
    assert [territory.below for territory in stage.inbox.territories()] == [""]
    stage.on_territory = begun.append
    stage.inbox.follow_mounts()
    assert [territory.is_over for territory in begun] == [True, False]
    assert [territory.below for territory in stage.inbox.territories()] == ["", "s"]
    stage.journal.close()
