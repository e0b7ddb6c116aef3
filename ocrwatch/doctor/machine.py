"""The machine: what it confines workers with, and how many folders the kernel lets the service watch."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Sequence
from pathlib import Path

from ocrwatch.doctor.findings import Finding, ok, warn
from ocrwatch.errors import ShareOffline
from ocrwatch.intake import mounts
from ocrwatch.settings import InboxSettings, Watch
from ocrwatch.worker import sandbox
from ocrwatch.worker.lookout import Lookout

_COUNT_S = 5.0
_SPARE_WATCHES = 1000
_INSTANCES = 1  # of the service
_LIMITS = ("sys/fs/inotify/max_user_{}", "sys/user/max_inotify_{}")  # the machine's, and those of a container


def examine_machine() -> Iterator[Finding]:
    """What workers are confined with, and whether systemd can be spoken to."""
    found = sandbox.available()
    for lack in found.lacking:
        yield warn(
            f"workers are not wholly confined: {lack}",
            "run Linux 5.13 or later with seccomp filters and, where the kernel's command line has `lsm=`, landlock in it",
        )
    if not found.lacking:
        yield ok(f"workers are confined by seccomp and Landlock (version {found.landlock})")
    try:
        import systemd.daemon  # noqa: F401 - whether it is there is the question
    except ImportError:
        yield warn(
            "systemd-python is absent: no readiness, no watchdog", "apt install libsystemd-dev; pip install systemd-python"
        )
    else:
        yield ok("systemd-python is there")


def examine_watches(
    inboxes: Sequence[InboxSettings],
    *,
    lookout: Lookout,
    table: Sequence[mounts.Mount],
    daemon: int | None,
    proc: Path = Path("/proc"),
) -> Iterator[Finding]:
    """The kernel's limits of inotify against the folders of the inboxes. daemon: the pid of one that runs already."""
    needed, is_all = 0, True
    for inbox in inboxes:
        try:
            trusted = mounts.events_trusted(mounts.mount_of(mounts.resolve(str(inbox.path), table), table).fs_type)
            if inbox.watch is not Watch.AUTO or not trusted:
                continue
            count, whole = lookout.directories(str(inbox.path), within_s=_COUNT_S) if inbox.recursive else (1, True)
        except ShareOffline:
            continue  # told with the inbox
        needed, is_all = needed + count, is_all and whole
    if needed:
        used = _used(lookout.user, without=daemon, proc=proc)
        yield from watch_findings(needed=needed, is_all=is_all, used=used, limits=_limits(proc), user=lookout.user)


def watch_findings(
    *, needed: int, is_all: bool, used: tuple[int, int], limits: tuple[int | None, int | None], user: str
) -> Iterator[Finding]:
    """What the limits leave. used, limits: watches and instances."""
    watches, instances = limits
    folders = f"{needed} folders{'' if is_all else ' and more'}"
    if watches is not None and used[0] + needed + _SPARE_WATCHES > watches:
        want = max(524288, 2 * (used[0] + needed))
        others = f", {used[0]} are taken by other programs of {user}" if used[0] else ""
        yield warn(
            f"the inboxes have {folders} to watch, and the kernel allows {user} {watches} inotify watches{others}: "
            "what is beyond is listed",
            _raise("watches", want),
        )
    if instances is not None and used[1] + _INSTANCES > instances:
        yield warn(
            f"{user} has {used[1]} of {instances} inotify instances in use: without another one inboxes are listed",
            _raise("instances", 1024),
        )
    if watches is not None and used[0] + needed + _SPARE_WATCHES <= watches:
        yield ok(f"the inboxes have {folders} to watch, {watches} inotify watches are allowed")


def _raise(what: str, value: int) -> str:
    setting = f"fs.inotify.max_user_{what}={value}"
    return f"echo {setting} > /etc/sysctl.d/60-ocrwatch-{what}.conf && sysctl -w {setting}"


def _limits(proc: Path) -> tuple[int | None, int | None]:
    return _limit("watches", proc), _limit("instances", proc)


def _limit(what: str, proc: Path) -> int | None:
    found = []
    for place in _LIMITS:
        try:
            found.append(int((proc / place.format(what)).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return min(found, default=None)


def _used(user: str, *, without: int | None, proc: Path) -> tuple[int, int]:
    """The inotify watches and instances of a user's other programs, as far as we may look at them."""
    uid = _uid(user)
    watches = instances = 0
    for process in proc.glob("[0-9]*"):
        try:
            if int(process.name) == without or process.stat().st_uid != uid:
                continue
            for link in (process / "fd").iterdir():
                if os.readlink(link) == "anon_inode:inotify":
                    instances += 1
                    watches += (process / "fdinfo" / link.name).read_text(encoding="ascii").count("inotify wd:")
        except OSError:
            continue  # it ended, or is not ours to look at
    return watches, instances


def _uid(user: str) -> int:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return int(user)
