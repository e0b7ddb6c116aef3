"""How the demo shows edits: coloured on a terminal, `[-read-]{+corrected+}` in a pipe. Pure but for the look at the stream."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from ocrwatch.correction.edits import Edit


@dataclass(frozen=True)
class Marks:
    """The strings around what is removed, added, strong, and a heading."""

    removed: tuple[str, str] = ("[-", "-]")
    added: tuple[str, str] = ("{+", "+}")
    bold: tuple[str, str] = ("", "")

    @staticmethod
    def for_stream(stream: TextIO) -> Marks:
        """Colours where a person looks and has not forbidden them (NO_COLOR), else marks."""
        if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            return Marks()
        return Marks(removed=("\x1b[9;31m", "\x1b[0m"), added=("\x1b[1;32m", "\x1b[0m"), bold=("\x1b[1m", "\x1b[0m"))

    def edit(self, edit: Edit) -> str:
        """What was read, and what it became."""
        before = self.removed[0] + edit.before + self.removed[1] if edit.before else ""
        after = self.added[0] + edit.after + self.added[1] if edit.after else ""
        return before + after

    def strong(self, text: str) -> str:
        """Text that stands out."""
        return self.bold[0] + text + self.bold[1]

    def heading(self, text: str) -> str:
        """The title of a step, with a line of room above."""
        return "\n" + self.strong(f"=== {text} ===")


def marked_lines(raw: str, edits: Sequence[Edit], marks: Marks, *, every: bool) -> Iterator[str]:
    """The lines of a page as read, with the edits marked in them; every line, or only those that have one."""
    start = 0
    for line in raw.splitlines(keepends=True):
        end = start + len(line)
        here = [edit for edit in edits if start <= edit.offset < end]
        if line.strip() and (every or here):
            yield _marked(line, start, here, marks).rstrip()
        start = end


def _marked(line: str, start: int, edits: Sequence[Edit], marks: Marks) -> str:
    parts, position = [], 0
    for edit in edits:
        offset = edit.offset - start
        parts += [line[position:offset], marks.edit(edit)]
        position = offset + len(edit.before)
    return "".join([*parts, line[position:]])
