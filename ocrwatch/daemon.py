"""The daemon: builds the parts, runs the main loop, and ends everything in the right order. Does no work itself."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path

from ocrwatch import composition
from ocrwatch.config import load
from ocrwatch.correction.owner import ModelOwner
from ocrwatch.dispatch import Dispatcher
from ocrwatch.errors import Infrastructure, OcrwatchError
from ocrwatch.intake.arrivals import Arrivals, Hint
from ocrwatch.intake.ignore import is_ours
from ocrwatch.intake.inbox import Inbox
from ocrwatch.intake.mounts import MountTable
from ocrwatch.intake.surroundings import InboxState, Surroundings
from ocrwatch.intake.territory import Territory
from ocrwatch.journal.checkpoints import Checkpoints
from ocrwatch.journal.leftovers import Leftovers
from ocrwatch.journal.opening import opened
from ocrwatch.log_events import LogEvent
from ocrwatch.ocr.engine import EngineName
from ocrwatch.ocr.pool import RecognitionPool
from ocrwatch.output.archivist import Archivist
from ocrwatch.output.quarantinist import Quarantinist
from ocrwatch.output.searchable import PdfMaker
from ocrwatch.output.tree import OutputTree
from ocrwatch.pipeline import Parts, Pipeline
from ocrwatch.service import systemd
from ocrwatch.service.answers import Answers
from ocrwatch.service.claims import held_inboxes, held_state_dir
from ocrwatch.service.control import ControlServer
from ocrwatch.service.exporter import told
from ocrwatch.service.hooking import Hooks
from ocrwatch.service.metrics import Sources
from ocrwatch.service.signals import signals_into
from ocrwatch.settings import Configuration, InboxSettings
from ocrwatch.tally import Tally
from ocrwatch.treatment import Treatment
from ocrwatch.worker.access import MountAccess
from ocrwatch.worker.share import Share
from ocrwatch.worker.threads import Thread

log = logging.getLogger("ocrwatch")

_TICK_S = 2.0
_READY_LIMIT_S = 60.0
_READY_TICK_S = 0.1
_DRAIN_S = 10.0  # for pages in hand at the end; together with the rest well inside TimeoutStopSec
_LONGEST_DEFER_S = 3600.0
_TROUBLE_S = 5.0  # before an inbox is looked at again after trouble that was not its own: a full disk
_LONGEST_REST_S = 30.0


class Daemon:
    """One run of the service. `run` returns when it is to end, or to start anew with a changed configuration."""

    def __init__(self, settings: Configuration, config_path: Path) -> None:
        self._settings = settings
        self._config_path = config_path
        self._clock = time.monotonic
        self._stopping = threading.Event()
        self._signals: set[int] = set()
        self._started_s = self._clock()
        self._notice = ""
        self._is_serving = False
        self._tally = Tally()
        self._threads: list[Thread] = []
        self._output_trees: list[OutputTree] = []
        self.reload = False

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, or until SIGHUP brings a configuration that is right (`reload` is then true).

        Raises OcrwatchError when it cannot start.
        """
        paths = [inbox.path for inbox in self._settings.inboxes]
        with contextlib.ExitStack() as parts, signals_into(self._signals) as wakeup:
            parts.enter_context(held_state_dir(self._settings.state_dir))
            parts.enter_context(held_inboxes(paths))
            self._build(parts)
            self._start_inboxes()
            log.info("watching %s", ", ".join(map(str, paths)), extra={"event": LogEvent.SERVICE_STARTED})
            self._serve(wakeup)
            if not self.reload:  # after STOPPING=1 the service manager would not let the new configuration start
                systemd.notify(STOPPING=1, STATUS="draining")
            self._stop()
            if (trouble := self._journal.trouble()) is not None:
                raise trouble

    # -- building ------------------------------------------------------------------------------------------------

    def _build(self, parts: contextlib.ExitStack) -> None:
        settings, state = self._settings, self._settings.state_dir
        wall_clock = time.time  # noqa: TID251 - the composition root hands it out
        self._journal = parts.enter_context(opened(state / "journal.db", wall_clock=wall_clock))
        self._checkpoints = Checkpoints(state / "jobs")
        self._leftovers = Leftovers(self._journal, self._checkpoints, wall_clock=wall_clock)
        self._hooks = Hooks(
            composition.hook_programs(settings),
            self._journal,
            places=composition.hook_places(settings),
            clock=self._clock,
            stopping=self._stopping,
        )
        specs = composition.engine_specs(settings)
        engines = composition.choose_engines(settings, specs)
        for note in engines.notes:
            log.info("%s", note)
        workers = composition.cores() if settings.ocr.workers == "auto" else settings.ocr.workers
        self._pool = RecognitionPool(specs, workers=workers, clock=self._clock)
        self._model = self._model_owner()
        self._mount_events = parts.enter_context(Path("/proc/self/mountinfo").open("rb"))  # noqa: SIM115 - closed with the parts
        self._table = MountTable()
        parts.callback(self._table.close)
        self._arrivals = Arrivals(self._on_hint, dropped=is_ours, table=self._table)
        self._inboxes = {inbox.name: self._inbox(inbox) for inbox in settings.inboxes}
        self._treatments = {inbox.name: self._treatment(inbox, engines.of_inbox[inbox.name]) for inbox in settings.inboxes}
        self._pdfs = PdfMaker(memory_bytes=settings.ocr.page_memory)
        shared = Parts(self._journal, self._checkpoints, self._pool, self._model, self._clock, self._pdfs, self._tally)
        self._dispatcher = Dispatcher(
            Pipeline(shared),
            journal=self._journal,
            treatments=self._treatments,
            clock=self._clock,
            scopes=lambda name: self._inboxes[name].open_scopes(),
            may_correct=lambda: self._model is not None and self._model.status().unavailable_since is None,
        )
        answers = Answers(
            places=composition.places(settings),
            inboxes=self._inboxes,
            treatments=self._treatments,
            mounts=self._table,
            journal=self._journal,
            pool=self._pool,
            model=self._model,
            dispatcher=self._dispatcher,
            clock=self._clock,
            wall_clock=time.time,  # noqa: TID251 - the composition root hands it out
            started_s=self._started_s,
        )
        if settings.metrics.address is not None:
            sources = Sources(
                inboxes=self._inboxes,
                treatments=self._treatments,
                tally=self._tally,
                pool=self._pool,
                model=self._model,
                dispatcher=self._dispatcher,
                wall_clock=wall_clock,
            )
            parts.enter_context(told(settings.metrics.address, sources, journal=state / "journal.db"))
        self._control = ControlServer(settings.socket_path, answers.table())

    def _model_owner(self) -> ModelOwner | None:
        if all(composition.correction_plan(self._settings, inbox) is None for inbox in self._settings.inboxes):
            return None
        plan = composition.model_plan(self._settings)
        return ModelOwner(plan, clock=self._clock, on_back=lambda: self._dispatcher.feed_all(), tally=self._tally)

    def _inbox(self, settings: InboxSettings) -> Inbox:
        def share(below: str) -> Share:
            return self._share("-".join(part for part in (settings.name, below) if part), below=below)

        around = Surroundings(
            journal=self._journal,
            events=self._arrivals,
            clock=self._clock,
            on_jobs=lambda: self._dispatcher.feed(settings.name),
            on_line=lambda line, event: log.warning("%s", line, extra={"event": event, "inbox": settings.name}),
        )
        return Inbox(
            composition.inbox_rules(settings), share=share, around=around, table=self._table, on_territory=self._look_after
        )

    def _share(self, name: str, *, below: str = "") -> Share:
        return Share(MountAccess(name, mounts=self._table, clock=self._clock), below=below)

    def _output_tree(self, name: str, path: Path | None) -> OutputTree | None:
        if path is None:
            return None
        tree = OutputTree(str(path), share=self._share(name), remembered=self._journal, clock=self._clock)
        self._output_trees.append(tree)
        return tree

    def _treatment(self, settings: InboxSettings, engine: EngineName) -> Treatment:
        inbox = self._inboxes[settings.name]
        return composition.treatment(
            self._settings,
            settings,
            engine=engine,
            scans=lambda path: inbox.territory_of(path).reach(),
            texts=self._output_tree(f"{settings.name}-texts", settings.output.directory),
            archive=self._output_tree(f"{settings.name}-archive", composition.archive_directory(settings)),
            quarantine=self._output_tree(f"{settings.name}-quarantine", settings.quarantine_to),
        )

    # -- running -------------------------------------------------------------------------------------------------

    def _look_after(self, territory: Territory) -> None:
        """Give a territory threads of its own: one looks, and those that move may wait for another mount. Raises OSError."""
        name = f"{territory.rules.name}-{territory.below}".rstrip("-")
        self._threads = [thread for thread in self._threads if not thread.is_over]
        for what, run in (
            ("inbox", self._look_for_ever),
            ("archive", functools.partial(self._move_for_ever, Archivist)),
            ("quarantine", functools.partial(self._move_for_ever, Quarantinist)),
        ):
            thread = Thread(functools.partial(run, territory), f"{what}-{name}")
            if self._is_serving:
                thread.start()
            self._threads.append(thread)

    def _start_inboxes(self) -> None:
        self._threads += [Thread(tree.find, "find") for tree in self._output_trees]
        for inbox in self._inboxes.values():
            inbox.follow_mounts()
        self._is_serving = True
        self._threads += self._hooks.threads()
        try:
            for thread in list(self._threads):
                thread.start()
        except OSError as error:
            raise Infrastructure(f"the service cannot start: {error.strerror}", "raise TasksMax of the service") from error

    def _look_for_ever(self, territory: Territory) -> None:
        def look() -> float:
            rest_s = territory.step()
            self._hooks.look(territory)
            self._dispatcher.feed(territory.rules.name)
            return rest_s

        while not self._stopping.is_set() and not territory.is_over:
            territory.wake.wait(timeout=_rest_after(look, territory.rules.name))
            territory.wake.clear()

    def _move_for_ever(self, kind: type[Archivist | Quarantinist], territory: Territory) -> None:
        name = territory.rules.name
        mover = kind(
            self._journal,
            self._treatments[name],
            scope=lambda: self._inboxes[name].scope_of(territory),
            clock=self._clock,
            wall_clock=time.time,  # noqa: TID251 - handed out here
        )
        while mover.is_wanted and not territory.is_over:
            rest_s = _rest_after(mover.step, name) if territory.state is InboxState.ONLINE else _TICK_S
            if self._stopping.wait(timeout=rest_s):
                return

    def _serve(self, wakeup: int) -> None:
        ready, unfollowed = False, set[str]()
        tick_s = min(_TICK_S, systemd.watchdog_s() or _TICK_S)
        while not self._stopping.is_set():
            if not ready and self._is_ready():
                ready = systemd.notify(READY=1)
            systemd.notify(WATCHDOG=1, STATUS=self._in_words())
            if self._journal.trouble() is not None:  # the next start begins another
                return
            with contextlib.suppress(OcrwatchError):  # a full disk is told by the jobs; the loop goes on
                for job in self._journal.wake(longest_s=_LONGEST_DEFER_S):
                    self._dispatcher.feed(job.inbox)
                self._leftovers.drop(is_active=self._dispatcher.is_active)
            with contextlib.suppress(InterruptedError):
                told, _, changed = select.select([wakeup], [], [self._mount_events], tick_s if ready else _READY_TICK_S)
                if told:
                    os.read(wakeup, 4096)
                unfollowed |= set(self._inboxes if changed else ())
            for name in sorted(unfollowed):
                with contextlib.suppress(OcrwatchError, OSError):  # likewise, and it is tried again at the next tick
                    self._inboxes[name].follow_mounts()
                    unfollowed.remove(name)
            self._obey_signals()

    def _is_ready(self) -> bool:
        """After the first listing of everything local; a mount that may hang holds nothing up."""
        return all(inbox.was_looked_at() for inbox in self._inboxes.values()) or self._clock() - self._started_s > _READY_LIMIT_S

    def _on_hint(self, hint: Hint) -> None:
        for inbox in self._inboxes.values():
            inbox.hint(hint.root, hint.path, is_directory=hint.is_directory)

    def _in_words(self) -> str:
        offline = sum(inbox.is_offline() for inbox in self._inboxes.values())
        words = f"watching {len(self._inboxes)} inboxes" + (f", {offline} offline" if offline else "")
        return f"{self._notice}{words}; {self._dispatcher.active()} files in work, {self._pool.waiting()} pages waiting"

    def _obey_signals(self) -> None:
        signals = set(self._signals)
        self._signals.difference_update(signals)
        if signals & {signal.SIGTERM, signal.SIGINT}:
            self._stopping.set()
        elif signal.SIGHUP in signals:
            self._take_new_configuration()

    def _take_new_configuration(self) -> None:
        try:
            load(self._config_path)
        except OcrwatchError as error:
            log.error("the changed configuration is not taken: %s", error, extra={"event": LogEvent.CONFIGURATION_REFUSED})
            self._notice = f"changed configuration not taken: {str(error).splitlines()[0]}; "
            return
        log.info("taking the changed configuration", extra={"event": LogEvent.CONFIGURATION_TAKEN})
        systemd.notify(RELOADING=1, MONOTONIC_USEC=systemd.monotonic_usec(), STATUS="reloading")
        self.reload = True
        self._stopping.set()

    def _stop(self) -> None:
        """From the outside in: nothing new arrives, the pages in hand are finished or left, every child is reaped."""
        self._arrivals.stop()
        self._dispatcher.begin_stop()
        for inbox in self._inboxes.values():
            for territory in inbox.territories():
                territory.wake.set()
        self._pdfs.stop()
        for stop in (self._pool.stop, *([self._model.stop] if self._model is not None else [])):
            stop(drain_s=_DRAIN_S)
        for inbox in self._inboxes.values():
            inbox.close()
        for tree in self._output_trees:
            tree.close()
        self._dispatcher.finish_stop()
        for thread in self._threads:
            thread.join(timeout_s=_DRAIN_S)
        (self._control.hand_over if self.reload else self._control.close)()


def _rest_after(step: Callable[[], float], inbox: str) -> float:
    """Seconds to rest after a step of an inbox; its loop outlives whatever one step brings."""
    try:
        return min(step(), _LONGEST_REST_S)
    except CancelledError:
        return 0.0  # the daemon ends
    except OcrwatchError as error:
        log.error("inbox %s: %s", inbox, error, extra={"event": LogEvent.INBOX_TROUBLE, "inbox": inbox})
    except Exception:
        log.exception("inbox %s: unforeseen trouble, looked at again in %d s", inbox, _TROUBLE_S)
    return _TROUBLE_S
