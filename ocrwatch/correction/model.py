"""The model as judge and as writer. Owns which tokens are run when: prefixes are kept, alternatives branch from them.

`ModelJudge.score` is what the corrector asks (`corrector.Judge`); `ModelWriter.write` is the prompted rewrite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ocrwatch.correction.llama import BATCH_TOKENS, MAX_SEQUENCES, Llama
from ocrwatch.correction.rewrite import Written

_MAIN = 0
"""The sequence that holds the left text; the alternatives are in the others."""

_LONGEST_STEM = 40
"""Characters of a word's beginning that are run again with each alternative."""

_PROBE = "The quick brown fox"
_PROBE_TOLERANCE_NATS = 0.5


class ModelJudge:
    """Scores texts with the left text's cache kept from call to call."""

    def __init__(self, llama: Llama) -> None:
        self._llama = llama
        self._held: list[int] = []
        self._after: NDArray[np.float32] = np.empty(0, dtype=np.float32)
        self.branching = self._probe()
        self.reset()

    def reset(self) -> None:
        """Forget everything held, so that a page's scores do not depend on the pages before it."""
        self._llama.clear()
        self._held = []

    def score(self, left: str, alternatives: Sequence[str], right: str) -> list[float]:
        """log P(alternative + right | left) of each, in nats."""
        cut = _last_break(left)
        prefix = self._bounded(self._llama.tokenize(left[:cut], first=True) or [self._llama.start_token])
        stem = left[cut:]
        tails = [self._llama.tokenize(stem + text + right, first=False) for text in alternatives]
        self._hold(prefix)
        first = _log_softmax(self._after[np.newaxis, :])[0]
        scores = [float(first[tail[0]]) for tail in tails]
        run = self._run_branches if self.branching else self._run_one_by_one
        for start in range(0, len(tails), MAX_SEQUENCES - 1):
            group = range(start, min(start + MAX_SEQUENCES - 1, len(tails)))
            for index, more in zip(group, run([tails[i] for i in group]), strict=True):
                scores[index] += more
        return [round(score, 3) for score in scores]

    def _bounded(self, tokens: list[int]) -> list[int]:
        room = self._llama.context_tokens // 2
        return tokens if len(tokens) <= room else [tokens[0], *tokens[-room + 1 :]]

    def _hold(self, tokens: list[int]) -> None:
        """Make the main sequence hold exactly these tokens, and keep the logits that follow them."""
        if tokens == self._held:
            return
        same = next(
            (i for i, (a, b) in enumerate(zip(self._held, tokens, strict=False)) if a != b), min(len(self._held), len(tokens))
        )
        same = min(same, len(tokens) - 1)
        if same < len(self._held) and not self._llama.truncate(_MAIN, same):
            self._llama.clear()
            same = 0
        for start in range(same, len(tokens), BATCH_TOKENS):
            end = min(start + BATCH_TOKENS, len(tokens))
            logits = self._llama.decode([(tokens[i], i, _MAIN, i == len(tokens) - 1) for i in range(start, end)])
        self._after = logits[-1].copy()
        self._held = list(tokens)

    def _run_branches(self, tails: list[list[int]]) -> list[float]:
        """The log probabilities of all tokens but the first of each tail, as parallel sequences in as few batches as fit."""
        sums = [0.0] * len(tails)
        base = len(self._held)
        room = min(BATCH_TOKENS, self._llama.context_tokens - base)
        entries: list[tuple[int, int, int, bool]] = []
        followers: list[tuple[int, int]] = []
        for number, tail in enumerate(tails):
            if len(entries) + len(tail) > room:
                self._finish_branches(entries, followers, sums)
                entries, followers = [], []
            self._llama.branch(_MAIN, number + 1)
            entries += [(token, base + i, number + 1, True) for i, token in enumerate(tail[:-1])]
            followers += [(number, token) for token in tail[1:]]
        self._finish_branches(entries, followers, sums)
        return sums

    def _finish_branches(
        self, entries: list[tuple[int, int, int, bool]], followers: list[tuple[int, int]], sums: list[float]
    ) -> None:
        self._add_up(entries, followers, sums)
        for sequence in range(1, MAX_SEQUENCES):
            self._llama.truncate(sequence, -1)

    def _run_one_by_one(self, tails: list[list[int]]) -> list[float]:
        """The same for a model whose memory cannot branch."""
        sums = [0.0] * len(tails)
        prefix = self._held
        for number, tail in enumerate(tails):
            entries = [(token, len(prefix) + i, _MAIN, True) for i, token in enumerate(tail[:-1])]
            self._add_up(entries, [(number, token) for token in tail[1:]], sums)
            if not self._llama.truncate(_MAIN, len(prefix)):
                self._llama.clear()
                self._held = []
                self._hold(prefix)
        return sums

    def _add_up(self, entries: list[tuple[int, int, int, bool]], followers: list[tuple[int, int]], sums: list[float]) -> None:
        if not entries:
            return
        rows = self._llama.decode(entries)
        wanted = np.array([token for _, token in followers])
        for (number, _), value in zip(followers, _log_probabilities(rows, wanted), strict=True):
            sums[number] += float(value)

    def _probe(self) -> bool:
        """Whether sequences branch as they should: copies are whole, can be dropped, and give what one alone gives."""
        tokens = self._llama.tokenize(_PROBE, first=True)
        self._llama.clear()
        self._held = []
        self._hold(tokens[:-2])
        tail = tokens[-2:]
        self._llama.branch(_MAIN, 1)
        whole = self._llama.last_position(1) == len(self._held) - 1
        if not (whole and self._llama.truncate(1, -1)):
            return False
        together = self._run_branches([tail, tail])
        alone = self._run_one_by_one([tail])
        return max(abs(value - alone[0]) for value in together) < _PROBE_TOLERANCE_NATS


