"""Which files a report is about, and what was published for them: from a folder's sidecars, or from jobs of the journal.

Reads the texts and their JSON only, never a scan.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from ocrwatch.errors import OcrwatchError, ShareOffline
from ocrwatch.journal.records import Job
from ocrwatch.journal.states import JobState
from ocrwatch.output.sidecar import METADATA_SUFFIX, TEXT_SUFFIX, Names, SidecarState
from ocrwatch.report.content import FileResult, Outline, Place, Text
from ocrwatch.report.reaching import Reaching

_UNSHOWN = {
    SidecarState.ABSENT: "its text is not there any more",
    SidecarState.OURS: "its text changed while it was read",
    SidecarState.BROKEN: "its text and its JSON do not belong together",
    SidecarState.EDITED: "its text or its JSON was changed since ocrwatch wrote it",
    SidecarState.FOREIGN: "what stands in the place of its text was not written by ocrwatch",
}
_WITHOUT_TEXT = frozenset({JobState.FAILED, JobState.POISON})
# Of these a folder tells; other JSON files in it are somebody else's, and no matter of a report.
_OURS = frozenset({SidecarState.BROKEN, SidecarState.EDITED})
_NO_UTF8 = "\ufffd"

Whereabouts = Callable[[str], tuple[Place, ...]]
"""Places beyond the text's own folder where a scan may be, by its path relative to its inbox."""
Unlisted = Callable[[str, str], None]
"""Is told of a folder that could not be looked into, and why."""


def in_folder(folder: str, *, reaching: Reaching, elsewhere: Whereabouts, unlisted: Unlisted) -> Iterator[FileResult]:
    """What the sidecars in a folder, and in those beneath it, say. Other files are passed over.

    Raises ShareOffline when the folder itself cannot be listed.
    """
    waiting = [""]
    while waiting:
        here = waiting.pop()
        try:
            listed = reaching.texts(folder, here)
        except OcrwatchError as error:
            if not here:
                raise
            unlisted(here, error.message)
            continue
        if listed.error:
            unlisted(here, listed.error)
        waiting += [os.path.join(here, name) for name in reversed(listed.folders)]
        for name in listed.metadata:
            metadata = os.path.join(here, name)
            names = Names(text=metadata.removesuffix(METADATA_SUFFIX) + TEXT_SUFFIX, metadata=metadata)
            if (result := _sidecar(Text(folder, names), reaching, elsewhere)) is not None:
                yield result


def _sidecar(text: Text, reaching: Reaching, elsewhere: Whereabouts) -> FileResult | None:
    path = text.names.metadata.removesuffix(METADATA_SUFFIX)
    try:
        document = reaching.document(text)
        if document is None:
            state = reaching.state(text)
            return FileResult(path, state, state, _UNSHOWN[state]) if state in _OURS else None
    except OcrwatchError as error:
        return FileResult(path, "unreadable", "unreadable", error.message)
    scan = document.source.path
    beside = os.path.join(os.path.dirname(path), os.path.basename(scan))
    # The JSON has no bytes that are no UTF-8; where the text's name is the scan's with an ending, that one has them.
    places = (Place(text.root, beside), Place(text.root, path), *elsewhere(scan))
    return FileResult(path if _NO_UTF8 in scan else beside, "", outline=Outline.of(document, text, places))


def of_jobs(
    jobs: Iterable[Job], *, bases: dict[str, tuple[str, str]], reaching: Reaching, elsewhere: Whereabouts
) -> Iterator[FileResult]:
    """What became of these jobs. bases: of each inbox by name its own folder, and the one of its texts."""
    for job in jobs:
        if job.inbox not in bases:
            reason = "its inbox is not in the configuration any more"
            yield FileResult(f"{job.inbox}: {job.path}", job.state, "no_inbox", reason)
            continue
        folder, texts = bases[job.inbox]
        path = os.path.join(folder, job.path)
        if job.state in _WITHOUT_TEXT or job.text_name is None:
            yield FileResult(path, job.state, job.reason, job.detail or "it has no text")
            continue
        metadata = job.text_name.removesuffix(TEXT_SUFFIX) + METADATA_SUFFIX
        text = Text(texts, Names(text=job.text_name, metadata=metadata))
        yield _published(path, job, text, reaching=reaching, places=(Place(folder, job.path), *elsewhere(job.path)))


def _published(path: str, job: Job, text: Text, *, reaching: Reaching, places: tuple[Place, ...]) -> FileResult:
    try:
        document = reaching.document(text)
        problem = "" if document else _UNSHOWN[reaching.state(text)]
    except OcrwatchError as error:
        reason = "share_offline" if isinstance(error, ShareOffline) else "no_text"
        return FileResult(path, job.state, reason, error.message)
    if document is None:
        return FileResult(path, job.state, "no_text", problem)
    return FileResult(path, job.state, outline=Outline.of(document, text, places))
