"""Tells the programs of the hooks: one thread each, one run at a time. A program that fails or hangs holds up nothing else.

Owns when to look and what is logged. What is told, and when again, is `hooks`' matter; what is left to tell is the journal's.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping

from ocrwatch import hooks
from ocrwatch.errors import OcrwatchError
from ocrwatch.hooks import Hook, Program, Where
from ocrwatch.intake.surroundings import InboxState
from ocrwatch.intake.territory import Territory
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.records import Delivery
from ocrwatch.log_events import LogEvent
from ocrwatch.service import hook_process
from ocrwatch.service.hook_process import Outcome
from ocrwatch.service.logs import printable
from ocrwatch.worker.threads import Thread

log = logging.getLogger(__name__)

_LOOK_S = 2.0
_TROUBLE_S = 10.0
_LAST_S = 5.0  # for a run in hand when the service ends
_REMOVED = "removed"


class Teller:
    """Tells one program. stopping: set when the service ends."""

    def __init__(
        self,
        hook: Hook,
        program: Program,
        *,
        journal: Journal,
        places: Mapping[str, Where],
        clock: Callable[[], float],
        stopping: threading.Event,
    ) -> None:
        self._hook = hook
        self._program = program
        self._journal = journal
        self._places = places
        self._clock = clock
        self._stopping = stopping
        self._failures = 0  # in a row, whatever it was told
        self._rested_s = 0.0
        self._ends_s: float | None = None

    def run_for_ever(self) -> None:
        """Until the service ends."""
        rest_s = 0.0
        while not self._stopping.wait(rest_s):
            try:
                rest_s = self.step()
            except OcrwatchError as error:  # a full disk is told by the jobs
                log.error("hook %s: %s", self._hook, error)
                rest_s = _TROUBLE_S
            except Exception:
                log.exception("hook %s: unforeseen trouble, tried again in %d s", self._hook, _TROUBLE_S)
                rest_s = _TROUBLE_S

    def step(self) -> float:
        """Tell what is due longest; seconds until the next look."""
        room = hooks.MOST_WAITING - self._journal.waiting_deliveries(self._hook)
        if room > 0:
            self._journal.note_events(self._hook, lambda event, review: hooks.concerns(self._hook, event, review), room=room)
        if self._clock() < self._rested_s:
            return min(_LOOK_S, self._rested_s - self._clock())
        delivery = self._journal.due_delivery(self._hook, longest_s=hooks.LONGEST_WAIT_S)
        if delivery is None:
            return _LOOK_S
        self._tell(delivery)
        rest_s = hooks.rest_s(self._failures)
        self._rested_s = self._clock() + rest_s
        return min(_LOOK_S, rest_s)

    def _tell(self, delivery: Delivery) -> None:
        job = None if delivery.job is None else self._journal.job(delivery.job)
        data = json.dumps(hooks.message(delivery, job, self._places)).encode("ascii") + b"\n"
        attempts = delivery.attempts + 1
        wait_s = hooks.wait_s(attempts)
        self._journal.delivery_begins(delivery.id, next_s=hooks.LONGEST_WAIT_S if wait_s is None else wait_s)
        outcome = hook_process.run(
            self._program.argv,
            data,
            environment={"OCRWATCH_EVENT": self._hook},
            timeout_s=self._program.timeout_s,
            is_ending=self._has_no_time_left,
        )
        if outcome.problem:
            self._failed(delivery, outcome, attempts, wait_s)
        else:
            self._failures = 0
            self._journal.delivered(delivery.id)
        for line in outcome.lines:
            log.info("hook %s says: %s", self._hook, printable(line))

    def _has_no_time_left(self) -> bool:
        if not self._stopping.is_set():
            return False
        if self._ends_s is None:
            self._ends_s = self._clock() + _LAST_S
        return self._clock() > self._ends_s

    def _failed(self, delivery: Delivery, outcome: Outcome, attempts: int, wait_s: float | None) -> None:
        if self._stopping.is_set():
            log.info("hook %s: %s %s; it is told again at the next start", self._hook, self._program.argv[0], outcome.problem)
            return
        self._failures += 1
        about, what = {"event": LogEvent.HOOK_FAILED, "hook": self._hook}, f"{self._program.argv[0]} {outcome.problem}"
        if wait_s is None:
            self._journal.delivered(delivery.id)
            log.error("hook %s: %s; given up after %d attempts", self._hook, what, attempts, extra=about)
        else:
            log.warning("hook %s: %s; tried again in %d s", self._hook, what, wait_s, extra=about)


class Hooks:
    """All programs that are told. clock: monotonic seconds; stopping: set when the service ends."""

    def __init__(
        self,
        programs: Mapping[Hook, Program],
        journal: Journal,
        *,
        places: Mapping[str, Where],
        clock: Callable[[], float],
        stopping: threading.Event,
    ) -> None:
        self._journal = journal
        self._tellers = {
            hook: Teller(hook, program, journal=journal, places=places, clock=clock, stopping=stopping)
            for hook, program in programs.items()
        }
        self._noted: dict[str, str] = {}
        journal.listen(programs.keys())

    def threads(self) -> list[Thread]:
        """One for each program, not started yet."""
        return [Thread(teller.run_for_ever, f"hook-{hook}") for hook, teller in self._tellers.items()]

    def look(self, territory: Territory) -> None:
        """Note whether a part of an inbox went or came back. From any thread; costs nothing while nothing changes."""
        state = _REMOVED if territory.is_over else str(territory.state)
        if Hook.INBOX_OFFLINE not in self._tellers or state in (InboxState.STARTING, self._noted.get(territory.path)):
            return
        self._journal.note_inbox(
            Hook.INBOX_OFFLINE,
            territory.rules.name,
            path=territory.path,
            state=state,
            detail=territory.status().problem,
            is_away=state == InboxState.OFFLINE,
            hold_s=hooks.HOLD_S,
        )
        self._noted[territory.path] = state
