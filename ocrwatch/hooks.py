"""Which events hooks are told of, in which words, and when once more. Pure: runs no program and reads no journal.

A message is a JSON object, schema version 1, described in docs/hooks.md. It holds paths, states, reasons and figures, and no
text of a document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ocrwatch import __version__
from ocrwatch.journal.records import Delivery, Event, Job, iso
from ocrwatch.journal.states import JobState
from ocrwatch.output.sidecar import METADATA_SUFFIX, TEXT_SUFFIX

SCHEMA_VERSION = 1
LONGEST_WAIT_S = 3600.0
HOLD_S = 10.0
"""An inbox that is back within this time was never away."""
MOST_WAITING = 1000
"""How much a hook is told of at a time; the rest waits in the journal as the events that they are."""
PACE_S = 0.1
"""At most ten runs a second of one program."""
_MOST_ATTEMPTS = 12  # within three hours
_FIRST_WAIT_S = 5.0
_LONGEST_REST_S = 60.0


class Hook(StrEnum):
    """The events, by the keys of the configuration."""

    DONE = "done"  # the final text of a file is published
    FAILED = "failed"  # a file has no text, or not all of it, and a person has to act
    REVIEW = "review"  # done, and pages of it should be looked at
    INBOX_OFFLINE = "inbox_offline"  # an inbox, or a mount in it, cannot be reached; or can be again


# What is moved for other reasons ends there as well: a scan that was away is what it was before, and no news.
_WORK = frozenset({JobState.QUEUED, JobState.SPOOLED, JobState.AWAITING_CORRECTION})
_FAILED = frozenset({JobState.FAILED, JobState.POISON, JobState.PARTIAL})
_ADOPTED = "adopted"


def concerns(hook: Hook, event: Event, to_review: int) -> bool:
    """Whether a hook is told of a transition of a job with so many pages to review."""
    if event.before not in _WORK or event.reason == _ADOPTED:
        return False
    match hook:
        case Hook.DONE:
            return event.after is JobState.DONE
        case Hook.REVIEW:
            return event.after is JobState.DONE and to_review > 0
        case Hook.FAILED:
            return event.after in _FAILED
        case Hook.INBOX_OFFLINE:
            return False


def wait_s(attempts: int) -> float | None:
    """Seconds from an attempt to the next, after so many with it: 5, 10, 20, ...; None when it was the last."""
    return None if attempts >= _MOST_ATTEMPTS else min(LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** (attempts - 1))


def rest_s(failures: int) -> float:
    """Seconds that a program rests after so many failures in a row, whatever else it is to be told."""
    return min(_LONGEST_REST_S, 2.0 ** (failures - 1)) if failures else PACE_S


@dataclass(frozen=True)
class Program:
    """A program, its arguments, and how long one run of it may take."""

    argv: tuple[str, ...]
    timeout_s: float


@dataclass(frozen=True)
class Where:
    """Where the files of an inbox are: scans, and their texts. Absolute."""

    scans: str
    texts: str


def message(delivery: Delivery, job: Job | None, places: Mapping[str, Where]) -> dict[str, Any]:
    """What a program is told."""
    about = _of_inbox(delivery) if job is None or delivery.event is None else _of_job(job, delivery.event, places.get(job.inbox))
    return {
        "schema_version": SCHEMA_VERSION,
        "ocrwatch": __version__,
        "event": delivery.hook,
        "delivery": f"{delivery.hook}-{delivery.id}-{int(delivery.at)}",
        "attempt": delivery.attempts + 1,
        "at": iso(delivery.at),
        **about,
    }


def _of_inbox(delivery: Delivery) -> dict[str, Any]:
    inbox = {"name": delivery.inbox, "path": delivery.path, "state": delivery.state, "problem": delivery.detail}
    return {"inbox": inbox}


def _of_job(job: Job, event: Event, where: Where | None) -> dict[str, Any]:
    text = f"{where.texts}/{job.text_name}" if where is not None and job.text_name is not None else None
    return {
        "job": {
            "id": job.id,
            "inbox": job.inbox,
            "path": job.path,
            "scan": None if where is None else f"{where.scans}/{job.path}",
            "moved_to": job.moved_to,
            "state": event.after,
            "reason": event.reason,
            "detail": event.detail,
            "state_now": job.state,
            "text": text,
            "json": None if text is None else text.removesuffix(TEXT_SUFFIX) + METADATA_SUFFIX,
            "size": job.identity.size,
            "sha256": job.sha256,
            "pages": job.pages,
            "pages_to_review": job.to_review,
            "edits": job.edits,
            "tries": job.tries,
            "arrived_at": iso(job.created),
            "seconds": round(max(0.0, event.at - job.created), 1),
        }
    }
