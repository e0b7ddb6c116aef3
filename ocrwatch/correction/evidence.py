"""Evidence: what speaks for a candidate in the place of what was read, as numbers. Owns their names and scale. Pure.

The noisy channel's two terms are among them (`gain`, `cost`); the others say how far to believe these. `weights` adds them up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from ocrwatch.ocr.engine import Alternative

FEATURES = (
    "edit",  # 1 for every candidate: the margin
    "gain",  # nats by which the model finds the text likelier
    "cost",  # nats by which the channel finds the reading less likely, for what the engine has not offered itself
    "offered",  # changes that the engine offered itself
    "doubt",  # sum over these of how far the engine doubts them, 0 to 1 each
    "zipf",  # how usual the candidate is, log10 of uses in a billion words
    "unlisted",  # 1 when the candidate is in no list
    "read_zipf",  # the same of what was read
    "read_unlisted",
    "unsure",  # how far the engine doubts the word as read, 0 to 1
    "untold",  # 1 when the engine told no confidence
    "capital",  # the word as read begins with a capital
    "capitals",  # it is all capitals
    "mixed",  # it has capitals within
    "short",  # 1 / letters
    "seen",  # log(1 + times that the candidate stands elsewhere in the document)
    "read_seen",  # the same of the word as read
    "damage",  # log of the page's share of unlisted words over a typical one
    "guessed",  # the model itself would have expected the candidate
    "split",
    "join",
    "hyphen",  # across a line end
    "case",  # only the case differs
    "digit",  # a digit becomes a letter
    "marks",  # the word as read holds a mark that no word has
    "comma",  # a stop becomes a comma
    "stop",  # a comma becomes a stop
    "quote",  # a quotation mark goes
    "sign",  # a sign that stands alone becomes a letter
)
"""What is known of a candidate, in the order of the table of weights."""

MAX_GAIN = 15.0
Evidence = dict[str, float]


@dataclass(frozen=True)
class Change:
    """A stretch of the word as read that a candidate has otherwise; offered: the engine's own confidence in that, if it did."""

    before: str
    after: str
    offered: float | None


def changes(read: str, candidate: str, alternatives: Sequence[Alternative] = ()) -> list[Change]:
    """What differs, stretch by stretch; equally long stretches character by character."""
    found = []
    for op in Levenshtein.opcodes(read, candidate):
        if op.tag == "equal":
            continue
        before, after = read[op.src_start : op.src_end], candidate[op.dest_start : op.dest_end]
        offered = _offered(op.src_start, before, after, alternatives)
        found.append(Change(before, after, offered))
    return found


def _offered(start: int, before: str, after: str, alternatives: Sequence[Alternative]) -> float | None:
    whole = _confidence(start, before, after, alternatives)
    if whole is not None or len(before) != len(after):
        return whole
    single = [_confidence(start + i, b, a, alternatives) for i, (b, a) in enumerate(zip(before, after, strict=True))]
    known = [confidence for confidence in single if confidence is not None]
    return min(known) if len(known) == len(single) else None


def _confidence(start: int, before: str, after: str, alternatives: Sequence[Alternative]) -> float | None:
    found = (a.confidence or 0.0 for a in alternatives if (a.start, a.end, a.text) == (start, start + len(before), after))
    return max(found, default=None)
