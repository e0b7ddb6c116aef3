"""Candidates: what a suspicious word may truly be. Owns where they come from and their order, not the choice among them. Pure.

Sources: words of the lists within a small edit distance, confusions of the channel undone, and the engine's own alternatives.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from ocrwatch.correction.channel import SEGMENT, Channel
from ocrwatch.correction.words import carry_case

MAX_CANDIDATES = 5
_NATS_PER_ZIPF = 1.0
"""How much a tenfold frequency counts against the channel's cost, in the order of candidates."""

_SOURCES_TRIED = 16
"""Confusions that are undone per place."""

_MIN_ZIPF = 2.3
"""Rarer words are in the lists by accident as often as not."""

_REACH_NATS = 22.0
"""No candidate may cost more than this above the cheapest."""


class Lexicon(Protocol):
    """The words of the page's languages."""

    def frequency(self, word: str) -> float:
        """How usual the word is, whatever its case: log10 of uses in a billion words; 0.0 when it is not in the lists."""
        ...

    def near(self, word: str, distance: int) -> list[str]:
        """Words, in lower case, within this edit distance, the word itself left out; in a fixed order."""
        ...


@dataclass(frozen=True)
class Candidate:
    """A text that may stand in the place of a word; cost: nats for reading it as what was read."""

    text: str
    cost: float


def propose(
    read: str, *, lexicon: Lexicon, channel: Channel, alternatives: Iterable[str] = (), limit: int = MAX_CANDIDATES
) -> list[Candidate]:
    """The likeliest candidates for a word as read, best first; the word itself is none of them."""
    words = {w for w in lexicon.near(read, _distance(read)) if lexicon.frequency(w) >= _MIN_ZIPF}
    words |= {w for w in _unconfused(read.casefold(), channel) if lexicon.frequency(w) >= _MIN_ZIPF}
    texts = {_restore_sharp_s(form, read) for word in words for form in _forms(read, word)}
    texts |= {text for text in alternatives if lexicon.frequency(text) >= _MIN_ZIPF}
    found = [Candidate(text, channel.cost(read, text)) for text in texts if text != read]
    found.sort(key=lambda c: (c.cost - _NATS_PER_ZIPF * lexicon.frequency(c.text), c.text))
    cheapest = min((c.cost for c in found), default=0.0)
    return [c for c in found if c.cost <= cheapest + _REACH_NATS][:limit]


def _distance(read: str) -> int:
    """Edits searched for in the word list; more would bring unlike words in."""
    return 1 if len(read) <= 4 else 2 if len(read) <= 8 else 3


def _unconfused(read: str, channel: Channel) -> set[str]:
    found = set()
    for at in range(len(read)):
        for length in range(1, min(SEGMENT, len(read) - at) + 1):
            for true in channel.sources(read[at : at + length])[:_SOURCES_TRIED]:
                found.add(read[:at] + true + read[at + length :])
    return found


def _forms(read: str, word: str) -> tuple[str, ...]:
    """The word in the case of what was read; a small first letter may itself be a misread capital (`lt` for `It`)."""
    form = carry_case(read, word)
    if read[0].islower() and word[0] != read[0].casefold():
        return form, form[:1].upper() + form[1:]
    return (form,)


def _restore_sharp_s(form: str, read: str) -> str:
    # The lists are casefolded, so a sharp s is written ss there.
    if "ß" not in read or "ss" not in form:
        return form
    at = min((i for i in range(len(form)) if form.startswith("ss", i)), key=lambda i: abs(i - read.index("ß")))
    return form[:at] + "ß" + form[at + 2 :]
