"""Arithmetic in the place of a model: every token costs a hash, and what the memory of llama.cpp would refuse is refused."""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from ocrwatch.correction.llama import BATCH_TOKENS

VOCABULARY = 50


class FakeLlama:
    """A model whose next token depends on all before it, with a memory as strict as llama.cpp's.

    copies, truncates: what its memory can do. ends: the tokens that end an answer. batches: how many tokens each call ran.
    """

    vocabulary_size = VOCABULARY
    start_token = 0

    def __init__(
        self,
        *,
        context_tokens: int = 2048,
        sequences: int = 6,
        copies: bool = True,
        truncates: bool = True,
        ends: Collection[int] = (),
    ) -> None:
        self.context_tokens, self.sequences = context_tokens, sequences
        self._copies, self._truncates, self._ends = copies, truncates, ends
        self._memory: dict[int, list[tuple[int, object]]] = {}
        self._pieces: dict[int, str] = {}
        self.head: tuple[int, ...] = ()
        self.rows = self.calls = 0
        self.batches: list[int] = []

    def tokenize(self, text: str, *, first: bool, special: bool = False) -> list[int]:
        """Two letters a token; a blank belongs to what follows it."""
        pieces = re.findall(r" ?\S{1,2}|\s", text)
        self._pieces.update((1 + zlib.crc32(piece.encode()) % (VOCABULARY - 1), piece) for piece in pieces)
        return [0] * first + [1 + zlib.crc32(piece.encode()) % (VOCABULARY - 1) for piece in pieces]

    def piece(self, token: int) -> bytes:
        """What was last taken to be this token."""
        return self._pieces.get(token, "").encode()

    def is_end(self, token: int) -> bool:
        """Whether the token ends an answer."""
        return token in self._ends

    def chat_prompt(self, instruction: str, text: str) -> str:
        """Both, plainly."""
        return f"{instruction}\n{text}"

    def decode(self, entries: Sequence[tuple[int, int, int, bool]]) -> NDArray[np.float32]:
        """Run (token, position, sequence, wanted) entries; the logits of the wanted ones."""
        assert 0 < len(entries) <= BATCH_TOKENS
        rows = []
        for token, position, sequence, wanted in entries:
            cells = self._memory.setdefault(sequence, [])
            assert sequence < self.sequences
            assert position == len(cells), "llama.cpp wants the next position"
            cells.append((token, object()))
            if wanted:
                rows.append(logits([t for t, _ in cells]))
        used = {id(cell) for cells in self._memory.values() for _, cell in cells}
        assert len(used) <= self.context_tokens, "no room in the cache"
        self.rows += len(rows)
        self.calls += 1
        self.batches.append(len(entries))
        return np.array(rows, dtype=np.float32).reshape(len(rows), VOCABULARY)

    def clear(self) -> None:
        """Forget everything."""
        self._memory.clear()
        self.head = ()

    def truncate(self, sequence: int, position: int) -> bool:
        """Forget a sequence from a position on; False where that is not possible."""
        cells = self._memory.get(sequence, [])
        if not self._truncates and 0 < position < len(cells):
            return False
        del cells[max(position, 0) :]
        return True

    def branch(self, sequence: int, into: int, position: int = -1) -> None:
        """Let another sequence begin as this one."""
        cells = self._memory[sequence]
        assert not self._memory.get(into), "the sequence holds another text"
        self._memory[into] = cells[: len(cells) if position < 0 else position] if self._copies else []

    def last_position(self, sequence: int) -> int:
        """Position of the last token of a sequence, -1 for an empty one."""
        return len(self._memory.get(sequence, [])) - 1


def logits(history: Sequence[int]) -> NDArray[np.float32]:
    """What follows a history: as good as random, and always the same."""
    seed = zlib.crc32(bytes(history))
    return np.random.default_rng(seed).normal(0, 3, VOCABULARY).astype(np.float32)
