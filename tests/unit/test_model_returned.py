"""What readings of a GPU prove of a process that has ended, and when the device is looked at again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.correction.devices import visible
from ocrwatch.correction.driver import has_driver
from ocrwatch.correction.returned import TOLERANCE_BYTES, Departure, Proof, Reading, Returned, awaited, judged
from ocrwatch.errors import Infrastructure

MB = 2**20
OURS, OTHER = 4711, 815
BEFORE = 500 * MB
CARDS = (("GPU-aaa1",), ("MIG-b1", "MIG-b2"), (), ("GPU-aaa2",))

amounts = st.integers(min_value=0, max_value=4 * BEFORE)
readings = st.builds(
    Reading,
    used_bytes=amounts,
    held_bytes=st.none() | st.dictionaries(st.sampled_from([OURS, OTHER, 1]), amounts),
)
departures = st.builds(
    Departure, pid=st.just(OURS), before_bytes=st.none() | amounts, within_s=st.floats(min_value=0, max_value=6, width=16)
)


class Time:
    """A clock that goes on only as somebody sleeps, and by as much as a look costs."""

    def __init__(self, look_s: float = 0.0) -> None:
        self.now_s = 100.0
        self.look_s = look_s
        self.slept_s: list[float] = []

    def clock(self) -> float:
        """Seconds since some moment."""
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Pass the time."""
        assert seconds > 0
        self.slept_s.append(seconds)
        self.now_s += seconds


class Device:
    """Gives its readings one after the other, the last one for ever; an error among them is raised."""

    def __init__(self, time: Time, readings: Sequence[Reading | Infrastructure]) -> None:
        self._time, self._left = time, iter(readings)
        self._last: Reading | Infrastructure = readings[-1]
        self.looks = 0

    def look(self) -> Reading:
        """The next one."""
        self.looks += 1
        self._time.now_s += self._time.look_s
        reading = next(self._left, self._last)
        if isinstance(reading, Infrastructure):
            raise reading
        return reading


def seen(*readings: Reading | Infrastructure, before: int | None = BEFORE, look_s: float = 0.0) -> tuple[Proof, Device, Time]:
    """The proof that a device's readings come to."""
    time = Time(look_s)
    device = Device(time, readings)
    departure = Departure(OURS, before, within_s=5.0)
    return awaited(departure, device.look, every_s=0.25, clock=time.clock, sleep=time.sleep), device, time


def test_memory_that_comes_back_is_verified_at_that_look() -> None:
    """Three looks see it go; there is no fourth."""
    proof, device, time = seen(
        Reading(900 * MB, {OURS: 400 * MB}), Reading(600 * MB, {}), Reading(BEFORE + TOLERANCE_BYTES, {}), Reading(0, {})
    )
    assert (proof.verdict, proof.used_bytes, proof.after_s) == (Returned.VERIFIED, BEFORE + TOLERANCE_BYTES, 0.5)
    assert (device.looks, time.slept_s) == (3, [0.25, 0.25])


def test_process_that_stays_is_a_timeout_at_the_cap() -> None:
    """Memory alone proves nothing as long as the driver still lists the process."""
    proof, device, _ = seen(Reading(BEFORE, {OURS: 0}))
    assert (proof.verdict, proof.after_s) == (Returned.TIMEOUT, 5.0)
    assert f"process {OURS} is still" in proof.reason
    assert device.looks == 21


def test_memory_that_nobody_else_explains_is_a_timeout() -> None:
    """One byte beyond the tolerance is one too many."""
    proof, *_ = seen(Reading(BEFORE + TOLERANCE_BYTES + 1, {}))
    assert (proof.verdict, proof.after_s) == (Returned.TIMEOUT, 5.0)
    assert "no other process explains it" in proof.reason


def test_memory_that_another_process_may_hold_is_unverified() -> None:
    """Somebody came while ours was there: the device can never be as before."""
    proof, *_ = seen(Reading(BEFORE + 200 * MB, {OTHER: 200 * MB}))
    assert (proof.verdict, proof.after_s) == (Returned.UNVERIFIED, 5.0)
    assert "other processes hold 210 MB" in proof.reason


def test_memory_that_another_process_is_too_small_for_is_a_timeout() -> None:
    """Somebody being there is no excuse for more than they hold."""
    proof, *_ = seen(Reading(BEFORE + 500 * MB, {OTHER: 200 * MB}))
    assert proof.verdict is Returned.TIMEOUT
    assert "other processes hold only 210 MB of it" in proof.reason


@pytest.mark.parametrize(("used", "after_s"), [(BEFORE, 0.0), (BEFORE + 200 * MB, 5.0)])
def test_processes_that_cannot_be_seen_are_never_verified(used: int, after_s: float) -> None:
    """In a container the memory may be back, but whose it was cannot be told."""
    proof, *_ = seen(Reading(used, None))
    assert (proof.verdict, proof.after_s) == (Returned.UNVERIFIED, after_s)
    assert "cannot be seen" in proof.reason


