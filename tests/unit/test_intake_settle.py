"""When a file is at rest. The clock is a number here."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.intake.entries import Identity
from ocrwatch.intake.formats import Completeness
from ocrwatch.intake.settle import Look, Tracker, WaitReason

WHOLE = Completeness(whole=True, format="pdf")
HALF = Completeness(whole=False, format="pdf", reason="no end mark")


def identity(size: int, mtime_ns: int = 1) -> Identity:
    return Identity(size=size, mtime_ns=mtime_ns, inode=9)


def tracker(settle_s: float = 5.0, incomplete_max_s: float = 600.0) -> Tracker:
    return Tracker(settle_s=settle_s, incomplete_max_s=incomplete_max_s)


def reason_of(subject: Tracker) -> WaitReason:
    (waiting,) = subject.waiting()
    return waiting.reason


def test_file_is_checked_after_two_equal_looks_settle_apart() -> None:
    """One look is never enough, however old the file says it is."""
    subject = tracker()
    assert subject.look("a.pdf", identity(10), 100.0) is Look.WAIT
    assert subject.look("a.pdf", identity(10), 104.9) is Look.WAIT
    assert subject.look("a.pdf", identity(10), 105.0) is Look.CHECK
    assert subject.checked("a.pdf", WHOLE, 105.0)
    subject.taken("a.pdf")
    assert subject.waiting() == []
    assert subject.next_due_s() is None


def test_page_at_a_time_scanner_is_waited_for() -> None:
    """NGX PR#43, #494, NG#853: each rewrite within the settle time starts the wait over."""
    subject, now = tracker(), 0.0
    for pages in range(1, 6):
        assert subject.look("a.pdf", identity(pages * 100), now) is Look.WAIT
        now += 4.0
        assert subject.look("a.pdf", identity(pages * 100), now) is Look.WAIT
    assert reason_of(subject) is WaitReason.GROWING
    assert subject.look("a.pdf", identity(500), now + 1.0) is Look.CHECK


def test_same_size_with_another_time_or_inode_is_another_version() -> None:
    """A rewrite in place and a replacement of equal length start the wait over."""
    subject = tracker()
    subject.look("a.pdf", identity(10), 0.0)
    assert subject.look("a.pdf", identity(10, mtime_ns=2), 6.0) is Look.WAIT
    assert subject.look("a.pdf", Identity(size=10, mtime_ns=2, inode=10), 12.0) is Look.WAIT
    assert subject.look("a.pdf", Identity(size=10, mtime_ns=2, inode=10), 17.0) is Look.CHECK


def test_empty_file_waits_for_ever_without_failing() -> None:
    """NGX#12511, #166, SP#1214: a placeholder is never checked; it is taken once it has content."""
    subject, now = tracker(), 0.0
    for _ in range(200):
        assert subject.look("a.pdf", identity(0), now) is Look.WAIT
        now = subject.next_due_s() or 0.0
        assert subject.due(now) == ["a.pdf"]
    assert reason_of(subject) is WaitReason.EMPTY
    assert subject.waiting()[0].since_s == 0.0
    subject.look("a.pdf", identity(2_000_000, mtime_ns=2), now)
    assert reason_of(subject) is WaitReason.SETTLING
    assert subject.look("a.pdf", identity(2_000_000, mtime_ns=2), now + 5.0) is Look.CHECK


def test_empty_file_that_is_deleted_is_forgotten() -> None:
    """No trace of a placeholder remains."""
    subject = tracker()
    subject.look("a.pdf", identity(0), 0.0)
    subject.gone("a.pdf")
    assert subject.waiting() == []
    assert subject.due(1000.0) == []


def test_truncated_file_backs_off_and_is_taken_when_whole() -> None:
    """NGX#14219, NG#46: what is at rest but not whole waits, looked at less and less often, at least every 30 s."""
    subject, now, pauses = tracker(), 0.0, []
    subject.look("a.pdf", identity(60), now)
    now = 5.0
    for _ in range(6):
        assert subject.due(now) == ["a.pdf"]
        assert subject.look("a.pdf", identity(60), now) is Look.CHECK
        assert not subject.checked("a.pdf", HALF, now)
        assert subject.look("a.pdf", identity(60), now + 0.1) is Look.WAIT
        due = subject.next_due_s()
        assert due is not None
        pauses.append(due - now)
        now = due
    assert pauses == [5.0, 10.0, 20.0, 30.0, 30.0, 30.0]
    assert (subject.waiting()[0].reason, subject.waiting()[0].detail) == (WaitReason.TRUNCATED, "no end mark")
    assert subject.look("a.pdf", identity(100), now) is Look.WAIT
    assert subject.look("a.pdf", identity(100), now + 5.0) is Look.CHECK
    assert subject.checked("a.pdf", WHOLE, now + 5.0)


