"""Why a file that the journal does not know is not taken: one sentence, from the rules and from one look at the file.

Owns that reasoning. The look is made by others: it may meet a share that hangs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ocrwatch.errors import OcrwatchError
from ocrwatch.intake.entries import Kind, lies_in
from ocrwatch.intake.ignore import Patterns, why_ignored
from ocrwatch.intake.settle import Waiting
from ocrwatch.journal.journal import Journal
from ocrwatch.output.sidecar import Names
from ocrwatch.service.whereabouts import result_of
from ocrwatch.worker.lookout import Sight


@dataclass(frozen=True)
class Surroundings:
    """What is known of an inbox beside the journal.

    text_base: the folder where texts begin. waiting: the files that settle. problem: why the inbox is offline, '' when it is not.
    unread: folders that cannot be listed, with the reason. look: what stands at a relative path, as the service sees it; raises
    OcrwatchError when that cannot be known; None where nobody looks. pdf: what is known of the searchable PDF beside a text; None
    where none is wanted. reason: what lies beside a file of the quarantine, by its absolute path; as `look`. interval_s: between
    two listings, 0 when no daemon makes any. model_problem: why no correction can be had, '' when it can.
    """

    inbox: str
    patterns: Patterns
    text_base: str
    waiting: Sequence[Waiting] = ()
    problem: str = ""
    unread: Sequence[tuple[str, str]] = ()
    recursive: bool = True
    look: Callable[[str], Sight] | None = None
    pdf: Callable[[Names], dict[str, str]] | None = None
    reason: Callable[[str], Mapping[str, Any]] | None = None
    interval_s: float = 0.0
    model_problem: str = ""


class Hindrance(NamedTuple):
    """Why a file is not taken. state: `ignored` when a rule says so, else `unknown`. reason: a word for it."""

    state: str
    reason: str
    meaning: str
    remedy: str = ""


def why_unseen(path: str, around: Surroundings, journal: Journal) -> Hindrance:
    """What prevents a file (`path` relative to the inbox) that is neither waiting nor in the journal from being taken."""
    return _by_rules(path, around, journal) or _by_place(path, around) or _by_look(path, around)


def why_result(path: str, inbox: str, journal: Journal) -> Hindrance | None:
    """That a file is a result of ours, by its name and its scan; None when there is no such scan."""
    belongs = result_of(path)
    if belongs is None:
        return None
    what, scan = belongs
    job = journal.current(inbox, scan)
    if job is None:
        return None
    return Hindrance("ignored", "ours", f"by its name it is the {what} of {scan!r} in inbox {inbox}, which is {job.state}")


def _by_rules(path: str, around: Surroundings, journal: Journal) -> Hindrance | None:
    if result := why_result(path, around.inbox, journal):
        return result
    if not around.recursive and "/" in path:
        meaning = f"it lies in a folder of the inbox {around.inbox}, and that is watched without its folders (`recursive: false`)"
        return Hindrance("ignored", "not_recursive", meaning, "set `recursive: true`, or move the file up")
    if ignored := why_ignored(path, around.patterns):
        return Hindrance("ignored", "rule", ignored)
    return None


def _by_place(path: str, around: Surroundings) -> Hindrance | None:
    if around.problem:
        return Hindrance("unknown", "offline", "its inbox is offline, so nobody knows whether it is there")
    for folder, reason in around.unread:
        if lies_in(path, folder):
            meaning = f"its folder {folder!r} cannot be listed: {reason}"
            return Hindrance("unknown", "unread", meaning, "let the service in; `ocrwatch doctor` says how")
    return None


def _by_look(path: str, around: Surroundings) -> Hindrance:
    if around.look is None:
        return Hindrance("unknown", "", "never seen")
    try:
        sight = around.look(path)
    except OcrwatchError as error:
        return Hindrance("unknown", "no_answer", error.message, error.remedy)
    if sight.at != path:
        return _on_the_way(sight)
    if sight.kind is None:
        return _unseen(sight)
    if sight.kind is not Kind.REGULAR:
        return Hindrance("unknown", str(sight.kind), _KINDS[sight.kind])
    if not sight.readable:
        meaning = f"the service may not read it ({sight.belongs})"
        return Hindrance("unknown", "no_permission", meaning, "let the service in; `ocrwatch doctor` says how")
    if sight.size_bytes == 0:
        return Hindrance("unknown", "empty", "it has no content yet; it is taken when it has")
    when = (
        f"the next listing, within {around.interval_s:g} s, takes it up"
        if around.interval_s
        else "it is seen when the daemon runs"
    )
    return Hindrance("unknown", "", f"never seen: nothing speaks against it, and {when}")


_KINDS = {
    Kind.DIRECTORY: "it is a folder: name a file in it",
    Kind.SYMLINK: "it is a symbolic link, and none is followed: it might lead out of the inbox. Put the file itself there",
    Kind.SPECIAL: "it is no file but a pipe, a socket or a device",
}


def _on_the_way(sight: Sight) -> Hindrance:
    if not sight.at:
        what = "it is no folder" if sight.kind is not None else sight.problem
        return Hindrance("unknown", "offline", f"its inbox cannot be looked at: {what}", "check that it exists and is mounted")
    if sight.kind is Kind.SYMLINK:
        return Hindrance("unknown", "symlink", f"its folder {sight.at!r} is a symbolic link, and none is followed")
    if sight.kind is not None:
        return Hindrance("unknown", "absent", f"there is no such file: {sight.at!r} is no folder")
    if sight.is_absent:
        return Hindrance("unknown", "absent", f"there is no such file: its folder {sight.at!r} is not there")
    return _unseen(sight)


def _unseen(sight: Sight) -> Hindrance:
    if sight.is_absent:
        return Hindrance("unknown", "absent", "there is no such file, and none of that name was ever seen")
    remedy = "let the service in; `ocrwatch doctor` says how"
    return Hindrance("unknown", "no_permission", f"the service cannot come to {sight.at!r}: {sight.problem}", remedy)
