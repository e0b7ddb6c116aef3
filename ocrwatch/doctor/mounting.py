"""What a mount can be trusted with, by its kind and its options. Pure but for the reading of the kernel's table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ocrwatch.doctor.findings import Finding, ok, warn
from ocrwatch.intake import mounts
from ocrwatch.intake.mounts import Mount
from ocrwatch.intake.territory import CACHED_SETTLE_S

_NFS_ATTRIBUTES_S, _NFS_DIRECTORIES_S, _SMB_S = 60, 60, 1  # acregmax, acdirmax and actimeo, where the table does not name them
_NFS, _SMB = ("nfs", "nfs4"), ("cifs", "smb3")

Options = Mapping[str, str]


def options_of(mount: Mount, *, table: Path = Path("/proc/self/mountinfo")) -> Options:
    """The options of a mount and of its file system, by name."""
    lines = table.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    line = next((line for line in lines if line.startswith(f"{mount.mount_id} ")), "")
    return parse_options(line)


def parse_options(line: str) -> Options:
    """The options in a line of mountinfo; those without a value are ''."""
    before, _, after = line.partition(" - ")
    fields = [*before.split(" ")[5:6], *after.split(" ")[2:3]]
    words = (word.partition("=") for field in fields for word in field.split(",") if word)
    return {name: value for name, _, value in words}


def mount_findings(where: str, mount: Mount, options: Options, *, poll_s: float, settle_s: float) -> Iterator[Finding]:
    """How files that arrive on this mount are noticed, and when they count as whole."""
    if mounts.events_trusted(mount.fs_type):
        return
    seen = f"{where} lies on {mount.fs_type}: it is listed every {poll_s:g} s, events are not trusted there"
    yield ok(seen)
    if mount.fs_type in _NFS:
        yield from _nfs(where, mount, options, rest_s=max(settle_s, CACHED_SETTLE_S))
    elif mount.fs_type in _SMB:
        yield from _smb(where, options, rest_s=max(settle_s, CACHED_SETTLE_S))


def _nfs(where: str, mount: Mount, options: Options, *, rest_s: float) -> Iterator[Finding]:
    listed_s = _seconds(options, "acdirmax", _NFS_DIRECTORIES_S)
    file_s = _seconds(options, "acregmax", _NFS_ATTRIBUTES_S)
    if "nocto" in options and "noac" not in options and file_s >= rest_s:
        yield warn(
            f"{where} is mounted with nocto: a file that grows on the server may look unchanged for {file_s} s, "
            f"and it counts as whole after {rest_s:g} s",
            f"mount it without nocto, or with actimeo=3, or set `settle: {file_s + 5}s`",
        )
    elif "noac" not in options and listed_s > 60:
        yield warn(
            f"{where} caches its listings: a new scan may be seen only after {listed_s} s",
            f"mount {mount.mount_point} with acdirmax=10",
        )
    if "soft" in options or "softerr" in options:
        yield warn(
            f"{where} is mounted soft: a server that is slow gives errors, and a text may have to be written twice",
            "mount it hard",
        )


def _smb(where: str, options: Options, *, rest_s: float) -> Iterator[Finding]:
    cached_s = max(_seconds(options, name, _SMB_S) for name in ("actimeo", "acregmax", "acdirmax"))
    if cached_s >= rest_s:
        yield warn(
            f"{where} caches attributes for {cached_s} s, and a file counts as whole after {rest_s:g} s without a change",
            f"mount it with actimeo=1, or set `settle: {cached_s + 5}s`",
        )
    if options.get("cache") == "loose":
        yield warn(f"{where} is mounted with cache=loose: what others write is seen late", "mount it with cache=strict")
    if options.get("iocharset", "utf8") != "utf8":
        yield warn(f"{where} shows names in {options['iocharset']}: umlauts become other bytes", "mount it with iocharset=utf8")


def _seconds(options: Options, name: str, usual_s: int) -> int:
    value = options.get(name, "")
    return int(value) if value.isdigit() else usual_s
