"""The states of a file and the transitions between them, listed once. Pure.

    QUEUED -> SPOOLED -> DONE -> ARCHIVED -> DONE  when a person put the scan back
                 |------> PARTIAL -> QUEUED        only by `ocrwatch retry`
                 |------> AWAITING_CORRECTION -> DONE | PARTIAL
                 |
                 |--> DEFERRED -> QUEUED           the surroundings were at fault
                 `--> FAILED | POISON -> QUEUED    only by `ocrwatch retry`, or as a newer version
                            `--> QUARANTINED -> QUEUED    when the file is back in its inbox

Any of them ends as SUPERSEDED when the file changes. When it goes, as ORPHANED if a text of it was ever published, else as
VANISHED; an orphan whose scan comes back is what it was before.
"""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    """What has become of one version of a scan."""

    QUEUED = "queued"  # settled; waits for its turn to be copied into the spool
    SPOOLED = "spooled"  # copied and hashed; its pages are being recognized and corrected
    AWAITING_CORRECTION = "awaiting_correction"  # raw text is published; corrected when the model is back
    DONE = "done"  # the final text is published
    PARTIAL = "partial"  # published, but not every page could be read
    DEFERRED = "deferred"  # share, disk, engine or model at fault; tried again by itself
    FAILED = "failed"  # the file's own fault; tried again when it changes or on `ocrwatch retry`
    POISON = "poison"  # killed a worker twice; tried again on `ocrwatch retry` only
    SUPERSEDED = "superseded"  # a newer version of the file took its place
    VANISHED = "vanished"  # the file went before its text was published
    ORPHANED = "orphaned"  # the file went, its sidecar stays
    ARCHIVED = "archived"  # done, and the scan was moved to the archive
    QUARANTINED = "quarantined"  # failed or poison, and the file was moved to the quarantine


_GONE = {JobState.SUPERSEDED, JobState.VANISHED, JobState.ORPHANED}
_RESULT = {JobState.DONE, JobState.PARTIAL}
_SET_ASIDE = {JobState.FAILED, JobState.POISON}

ALLOWED: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.SPOOLED, JobState.DEFERRED, JobState.FAILED} | _GONE),
    JobState.SPOOLED: frozenset({JobState.AWAITING_CORRECTION, JobState.DEFERRED} | _SET_ASIDE | _RESULT | _GONE),
    JobState.AWAITING_CORRECTION: frozenset({JobState.ORPHANED, JobState.SUPERSEDED} | _RESULT),
    JobState.DONE: frozenset({JobState.ORPHANED, JobState.ARCHIVED, JobState.SUPERSEDED}),
    JobState.PARTIAL: frozenset({JobState.QUEUED, JobState.ORPHANED, JobState.SUPERSEDED}),
    JobState.DEFERRED: frozenset({JobState.QUEUED} | _GONE),
    JobState.FAILED: frozenset({JobState.QUEUED, JobState.QUARANTINED} | _GONE),
    JobState.POISON: frozenset({JobState.QUEUED, JobState.QUARANTINED} | _GONE),
    # ARCHIVED too: the inbox may see that a scan went before the archive has said where.
    JobState.ORPHANED: frozenset(
        {JobState.QUEUED, JobState.AWAITING_CORRECTION, JobState.ARCHIVED, JobState.SUPERSEDED} | _SET_ASIDE | _RESULT
    ),
    JobState.VANISHED: frozenset(),
    JobState.ARCHIVED: frozenset({JobState.DONE, JobState.SUPERSEDED}),
    JobState.QUARANTINED: frozenset({JobState.QUEUED, JobState.SUPERSEDED}),
    JobState.SUPERSEDED: frozenset(),
}

UNFINISHED = frozenset({JobState.QUEUED, JobState.SPOOLED, JobState.AWAITING_CORRECTION, JobState.DEFERRED})
RETRYABLE = frozenset(_SET_ASIDE | {JobState.QUARANTINED, JobState.PARTIAL, JobState.DEFERRED})
MOVED = frozenset({JobState.ARCHIVED, JobState.QUARANTINED})
"""We moved the file out of its inbox."""
AWAY = frozenset({JobState.ORPHANED} | MOVED)
"""The file is known, and not to be expected in its inbox."""
PUBLISHED = frozenset(_RESULT | {JobState.AWAITING_CORRECTION})


class IllegalTransition(Exception):
    """A job was moved between states that are not neighbours: a bug of ours."""


def check(before: JobState, after: JobState) -> None:
    """Raise IllegalTransition unless a job may go from `before` to `after`."""
    if after not in ALLOWED[before]:
        raise IllegalTransition(f"a job that is {before} cannot become {after}")


class PageState(StrEnum):
    """What has become of one page of a job."""

    WAITING = "waiting"  # not yet recognized
    RECOGNIZED = "recognized"  # raw text is in the checkpoint
    FAILED = "failed"  # cannot be read; the others go on
