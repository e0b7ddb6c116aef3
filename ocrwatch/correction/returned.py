"""Whether a GPU has its memory back after a process has ended: what readings of the device prove, and when to look again.

Owns the verdict and the rhythm. Pure: clock and sleep are given; where a reading comes from is `devices`' matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from ocrwatch.errors import Infrastructure
from ocrwatch.wording import size

TOLERANCE_BYTES = 32 * 2**20
"""The driver's own bookkeeping comes and goes by a few MB; the smallest CUDA context is above 100 MB."""


class Returned(StrEnum):
    """What became of the memory."""

    VERIFIED = "verified"  # the process is off the device, and no more memory is used than before
    UNVERIFIED = "unverified"  # it cannot be told: no NVML, no sight of processes, or others use the device too
    TIMEOUT = "timeout"  # the time is over: the process is still there, or its memory and nobody else's is


@dataclass(frozen=True)
class Departure:
    """A process that has ended, and is to be gone from its device.

    before_bytes: what was used before it came; None when nobody looked. within_s: how long the memory may take.
    """

    pid: int
    before_bytes: int | None
    within_s: float


@dataclass(frozen=True)
class Reading:
    """A device at one moment.

    used_bytes: by everybody, the driver included. held_bytes: by each process; None where processes cannot be seen.
    """

    used_bytes: int
    held_bytes: Mapping[int, int] | None


@dataclass(frozen=True)
class Proof:
    """The verdict. reason: why, for a person. used_bytes: at the last look, None without one. after_s: since the first."""

    verdict: Returned
    reason: str
    used_bytes: int | None
    after_s: float

    def to_json(self) -> dict[str, Any]:
        """The value as a JSON object, for a frame."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Proof:
        """The value of `to_json`. Raises KeyError, TypeError or ValueError on anything else."""
        used = data["used_bytes"]
        return Proof(
            verdict=Returned(data["verdict"]),
            reason=str(data["reason"]),
            used_bytes=None if used is None else int(used),
            after_s=float(data["after_s"]),
        )


def judged(departure: Departure, reading: Reading, *, at_s: float) -> Proof | None:
    """What a reading proves, seconds after the first look began; None when a later one may prove more."""
    grown_bytes = 0 if departure.before_bytes is None else reading.used_bytes - departure.before_bytes
    is_back, is_over = grown_bytes <= TOLERANCE_BYTES, at_s >= departure.within_s
    held_bytes = reading.held_bytes
    found = None
    if held_bytes is None:
        if is_back or is_over:
            found = Returned.UNVERIFIED, _unseen(departure, grown_bytes, is_back=is_back)
    elif departure.pid in held_bytes:
        if is_over:
            found = Returned.TIMEOUT, f"process {departure.pid} is still on the device"
    elif is_back:
        found = Returned.VERIFIED, _gone(departure)
    elif is_over:
        found = _blamed(grown_bytes, sum(held_bytes.values()))
    return None if found is None else Proof(*found, used_bytes=reading.used_bytes, after_s=round(at_s, 3))


def awaited(
    departure: Departure,
    look: Callable[[], Reading],
    *,
    every_s: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Proof:
    """Look until a reading proves something, at the latest when the time is over; a look that raises Infrastructure ends it."""
    begun = clock()
    while True:
        try:
            reading = look()
        except Infrastructure as error:
            return unreadable(error, after_s=clock() - begun)
        at_s = clock() - begun
        proof = judged(departure, reading, at_s=at_s)
        if proof is not None:
            return proof
        sleep(min(every_s, departure.within_s - at_s))


def unreadable(error: Infrastructure, *, after_s: float = 0.0) -> Proof:
    """The verdict where the device does not answer."""
    return Proof(Returned.UNVERIFIED, str(error), used_bytes=None, after_s=round(after_s, 3))


def _unseen(departure: Departure, grown_bytes: int, *, is_back: bool) -> str:
    blind = "which processes use the device cannot be seen from here"
    if departure.before_bytes is None:
        return f"{blind}, and what was used before was not read"
    return f"{'no more memory is used than before' if is_back else _more(grown_bytes)}, but {blind}"


def _gone(departure: Departure) -> str:
    gone = f"process {departure.pid} is off the device"
    if departure.before_bytes is None:
        return f"{gone}; what was used before was not read"
    return f"{gone}, and no more memory is used than before"


def _blamed(grown_bytes: int, others_bytes: int) -> tuple[Returned, str]:
    """What others held before was not read: as soon as they may be the reason, nothing is proved."""
    if others_bytes >= grown_bytes - TOLERANCE_BYTES:
        return Returned.UNVERIFIED, f"{_more(grown_bytes)}, and other processes hold {size(others_bytes)}"
    explained = f"other processes hold only {size(others_bytes)} of it" if others_bytes else "no other process explains it"
    return Returned.TIMEOUT, f"{_more(grown_bytes)}, and {explained}"


def _more(grown_bytes: int) -> str:
    return f"{size(grown_bytes)} more are used than before"
