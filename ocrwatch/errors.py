"""Every error that ocrwatch raises on purpose; each says what is wrong, where, and what to do.

Whether the work may be tried again is part of the type, decided where the error is known:

    OcrwatchError
    |- UsageError            the command or the configuration is wrong            exit 2
    |  `- ConfigError        every problem of a configuration file, at once
    |- MissingPart           a needed part of the system is not there             exit 3
    |- Infrastructure        share, disk, model, GPU: try again later; never the file's fault
    |  |- ShareOffline       the inbox or its mount does not answer
    |  |- OutputUnwritable   the sidecar's place is full, read-only or refused
    |  |- StateUnwritable    the state directory is full, read-only or refused
    |  |  `- StateDamaged    the journal is damaged or was taken away
    |  `- ModelUnavailable   no model, no memory for it, or it keeps failing
    |     `- DeviceFull      the GPU has not the memory that was asked of it
    |- FileRejected          the file's own fault: tried again when it changes or on `retry`
    |  |- EncryptedFile      needs a password
    |  |- CorruptFile        cannot be read as what it says it is
    |  |- EmptyDocument      has no page
    |  |- UnsupportedFile    no format that ocrwatch reads
    |  `- OversizedPage      a page beyond the pixel or memory bound
    |- PoisonFile            it cost two workers their life: set aside, never tried again by itself
    |- WorkerFailed          a child process did not answer as it should
    |  |- WorkerDied         it ended by itself, by a signal or by the memory limit
    |  |- WorkerTimedOut     it was killed at its deadline
    |  `- WorkerRefused      it answered with an error that is none of the above
    |- SourceChanged         the scan is no longer the one that was looked at
    |- SourceVanished        the scan is gone
    `- ForeignFile           a file that is not ours stands where ours should go

Errors cross a process boundary as `to_wire()` and come back through `from_wire()` as the same type.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar


class OcrwatchError(Exception):
    """Root of all errors of ocrwatch.

    message: what is wrong and where, one line, without a full stop.
    remedy: what to do about it, one line; may be empty when the message says it.
    left_behind: of a worker that failed to start so, its `WorkerProcess` where not even KILL has ended it.
    """

    exit_code: ClassVar[int] = 1
    left_behind: Any = None

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message

    @property
    def code(self) -> str:
        """Name of the error as shown to people and stored in the journal: `encrypted_file`."""
        name = type(self).__name__
        return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(name))

    def to_wire(self) -> dict[str, str]:
        """The error as a JSON object, for a frame between processes."""
        return {"kind": type(self).__name__, "message": self.message, "remedy": self.remedy}


class UsageError(OcrwatchError):
    """The command line asks for something that cannot be."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration with problems, one line each, all at once."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class MissingPart(OcrwatchError):
    """A library, language, licence or model that is needed is not on this machine."""

    exit_code = 3


class Infrastructure(OcrwatchError):
    """The surroundings are at fault: deferred, retried with back-off, never held against the file."""


class ShareOffline(Infrastructure):
    """The inbox, or the mount that it lies on, does not answer or is not the one that was there."""


class OutputUnwritable(Infrastructure):
    """The place of the sidecar cannot be written: full, read-only or refused."""


class StateUnwritable(Infrastructure):
    """The state directory cannot be written: full, read-only or refused."""


class StateDamaged(StateUnwritable):
    """The journal can no longer be trusted: its file is damaged, or no longer where it was."""


class ModelUnavailable(Infrastructure):
    """No correction model can be had at present.

    wait_s: for how long the hub that has it wants to be left alone; 0 where it did not say.
    """

    def __init__(self, message: str, remedy: str = "", *, wait_s: float = 0.0) -> None:
        super().__init__(message, remedy)
        self.wait_s = wait_s

    def to_wire(self) -> dict[str, str]:
        """As of every error; with the seconds, if there are any."""
        return super().to_wire() | ({"wait_s": str(self.wait_s)} if self.wait_s else {})


class DeviceFull(ModelUnavailable):
    """The GPU has not the memory that was asked of it: fewer layers may fit, or all of them later."""


class FileRejected(OcrwatchError):
    """The file itself cannot be processed; only a changed file or a person's `retry` helps."""


class EncryptedFile(FileRejected):
    """The document needs a password."""


class CorruptFile(FileRejected):
    """The document cannot be read as what it says it is."""


class EmptyDocument(FileRejected):
    """The document has no page."""


class UnsupportedFile(FileRejected):
    """The content is in no format that ocrwatch reads."""


class OversizedPage(FileRejected):
    """A page is beyond the bound of pixels or memory."""


class PoisonFile(OcrwatchError):
    """The file killed a worker twice, or took the whole service down; only a person's `retry` runs it again."""


class WorkerFailed(OcrwatchError):
    """A child process did not answer as it should; it has been killed and reaped."""


class WorkerDied(WorkerFailed):
    """A child process ended in mid-request: exit, signal, abort, or the memory limit.

    last_words: the last lines that it wrote for the log, oldest first; they stay in this process.
    """

    def __init__(self, message: str, remedy: str = "", *, last_words: Sequence[str] = ()) -> None:
        super().__init__(message, remedy)
        self.last_words = tuple(last_words)


class WorkerTimedOut(WorkerFailed):
    """A child process was killed because its deadline had passed."""


class WorkerRefused(WorkerFailed):
    """A child process answered with an error nobody foresaw; the child itself goes on."""


class SourceChanged(OcrwatchError):
    """The scan is no longer the one that was looked at; the newer version will be taken."""


class SourceVanished(OcrwatchError):
    """The scan is gone."""


class ForeignFile(OcrwatchError):
    """A file that ocrwatch did not write, or that was edited since, stands in the way."""


def _all_types(root: type[OcrwatchError]) -> dict[str, type[OcrwatchError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found |= _all_types(child)
    return found


def from_wire(data: dict[str, Any]) -> OcrwatchError:
    """The error that another process sent; an unknown kind becomes `WorkerRefused`."""
    types = _all_types(OcrwatchError)
    kind, message, remedy = (str(data.get(k, "")) for k in ("kind", "message", "remedy"))
    error_type = types.get(kind)
    if error_type is None or issubclass(error_type, ConfigError):
        return WorkerRefused(f"{kind}: {message}" if kind else message, remedy)
    if issubclass(error_type, ModelUnavailable):
        return error_type(message, remedy, wait_s=_seconds(data.get("wait_s", "0")))
    return error_type(message, remedy)


def _seconds(text: object) -> float:
    """The number that the text is, 0 where it is none of seconds."""
    try:
        found = float(str(text))
    except ValueError:
        return 0.0
    return found if 0.0 <= found < math.inf else 0.0
