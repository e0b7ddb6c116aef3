"""Files that cannot be processed go to the quarantine, and come back when they are to be tried again.

How they go safely is `archive`'s matter; what is in the reason beside each, and the order of things, is owned here:

    the reason is written -> the journal says where the file goes -> it is moved -> the journal says that it is there

A crash in between leaves the file on either side, and the journal knows where to look. A file never goes back by itself:
`ocrwatch retry` asks for it, and the inbox sees it come.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ocrwatch import __version__
from ocrwatch.errors import Infrastructure, ShareOffline, SourceChanged, SourceVanished
from ocrwatch.intake.entries import Identity
from ocrwatch.journal.journal import Journal, directory_of
from ocrwatch.journal.records import Event, Job, Scope, iso
from ocrwatch.journal.states import IllegalTransition, JobState
from ocrwatch.log_events import LogEvent, of_file
from ocrwatch.output.archivist import NEWER, shown
from ocrwatch.output.quarantine import Reason
from ocrwatch.output.refusals import Refusals
from ocrwatch.treatment import MovePlan, Treatment
from ocrwatch.worker.share import Reach

log = logging.getLogger(__name__)

_LOOK_S = 5.0
_REST_S = 60.0  # of a file that cannot go now, at first, and of all when a mount is away
_BATCH = 200
_MOST_EVENTS = 20
_SET_ASIDE = (JobState.FAILED, JobState.POISON)
_TOLD = (*_SET_ASIDE, JobState.DEFERRED)


class Quarantinist:
    """Sets the failed files of one territory aside. wall_clock: the journal's; clock: monotonic seconds."""

    def __init__(
        self,
        journal: Journal,
        treatment: Treatment,
        *,
        scope: Callable[[], Scope],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._treatment = treatment
        self._scope = scope
        self._wall_clock = wall_clock
        self._refusals = Refusals(first_s=_REST_S, clock=clock)
        self._tidied: set[str] = set()

    @property
    def is_wanted(self) -> bool:
        """Whether files of this inbox are set aside. Where they are not, a move that was cut off is forgotten."""
        if self._treatment.quarantine is None:
            self._journal.stay_in(self._treatment.inbox)
        return self._treatment.quarantine is not None

    def step(self) -> float:
        """Move what is due, in and out; seconds until the next look."""
        plan = self._treatment.quarantine
        assert plan is not None
        before = self._wall_clock() - plan.after_s
        scope = self._scope()
        unsettled = [job for job in self._journal.on_the_way(self._treatment.inbox) if scope.holds(job.path)]
        limit = _BATCH + self._refusals.resting()
        failed = self._journal.in_state(*_SET_ASIDE, inbox=self._treatment.inbox, scope=scope, limit=limit)
        due = [job for job in failed if job.moved_to is None and job.changed <= before]
        for job in unsettled + due:
            if not self._refusals.rests(job) and not self._move(job, plan):
                return _REST_S  # a mount is away: the next file would only wait for it as well
        return _LOOK_S

    def _move(self, job: Job, plan: MovePlan) -> bool:
        """Whether it is worth while to try the next one."""
        try:
            if job.state is JobState.QUARANTINED:
                self._bring_back(job, plan)
            elif job.moved_to is not None:
                self._settle(job, plan)
            else:
                self._set_aside(job, plan)
        except Infrastructure as error:
            log.warning("%s cannot be moved now: %s", job.path, error)
            is_away = isinstance(error, ShareOffline)
            if is_away or job.moved_to is not None:  # or somebody waits for it
                self._refusals.held_up(job)
            else:
                self._refusals.refused(job)
            return not is_away
        return True

    # -- out of the inbox ----------------------------------------------------------------------------------------

    def _set_aside(self, job: Job, plan: MovePlan) -> None:
        scan, tree = self._treatment.scans(job.path), plan.tree.reach()
        reason = self._reason(job)
        self._tidy(tree, directory_of(f"{job.inbox}/{job.path}"))
        try:
            place = scan.share.reserve(
                scan.root, job.path, reason=reason, destination_root=tree.root, destination=f"{job.inbox}/{job.path}"
            )
            if not self._journal.moves_to(job.id, f"{plan.tree.path}/{place}"):  # somebody wants it tried again
                tree.share.release(tree.root, place, reason=reason)
                return
            scan.share.archive(
                scan.root,
                job.path,
                expected=job.identity,
                sha256=job.sha256,
                destination_root=tree.root,
                destination=place,
                numbered=False,
            )
        except SourceVanished:
            self._stays(job, tree, plan)  # and the inbox sees that it is gone
        except SourceChanged:
            if self._refusals.refused(job):
                log.info("%s is no longer what was read and is not set aside; %s", job.path, NEWER)
            self._stays(job, tree, plan)
        else:
            self._is_aside(job, f"{plan.tree.path}/{place}")

    def _settle(self, job: Job, plan: MovePlan) -> None:
        """A move was cut off: look on both sides."""
        scan, tree = self._treatment.scans(job.path), plan.tree.reach()
        scan.share.tidy(scan.root, directory_of(job.path))  # puts back what was half on its way
        place = _within(job, plan)
        if place is not None:
            self._tidy(tree, directory_of(place))
        if place is not None and scan.share.look(scan.root, job.path, closely=False) is None and _holds(tree, place, job):
            self._is_aside(job, f"{plan.tree.path}/{place}")
        else:
            self._stays(job, tree, plan)

    def _stays(self, job: Job, tree: Reach, plan: MovePlan) -> None:
        noted = self._journal.job(job.id)
        if (place := _within(noted, plan)) is not None:
            tree.share.release(tree.root, place, reason=self._reason(job))
        self._journal.moves_to(job.id, None)
        if noted.not_before is not None:  # asked for meanwhile
            self._journal.retry(job.id)

    def _is_aside(self, job: Job, place: str) -> None:
        failure = self._failure(job)
        detail = f"{failure.detail}; it was moved to {shown(place)}"
        try:
            self._journal.move(job.id, JobState.QUARANTINED, reason=failure.reason, detail=detail, moved_to=place)
        except IllegalTransition:  # a newer version came to the name meanwhile
            log.debug("%s was set aside under an older state", job.path)
        about = of_file(LogEvent.FILE_QUARANTINED, inbox=job.inbox, file=job.path, job=job.id)
        log.warning("%s/%s was set aside as %s", job.inbox, job.path, shown(place), extra=about)

    # -- back into it --------------------------------------------------------------------------------------------

    def _bring_back(self, job: Job, plan: MovePlan) -> None:
        scan, tree, place = self._treatment.scans(job.path), plan.tree.reach(), _within(job, plan)
        if place is None:
            self._refuse(job, f"it lies in {shown(job.moved_to or '')}, which is not in `quarantine_to`: move it back yourself")
            return
        self._tidy(tree, directory_of(place))
        kept = tree.share.look(tree.root, place, closely=False)
        there = scan.share.look(scan.root, job.path, closely=False)
        if there is not None:
            is_back = kept is None and there.identity is not None and _same(there.identity, job.identity)
            if not is_back:  # else the inbox sees it
                self._refuse(job, "another file has its name now: move that away, then run `ocrwatch retry` again")
        elif kept is None or kept.identity is None:
            self._refuse(job, f"it is no longer in the quarantine, at {shown(place)}: put it into the inbox yourself")
        else:
            # Whoever mended it there wants it tried as it is now.
            scan.share.bring(scan.root, job.path, expected=kept.identity, origin_root=tree.root, origin=place)
            tree.share.release(tree.root, place, reason=self._reason(job))
            log.info("%s/%s: brought back to be tried again", job.inbox, job.path)

    def _refuse(self, job: Job, why: str) -> None:
        log.warning("%s/%s is not brought back: %s", job.inbox, job.path, why)
        self._journal.moves_to(job.id, job.moved_to, detail=f"{self._failure(job).detail}; not brought back: {why}")

    def _tidy(self, tree: Reach, directory: str) -> None:
        """What a crash before this start left in a folder of the quarantine is found by no listing."""
        if directory not in self._tidied:
            tree.share.tidy(tree.root, directory)
            self._tidied.add(directory)

    # -- what is told --------------------------------------------------------------------------------------------

    def _failure(self, job: Job) -> Event:
        return next(event for event in reversed(self._journal.events(job.id)) if event.after in _SET_ASIDE)

    def _reason(self, job: Job) -> Reason:
        failure = self._failure(job)
        told = [event for event in self._journal.events(job.id) if event.after in _TOLD][-_MOST_EVENTS:]
        return {
            "schema_version": 1,
            "ocrwatch": __version__,
            "inbox": job.inbox,
            "path": job.path,
            "state": failure.after,
            "reason": failure.reason,
            "detail": failure.detail,
            "failed_at": iso(failure.at),
            "arrived_at": iso(job.created),
            "attempts": job.tries,
            "failures": [
                {"at": iso(event.at), "state": event.after, "reason": event.reason, "detail": event.detail} for event in told
            ],
            "job": job.id,
            "size": job.identity.size,
            "mtime_ns": job.identity.mtime_ns,
            "sha256": job.sha256,
            "pages": job.pages,
        }


def _within(job: Job, plan: MovePlan) -> str | None:
    """Where it is, or is to be, in the quarantine; None when that was another one."""
    above = plan.tree.path.rstrip("/") + "/"
    return job.moved_to.removeprefix(above) if job.moved_to is not None and job.moved_to.startswith(above) else None


def _holds(tree: Reach, place: str, job: Job) -> bool:
    seen = tree.share.look(tree.root, place, closely=False)
    return seen is not None and seen.identity is not None and _same(seen.identity, job.identity)


def _same(one: Identity, other: Identity) -> bool:
    """Whether they are of the same file, be it a copy on another file system."""
    return one.without_inode() == other.without_inode()
