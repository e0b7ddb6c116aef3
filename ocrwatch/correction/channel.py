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
from functools import lru_cache

SEGMENT = 2
"""Characters of a segment, at most, on either side."""

IMPOSSIBLE = 60.0
"""Costs beyond this are not told apart."""

_PSEUDO_COUNT = 20.0
"""How many observations the guess for an unseen confusion is worth."""

_REMEMBERED = 1 << 14
"""Costs that are kept: the candidates for a word differ in the same few places."""


class Channel:
    """Costs of misreading, from a table of counts."""

    def __init__(self, counts: dict[tuple[str, str], int]) -> None:
        totals: dict[str, int] = defaultdict(int)
        for (true, _), n in counts.items():
            totals[true] += n
        self._counts = counts
        self._totals = dict(totals)
        self._typical_total = sorted(totals.values())[len(totals) // 2] if totals else 0
        self._costs: dict[str, _Costs] = {}
        self._known = lru_cache(_REMEMBERED)(self._cheapest)
        self._reverse = _by_read(counts)

    def segment_cost(self, true: str, read: str) -> float:
        """-log P(read | true) of one segment, smoothed; the segment "" stands for a place between two characters."""
        total = self._totals.get(true, self._typical_total)
        seen = self._counts.get((true, read), 0)
        return -math.log((seen + _PSEUDO_COUNT * _guess(true, read)) / (total + _PSEUDO_COUNT))

    def cost(self, read: str, true: str) -> float:
        """Nats for reading `true` as `read`; at most IMPOSSIBLE."""
        return self._known(read, true)

    def _cheapest(self, read: str, true: str) -> float:
        ends = [[(j - b, read[j - b : j]) for b in range(min(SEGMENT, j) + 1)] for j in range(len(read) + 1)]
        rows: list[list[float]] = []  # the cheapest way to have read so much, a row for each length of the true text
        for i in range(len(true) + 1):
            row = [IMPOSSIBLE] * len(ends)
            rows.append(row)
            sources = [(rows[i - a], self._costs_of(true[i - a : i])) for a in range(min(SEGMENT, i) + 1)]
            for j, segments in enumerate(ends):
                best = IMPOSSIBLE if i or j else 0.0
                for before, costs in sources:
                    for start, segment in segments:
                        reached = before[start] + costs[segment]
                        if reached < best:  # noqa: PLR1730 - min() takes half as long again
                            best = reached
                row[j] = best
        return rows[-1][-1]

    def _costs_of(self, true: str) -> _Costs:
        known = self._costs.get(true)
        if known is None:
            known = self._costs[true] = _Costs(self, true)
        return known

    def sources(self, read: str) -> tuple[str, ...]:
        """True segments that were seen to be read as this one, the most frequent first."""
        return self._reverse.get(read, ())


class _Costs(dict[str, float]):
    """What one true segment costs, by what was read, filled as it is asked: `Channel.cost` asks for millions."""

    def __init__(self, channel: Channel, true: str) -> None:
        super().__init__()
        self._channel, self._true = channel, true

    def __missing__(self, read: str) -> float:
        # Two characters read right are two segments, and nothing read where nothing is leads nowhere.
        leads_on = read != self._true or len(read) == 1
        self[read] = self._channel.segment_cost(self._true, read) if leads_on else math.inf
        return self[read]


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
