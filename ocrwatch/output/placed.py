"""Where the words of a corrected page stand: the places of the words as read, carried over the edits. Pure.

A run is what is laid over one place of the page: a word, or what an edit made of one or more words, at the box that they have
together. A word that was edited away has no run. Words whose place no engine told have none either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ocrwatch.correction.edits import Edit
from ocrwatch.ocr.engine import Box, PageResult, Word
from ocrwatch.output.document import clean


class Run(NamedTuple):
    """Text at a box of the upright page, in pixels. ends_line: what follows stands on another line."""

    text: str
    box: Box
    ends_line: bool


@dataclass
class _Group:
    """Words that edits tie together, and those edits. words_end, edits_end: where the last of each ends."""

    words: list[Word] = field(default_factory=list)
    changes: list[tuple[int, int, str]] = field(default_factory=list)
    words_end: int = -1
    edits_end: int = -1


def runs(page: PageResult, edits: Sequence[Edit] = ()) -> list[Run]:
    """What the page says after the edits, each at its place, in the order of the text."""
    groups = [group for group in _groups(page.words, [change for edit in edits for change in _by_word(edit)]) if group.words]
    placed: list[Run] = []
    for number, group in enumerate(groups):
        text, box = _text(page.text, group), _box(page.text, group.words)
        next_offset = groups[number + 1].words[0].offset if number + 1 < len(groups) else len(page.text)
        ends_line = number + 1 == len(groups) or "\n" in page.text[group.words_end : next_offset]
        if text and box is not None:
            placed.append(Run(text, box, ends_line))
        elif ends_line and placed:
            placed[-1] = placed[-1]._replace(ends_line=True)
    return placed


def _by_word(edit: Edit) -> Iterator[tuple[int, int, str]]:
    """The edit as changes (start, end, after): one a word where it leaves the words' number and what parts them as they are."""
    before, after = edit.before.split(), edit.after.split()
    parted = _gaps(edit.before, before), _gaps(edit.after, after)
    if len(before) < 2 or len(before) != len(after) or parted[0] != parted[1]:
        yield edit.offset, edit.offset + len(edit.before), edit.after
        return
    position = 0
    for old, new in zip(before, after, strict=True):
        position = edit.before.index(old, position)
        if old != new:
            yield edit.offset + position, edit.offset + position + len(old), new
        position += len(old)


def _gaps(text: str, words: Sequence[str]) -> list[str]:
    gaps, position = [], 0
    for word in words:
        start = text.index(word, position)
        gaps.append(text[position:start])
        position = start + len(word)
    return [*gaps, text[position:]]


def _groups(words: Iterable[Word], changes: Iterable[tuple[int, int, str]]) -> Iterator[_Group]:
    """Words and changes that touch each other together, in the order of the text."""
    group = _Group()
    items: list[tuple[int, int, Word | str]] = [(word.offset, word.offset + len(word.text), word) for word in words]
    # A change comes after the word that begins with it: what is put before a word belongs to that word.
    for start, end, item in sorted([*items, *changes], key=lambda item: (item[0], isinstance(item[2], str))):
        touches = start <= (max(group.words_end, group.edits_end) if isinstance(item, str) else group.edits_end)
        if not touches:
            yield group
            group = _Group()
        if isinstance(item, str):
            group.changes.append((start, end, item))
            group.edits_end = max(group.edits_end, end)
        else:
            group.words.append(item)
            group.words_end = max(group.words_end, end)
    yield group


def _text(raw: str, group: _Group) -> str:
    start = min([group.words[0].offset, *(change[0] for change in group.changes)])
    parts: list[str] = []
    for begin, end, after in group.changes:
        parts += [raw[start:begin], after]
        start = end
    parts.append(raw[start : max(start, group.words_end)])
    return " ".join(clean("".join(parts)).split())


def _box(raw: str, words: Sequence[Word]) -> Box | None:
    """The united box; of the words on the first line where they stand on several: a box over lines would cover the others."""
    first = words[0]
    boxes = [word.box for word in words if word.box is not None and "\n" not in raw[first.offset : word.offset]]
    if not boxes:
        return None
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)
