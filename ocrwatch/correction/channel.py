"""The channel: what it costs, in nats, that a true text was read as another. Owns the table's form, smoothing and the cheapest
segmentation. The table itself, `channel.tsv`, is learned by `bench/correction/learn_channel.py`.

    cost(read | true) = min over segmentations of the sum of -log P(read segment | true segment)

with segments of up to two characters on either side, counted on aligned pairs, after Kernighan, Church and Gale,
"A Spelling Correction Program Based on a Noisy Channel Model" (1990), and Brill and Moore (2000) for the segments.
"""

from __future__ import annotations

import math
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

SEGMENT = 2
"""Characters of a segment, at most, on either side."""

IMPOSSIBLE = 60.0
"""Costs beyond this are not told apart."""

_PSEUDO_COUNT = 20.0
"""How many observations the guess for an unseen confusion is worth."""


class Channel:
    """Costs of misreading, from a table of counts."""

    def __init__(self, counts: dict[tuple[str, str], int]) -> None:
        totals: dict[str, int] = defaultdict(int)
        for (true, _), n in counts.items():
            totals[true] += n
        self._counts = counts
        self._totals = dict(totals)
        self._typical_total = sorted(totals.values())[len(totals) // 2] if totals else 0
        self._cache: dict[tuple[str, str], float] = {}
        self._reverse = _by_read(counts)

    def segment_cost(self, true: str, read: str) -> float:
        """-log P(read | true) of one segment, smoothed; the segment "" stands for a place between two characters."""
        known = self._cache.get((true, read))
        if known is None:
            total = self._totals.get(true, self._typical_total)
            seen = self._counts.get((true, read), 0)
            known = -math.log((seen + _PSEUDO_COUNT * _guess(true, read)) / (total + _PSEUDO_COUNT))
            self._cache[true, read] = known
        return known

    def cost(self, read: str, true: str) -> float:
        """Nats for reading `true` as `read`; at most IMPOSSIBLE."""
        rows, columns = len(true) + 1, len(read) + 1
        best = [[IMPOSSIBLE] * columns for _ in range(rows)]
        best[0][0] = 0.0
        for i in range(rows):
            for j in range(columns):
                if best[i][j] < IMPOSSIBLE:
                    self._extend(best, i, j, true=true, read=read)
        return best[-1][-1]

    def _extend(self, best: list[list[float]], i: int, j: int, *, true: str, read: str) -> None:
        here = best[i][j]
        for a in range(min(SEGMENT, len(true) - i) + 1):
            for b in range(min(SEGMENT, len(read) - j) + 1):
                before, after = true[i : i + a], read[j : j + b]
                if (a or b) and not (a == SEGMENT and before == after):
                    reached = best[i + a][j + b]
                    best[i + a][j + b] = min(reached, here + self.segment_cost(before, after))

    def sources(self, read: str) -> tuple[str, ...]:
        """True segments that were seen to be read as this one, the most frequent first."""
        return self._reverse.get(read, ())


def parse(lines: Iterable[str]) -> Channel:
    """The channel of a table's lines: `true<TAB>read<TAB>count`; lines that begin with `# ` are its provenance.

    Raises ValueError, with the line's number, for anything else.
    """
    counts: dict[tuple[str, str], int] = {}
    for number, line in enumerate(lines, 1):
        row = line.rstrip("\n")
        if row.startswith("# ") or not row:
            continue
        fields = row.split("\t")
        if len(fields) != 3 or not fields[2].isdecimal():
            raise ValueError(f"channel table, line {number}: expected true, read and a count, separated by tabs")
        counts[fields[0], fields[1]] = int(fields[2])
    return Channel(counts)


def _by_read(counts: dict[tuple[str, str], int]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for (true, read), n in counts.items():
        if true != read and n > 1:
            found[read].append((-n, true))
    return {read: tuple(true for _, true in sorted(pairs)) for read, pairs in found.items()}


def _guess(true: str, read: str) -> float:
    """The share of a segment's readings that is laid by for one that was never seen."""
    if true == read:
        return 0.95
    if not true:  # something read where nothing was: nearly every place has nothing
        return 1e-4 if len(read) == 1 else 1e-6
    if not read:
        return 0.01 if len(true) == 1 else 1e-4
    if len(true) == len(read) == 1:
        return _guess_substitution(true, read)
    return 1e-4 if len(true) + len(read) == 3 else 1e-5


def _guess_substitution(true: str, read: str) -> float:
    if true.casefold() == read.casefold() or _bare(true) == _bare(read):
        return 0.02  # another case, or an accent lost or found
    return 1e-3 if true.isalpha() and read.isalpha() else 3e-4


def _bare(character: str) -> str:
    return unicodedata.normalize("NFD", character)[0]
