"""An inbox that exists in memory: what `worker.share.Share` offers an inbox, with faults that the test sets."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from ocrwatch.errors import Infrastructure, ShareOffline, SourceChanged, SourceVanished
from ocrwatch.intake.beneath import Root, RootIdentity
from ocrwatch.intake.entries import Identity, Kind, lies_in
from ocrwatch.intake.formats import Completeness
from ocrwatch.intake.ignore import Patterns, why_ignored
from ocrwatch.intake.mounts import Mount, is_network
from ocrwatch.intake.tree import DirectoryListing, Seen

HOME = RootIdentity(inode=2, fs_type="ext4", mount_point="/srv", mount_root="/", source="")
EMPTY_MOUNT_POINT = RootIdentity(inode=9, fs_type="overlay", mount_point="/", mount_root="/", source="")


@dataclass
class FakeFile:
    """A file. `whole` is whether its last byte is there."""

    identity: Identity
    whole: bool = True


@dataclass
class FakeShare:
    """A tree of files by path. Every operation is counted in `calls`."""

    files: dict[str, FakeFile] = field(default_factory=dict)
    directories: set[str] = field(default_factory=lambda: {""})
    leftovers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)
    unread: set[str] = field(default_factory=set)
    root: RootIdentity = HOME
    offline: bool = False
    calls: list[tuple[str, str]] = field(default_factory=list)
    meanwhile: Callable[[], None] | None = None
    """Called once, when the first folder was listed and nobody has heard of it yet."""
    _times: int = 0
    _inodes: int = 100
    _scanning: bool = False

    # -- what the test does ------------------------------------------------------------------------------------------

    def write(self, path: str, *, whole: bool = True, size: int = 10) -> Identity:
        """A new file, or a new one in the place of the old."""
        self._times += 1
        self._inodes += 1
        self.files[path] = FakeFile(Identity(size=size, mtime_ns=self._times, inode=self._inodes), whole)
        for depth in range(path.count("/")):
            self.directories.add("/".join(path.split("/")[: depth + 1]))
        return self.files[path].identity

    def append(self, path: str, *, whole: bool = True) -> None:
        """More bytes in the same file."""
        self._times += 1
        old = self.files[path].identity
        self.files[path] = FakeFile(Identity(size=old.size + 1, mtime_ns=self._times, inode=old.inode), whole)

    def rename(self, old: str, new: str) -> None:
        """The same file under another name."""
        self.files[new] = self.files.pop(old)

    def close(self) -> None:
        """As `Share.close`."""

    # -- what the inbox asks -----------------------------------------------------------------------------------------

    def identify(self, path: str) -> RootIdentity:
        """As `Share.identify`."""
        self._asked("identify", path)
        return self.root

    def is_empty(self, path: str) -> bool:
        """As `Share.is_empty`."""
        self._asked("is_empty", path)
        return not self.files

    def scan(
        self,
        root: Root,
        start: str,
        *,
        recursive: bool,
        patterns: Patterns,
        without: Collection[str],
        each: Callable[[DirectoryListing], None],
    ) -> None:
        """As `Share.scan`; a share answers one request at a time, so none may come from `each`."""
        self._asked("scan", start, root)
        self._scanning = True
        try:
            for directory in sorted(self.directories):
                inside = start in (directory, "") or directory.startswith(f"{start}/")
                if not inside or (directory != start and not recursive) or any(lies_in(directory, w) for w in without):
                    continue
                if any(directory == bad or directory.startswith(f"{bad}/") for bad in self.unreadable):
                    if directory in self.unreadable:
                        each(DirectoryListing(directory, error="permission denied"))
                    continue
                here = {p: f for p, f in self.files.items() if p.rpartition("/")[0] == directory and not why_ignored(p, patterns)}
                rows = tuple((p.rpartition("/")[2], *f.identity) for p, f in here.items() if p not in self.unread)
                unread = tuple((p.rpartition("/")[2], "input/output error") for p in here if p in self.unread)
                meanwhile, self.meanwhile = self.meanwhile, None
                if meanwhile is not None:
                    meanwhile()
                each(DirectoryListing(directory, rows, self.leftovers.get(directory, ()), unread))
        finally:
            self._scanning = False

    def look(self, root: Root, path: str, *, closely: bool) -> Seen | None:
        """As `Share.look`."""
        self._asked("look", path, root)
        if path in self.unread or any(path.startswith(f"{bad}/") for bad in self.unreadable):
            raise Infrastructure(f"{path} cannot be read: permission denied", "give the right")
        if path in self.directories:
            return Seen(Kind.DIRECTORY, None)
        file = self.files.get(path)
        return Seen(Kind.REGULAR, file.identity) if file is not None else None

    def completeness(self, root: Root, path: str, expected: Identity) -> Completeness:
        """As `Share.completeness`."""
        self._asked("completeness", path, root)
        file = self.files.get(path)
        if file is None:
            raise SourceVanished(path)
        if not file.identity.matches(expected):
            raise SourceChanged(path)
        return Completeness(whole=file.whole, format="pdf", reason="" if file.whole else "its end is missing")

    def tidy(self, root: Root, directory: str) -> None:
        """As `Share.tidy`."""
        self._asked("tidy", directory, root)
        self.leftovers.pop(directory, None)

    def _asked(self, operation: str, path: str, root: Root | None = None) -> None:
        assert not self._scanning, f"{operation} was asked in the middle of a scan, which would wait for itself"
        self.calls.append((operation, path))
        if self.offline:
            raise ShareOffline("no answer", "check it")
        if root is not None and root.identity is not None and not root.identity.same_mount(self.root):
            raise ShareOffline("another mount stands there", "mount it again")


@dataclass
class FakeTable:
    """A mount table: what is mounted below the inbox /srv/in, by relative path and kind of file system."""

    points: dict[str, str] = field(default_factory=dict)

    def current(self) -> tuple[Mount, ...]:
        """As `MountTable.current`."""
        below = [
            Mount(n, 1, "0:9", "/", f"/srv/in/{point}", kind, "nas:/x") for n, (point, kind) in enumerate(self.points.items(), 2)
        ]
        return (Mount(1, 0, "254:0", "/", "/", "ext4", "/dev/vda"), *below)

    def may_hang(self, path: str) -> bool:
        """As `MountTable.may_hang`."""
        return is_network(self.points.get(path.removeprefix("/srv/in/"), "ext4"))


class FakeEvents:
    """Kernel events that are all there, unless they are `refused`. tries: how often they were asked for."""

    def __init__(self) -> None:
        self.watched: set[str] = set()
        self.refused = ""
        self.tries = 0

    def watch(self, root: str, *, recursive: bool) -> None:
        """As `Arrivals.watch`."""
        self.tries += 1
        if not self.refused:
            self.watched.add(root)

    def unwatch(self, root: str) -> None:
        """As `Arrivals.unwatch`."""
        self.watched.discard(root)

    def trouble(self, root: str) -> str:
        """As `Arrivals.trouble`."""
        return "" if root in self.watched else self.refused or f"{root!r} is not watched"
