"""What the daemon answers at its control socket: `status`, `why`, `retry`, `unload`. Reads the parts; starts nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ocrwatch import __version__
from ocrwatch.correction.owner import ModelOwner
from ocrwatch.dispatch import Dispatcher
from ocrwatch.errors import UsageError
from ocrwatch.intake.inbox import Inbox
from ocrwatch.intake.mounts import MountTable
from ocrwatch.intake.surroundings import TerritoryStatus
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.records import Job
from ocrwatch.journal.states import AWAY, RETRYABLE, JobState
from ocrwatch.ocr.pool import RecognitionPool
from ocrwatch.service.control import Answer, Caller
from ocrwatch.service.enquiry import Enquiry
from ocrwatch.service.permission import Permission
from ocrwatch.service.whereabouts import Place, Role
from ocrwatch.service.why import MOST_LISTED, unfinished, waiting_files
from ocrwatch.treatment import Treatment
from ocrwatch.worker.memory import resident_bytes

_HOUR_S = 3600.0
_MOVED = {Role.ARCHIVE: "finished", Role.QUARANTINE: "failed"}


@dataclass(frozen=True)
class Answers:
    """The answers by request."""

    places: Sequence[Place]
    inboxes: Mapping[str, Inbox]
    treatments: Mapping[str, Treatment]
    mounts: MountTable
    journal: Journal
    pool: RecognitionPool
    model: ModelOwner | None
    dispatcher: Dispatcher
    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    started_s: float

    def table(self) -> dict[str, Answer]:
        """Request name to answer."""
        return {"status": self._status, "why": self._why, "retry": self._retry, "unload": self._unload}

    def _status(self, request: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        """files: with what `why` says of the files that are not done, as far as the caller may know of them."""
        counts = self.journal.counts()
        hour_ago = self.wall_clock() - _HOUR_S
        pages, failures = self.journal.work_since(hour_ago)
        return {
            "version": __version__,
            "pid": os.getpid(),
            "up_s": self.clock() - self.started_s,
            "rss_bytes": resident_bytes(),
            "inboxes": [
                self._inbox(name, counts) | self._paths(name, caller, files=bool(request.get("files"))) for name in self.inboxes
            ],
            "model": self._model_status(),
            "workers": [
                {"engine": engine, "state": worker.state, "pid": worker.pid, "resident_bytes": held}
                for engine, worker, held in self.pool.snapshots()
            ],
            "pages_waiting": self.pool.waiting(),
            "jobs_active": self.dispatcher.active(),
            "last_hour": self.journal.finished_since(hour_ago),
            "last_hour_pages": pages,
            "last_hour_failures": failures,
        }

    def _inbox(self, name: str, counts: Mapping[tuple[str, JobState], int]) -> dict[str, Any]:
        inbox = self.inboxes[name]
        status = inbox.status()
        oldest = self.journal.oldest_unfinished(name)
        waiting = len(status.waiting)
        treatment = self.treatments[name]
        moves = {_MOVED[place.role]: place.path for place in self.places if place.inbox == name and place.role in _MOVED}
        if treatment.archive is None:
            moves.pop("finished", None)
        own = {state: count for (inbox_name, state), count in counts.items() if inbox_name == name}
        return {
            "name": name,
            "path": inbox.rules.path,
            **_territory(status.own),
            "below": [{"path": below, **_territory(each)} for below, each in status.below.items()],
            "unread_count": sum(len(part.unread) for part in (status.own, *status.below.values())),
            "files": waiting + sum(count for state, count in own.items() if state not in AWAY),
            "waiting": waiting,
            "counts": own,
            "oldest_s": None if oldest is None else max(0.0, self.wall_clock() - oldest),
            "outputs": [what for what, is_made in (("hOCR", treatment.hocr), ("searchable PDF", treatment.pdf)) if is_made],
            "moves": moves,
        }

    def _paths(self, name: str, caller: Caller, *, files: bool) -> dict[str, Any]:
        """Folders that cannot be listed, and files that are not done where they are asked for: those the caller may know of."""
        inbox = self.inboxes[name]
        status = inbox.status()
        unread = [folder for part in (status.own, *status.below.values()) for folder in part.unread]
        lists: dict[str, list[dict[str, Any]]] = {
            "unread": [{"path": path, "reason": reason} for path, reason in unread[:MOST_LISTED]]
        }
        if files:
            lists["waiting_files"] = waiting_files(status.waiting, monotonic_s=self.clock())
            lists["unfinished"] = unfinished(name, self.journal, wall_s=self.wall_clock())
        base = inbox.rules.path.rstrip("/")
        told = [f"{base}/{each['path']}" for known in lists.values() for each in known]
        visible = Permission(self.mounts).visible(told, caller)
        return {what: [each for each in known if f"{base}/{each['path']}" in visible] for what, known in lists.items()}

    def _model_status(self) -> dict[str, Any] | None:
        if self.model is None:
            return None
        status = self.model.status()
        hello = status.worker.hello or {}
        return {
            "state": status.worker.state,
            "pid": status.worker.pid,
            "file": status.file.file if status.file else None,
            "path": str(status.file.path) if status.file else None,
            "device": hello.get("device"),
            "layers_on_gpu": hello.get("layers_on_gpu"),
            "layers": hello.get("layers"),
            "gpu_bytes": hello.get("gpu_bytes"),
            "calibrated": hello.get("calibrated"),
            "degraded": status.degraded,
            "leases": status.leases,
            "fetched": status.fetched,
            "returned": None if status.returned is None else status.returned.to_json(),
            "resident_bytes": status.resident_bytes,
            "idle_left_s": status.idle_left_s,
            "starts": status.worker.starts,
            "deaths": status.worker.deaths,
            "problem": status.worker.problem,
            "unavailable_s": None if status.unavailable_since is None else self.clock() - status.unavailable_since,
            "waiting": status.waiting,
        }

    def _why(self, request: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        return self._enquiry.why(str(request["path"]), caller)

    @property
    def _enquiry(self) -> Enquiry:
        return Enquiry(
            places=self.places,
            inboxes=self.inboxes,
            treatments=self.treatments,
            mounts=self.mounts,
            journal=self.journal,
            model=self.model,
            clock=self.clock,
            wall_clock=self.wall_clock,
        )

    def _retry(self, request: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        if request.get("all"):
            jobs = self.journal.in_state(JobState.FAILED, JobState.POISON, JobState.PARTIAL, JobState.QUARANTINED)
            jobs = [job for job in jobs if not self._is_out_of_reach(job)]
        else:
            jobs = []
            for path in request["paths"]:
                name, relative = self._enquiry.inbox_of(str(path), caller)
                job = self.journal.current(name, relative)
                if job is None or job.state not in RETRYABLE:
                    state = "not known" if job is None else str(job.state)
                    raise UsageError(f"{path} is {state}: there is nothing to try again", "see `ocrwatch why`")
                if self._is_out_of_reach(job):
                    raise UsageError(
                        f"{path} lies in {job.moved_to}, and its inbox has no `quarantine_to` any more",
                        "move it back yourself: it is tried again then",
                    )
                jobs.append(job)
        for job in jobs:
            self.journal.retry(job.id)
        self.dispatcher.feed_all()
        return {"retried": len(jobs)}

    def _is_out_of_reach(self, job: Job) -> bool:
        treatment = self.treatments.get(job.inbox)
        return job.state is JobState.QUARANTINED and (treatment is None or treatment.quarantine is None)

    def _unload(self, _: Mapping[str, Any], __: Caller) -> dict[str, Any]:
        if self.model is None:
            raise UsageError("correction is off, there is no model to unload")
        before = self.model.status().worker
        self.model.unload()
        return {"pid": before.pid, "state": before.state}


def _territory(status: TerritoryStatus) -> dict[str, Any]:
    return {
        "state": status.state,
        "problem": status.problem,
        "looks_by": "polling" if status.why_polling else "events",
        "why_polling": status.why_polling,
    }
