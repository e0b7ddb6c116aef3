"""Why a file is where it is: one answer from the journal, the tracker and the rules. Reads; changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ocrwatch.intake.entries import lies_in
from ocrwatch.intake.ignore import Patterns, why_ignored
from ocrwatch.intake.settle import Waiting
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.records import Job
from ocrwatch.journal.states import JobState, PageState

_MEANING = {
    JobState.QUEUED: "settled; waits for its turn",
    JobState.SPOOLED: "in work",
    JobState.AWAITING_CORRECTION: "its raw text is published; it is corrected when the model can be had",
    JobState.DONE: "done",
    JobState.PARTIAL: "published, but not the whole text",
    JobState.DEFERRED: "the surroundings are at fault; it is tried again by itself",
    JobState.FAILED: "the file itself cannot be processed; it is tried again when it changes, or by `ocrwatch retry`",
    JobState.POISON: "it ended two workers and is set aside; only `ocrwatch retry` runs it again",
    JobState.SUPERSEDED: "it changed; the newer version is looked at",
    JobState.VANISHED: "it went before its text was published",
    JobState.ORPHANED: "it went; its text stays",
    JobState.ARCHIVED: "done, and moved to the archive",
}


@dataclass(frozen=True)
class Surroundings:
    """What is known of an inbox beside the journal.

    waiting: the files that settle. problem: why the inbox is offline, '' when it is not. text_path: where a scan's text is.
    unread: folders that cannot be listed, with the reason.
    """

    inbox: str
    patterns: Patterns
    text_path: Callable[[str], str]
    waiting: Sequence[Waiting] = ()
    problem: str = ""
    unread: Sequence[tuple[str, str]] = ()


def explain(path: str, around: Surroundings, *, journal: Journal, monotonic_s: float, wall_s: float) -> dict[str, Any]:
    """What is known of a file (`path` relative to its inbox), as a JSON object."""
    inbox, problem = around.inbox, around.problem
    job = journal.current(inbox, path)
    wait = next((w for w in around.waiting if w.path == path), None)
    answer: dict[str, Any] = {"inbox": inbox, "path": path, "inbox_problem": problem}
    if wait is not None:
        answer |= {
            "state": "waiting",
            "reason": wait.reason,
            "meaning": wait.detail or f"not taken yet: {wait.reason}",
            "since_s": monotonic_s - wait.since_s,
        }
    elif job is None:
        ignored = why_ignored(path, around.patterns)
        unread = next((f"its folder {d!r} cannot be listed: {why}" for d, why in around.unread if lies_in(path, d)), "never seen")
        answer |= {"state": "ignored" if ignored else "unknown", "reason": "", "meaning": ignored or unread}
    else:
        answer |= {"state": job.state, "reason": job.reason, "meaning": _MEANING[job.state], "detail": job.detail}
    if job is not None:
        answer |= _history(job, journal, wall_s)
        if job.text_name is not None:
            answer["text"] = around.text_path(path)
    return answer


def _history(job: Job, journal: Journal, wall_s: float) -> dict[str, Any]:
    pages = journal.pages(job.id)
    return {
        "job": job.id,
        "tries": job.tries,
        "pages": job.pages,
        "pages_done": sum(p.state in (PageState.RECOGNIZED, PageState.CORRECTED) for p in pages),
        "failed_pages": [{"page": p.number, "detail": p.detail} for p in pages if p.state is PageState.FAILED],
        "deaths": sum(p.deaths for p in pages),
        "next_try_s": None if job.state is not JobState.DEFERRED or job.not_before is None else max(0.0, job.not_before - wall_s),
        "events": [asdict(event) for event in journal.events(job.id)],
    }
