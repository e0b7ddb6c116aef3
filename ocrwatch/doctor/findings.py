"""What the doctor finds, as values, and what that looks like to a person. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import groupby


class Verdict(StrEnum):
    """How bad a finding is."""

    OK = "ok"  # as it should be
    WARN = "warn"  # works, but somebody will want to know
    BAD = "bad"  # something that is configured cannot work


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. remedy: a command to copy, or what to do; empty when nothing. about: what it belongs to."""

    verdict: Verdict
    what: str
    remedy: str = ""
    about: str = ""

    def to_json(self) -> dict[str, str]:
        """The finding as a JSON object."""
        return asdict(self)


def ok(what: str) -> Finding:
    """As it should be."""
    return Finding(Verdict.OK, what)


def warn(what: str, remedy: str = "") -> Finding:
    """Works, but."""
    return Finding(Verdict.WARN, what, remedy)


def bad(what: str, remedy: str = "") -> Finding:
    """Cannot work."""
    return Finding(Verdict.BAD, what, remedy)


def about(subject: str, findings: Iterable[Finding]) -> list[Finding]:
    """The findings, as belonging to a subject; none that is not as it should be is without a remedy."""
    return [Finding(finding.verdict, finding.what, _remedy(finding), subject) for finding in findings]


def _remedy(finding: Finding) -> str:
    if finding.remedy or finding.verdict is Verdict.OK:
        return finding.remedy
    return "nothing is known that mends it: report it, with what the service's log says (journalctl -u ocrwatch)"


def lines(findings: Sequence[Finding]) -> Iterator[str]:
    """The findings for a terminal, by subject, and what is to be done on a line of its own."""
    for subject, group in groupby(findings, key=lambda finding: finding.about):
        yield subject
        for finding in group:
            yield f"  {finding.verdict:<5} {finding.what}"
            if finding.remedy:
                yield f"        {finding.remedy}"
    counts = {verdict: sum(finding.verdict is verdict for finding in findings) for verdict in Verdict}
    yield ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)


def quoted(path: object) -> str:
    """A path as a word of a command."""
    return shlex.quote(str(path))