def test_without_a_look_before_the_process_alone_counts_and_the_reason_says_so() -> None:
    """Whatever is used, ours does not use it."""
    gone, *_ = seen(Reading(900 * MB, {OURS: 1}), Reading(900 * MB, {OTHER: 1}), before=None)
    unseen, *_ = seen(Reading(900 * MB, None), before=None)
    assert (gone.verdict, unseen.verdict) == (Returned.VERIFIED, Returned.UNVERIFIED)
    assert "was not read" in gone.reason
    assert "was not read" in unseen.reason


def test_device_that_stops_answering_is_unverified_at_once() -> None:
    """A look that fails is not repeated; what it says is the reason."""
    proof, device, _ = seen(Reading(900 * MB, {OURS: 1}), Infrastructure("GPU is lost"), Reading(0, {}))
    assert proof == Proof(Returned.UNVERIFIED, "GPU is lost", used_bytes=None, after_s=0.25)
    assert device.looks == 2


def test_slow_looks_do_not_stretch_the_time() -> None:
    """A driver that takes two seconds for an answer is asked three times in five."""
    proof, device, _ = seen(Reading(900 * MB, {OURS: 1}), look_s=2.0)
    assert (proof.verdict, device.looks) == (Returned.TIMEOUT, 3)


@given(departure=departures, reading=readings, at_s=st.floats(min_value=0, max_value=10))
def test_verified_is_said_only_of_a_process_that_is_seen_to_be_gone(departure: Departure, reading: Reading, at_s: float) -> None:
    """Whatever the reading: no sight, no presence and no memory beyond the tolerance is ever called verified."""
    proof = judged(departure, reading, at_s=at_s)
    may = (
        reading.held_bytes is not None
        and OURS not in reading.held_bytes
        and (departure.before_bytes is None or reading.used_bytes <= departure.before_bytes + TOLERANCE_BYTES)
    )
    assert (proof is not None and proof.verdict is Returned.VERIFIED) == may


@given(departure=departures, reading=readings, at_s=st.floats(min_value=0, max_value=10))
def test_there_is_a_verdict_at_the_latest_when_the_time_is_over(departure: Departure, reading: Reading, at_s: float) -> None:
    """Nobody waits for more; and no timeout is said before."""
    proof = judged(departure, reading, at_s=at_s)
    if at_s >= departure.within_s:
        assert proof is not None
        assert proof.reason
    elif proof is not None:
        assert proof.verdict is not Returned.TIMEOUT


@given(given_readings=st.lists(readings, min_size=1, max_size=30), departure=departures)
def test_looking_ends_with_the_first_reading_that_proves_something(given_readings: list[Reading], departure: Departure) -> None:
    """The proof is that of the last look, which is never later than the cap."""
    time = Time()
    device = Device(time, given_readings)
    proof = awaited(departure, device.look, every_s=0.25, clock=time.clock, sleep=time.sleep)
    last = given_readings[min(device.looks, len(given_readings)) - 1]
    at_s = sum(time.slept_s)
    assert at_s <= departure.within_s + 1e-9
    assert (proof.verdict, proof.used_bytes) == (judged(departure, last, at_s=departure.within_s).verdict, last.used_bytes)  # type: ignore[union-attr]


@given(departure=departures, reading=readings)
def test_proof_survives_the_way_between_processes(departure: Departure, reading: Reading) -> None:
    """What the child found is what the parent tells."""
    proof = judged(departure, reading, at_s=10.0)
    assert proof is not None
    assert Proof.from_json(json.loads(json.dumps(proof.to_json()))) == proof


@pytest.mark.parametrize("broken", [{}, {"verdict": "perhaps", "reason": "", "used_bytes": None, "after_s": 0}])
def test_proof_that_is_none_is_refused(broken: dict[str, object]) -> None:
    """A child that says something else is told apart."""
    with pytest.raises((KeyError, ValueError)):
        Proof.from_json(broken)


def left(*cards: int) -> list[str]:
    """The UUIDs of cards by number."""
    return [uuid for card in cards for uuid in CARDS[card]]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (None, left(0, 1, 3)),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("3,0", left(0, 3)),
        (" 1 ", left(1)),
        ("MIG-b2", ["MIG-b2"]),
        ("GPU-aaa2", left(3)),
        ("GPU-aaa", []),  # two begin so
        ("GPU-", []),
        ("0,7,3", left(0)),
        ("GPU-zzz,0", []),
        ("0,0", left(0)),
    ],
)
def test_visible_devices_are_those_that_cuda_would_take(setting: str | None, expected: list[str]) -> None:
    """By number or UUID, up to the first entry that is wrong; told in the order of the machine."""
    assert visible(setting, CARDS) == expected


@pytest.fixture(params=["proc/driver/nvidia/version", "dev/nvidiactl", "dev/dxg"])
def sign(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What a driver leaves in the file system."""
    path: Path = tmp_path / request.param
    path.parent.mkdir(parents=True)
    return path


def test_driver_is_told_by_what_it_leaves_in_the_file_system(sign: Path, tmp_path: Path) -> None:
    """The parent knows whether there is anything to ask without asking it."""
    assert not has_driver(str(tmp_path))
    sign.touch()
    assert has_driver(str(tmp_path))
