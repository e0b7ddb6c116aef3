"""The folders of the configuration, as the service would find them: there, open to it, with room, on a mount that answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ocrwatch.doctor.findings import Finding, bad, ok, quoted, warn
from ocrwatch.doctor.mounting import mount_findings, options_of
from ocrwatch.doctor.unit import places_of
from ocrwatch.errors import ShareOffline
from ocrwatch.intake import mounts
from ocrwatch.intake.entries import Kind
from ocrwatch.journal.opening import damaged
from ocrwatch.settings import Configuration, InboxSettings, Watch
from ocrwatch.worker.lookout import Lookout, Sight

_LITTLE_STATE_BYTES = 2 * 10**9
_LITTLE_BYTES = 200 * 10**6
_FEW_FILES = 1000
_SKEW_S = 60.0


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
        if nearest != path and not (sight.is_open and sight.writable):
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
            yield from mount_findings(path, mount, options_of(mount), poll_s=inbox.poll, settle_s=inbox.settle)

    def _folder(self, what: str, path: Path, inbox: InboxSettings) -> Iterator[Finding]:
        where = f"inbox {inbox.name}: " if what == "inbox" else f"inbox {inbox.name}, {what}: "
        sight = self.lookout.look(str(path))
        if sight.kind is not Kind.DIRECTORY:
            yield self._no_folder(what, where, path, sight)
            return
        is_written = what != "inbox" or self._writes_into(inbox)
        lacking = [] if sight.readable and sight.enterable else ["read"]
        lacking += ["write to"] if is_written and not sight.writable else []
        if lacking:
            yield bad(
                f"{where}{self.lookout.user} may not {' or '.join(lacking)} {path} ({sight.belongs})", self._admit(path, lacking)
            )
            return
        if what == "inbox":
            yield from self._files(where, path)
        if is_written:
            yield from self._room(path, least_bytes=_LITTLE_BYTES, why="texts are written there")
            yield from self._clock(path)

    def _no_folder(self, what: str, where: str, path: Path, sight: Sight) -> Finding:
        if sight.kind is not None:
            return bad(f"{where}{path} is no folder", "name another one in the configuration")
        if sight.is_absent:
            owned = f"chown {self.service} {quoted(path)}" if what != "inbox" else self._admit(path, ["write to"])
            made = f"mkdir -p {quoted(path)}" + (f" && {owned}" if self.service != "root" else "")
            return bad(f"{where}there is no folder {path}", made)
        closed = self._closed_above(path)
        return bad(
            f"{where}{self.lookout.user} cannot come to {path}: {closed} is closed to it ({sight.problem})",
            f"setfacl -m u:{self.service}:x {quoted(closed)}",
        )

    def _closed_above(self, path: Path) -> Path:
        return next((above for above in reversed(path.parents) if not self.lookout.look(str(above)).enterable), path.parent)

    def _admit(self, path: Path, lacking: list[str]) -> str:
        rights = "rwX" if "write to" in lacking else "rX"
        entry = f"u:{self.service}:{rights}"
        return f"setfacl -R -m {entry},d:{entry} {quoted(path)}"

    def _files(self, where: str, path: Path) -> Iterator[Finding]:
        refused, first = self.lookout.refused(str(path))
        if refused:
            yield warn(
                f"{where}{self.lookout.user} may not read {refused} of the files in {path}, for instance {first!r}",
                self._admit(path, []),
            )

    @staticmethod
    def _writes_into(inbox: InboxSettings) -> bool:
        return inbox.output.directory is None or inbox.archive_to is not None or inbox.quarantine_to is not None

    def _room(self, path: Path, *, least_bytes: int, why: str) -> Iterator[Finding]:
        free_bytes, free_files = self.lookout.space(str(path))
        if free_bytes < least_bytes:
            yield warn(
                f"{free_bytes / 1e6:.0f} MB are free at {path}, and {why}", f"df -h {quoted(path)}; du -xsh {quoted(path)}"
            )
        if free_files is not None and free_files < _FEW_FILES:
            yield warn(f"{free_files} files can still be made at {path} (inodes), and {why}", f"df -i {quoted(path)}")

    def _clock(self, path: Path) -> Iterator[Finding]:
        if not mounts.is_network(self._mount(str(path)).fs_type):
            return
        skew_s = self.lookout.skew_s(str(path))
        if abs(skew_s) >= _SKEW_S:
            way = "ahead of" if skew_s > 0 else "behind"
            yield warn(
                f"the clock of {path} is {abs(skew_s):.0f} s {way} this machine's; ocrwatch compares no file's time with its own "
                "clock, but who looks for new texts by their time may miss some",
                "timedatectl set-ntp true, on the server and here",
            )

    def _mount(self, path: str) -> mounts.Mount:
        return mounts.mount_of(mounts.resolve(path, self.table), self.table)

    def _by(self, inbox: InboxSettings) -> str:
        trusted = mounts.events_trusted(self._mount(str(inbox.path)).fs_type)
        return "events" if inbox.watch is Watch.AUTO and trusted else "listing"
