"""The looks that `why` takes: at a file that nobody has seen, at what lies beside one to say why it was set aside, and at what
the description of a result says of its PDF.

Owns no judgement of them. Each is taken by a process of its own, which is killed when the mount gives no answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ocrwatch.errors import OcrwatchError
from ocrwatch.intake.mounts import Mount
from ocrwatch.output.sidecar import Names
from ocrwatch.worker.lookout import Sight, looking_out

_ANSWER_S = 5.0


def sight_of(root: str, path: str, *, table: Sequence[Mount]) -> Sight:
    """What stands at `path` below `root`, as the service sees it. Raises OcrwatchError when that cannot be known."""
    with looking_out(table=table, answer_s=_ANSWER_S) as lookout:
        return lookout.look(root, below=path)


def reason_of(place: str, *, table: Sequence[Mount]) -> Mapping[str, Any]:
    """What lies beside a file of the quarantine to say why it is there. Raises OcrwatchError when that cannot be known."""
    with looking_out(table=table, answer_s=_ANSWER_S) as lookout:
        return lookout.reason(place)


def pdf_of(names: Names, *, table: Sequence[Mount]) -> dict[str, str]:
    """Where the searchable PDF of a result is, or why there is none; nothing where the result is gone. names: absolute."""
    try:
        with looking_out(table=table, answer_s=_ANSWER_S) as lookout:
            said = lookout.described(names.metadata)
    except OcrwatchError as error:
        return {"pdf_reason": f"not known: {error.message}"}
    if not said:
        return {}
    if said["has_pdf"]:
        return {"pdf": names.pdf}
    return {"pdf_reason": said["pdf_reason"] or "none was wanted when its text was written"}
