"""`why`, asked of a daemon: in which of its folders a path lies, who may ask, and what is known of the inbox there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ocrwatch.correction.owner import ModelOwner
from ocrwatch.intake.inbox import Inbox
from ocrwatch.intake.mounts import MountTable
from ocrwatch.journal.journal import Journal
from ocrwatch.output.sidecar import Names
from ocrwatch.service.control import Caller
from ocrwatch.service.onlook import pdf_of, reason_of, sight_of
from ocrwatch.service.permission import Permission
from ocrwatch.service.whereabouts import Place, Role, Spot, locate
from ocrwatch.service.why import Surroundings, tell
from ocrwatch.treatment import Treatment


@dataclass(frozen=True)
class Enquiry:
    """Answers about one path at a time."""

    places: Sequence[Place]
    inboxes: Mapping[str, Inbox]
    treatments: Mapping[str, Treatment]
    mounts: MountTable
    journal: Journal
    model: ModelOwner | None
    clock: Callable[[], float]
    wall_clock: Callable[[], float]

    def why(self, path: str, caller: Caller) -> dict[str, Any]:
        """What is known of an absolute path. Raises UsageError when it is none of ours, or the caller could not `stat` it."""
        spot = locate(path, self.places)
        Permission(self.mounts).require(path, caller)
        return tell(spot, self._around, journal=self.journal, monotonic_s=self.clock(), wall_s=self.wall_clock())

    def inbox_of(self, path: str, caller: Caller) -> tuple[str, str]:
        """The inbox that a path lies in, and where there. Raises UsageError, as `why` does."""
        spot = locate(path, [place for place in self.places if place.role is Role.INBOX])
        Permission(self.mounts).require(path, caller)
        return spot.place.inbox, spot.relative

    def _around(self, spot: Spot) -> Surroundings:
        name = spot.place.inbox
        inbox, treatment = self.inboxes[name], self.treatments[name]
        status, rules = inbox.territory_of(spot.relative).status(), inbox.rules
        return Surroundings(
            inbox=name,
            patterns=rules.patterns,
            text_base=treatment.text_base,
            waiting=status.waiting,
            problem=status.problem,
            unread=status.unread,
            recursive=rules.recursive,
            look=lambda relative: sight_of(rules.path, relative, table=self.mounts.current()),
            reason=lambda place: reason_of(place, table=self.mounts.current()),
            pdf=self._pdf if treatment.pdf else None,
            interval_s=rules.poll_s if status.why_polling else rules.rescan_s,
            model_problem=self._model_problem() if treatment.correction is not None else "",
        )

    def _pdf(self, names: Names) -> dict[str, str]:
        return pdf_of(names, table=self.mounts.current())

    def _model_problem(self) -> str:
        status = None if self.model is None else self.model.status()
        return status.worker.problem if status is not None and status.unavailable_since is not None else ""
