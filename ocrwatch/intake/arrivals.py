"""Kernel events as hints: *look here now*. The scan is the truth; what a hint misses, the scan finds.

Wraps watchdog's inotify emitter and says, for each root, why its events cannot be trusted. What watchdog keeps to itself
(lost events, a directory that could not be watched, an unmounted root) is seen here at its inotify descriptor.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver, ObservedWatch
from watchdog.observers.inotify import InotifyEmitter, InotifyWatchGroup
from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchCallback,
    WatchDescriptor,
)

from ocrwatch.errors import ShareOffline
from ocrwatch.intake.mounts import MountTable, contains, is_network, mount_of, resolve
from ocrwatch.intake.troubles import what

log = logging.getLogger(__name__)

_Place = tuple[int, int]  # number of the mount, inode of the directory

# No opens and no reads, or our own work would wake us; no writes, because the close that ends them is enough.
_EVENTS: list[type[FileSystemEvent]] = [
    *(FileCreatedEvent, FileClosedEvent, FileMovedEvent, FileDeletedEvent),
    *(DirCreatedEvent, DirMovedEvent, DirDeletedEvent),
]
_LIMIT = "raise fs.inotify.max_user_watches, with sysctl, above the number of directories"
_INSTANCES = "raise fs.inotify.max_user_instances with sysctl"


@dataclass(frozen=True)
class Hint:
    """Look at `path` beneath `root`. A directory is to be scanned; the empty path is the whole root."""

    root: str
    path: str
    is_directory: bool


class Arrivals:
    """Watches roots on local file systems, as far as their own mounts go. `on_hint` comes from other threads, must not block."""

    def __init__(self, on_hint: Callable[[Hint], None], *, dropped: Callable[[str], bool], table: MountTable) -> None:
        """dropped: whether events about this relative path are of no interest."""
        self._on_hint = on_hint
        self._dropped = dropped
        self._table = table
        self._lock = threading.Lock()
        self._roots: dict[str, _Place | None] = {}
        self._targets: dict[str, str] = {}  # each root without symlinks: of a link the kernel would watch the link itself
        self._watches: dict[str, tuple[_Threads, ObservedWatch]] = {}
        self._troubles: dict[str, str] = {}
        self._threads: _Threads | None = None
        self._is_stopped = False

    def watch(self, root: str, *, recursive: bool) -> None:
        """Start to watch. Never raises for the file system's sake: `trouble` says what is wrong. Watching again renews it."""
        self.unwatch(root)
        with self._lock:
            self._roots[root], self._targets[root] = self._place_of(root), root
        try:
            if self._table.may_hang(root):
                self._note(root, f"{root!r} lies on a mount that may hang")
                return
            threads = self._running_threads()
            target = self._targets[root] = resolve(root, self._table.current())
            watch = threads.observer.schedule(_Handler(self._tell, root), target, recursive=recursive, event_filter=_EVENTS)
        except OSError as error:
            self._note(root, f"{root!r} cannot be watched: {_what(error)}")
            return
        except ShareOffline as error:
            self._note(root, error.message)
            return
        except Exception as error:  # watchdog's own, or no thread to be had: an inbox without events is listed all the same
            log.debug("%r cannot be watched", root, exc_info=True)
            self._note(root, f"{root!r} cannot be watched: {error!r}")
            return
        with self._lock:
            self._watches[root] = threads, watch

    def unwatch(self, root: str) -> None:
        """Stop to watch this root."""
        with self._lock:
            self._roots.pop(root, None)
            self._targets.pop(root, None)
            threads, watch = self._watches.pop(root, (None, None))
            self._troubles.pop(root, None)
        if threads is not None and watch is not None:
            with contextlib.suppress(KeyError):  # they were ended, and it with them
                threads.observer.unschedule(watch)

    def trouble(self, root: str) -> str:
        """Why the events of this root cannot be trusted, with what to do; empty when they can."""
        with self._lock:
            noted, place = self._troubles.get(root, ""), self._roots.get(root)
            threads, watch = self._watches.get(root, (None, None))
        if noted:
            return noted
        if threads is None or watch is None:
            return f"{root!r} is not watched"
        if not threads.are_alive or not any(e.is_alive() for e in list(threads.observer.emitters) if e.watch == watch):
            return f"the watch on {root!r} has ended"
        if place != self._place_of(root):
            return f"{root!r} is no longer the directory that is watched: it was replaced, or something was mounted there"
        return ""

    def stop(self) -> None:
        """End all threads; nothing is watched any more."""
        with self._lock:
            self._is_stopped = True
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.stop()

    def _running_threads(self) -> _Threads:
        """Those of all roots; begun anew where one has ended, after which each root has a `trouble` until it is watched again."""
        with self._lock:  # every territory watches from a thread of its own
            if self._is_stopped:
                raise OSError(errno.ESHUTDOWN, os.strerror(errno.ESHUTDOWN))
            ended = self._threads
            if ended is not None and ended.are_alive:
                return ended
            threads = self._threads = _Threads.begun(_Descriptor(self), self._table)
        if ended is not None:
            log.warning("a thread that reads kernel events has ended; all inboxes are watched anew")
            ended.stop()
        return threads

    def lost_events(self) -> None:
        """The kernel's queue ran over: nobody knows what happened in any root."""
        with self._lock:
            roots = sorted(self._roots)
        for root in roots:
            self._on_hint(Hint(root, "", is_directory=True))

    def cannot_watch(self, path: bytes, error: OSError) -> None:
        """A directory, perhaps deep below a root, is not watched."""
        where = os.fsdecode(path)
        self._note(self._root_above(where), f"the directory {where!r} cannot be watched: {_what(error)}")

    def ended(self, path: bytes) -> None:
        """The kernel has dropped the watch on a directory because its file system is no longer there."""
        where = os.fsdecode(path)
        self._note(self._root_above(where), f"{where!r} was unmounted")

    def _note(self, root: str | None, trouble: str) -> None:
        if root is None:
            return
        with self._lock:
            self._troubles[root] = trouble
        self._on_hint(Hint(root, "", is_directory=True))

    def _root_above(self, path: str) -> str | None:
        with self._lock:
            above = [root for root, target in self._targets.items() if contains(target, path)]
            return max(above, key=lambda root: len(self._targets[root]), default=None)

    def _place_of(self, root: str) -> _Place | None:
        """Where a root is, without touching a mount that may hang; None when nothing can be said."""
        table = self._table.current()
        try:
            resolved = resolve(root, table)
            mount = mount_of(resolved, table)
            return mount.mount_id, 0 if is_network(mount.fs_type) else os.stat(resolved).st_ino
        except (OSError, LookupError, ShareOffline):
            return None

    def _tell(self, root: str, path: str, *, is_directory: bool) -> None:
        target = self._targets.get(root, root)
        relative = "" if path == target else path.removeprefix(target.rstrip("/") + "/")
        if relative == path or (relative and self._dropped(relative)):
            return
        if not relative:
            self._note(root, f"{root!r} was removed")
            return
        self._on_hint(Hint(root, relative, is_directory=is_directory))


