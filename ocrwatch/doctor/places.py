"""The folders of the configuration, as the service would find them: there, open to it, with room, on a mount that answers."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ocrwatch.doctor.findings import Finding, bad, ok, quoted, warn
from ocrwatch.doctor.mounting import mount_findings, options_of
from ocrwatch.doctor.unit import places_of, writes_into
from ocrwatch.errors import ShareOffline
from ocrwatch.intake import mounts
from ocrwatch.intake.entries import Kind
from ocrwatch.journal.opening import damaged
from ocrwatch.settings import Configuration, InboxSettings, Watch
from ocrwatch.wording import size
from ocrwatch.worker.lookout import Lookout, Sight

_LITTLE_STATE_BYTES = 2 * 10**9
_LITTLE_BYTES = 200 * 10**6
_NO_BYTES = 10**6
_FEW_FILES = 1000
_SKEW_S = 60.0
_FORBIDDEN = (os.strerror(errno.EACCES), os.strerror(errno.EPERM))
_CHECK = "check the mount and its server; `umount -f -l` takes a dead mount away"
_WITHOUT_RIGHTS = ("cifs", "smb3", "vfat", "exfat", "ntfs3", "fuseblk")  # the mount says whose everything is


_WRITTEN = {"inbox": "texts", "texts": "texts", "archive": "finished scans", "quarantine": "failed files"}


@dataclass(frozen=True)
class Places:
    """Looks at folders. lookout: as whom. service: the user that is to be let in, in words of a command."""

    lookout: Lookout
    table: tuple[mounts.Mount, ...]
    service: str

    def inbox(self, inbox: InboxSettings) -> Iterator[Finding]:
        """An inbox, and where its texts, its archive and its quarantine are."""
        yield from self._mounts(inbox)
        refusals = []
        for what, path in places_of(inbox):
            try:
                refusals += list(self._folder(what, path, inbox))
            except ShareOffline as error:
                refusals.append(bad(error.message, error.remedy))
        yield from refusals
        if not any(finding.verdict == "bad" for finding in refusals):
            yield ok(f"{inbox.path} and what belongs to it are open to {self.lookout.user}, looked at by {self._by(inbox)}")

    def state(self, settings: Configuration) -> Iterator[Finding]:
        """The state directory: on a local disk, for the service, with room."""
        path = settings.state_dir
        try:
            fs_type = self._mount(str(path)).fs_type
            if mounts.is_network(fs_type):
                yield bad(
                    f"state_dir {path} lies on {fs_type}: the journal needs a local disk", "set `state_dir` to a local folder"
                )
                return
            yield from self._state(path)
        except ShareOffline as error:
            yield bad(error.message, error.remedy)

    def _state(self, path: Path) -> Iterator[Finding]:
        make = f"install -d -o {self.service} -m 700 {quoted(path)}"
        nearest, sight = self._nearest(path)
        if (mount := self._read_only(nearest)) is not None:
            yield _mounted_read_only(f"state_dir {path}", mount)
        elif sight.kind is None:
            yield self._no_way("state_dir: ", path, sight)
        elif sight.kind is not Kind.DIRECTORY:
            yield bad(f"state_dir {path}: {nearest} is no folder", "set `state_dir` to a folder")
        elif nearest != path and not (sight.is_open and sight.writable):
            yield bad(f"state_dir {path} is not there, and {self.lookout.user} may not make it", make)
        elif nearest == path and not (sight.is_open and sight.writable):
            yield bad(
                f"state_dir {path} ({sight.belongs}) cannot be used by {self.lookout.user}",
                f"chown -R {self.service} {quoted(path)}",
            )
        elif nearest == path and sight.mode & 0o077:
            yield warn(
                f"state_dir {path} (mode {sight.mode:o}) is open to others, and documents pass through it",
                f"chmod 700 {quoted(path)}",
            )
        else:
            yield ok(f"state_dir {path} is for {self.lookout.user}")
        yield from self._room(nearest, least_bytes=_LITTLE_STATE_BYTES, why="every scan in work is copied there")
        yield from self._kept_aside(path)

    @staticmethod
    def _kept_aside(path: Path) -> Iterator[Finding]:
        try:
            kept = damaged(path)  # it is on a local disk
        except OSError:
            return
        if kept:
            yield warn(
                f"the journal was damaged, and another was made from scans and texts: {', '.join(each.name for each in kept)} "
                f"in {path}",
                f"journalctl -k, smartctl: is the disk well? Then: rm {' '.join(quoted(f'{each}') + '*' for each in kept)}",
            )

    def _nearest(self, path: Path) -> tuple[Path, Sight]:
        """The path itself, or the nearest above it that is there."""
        for place in (path, *path.parents):
            sight = self.lookout.look(str(place))
            if not sight.is_absent:
                return place, sight
        raise LookupError(f"no root above {path}")

    def _mounts(self, inbox: InboxSettings) -> Iterator[Finding]:
        try:
            root = mounts.resolve(str(inbox.path), self.table)
        except ShareOffline:
            return  # told with the folder itself
        for below in ["", *(mounts.points_below(root, self.table) if inbox.recursive else [])]:
            path = os.path.join(root, below).rstrip("/") or "/"
            mount = mounts.mount_of(path, self.table)
            options = options_of(mount)
            yield from mount_findings(path, mount, options, poll_s=inbox.poll, settle_s=inbox.settle)
            if below and "ro" in options and inbox.output.directory is None:  # the inbox itself is looked at as a folder
                yield _mounted_read_only(path, mount)

    def _folder(self, what: str, path: Path, inbox: InboxSettings) -> Iterator[Finding]:
        where = f"inbox {inbox.name}: " if what == "inbox" else f"inbox {inbox.name}, {what}: "
        sight = self.lookout.look(str(path))
        if sight.kind is not Kind.DIRECTORY:
            yield self._no_folder(what, where, path, sight)
            return
        is_written = what != "inbox" or writes_into(inbox)
        lacking = [] if sight.readable and sight.enterable else ["read"]
        lacking += ["write to"] if is_written and not sight.writable else []
        if is_written and (mount := self._read_only(path)) is not None:
            yield _mounted_read_only(f"{where}{path}", mount)
            return
        if lacking:
            yield bad(
                f"{where}{self.lookout.user} may not {' or '.join(lacking)} {path} ({sight.belongs})", self._admit(path, lacking)
            )
            return
        if what == "inbox":
            yield from self._files(where, path)
        if is_written:
            short = list(self._room(path, least_bytes=_LITTLE_BYTES, why=f"{_WRITTEN[what]} are written there"))
            yield from short
            if not short:
                yield from self._clock(path)

    def _no_folder(self, what: str, where: str, path: Path, sight: Sight) -> Finding:
        if sight.kind is not None:
            return bad(f"{where}{path} is no folder", "name another one in the configuration")
        if sight.is_absent:
            owned = f"chown {self.service} {quoted(path)}" if what != "inbox" else self._admit(path, ["write to"])
            made = f"mkdir -p {quoted(path)}" + (f" && {owned}" if self.service != "root" else "")
            return bad(f"{where}there is no folder {path}", made)
        return self._no_way(where, path, sight)

    def _no_way(self, where: str, path: Path, sight: Sight) -> Finding:
        if sight.problem not in _FORBIDDEN:
            return bad(f"{where}{path} cannot be looked at: {sight.problem}", _CHECK)
        closed = self._closed_above(path)
        return bad(
            f"{where}{self.lookout.user} cannot come to {path}: {closed} is closed to it ({sight.problem})",
            f"{_setfacl()} -m u:{self.service}:x {quoted(closed)}",
        )

    def _closed_above(self, path: Path) -> Path:
        return next((above for above in reversed(path.parents) if not self.lookout.look(str(above)).enterable), path.parent)

    def _admit(self, path: Path, lacking: list[str]) -> str:
        mount = self._mount(str(path))
        if mount.fs_type in _WITHOUT_RIGHTS:
            return f"mount {mount.mount_point} with uid={self.service}"
        if mounts.is_network(mount.fs_type):
            return f"give {self.service} (user number {_number(self.service)}) the right on the server of {mount.mount_point}"
        rights = "rwX" if "write to" in lacking else "rX"
        entry = f"u:{self.service}:{rights}"
        return f"{_setfacl()} -R -m {entry},d:{entry} {quoted(path)}"

    def _files(self, where: str, path: Path) -> Iterator[Finding]:
        refused, first = self.lookout.refused(str(path))
        if refused:
            yield warn(
                f"{where}{self.lookout.user} may not read {refused} of the files in {path}, for instance {first!r}",
                self._admit(path, []),
            )

    def _room(self, path: Path, *, least_bytes: int, why: str) -> Iterator[Finding]:
        free_bytes, free_files = self.lookout.space(str(path))
        if free_bytes < least_bytes:
            say = bad if free_bytes < _NO_BYTES else warn
            remedy = f"make room there: df -h {quoted(path)}; du -xh --max-depth=1 {quoted(path)}"
            yield say(f"{size(free_bytes)} are free at {path}, and {why}", remedy)
        if free_files is not None and free_files < _FEW_FILES:
            say = bad if free_files == 0 else warn
            remedy = f"take files away there: df -i {quoted(path)}; du -x --inodes --max-depth=1 {quoted(path)}"
            yield say(f"{free_files} files can still be made at {path} (inodes), and {why}", remedy)

    def _clock(self, path: Path) -> Iterator[Finding]:
        if not mounts.is_network(self._mount(str(path)).fs_type):
            return
        skew_s, problem = self.lookout.skew(str(path))
        if problem:
            remedy = self._admit(path, ["write to"]) if problem in _FORBIDDEN else _CHECK
            yield bad(f"{path} takes no new file of {self.lookout.user}: {problem}", remedy)
        elif abs(skew_s) >= _SKEW_S:
            way = "ahead of" if skew_s > 0 else "behind"
            yield warn(
                f"the clock of {path} is {abs(skew_s):.0f} s {way} this machine's; ocrwatch compares no file's time with its own "
                "clock, but who looks for new texts by their time may miss some",
                "timedatectl set-ntp true, on the server and here",
            )

    def _read_only(self, path: Path) -> mounts.Mount | None:
        """The mount that it lies on, where that takes no writes from anybody."""
        mount = self._mount(str(path))
        return mount if "ro" in options_of(mount) else None

    def _mount(self, path: str) -> mounts.Mount:
        return mounts.mount_of(mounts.resolve(path, self.table), self.table)

    def _by(self, inbox: InboxSettings) -> str:
        trusted = mounts.events_trusted(self._mount(str(inbox.path)).fs_type)
        return "events" if inbox.watch is Watch.AUTO and trusted else "listing"


def _mounted_read_only(what: str, mount: mounts.Mount) -> Finding:
    why = "the kernel does that to a disk with errors: journalctl -k"
    return bad(
        f"{what} lies on {mount.mount_point}, which is mounted read-only",
        f"mount -o remount,rw {quoted(mount.mount_point)}; {why}",
    )


def _setfacl() -> str:
    return "setfacl" if shutil.which("setfacl") else "apt install acl && setfacl"


def _number(user: str) -> str:
    try:
        return str(pwd.getpwnam(user).pw_uid)
    except KeyError:
        return user
