"""The prompted rewrite: a model's answer, cut by alignment into single small edits. Pure; owns no judgement of the edits.

Whatever the model answers, only proposals come out of here, each for a word or two of the input. An answer that is not the
text (empty, much longer, in another script, something else) gives none, and says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from ocrwatch.correction.guard import script

CHUNK_CHARACTERS = 900
_MAX_WORDS = 3
_LONGER = 1.3
_MIN_LIKENESS = 0.5
_WORD = re.compile(r"\S+")
_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_OPEN_THOUGHT = re.compile(r"<(think|thinking|reasoning)>", re.IGNORECASE)
_FENCE = re.compile(r"\A```\w*\n(.*?)\n?```\Z", re.DOTALL)
_EDGES = re.compile(r"\A[^\w]*|[^\w]*\Z")


@dataclass(frozen=True)
class Written:
    """What the model wrote; why: for people, when it is of no use."""

    text: str
    why: str


@dataclass(frozen=True)
class Proposal:
    """One edit that the answer amounts to. `offset` counts code points in the page."""

    offset: int
    before: str
    after: str


def chunks(text: str, limit: int = CHUNK_CHARACTERS) -> Iterator[tuple[int, str]]:
    """The page in stretches of whole lines of about `limit` characters, with their offsets."""
    start = end = 0
    for line in text.splitlines(keepends=True):
        if end > start and end - start + len(line) > limit:
            yield start, text[start:end]
            start = end
        end += len(line)
    if end > start:
        yield start, text[start:end]


def read_answer(text: str, answer: Written) -> tuple[str, str]:
    """The corrected text that the answer holds, and why it holds none; one of the two is empty."""
    if answer.why:
        return "", answer.why
    given = _THOUGHT.sub("", answer.text)
    if _OPEN_THOUGHT.search(given):
        return "", "the model thought and did not answer"
    given = _FENCE.sub(r"\1", given.strip()).strip()
    if not given:
        return "", "the model's answer is empty"
    if len(given) > _LONGER * len(text) + 40:
        return "", "the model's answer is much longer than the text"
    if _scripts(given) - _scripts(text):
        return "", "the model's answer is in another script"
    if Levenshtein.normalized_similarity(text, given) < _MIN_LIKENESS:
        return "", "the model's answer is not the text"
    return given, ""


def proposals(text: str, answer: str, *, offset: int = 0) -> list[Proposal]:
    """The single edits between the text and the answer, in order. Words that come or go have an empty side."""
    words = [m.span() for m in _WORD.finditer(text)]
    read, given = [text[a:b] for a, b in words], answer.split()
    found: list[Proposal] = []
    for before, after in _blocks(read, given):
        new = given[after.start : after.stop]
        if len(before) == len(new):
            pairs = [(words[i], words[i], word) for i, word in zip(before, new, strict=True)]
        elif before and new and max(len(before), len(new)) <= _MAX_WORDS:
            pairs = [(words[before.start], words[before.stop - 1], " ".join(new))]
        else:
            at = words[before.start][0] if before.start < len(words) else len(text)
            end = words[before.stop - 1][1] if before else at
            found.append(Proposal(offset + at, text[at:end] if before else "", "" if before else " ".join(new)))
            continue
        found += [_trimmed(text, first[0], last[1], word, offset=offset) for first, last, word in pairs]
    return [p for p in found if p.before != p.after]


def _blocks(read: list[str], given: list[str]) -> Iterator[tuple[range, range]]:
    """Stretches of words that differ, on both sides."""
    start: tuple[int, int] | None = None
    end = (0, 0)
    for op in Levenshtein.opcodes(read, given):
        if op.tag != "equal":
            start = start or (op.src_start, op.dest_start)
            end = (op.src_end, op.dest_end)
        elif start:
            yield range(start[0], end[0]), range(start[1], end[1])
            start = None
    if start:
        yield range(start[0], end[0]), range(start[1], end[1])


def _trimmed(text: str, start: int, end: int, after: str, *, offset: int) -> Proposal:
    """Without what is no letter or digit at both ends: punctuation stays as read."""
    before = text[start:end]
    lead = len(before) - len(before.lstrip("".join({c for c in before if not c.isalnum()})))
    core = _EDGES.sub("", before)
    new = _EDGES.sub("", after)
    if not core or not new:
        return Proposal(offset + start, before, after)
    return Proposal(offset + start + lead, core, new)


def _scripts(text: str) -> set[str]:
    return {script(c) for c in text if c.isalpha()}