def _what(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"the kernel's limit of watches is reached; {_LIMIT}"
    if error.errno == errno.EMFILE:
        return f"the limit of inotify instances or open files is reached; {_INSTANCES}"
    return what(error)


class _Threads(NamedTuple):
    """watchdog's two threads that serve all roots: one reads the kernel's events, one hands them on."""

    descriptor: _Descriptor
    observer: BaseObserver

    @staticmethod
    def begun(descriptor: _Descriptor, table: MountTable) -> _Threads:
        """Both, running. Raises RuntimeError when there is no thread to be had."""
        threads = _Threads(descriptor, BaseObserver(_Emitter, inotify_fd=descriptor, table=table))
        try:
            descriptor.start()
            threads.observer.start()
        except BaseException:
            threads.stop()
            raise
        return threads

    @property
    def are_alive(self) -> bool:
        """Whether both run."""
        return self.descriptor.is_alive() and self.observer.is_alive()

    def stop(self) -> None:
        """End them, with the emitters of all roots; whichever runs."""
        for thread in (self.observer, self.descriptor):
            thread.stop()
            if thread.is_alive():
                thread.join()


class _Handler(FileSystemEventHandler):
    """Turns watchdog's events about one root into hints."""

    def __init__(self, tell: Callable[..., None], root: str) -> None:
        self._tell = tell
        self._root = root

    def on_any_event(self, event: FileSystemEvent) -> None:
        for path in (event.src_path, event.dest_path):
            if path:
                self._tell(self._root, os.fsdecode(path), is_directory=event.is_directory)


class _Emitter(InotifyEmitter):
    """watchdog's emitter, which stays on the mount of its root: what is mounted below may hang, and is watched by itself."""

    def __init__(self, *arguments: Any, table: MountTable, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._table = table

    def on_thread_start(self) -> None:
        self._inotify = _WatchGroup(
            self._inotify_fd,
            os.fsencode(self.watch.path),
            is_recursive=self.watch.is_recursive,
            event_mask=self.get_event_mask_from_filter(),
            follow_symlink=self.watch.follow_symlink,
            table=self._table,
        )


class _WatchGroup(InotifyWatchGroup):
    """watchdog's watches of one tree, without what is mounted in it."""

    def __init__(self, *arguments: Any, table: MountTable, **options: Any) -> None:
        self._table = table
        super().__init__(*arguments, **options)

    def _add_all_callbacks(self, path: bytes) -> None:
        points = {os.fsencode(mount.mount_point) for mount in self._table.current()}
        resolved = os.fsencode(resolve(os.fsdecode(path), self._table.current()))
        self._add_callback(path)
        if not self.is_recursive or not os.path.isdir(path):
            return
        roots = [path]  # not by `os.walk`, which calls itself for each level of a tree before Python 3.12
        while roots:
            root = roots.pop()
            inside = resolved + root.removeprefix(path)
            for name in _folders(root):
                if os.path.join(inside, name) not in points:
                    self._add_callback(os.path.join(root, name))
                    roots.append(os.path.join(root, name))


def _folders(path: bytes) -> list[bytes]:
    """The names of the folders in a folder; none where it cannot be listed, which the listing tells."""
    try:
        with os.scandir(path) as items:
            return [item.name for item in items if item.is_dir(follow_symlinks=False)]
    except OSError:
        return []


class _Descriptor(InotifyFD):
    """watchdog's inotify descriptor, which tells what watchdog itself only logs, or swallows."""

    def __init__(self, arrivals: Arrivals) -> None:
        super().__init__()
        self._arrivals = arrivals
        self._paths: dict[int, bytes] = {}

    def add_callback(self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId) -> WatchDescriptor:
        try:
            # watchdog takes a refused directory for a watched one.
            if os.access(path, os.F_OK) and not os.access(path, os.R_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            watch = super().add_callback(path, mask, callback, id_)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            raise  # it is gone again, or nobody here may read it: the scan has no more to see there than the events
        except OSError as error:
            self._arrivals.cannot_watch(path, error)
            raise
        self._paths[watch] = path
        return watch

    def close(self) -> None:
        if not self.is_alive():
            self._is_reading = False  # watchdog leaves its descriptors to be closed by the thread that reads
        super().close()

    def handle_event(self, event: InotifyEvent) -> None:
        super().handle_event(event)
        if event.is_queue_overflow:
            self._arrivals.lost_events()
        elif event.mask & InotifyConstants.IN_UNMOUNT:
            self._arrivals.ended(self._paths.get(event.wd, b""))
        elif event.is_ignored:
            self._paths.pop(event.wd, None)