def test_truncated_file_is_taken_after_incomplete_max() -> None:
    """The format check only delays: a file that stays as it is goes to the worker, which decides."""
    subject = tracker(incomplete_max_s=600.0)
    subject.look("a.pdf", identity(60), 0.0)
    assert subject.look("a.pdf", identity(60), 599.0) is Look.CHECK
    assert not subject.checked("a.pdf", HALF, 599.0)
    assert subject.look("a.pdf", identity(60), 630.0) is Look.CHECK
    assert subject.checked("a.pdf", HALF, 630.0)


def test_unreadable_file_waits_and_is_looked_at_again() -> None:
    """SP#7720: a file that may not be opened is not locked for ever; it is due again."""
    subject = tracker()
    subject.look("a.pdf", identity(60), 0.0)
    assert subject.look("a.pdf", identity(60), 5.0) is Look.CHECK
    subject.unreadable("a.pdf", "permission denied", 5.0)
    assert (subject.waiting()[0].reason, subject.waiting()[0].detail) == (WaitReason.UNREADABLE, "permission denied")
    assert subject.look("a.pdf", identity(60), 6.0) is Look.WAIT
    assert subject.look("a.pdf", identity(60), 10.0) is Look.CHECK
    subject.unreadable("never-seen.pdf", "permission denied", 10.0)
    assert len(subject.waiting()) == 2


def test_due_names_a_file_again_when_no_look_follows() -> None:
    """A share that is offline at the moment of the look does not lose its files."""
    subject = tracker()
    subject.look("a.pdf", identity(60), 0.0)
    assert subject.due(5.0) == ["a.pdf"]
    assert subject.due(5.0) == []
    assert subject.due(10.0) == ["a.pdf"]


def test_looks_that_nobody_acts_upon_delay_nothing() -> None:
    """Listings and hints look at a file as well: however often they do, it is due when it would have been."""
    subject = tracker()
    subject.look("a.pdf", identity(60), 0.0)
    for tenth in range(1, 70):
        subject.look("a.pdf", identity(60), tenth / 10)
    assert subject.next_due_s() == 5.0
    assert subject.due(7.0) == ["a.pdf"]
    assert subject.look("a.pdf", identity(60), 7.0) is Look.CHECK


def test_ten_thousand_files_that_grow_leave_one_heap_item_each() -> None:
    """A burst with many events a file costs memory for the files, not for the events."""
    subject = tracker()
    for step in range(5):
        for number in range(10_000):
            subject.look(f"{number}.pdf", identity(step + 1), step * 0.1)
    assert len(subject._heap) == 10_000
    assert subject.due(5.0) == []
    assert len(subject.due(5.5)) == 10_000


@given(st.lists(st.tuples(st.floats(0.01, 20.0), st.integers(0, 3), st.sampled_from(["look", "check", "lost"])), max_size=60))
def test_no_file_is_ever_forgotten_or_checked_early(steps: list[tuple[float, int, str]]) -> None:
    """Whatever happens: an untaken file has a next look, and a check comes only after a settle time without a change."""
    subject, now, changed_at, last = tracker(), 0.0, 0.0, -1
    for pause_s, size, what in steps:
        now += pause_s
        if what == "lost":
            subject.due(now)
            continue
        if size != last:
            changed_at, last = now, size
        if subject.look("a.pdf", identity(size), now) is Look.CHECK:
            assert size > 0
            assert now - changed_at >= 5.0 - 1e-6
            if what == "check":
                subject.checked("a.pdf", HALF, now)
    if last >= 0:
        assert subject.next_due_s() is not None
        assert (subject.next_due_s() or 0.0) <= now + 30.0


def test_file_is_due_once_at_a_moment_when_nothing_is_to_settle() -> None:
    """`settle: 0` takes a file at its second look, and does not look for ever at one that is not taken."""
    subject = tracker(settle_s=0.0)
    subject.look("a.pdf", identity(10), 0.0)
    assert subject.due(0.0) == ["a.pdf"]
    assert subject.look("a.pdf", identity(10), 0.0) is Look.CHECK
    assert not subject.checked("a.pdf", HALF, 0.0)
    assert subject.due(0.0) == []
    due_s = subject.next_due_s()
    assert due_s is not None
    assert due_s > 0.0
