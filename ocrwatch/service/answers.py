"""What the daemon answers at its control socket: `status`, `why`, `retry`, `unload`. Reads the parts; starts nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocrwatch import __version__
from ocrwatch.correction.owner import ModelOwner
from ocrwatch.dispatch import Dispatcher
from ocrwatch.errors import UsageError
from ocrwatch.intake.inbox import Inbox
from ocrwatch.intake.mounts import MountTable
from ocrwatch.intake.surroundings import TerritoryStatus
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.states import RETRYABLE, JobState
from ocrwatch.ocr.pool import RecognitionPool
from ocrwatch.service.control import Answer, Caller
from ocrwatch.service.why import Surroundings, explain
from ocrwatch.treatment import Treatment

_HOUR_S = 3600.0
_NOT_THERE = frozenset({JobState.ORPHANED, JobState.ARCHIVED})


@dataclass(frozen=True)
class Answers:
    """The answers by request."""

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

    def _status(self, _: Mapping[str, Any], __: Caller) -> dict[str, Any]:
        counts = self.journal.counts()
        return {
            "version": __version__,
            "pid": os.getpid(),
            "up_s": self.clock() - self.started_s,
            "rss_bytes": _resident_bytes(),
            "inboxes": [self._inbox(name, counts) for name in self.inboxes],
            "model": self._model_status(),
            "workers": [
                {"engine": engine, "state": worker.state, "pid": worker.pid, "resident_bytes": held}
                for engine, worker, held in self.pool.snapshots()
            ],
            "pages_waiting": self.pool.waiting(),
            "jobs_active": self.dispatcher.active(),
            "last_hour": self.journal.finished_since(self.wall_clock() - _HOUR_S),
        }

    def _inbox(self, name: str, counts: Mapping[tuple[str, JobState], int]) -> dict[str, Any]:
        inbox = self.inboxes[name]
        status = inbox.status()
        oldest = self.journal.oldest_unfinished(name)
        waiting = len(status.waiting)
        own = {state: count for (inbox_name, state), count in counts.items() if inbox_name == name}
        return {
            "name": name,
            "path": inbox.rules.path,
            **_territory(status.own),
            "below": [{"path": below, **_territory(each)} for below, each in status.below.items()],
            "files": waiting + sum(count for state, count in own.items() if state not in _NOT_THERE),
            "waiting": waiting,
            "counts": own,
            "oldest_s": None if oldest is None else max(0.0, self.wall_clock() - oldest),
        }

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
        path = str(request["path"])
        name, relative = self._place(path)
        inbox, treatment = self.inboxes[name], self.treatments[name]
        if not _may_know(path, caller, touch=not self.mounts.may_hang(str(Path(path).parent))):
            raise UsageError(f"you may not see {path}", "ask as a user who may")
        status = inbox.territory_of(relative).status()
        around = Surroundings(
            inbox=name,
            patterns=inbox.rules.patterns,
            text_path=lambda p: str(treatment.text_path(p)),
            waiting=status.waiting,
            problem=status.problem,
            unread=status.unread,
        )
        return explain(relative, around, journal=self.journal, monotonic_s=self.clock(), wall_s=self.wall_clock())

    def _place(self, path: str) -> tuple[str, str]:
        for name, inbox in self.inboxes.items():
            root = Path(inbox.rules.path)
            if Path(path).is_relative_to(root) and Path(path) != root:
                return name, str(Path(path).relative_to(root))
        inboxes = ", ".join(inbox.rules.path for inbox in self.inboxes.values())
        raise UsageError(f"{path} lies in no inbox", f"the inboxes are {inboxes}")

    def _retry(self, request: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        if request.get("all"):
            jobs = self.journal.in_state(JobState.FAILED, JobState.POISON, JobState.PARTIAL)
        else:
            jobs = []
            for path in request["paths"]:
                name, relative = self._place(str(path))
                job = self.journal.current(name, relative)
                if job is None or job.state not in RETRYABLE:
                    state = "not known" if job is None else str(job.state)
                    raise UsageError(f"{path} is {state}: there is nothing to try again", "see `ocrwatch why`")
                jobs.append(job)
        for job in jobs:
            self.journal.retry(job.id)
        self.dispatcher.feed_all()
        return {"retried": len(jobs)}

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
        "unread": [{"path": path, "reason": reason} for path, reason in status.unread],
    }


def _resident_bytes() -> int:
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def _may_know(path: str, caller: Caller, *, touch: bool) -> bool:
    """Whether the caller could `stat` the path: every folder above it lets them through. Judged by mode bits."""
    if caller.uid in (0, os.geteuid()):
        return True
    if not touch:
        return False  # a folder on a mount that may hang is not looked at from here
    try:
        groups = set(_groups(caller))
        return all(_may_enter(folder.stat(), caller.uid, groups) for folder in Path(path).parents)
    except OSError:
        return False


def _groups(caller: Caller) -> list[int]:
    try:
        line = next(
            line
            for line in Path(f"/proc/{caller.pid}/status").read_text(encoding="ascii").splitlines()
            if line.startswith("Groups:")
        )
    except (OSError, StopIteration):
        return [caller.gid]
    return [caller.gid, *(int(group) for group in line.split()[1:])]


def _may_enter(status: os.stat_result, uid: int, groups: set[int]) -> bool:
    if status.st_uid == uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid in groups:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
