"""The daemon: builds the parts, runs the main loop, and ends everything in the right order. Does no work itself."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ocrwatch import composition
from ocrwatch.config import Configuration, InboxSettings, Watch, load
from ocrwatch.correction.owner import ModelOwner
from ocrwatch.dispatch import Dispatcher
from ocrwatch.errors import OcrwatchError, StateUnwritable, UsageError
from ocrwatch.intake import mounts
from ocrwatch.intake.arrivals import Arrivals, Hint
from ocrwatch.intake.ignore import is_ours
from ocrwatch.intake.inbox import Inbox, InboxState
from ocrwatch.journal.checkpoints import Checkpoints
from ocrwatch.journal.journal import Journal
from ocrwatch.journal.states import UNFINISHED, JobState
from ocrwatch.ocr.engine import EngineName
from ocrwatch.ocr.pool import RecognitionPool
from ocrwatch.output.archivist import Archivist
from ocrwatch.pipeline import Parts, Pipeline
from ocrwatch.service import systemd
from ocrwatch.service.answers import Answers, WatchedInbox
from ocrwatch.service.control import ControlServer
from ocrwatch.treatment import Treatment
from ocrwatch.worker.share import Share

log = logging.getLogger("ocrwatch")

_TICK_S = 2.0
_READY_LIMIT_S = 60.0
_READY_TICK_S = 0.1
_DRAIN_S = 10.0  # for pages in hand at the end; together with the rest well inside TimeoutStopSec
_LONGEST_DEFER_S = 3600.0
_RENEW_S = 30.0  # between tries to get events back


class Daemon:
    """One run of the service. `run` returns when it is to end, or to start anew with a changed configuration."""

    def __init__(self, settings: Configuration, config_path: Path) -> None:
        self._settings = settings
        self._config_path = config_path
        self._clock = time.monotonic
        self._stopping = threading.Event()
        self._signals: set[int] = set()
        self._started_s = self._clock()
        self._renewed_s = self._clock()
        self._notice = ""
        self.reload = False

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, or until SIGHUP brings a configuration that is right (`reload` is then true).

        Raises OcrwatchError when it cannot start.
        """
        with self._held_state_dir(), self._held_inboxes(), contextlib.ExitStack() as parts, _signal_pipe(self._signals) as wakeup:
            self._build(parts)
            self._start_inboxes()
            log.info("watching %s", ", ".join(str(inbox.path) for inbox in self._settings.inboxes))
            self._serve(wakeup)
            if not self.reload:  # after STOPPING=1 the service manager would not let the new configuration start
                systemd.notify(STOPPING=1, STATUS="draining")
            self._stop()

    # -- building ------------------------------------------------------------------------------------------------

    def _build(self, parts: contextlib.ExitStack) -> None:
        settings, state = self._settings, self._settings.state_dir
        self._journal = Journal(state / "journal.db", wall_clock=time.time)  # noqa: TID251 - the composition root hands it out
        parts.callback(self._journal.close)
        self._checkpoints = Checkpoints(state / "jobs")
        self._drop_leftovers()
        specs = composition.engine_specs(settings, state / "scratch")
        engines = composition.choose_engines(settings, specs)
        for note in engines.notes:
            log.info("%s", note)
        workers = composition.cores() if settings.ocr.workers == "auto" else settings.ocr.workers
        self._pool = RecognitionPool(specs, workers=workers, clock=self._clock)
        self._model = self._model_owner()
        self._mount_events = parts.enter_context(Path("/proc/self/mountinfo").open("rb"))  # noqa: SIM115 - closed with the parts
        self._table = mounts.read_mounts()
        self._arrivals = Arrivals(self._on_hint, dropped=is_ours)
        self._watched = {inbox.name: self._watched_inbox(inbox) for inbox in settings.inboxes}
        treatments = {inbox.name: self._treatment(inbox, engines.of_inbox[inbox.name]) for inbox in settings.inboxes}
        self._archivists = {
            name: Archivist(self._journal, each, clock=self._clock, wall_clock=time.time)  # noqa: TID251 - handed out here
            for name, each in treatments.items()
        }
        shared = Parts(self._journal, self._checkpoints, self._pool, self._model, self._clock)
        self._dispatcher = Dispatcher(
            Pipeline(shared),
            journal=self._journal,
            treatments=treatments,
            clock=self._clock,
            is_open=lambda name: self._watched[name].inbox.status().state is InboxState.ONLINE,
            may_correct=lambda: self._model is not None and self._model.status().unavailable_since is None,
        )
        answers = Answers(
            watched=self._watched,
            treatments=treatments,
            journal=self._journal,
            pool=self._pool,
            model=self._model,
            dispatcher=self._dispatcher,
            clock=self._clock,
            wall_clock=time.time,  # noqa: TID251 - the composition root hands it out
            started_s=self._started_s,
        )
        self._control = ControlServer(settings.socket_path, answers.table())

    def _model_owner(self) -> ModelOwner | None:
        if all(composition.correction_plan(self._settings, inbox) is None for inbox in self._settings.inboxes):
            return None
        plan = composition.model_plan(self._settings, threads=composition.cores())
        return ModelOwner(plan, clock=self._clock, on_back=lambda: self._dispatcher.feed_all())

    def _watched_inbox(self, settings: InboxSettings) -> WatchedInbox:
        remote = composition.may_hang(settings.path, self._table, recursive=settings.recursive)
        fs_type = mounts.mount_of(mounts.resolve(str(settings.path), self._table), self._table).fs_type
        events = settings.watch is Watch.AUTO and mounts.events_trusted(fs_type) and not remote
        share = composition.share_for(settings.name, remote=remote, clock=self._clock)
        inbox = Inbox(
            composition.inbox_rules(settings, closely=remote),
            share=share,
            journal=self._journal,
            clock=self._clock,
            interval_s=lambda: settings.rescan if not self._watched[settings.name].looks_by() else settings.poll,
            on_jobs=lambda: self._dispatcher.feed(settings.name),
            on_line=lambda line: log.warning("%s", line),
        )
        why_polling = (
            "" if events else f"{fs_type}: no events of all changes" if settings.watch is Watch.AUTO else "as configured"
        )
        return WatchedInbox(inbox, share, self._output_share(settings, share), why_polling, self._arrivals)

    def _output_share(self, settings: InboxSettings, share: Share) -> Share:
        if settings.output.directory is None:
            return share
        remote = composition.may_hang(settings.output.directory, self._table, recursive=False)
        return composition.share_for(f"{settings.name}-output", remote=remote, clock=self._clock)

    def _treatment(self, settings: InboxSettings, engine: EngineName) -> Treatment:
        watched = self._watched[settings.name]
        return composition.treatment(
            self._settings,
            settings,
            engine=engine,
            root=lambda: watched.inbox.root,
            share=watched.share,
            output_share=watched.output_share,
            closely=watched.inbox.rules.closely,
        )

    def _drop_leftovers(self) -> None:
        """Folders of jobs that need them no more: a crash came between the journal's word and their removal."""
        kept = {job.id for job in self._journal.in_state(*UNFINISHED, JobState.PARTIAL)}
        for job in self._checkpoints.jobs():
            if job not in kept:
                self._checkpoints.drop(job)

    @contextlib.contextmanager
    def _held_state_dir(self) -> Iterator[None]:
        state = self._settings.state_dir
        if composition.may_hang(state, mounts.read_mounts(), recursive=False):
            raise UsageError(
                f"state_dir {state} lies on a network mount, where a journal is not safe",
                "set `state_dir` to a folder on a local disk",
            )
        try:
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (state / "lock").open("w", encoding="ascii")
        except OSError as error:
            raise StateUnwritable(f"cannot write to state_dir {state}: {error.strerror}", "create it for this user") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UsageError(
                    f"another ocrwatch runs on state_dir {state}", "stop it first, or give this one a state_dir of its own"
                ) from error
            yield

    @contextlib.contextmanager
    def _held_inboxes(self) -> Iterator[None]:
        """An abstract socket a path: unlike a lock on the folder, it neither touches a mount nor keeps it mounted."""
        with contextlib.ExitStack() as held:
            for inbox in self._settings.inboxes:
                claim = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
                try:
                    claim.bind(b"\0ocrwatch-inbox-" + hashlib.sha256(os.fsencode(inbox.path)).digest())
                except OSError as error:
                    raise UsageError(f"another ocrwatch watches {inbox.path}", "stop it first; one inbox, one daemon") from error
            yield

    # -- running -------------------------------------------------------------------------------------------------

    def _start_inboxes(self) -> None:
        self._inbox_threads = []
        for name, watched in self._watched.items():
            if not watched.why_polling:
                self._arrivals.watch(watched.inbox.rules.path, recursive=watched.inbox.rules.recursive)
            thread = threading.Thread(target=self._look_after, args=(watched.inbox,), name=f"inbox-{name}", daemon=True)
            thread.start()
            self._inbox_threads.append(thread)

    def _look_after(self, inbox: Inbox) -> None:
        while not self._stopping.is_set():
            try:
                rest_s = inbox.step()
                self._dispatcher.feed(inbox.rules.name)
                rest_s = min(rest_s, self._archivists[inbox.rules.name].step())
            except OcrwatchError as error:
                log.error("inbox %s: %s", inbox.rules.name, error)
                rest_s = _RENEW_S
            except Exception:  # the loop of an inbox must outlive whatever one look brings
                log.exception("inbox %s: unforeseen trouble, looked at again in %d s", inbox.rules.name, _RENEW_S)
                rest_s = _RENEW_S
            inbox.wake.wait(timeout=min(rest_s, _RENEW_S))
            inbox.wake.clear()

    def _serve(self, wakeup: int) -> None:
        ready = False
        tick_s = min(_TICK_S, systemd.watchdog_s() or _TICK_S)
        while not self._stopping.is_set():
            if not ready and self._is_ready():
                ready = True
                systemd.notify(READY=1)
            systemd.notify(WATCHDOG=1, STATUS=self._in_words())
            with contextlib.suppress(OcrwatchError):  # a full disk is told by the jobs; the loop goes on
                for job in self._journal.wake(longest_s=_LONGEST_DEFER_S):
                    self._dispatcher.feed(job.inbox)
            self._renew_events()
            with contextlib.suppress(InterruptedError):
                told, _, changed = select.select([wakeup], [], [self._mount_events], tick_s if ready else _READY_TICK_S)
                if told:
                    os.read(wakeup, 4096)
                if changed:
                    self._follow_mounts()
            self._obey_signals()

    def _is_ready(self) -> bool:
        """After the first listing of every local inbox; a mount that may hang holds nothing up."""
        local = [w.inbox for w in self._watched.values() if not w.inbox.rules.closely]
        return all(inbox.was_looked_at for inbox in local) or self._clock() - self._started_s > _READY_LIMIT_S

    def _renew_events(self) -> None:
        if self._clock() - self._renewed_s < _RENEW_S:
            return
        self._renewed_s = self._clock()
        for watched in self._watched.values():
            rules = watched.inbox.rules
            if not watched.why_polling and self._arrivals.trouble(rules.path):
                self._arrivals.watch(rules.path, recursive=rules.recursive)
                watched.inbox.hint(Hint(root=rules.path, path="", is_directory=True))

    def _on_hint(self, hint: Hint) -> None:
        for watched in self._watched.values():
            if watched.inbox.rules.path == hint.root:
                watched.inbox.hint(hint)

    def _in_words(self) -> str:
        offline = sum(w.inbox.status().state is InboxState.OFFLINE for w in self._watched.values())
        words = f"watching {len(self._watched)} inboxes" + (f", {offline} offline" if offline else "")
        return f"{self._notice}{words}; {self._dispatcher.active()} files in work, {self._pool.waiting()} pages waiting"

    def _follow_mounts(self) -> None:
        """An inbox that was local and can hang since a share was mounted is watched as a share, which takes a start anew."""
        table = mounts.read_mounts()
        for inbox in self._settings.inboxes:
            local = not self._watched[inbox.name].inbox.rules.closely
            if local and composition.may_hang(inbox.path, table, recursive=inbox.recursive):
                log.warning("a share was mounted at or below %s: starting anew to watch it as one", inbox.path)
                self._take_new_configuration()
                return

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
            log.error("the changed configuration is not taken: %s", error)
            self._notice = f"changed configuration not taken: {str(error).splitlines()[0]}; "
            return
        log.info("taking the changed configuration")
        systemd.notify(RELOADING=1, MONOTONIC_USEC=systemd.monotonic_usec(), STATUS="reloading")
        self.reload = True
        self._stopping.set()

    def _stop(self) -> None:
        """From the outside in: nothing new arrives, the pages in hand are finished or left, every child is reaped."""
        self._arrivals.stop()
        self._dispatcher.begin_stop()
        for watched in self._watched.values():
            watched.inbox.wake.set()
        for stop in (self._pool.stop, *([self._model.stop] if self._model is not None else [])):
            stop(drain_s=_DRAIN_S)
        for watched in self._watched.values():
            watched.close()
        self._dispatcher.finish_stop()
        for thread in self._inbox_threads:
            thread.join(timeout=_DRAIN_S)
        self._control.close()


@contextlib.contextmanager
def _signal_pipe(seen: set[int]) -> Iterator[int]:
    """Signals only leave their number here and wake the main loop through the descriptor that this yields."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before: Mapping[int, Any] = {number: signal.signal(number, lambda n, _: seen.add(n)) for number in wanted}
    before_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(before_fd)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
