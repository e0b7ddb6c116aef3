"""What an errno means to a person: the translation of OSError into the errors of ocrwatch, with what to do."""

from __future__ import annotations

import errno
import os

from ocrwatch.errors import Infrastructure, OcrwatchError, OutputUnwritable, ShareOffline, SourceVanished, StateUnwritable

# The mount, not the file: a server that is away, a FUSE process that died.
_MOUNT_AWAY = frozenset(
    {
        *(errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ETIMEDOUT),
        *(errno.ECONNABORTED, errno.ECONNRESET, errno.ESHUTDOWN, errno.ENODEV, errno.ENXIO, errno.ENOLINK, errno.ENOMEDIUM),
    }
)
# The mount or a single file of it: a disk that fails, a bad sector, a handle that the server has forgotten.
_OFFLINE = _MOUNT_AWAY | {errno.EIO, errno.ESTALE, errno.EREMOTEIO, errno.EUCLEAN}
# No regular file stands under that name any more, or none ever did.
_VANISHED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EXDEV, errno.EINVAL})
# Another program has the file open and lets nobody else have it: what a server makes of a Windows client's sharing modes.
_HELD_OPEN = frozenset({errno.EBUSY, errno.ETXTBSY, errno.EAGAIN})

_REMEDIES = {
    errno.ENOSPC: "free some space, or inodes, there",
    errno.EDQUOT: "raise the quota of the service's user, or free some space",
    errno.EROFS: "mount it writable",
    errno.EACCES: "give the service's user the right to write there",
    errno.EPERM: "give the service's user the right to write there",
    errno.ENOENT: "make the directory, or correct the configuration",
    errno.ENOTDIR: "a directory is needed there",
    errno.ELOOP: "a directory is needed there, not a symbolic link",
    errno.EMFILE: "raise LimitNOFILE of the service",
    errno.EFBIG: "raise LimitFSIZE of the service",
    errno.ENAMETOOLONG: "choose a shorter name or directory",
}


def is_offline(error: OSError) -> bool:
    """Whether the error may be that of a mount that does not answer."""
    return error.errno in _OFFLINE


def is_mount_away(error: OSError) -> bool:
    """Whether the error can only be that of a mount that does not answer."""
    return error.errno in _MOUNT_AWAY


def is_vanished(error: OSError) -> bool:
    """Whether the error says that no regular file stands under the name."""
    return error.errno in _VANISHED


def what(error: OSError) -> str:
    """The error in words, without path and number."""
    return os.strerror(error.errno).lower() if error.errno else str(error)


def source_error(error: OSError, path: str) -> OcrwatchError:
    """The error of reading a scan: gone, its share is offline, or it may not be read at present."""
    if is_offline(error):
        return ShareOffline(f"{path!r} cannot be read: {what(error)}", "check that the share is mounted and its server answers")
    if is_vanished(error):
        return SourceVanished(f"{path!r} is no longer there as a regular file")
    # Held open by its writer (SMB), or not ours to read: neither is the fault of what the file holds.
    remedy = _held_open(error, right="read it", then="is taken") or "give the service's user the right to read it"
    return Infrastructure(f"{path!r} cannot be read: {what(error)}", remedy)


def output_error(error: OSError, path: str) -> OutputUnwritable:
    """The error of writing where others read."""
    remedy = _held_open(error, right="write there", then="is written") or _remedy(error)
    return OutputUnwritable(f"{path!r} cannot be written: {what(error)}", remedy)


def state_error(error: OSError, path: str) -> StateUnwritable:
    """The error of writing in the state directory."""
    return StateUnwritable(f"{path!r} cannot be written: {what(error)}", _remedy(error))


def _remedy(error: OSError) -> str:
    if is_offline(error):
        return "check that the disk is healthy, or that the share is mounted and its server answers"
    return _REMEDIES.get(error.errno or 0, "")


def _held_open(error: OSError, *, right: str, then: str) -> str:
    """What to do about a file that is, or may be, held open; empty when it is not."""
    if error.errno in _HELD_OPEN:
        return f"it is open elsewhere, and {then} when it is closed there"
    if error.errno == errno.EACCES:  # some servers say so too
        return f"give the service's user the right to {right}, unless it is open elsewhere: it {then} when it is closed there"
    return ""