class ModelWriter:
    """Lets the model write, greedily."""

    def __init__(self, llama: Llama) -> None:
        self._llama = llama

    def write(self, instruction: str, text: str, *, max_tokens: int, expired: Callable[[], bool]) -> Written:
        """The model's answer to the instruction and the text. Clears what a judge holds: reset it after."""
        llama = self._llama
        prompt = llama.tokenize(llama.chat_prompt(instruction, text), first=True, special=True)
        room = llama.context_tokens - len(prompt)
        if room < max_tokens:
            return Written("", "the text is too long for the model's context")
        llama.clear()
        for start in range(0, len(prompt), BATCH_TOKENS):
            end = min(start + BATCH_TOKENS, len(prompt))
            logits = llama.decode([(prompt[i], i, _MAIN, i == len(prompt) - 1) for i in range(start, end)])
        answer = bytearray()
        for position in range(len(prompt), len(prompt) + max_tokens):
            token = int(logits[-1].argmax())
            if llama.is_end(token):
                return Written(answer.decode("utf-8", "replace"), "")
            if expired():
                return Written("", "the time was up before the model had answered")
            answer += llama.piece(token)
            logits = llama.decode([(token, position, _MAIN, True)])
        return Written("", "the model's answer did not end")


def _last_break(text: str) -> int:
    """Where the last white space begins: tokens begin with their space, so the text is cut before it."""
    stripped = text.rstrip()
    return len(stripped) if stripped != text else max(text.rfind(" "), len(text) - _LONGEST_STEM, 0)


def _log_softmax(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    top = rows.max(axis=1, keepdims=True)
    shifted: NDArray[np.float32] = rows - top - np.log(np.exp(rows - top).sum(axis=1, keepdims=True))
    return shifted


def _log_probabilities(rows: NDArray[np.float32], tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """The log probability of one token a row, without a whole log-softmax in memory."""
    top = rows.max(axis=1)
    normalizer = top + np.log(np.exp(rows - top[:, np.newaxis]).sum(axis=1))
    chosen: NDArray[np.float32] = rows[np.arange(len(tokens)), tokens] - normalizer
    return chosen
