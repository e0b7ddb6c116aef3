"""Why a file is where it is: one answer from the journal, the tracker and the rules. Reads; changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from ocrwatch.intake.settle import Waiting, WaitReason
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.records import Job, Page
from ocrwatch.journal.states import UNFINISHED, JobState, PageState
from ocrwatch.output.quarantine import reason_path
from ocrwatch.output.sidecar import METADATA_SUFFIX, TEXT_SUFFIX, Names
from ocrwatch.service.unseen import Hindrance, Surroundings, why_result, why_unseen
from ocrwatch.service.whereabouts import Role, Spot

_MEANING = {
    JobState.QUEUED: "settled; waits for its turn",
    JobState.SPOOLED: "in work",
    JobState.AWAITING_CORRECTION: "its raw text is published; it is corrected when the model can be had",
    JobState.DONE: "its text is published",
    JobState.PARTIAL: "published, but not the whole text",
    JobState.DEFERRED: "the surroundings are at fault; it is tried again by itself",
    JobState.FAILED: "the file itself cannot be processed; it is tried again when it changes, or by `ocrwatch retry`",
    JobState.POISON: "it ended two workers and is set aside; only `ocrwatch retry` runs it again",
    JobState.SUPERSEDED: "it changed; the newer version is looked at",
    JobState.VANISHED: "it went before its text was published",
    JobState.ORPHANED: "it went; its text stays",
    JobState.ARCHIVED: "done, and moved to the archive",
    JobState.QUARANTINED: "the file itself cannot be processed, and was moved away; `ocrwatch retry` brings it back",
}

_WAITS = {  # what a reason means where nothing more is known, and what comes next
    WaitReason.SETTLING: ("it was seen", "it is taken when it has not changed for as long as `settle` says"),
    WaitReason.GROWING: ("it changed between two looks", "it is taken when it has not changed for as long as `settle` says"),
    WaitReason.EMPTY: ("it has no content yet", "it is taken when it has"),
    WaitReason.TRUNCATED: (
        "its end is missing",
        "it is taken when it is whole, or as it is when it has not changed for as long as `incomplete_max` says",
    ),
    WaitReason.UNREADABLE: ("it cannot be opened at present", "it is tried again every few seconds"),
}

__all__ = ["Surroundings", "explain", "tell", "unfinished", "waiting_files"]

_WANT_THE_MODEL = (JobState.SPOOLED, JobState.AWAITING_CORRECTION)
MOST_LISTED = 50


def tell(
    spot: Spot, around: Callable[[Spot], Surroundings], *, journal: Journal, monotonic_s: float, wall_s: float
) -> dict[str, Any]:
    """What is known of a file in any of the folders, as a JSON object.

    `lies_in` tells that it is in the archive or quarantine: what is known is told of its name in the inbox, or by `beside`, the
    reason that was put there with it.
    """
    role = spot.place.role
    if role is Role.QUARANTINE and (told := _set_aside(spot, around(spot), journal)):
        return told
    if role is Role.TEXTS or (role is not Role.INBOX and journal.current(spot.place.inbox, spot.relative) is None):
        return _elsewhere(spot, journal=journal)
    told = explain(spot.relative, around(spot), journal=journal, monotonic_s=monotonic_s, wall_s=wall_s)
    return told if role is Role.INBOX else told | {"lies_in": role}


def _set_aside(spot: Spot, around: Surroundings, journal: Journal) -> dict[str, Any]:
    """What lies beside a file of the quarantine, where the journal knows another file by its name, or none."""
    place = f"{spot.place.path.rstrip('/')}/{spot.relative}"
    job = journal.current(spot.place.inbox, spot.relative)
    reason = around.reason(place) if around.reason is not None and (job is None or job.moved_to != place) else {}
    if not reason or reason["inbox"] != spot.place.inbox:
        return {}
    return {
        "inbox": spot.place.inbox,
        "path": reason["path"],
        "inbox_problem": around.problem,
        "state": JobState.QUARANTINED,
        "reason": reason["reason"],
        "meaning": "the file itself cannot be processed, and was moved away; move it back into the inbox to have it tried again",
        "detail": f"{reason['detail']}; it was moved to {place}",
        "lies_in": spot.place.role,
        "beside": reason_path(place),
        "events": reason["failures"],
    }


def explain(path: str, around: Surroundings, *, journal: Journal, monotonic_s: float, wall_s: float) -> dict[str, Any]:
    """What is known of a file (`path` relative to its inbox), as a JSON object."""
    job = journal.current(around.inbox, path)
    wait = next((w for w in around.waiting if w.path == path), None)
    answer: dict[str, Any] = {"inbox": around.inbox, "path": path, "inbox_problem": around.problem}
    if wait is not None:
        answer |= _of_waiting(wait, monotonic_s)
    elif job is None:
        answer |= why_unseen(path, around, journal)._asdict()
    else:
        answer |= _of_job(job, wall_s)
        if job.state in _WANT_THE_MODEL:
            answer["model_problem"] = around.model_problem
    if job is not None:
        answer |= _history(job, journal)
        if job.text_name is not None:
            answer |= _results(job.text_name, around)
    return answer


def _results(text_name: str, around: Surroundings) -> dict[str, str]:
    text = f"{around.text_base.rstrip('/')}/{text_name}"
    names = Names(text=text, metadata=text.removesuffix(TEXT_SUFFIX) + METADATA_SUFFIX)
    return {"text": names.text, "json": names.metadata} | ({} if around.pdf is None else around.pdf(names))


def _elsewhere(spot: Spot, *, journal: Journal) -> dict[str, Any]:
    """What is known of a file that lies in no inbox but in another folder of one, and has never been a scan there."""
    inbox, role = spot.place.inbox, spot.place.role
    result = why_result(spot.relative, inbox, journal) if role is not Role.ARCHIVE else None
    told = result or Hindrance(
        "ignored", role, f"it lies in {spot.place.path}, where {_CONTENTS[role]} of inbox {inbox} are kept"
    )
    return {"inbox": inbox, "path": spot.relative, "inbox_problem": "", **told._asdict()}


_CONTENTS = {Role.TEXTS: "texts", Role.ARCHIVE: "scans that are done", Role.QUARANTINE: "files that cannot be processed"}


def waiting_files(waiting: Sequence[Waiting], *, monotonic_s: float) -> list[dict[str, Any]]:
    """What `explain` says of the files that settle, those first that wait longest; not of all of them."""
    longest = sorted(waiting, key=lambda wait: wait.since_s)[:MOST_LISTED]
    return [{"path": wait.path, **_of_waiting(wait, monotonic_s)} for wait in longest]


def unfinished(inbox: str, journal: Journal, *, wall_s: float) -> list[dict[str, Any]]:
    """What `explain` says of the files that are queued, in work or put off, the oldest first; not of all of them."""
    jobs = journal.in_state(*UNFINISHED, inbox=inbox, limit=MOST_LISTED)
    return [{"path": job.path, **_of_job(job, wall_s)} for job in jobs]


def _of_waiting(wait: Waiting, monotonic_s: float) -> dict[str, Any]:
    return {
        "state": "waiting",
        "reason": wait.reason,
        "meaning": wait.detail or _WAITS[wait.reason][0],
        "next": _WAITS[wait.reason][1],
        "since_s": monotonic_s - wait.since_s,
    }


def _of_job(job: Job, wall_s: float) -> dict[str, Any]:
    return {
        "state": job.state,
        "reason": job.reason,
        "meaning": _MEANING[job.state],
        "detail": job.detail,
        "in_state_s": max(0.0, wall_s - job.changed),
        "next_try_s": None if job.state is not JobState.DEFERRED or job.not_before is None else max(0.0, job.not_before - wall_s),
    }


def _history(job: Job, journal: Journal) -> dict[str, Any]:
    pages = journal.pages(job.id)
    in_work = (p.number for p in pages if p.state is PageState.WAITING)
    return {
        "job": job.id,
        "tries": job.tries,
        "pages": job.pages,
        "pages_done": sum(p.state is PageState.RECOGNIZED for p in pages),
        "page": next(in_work, None) if job.state is JobState.SPOOLED else None,
        "failed_pages": [{"page": p.number, "detail": p.detail} for p in pages if p.state is PageState.FAILED],
        "hard_pages": [_of_page(p) for p in pages if p.state is not PageState.FAILED and _is_hard(p)],
        "deaths": sum(p.deaths for p in pages),
        "events": [asdict(event) for event in journal.events(job.id)],
    }


def _is_hard(page: Page) -> bool:
    usual = 2 if page.number == 1 else 1  # the first page is begun for the inspection of the file, too
    return page.deaths > 0 or page.tries > usual


def _of_page(page: Page) -> dict[str, Any]:
    return {"page": page.number, "tries": page.tries, "deaths": page.deaths, "reason": page.reason, "detail": page.detail}
