"""The model as judge and as writer. Owns which tokens are run when: a window is run once, alternatives branch from it.

`ModelJudge.gains` is what the corrector asks (`judge.Judge`); `ModelWriter.write` is the prompted rewrite.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, islice

import numpy as np
from numpy.typing import NDArray

from ocrwatch.correction.judge import BEGINNING, GUESSES, RIGHT_TOKENS, RIGHT_WORDS, Expectation, Guess, Question
from ocrwatch.correction.llama import BATCH_TOKENS, Llama
from ocrwatch.correction.rewrite import Written

_MAIN = 0
"""The sequence that holds the left text; the alternatives are in the others."""

_PLACE_TOKENS = 64
"""The most that a place or an alternative may have; longer ones are no words."""

_WORTH_KEEPING = 8
"""Tokens of a prompt from which on it stays in the cache between windows: a run of its own costs as much as a few tokens."""

_LOGITS_BYTES = 128 << 20
"""Of one batch, at most: a row of Gemma 3 has a megabyte."""

_PROBE = "The quick fox"
_PROBED = Question(1, 2, ("QUICK",))
_PROBE_TOLERANCE_NATS = 0.5


@dataclass(frozen=True)
class _Step:
    """A token to run, and the tokens whose log probability after it is asked for."""

    token: int
    position: int
    sequence: int
    asked: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Tail:
    """What stands, or might stand, from a position on: the tokens of a place and of its right context."""

    start: int
    tokens: tuple[int, ...]

    def steps(self, sequence: int) -> list[_Step]:
        """What has to be run to know all of it but its first token, which follows what is run already."""
        pairs = zip(self.tokens, self.tokens[1:], strict=False)
        return [_Step(token, self.start + i, sequence, (after,)) for i, (token, after) in enumerate(pairs)]


class _Window:
    """Words in tokens, each by itself, so that it is known where a word begins."""

    def __init__(self, llama: Llama, words: Sequence[str], *, prompt: str) -> None:
        self._llama, self._words = llama, words
        self._opening = "" if prompt[-1].isspace() else " "
        head = llama.tokenize(prompt, first=True) or [llama.start_token]
        head = head[:1] + head[1:][-(llama.context_tokens // 4) :]
        pieces = [self._tokens([word], opens=index == 0) for index, word in enumerate(words)]
        self.tokens = [*head, *chain.from_iterable(pieces)]
        self.starts = list(accumulate(map(len, pieces), initial=len(head)))

    def _tokens(self, words: Sequence[str], *, opens: bool) -> list[int]:
        """opens: the first word comes straight after the prompt."""
        texts = [" " + word for word in words]
        if opens and texts:
            texts[0] = self._opening + words[0]
        return [token for text in texts for token in self._llama.tokenize(text, first=False)]

    def tails(self, question: Question) -> list[_Tail | None]:
        """As the words stand, then with each alternative; None for one with too many tokens."""
        standing = self._words[question.first : question.last]
        return [self._tail(question, place) for place in (standing, *(text.split() for text in question.alternatives))]

    def _tail(self, question: Question, place: Sequence[str]) -> _Tail | None:
        opens = question.first == 0
        tokens = self._tokens(place, opens=opens)
        if len(tokens) > _PLACE_TOKENS:
            return None
        right = self._words[question.last : question.last + RIGHT_WORDS]
        following = self._tokens(right, opens=opens and not place)[:RIGHT_TOKENS]
        return _Tail(self.starts[question.first], (*tokens, *following))


class ModelJudge:
    """Scores alternatives; each call stands by itself. branching: whether they run as parallel sequences."""

    def __init__(self, llama: Llama) -> None:
        self._llama = llama
        self.branching = llama.sequences > 1 and self._probe()

    def gains(self, words: Sequence[str], questions: Sequence[Question], *, prompt: str) -> list[list[float]]:
        """See `judge.Judge`. The words are run once; the alternatives of all places branch from them, together."""
        prompt = prompt or BEGINNING
        answers = [[-math.inf] * len(question.alternatives) for question in questions]
        starts = _Window(self._llama, words, prompt=prompt).starts
        for begin, group in _stretches(questions, starts, room=self._llama.context_tokens // 2):
            end = max(questions[i].last for i in group) + RIGHT_WORDS
            moved = [replace(questions[i], first=questions[i].first - begin, last=questions[i].last - begin) for i in group]
            found = self._judge(_Window(self._llama, words[begin:end], prompt=prompt), moved)
            for index, gains in zip(group, found, strict=True):
                answers[index] = gains
        return answers

    def expectations(self, words: Sequence[str], places: Sequence[int], *, prompt: str) -> list[Expectation]:
        """See `judge.Judge`. The words are run once, nothing branches. A window beyond the context gives nothing."""
        window = _Window(self._llama, words, prompt=prompt or BEGINNING)
        if len(window.tokens) > self._llama.context_tokens:
            return [Expectation(0.0, ())] * len(places)
        heard = {at - 1 for place in places for at in range(window.starts[place], window.starts[place + 1])}
        self._llama.clear()
        pairs = zip(window.tokens, [*window.tokens[1:], window.tokens[0]], strict=True)
        steps = [_Step(token, i, _MAIN, (after,) if i in heard else ()) for i, (token, after) in enumerate(pairs)]
        told = {step.position: _told(row, step.asked[0]) for step, row in self._rows(steps) if row is not None}
        return [self._expectation(window, place, told) for place in places]

    def _expectation(self, window: _Window, place: int, told: Mapping[int, tuple[float, list[int]]]) -> Expectation:
        begun, guesses, surprise = b"", [], 0.0
        for at in range(window.starts[place], window.starts[place + 1]):
            surprise = max(surprise, told[at - 1][0])
            for token in told[at - 1][1]:
                text = self._llama.piece(token).decode("utf-8", "replace")
                if text[:1].isspace() is (at == window.starts[place]) and text.strip():
                    guesses.append(Guess(len(begun.decode("utf-8", "ignore").lstrip()), text.strip()))
            begun += self._llama.piece(window.tokens[at])
        return Expectation(round(surprise, 3), tuple(guesses))

    def _judge(self, window: _Window, questions: Sequence[Question]) -> list[list[float]]:
        """The gains of questions about a window that the context holds."""
        tails = [window.tails(question) for question in questions]
        asked: dict[int, set[int]] = defaultdict(set)
        for tail in filter(None, chain(*tails)):
            asked[tail.start - 1].update(tail.tokens[:1])
        stands = [tail for tail, *_ in tails if tail is not None]
        for step in chain(*(stand.steps(_MAIN) for stand in stands)):
            asked[step.position].update(step.asked)
        known = self._prefill(window, asked)
        scores = {stand: sum(known[stand.start + i - 1, token] for i, token in enumerate(stand.tokens)) for stand in stands}
        branches = [tail for tail in dict.fromkeys(filter(None, chain(*tails))) if tail not in scores]
        run = self._run_branches if self.branching else self._run_one_by_one
        for tail, value in zip(branches, run(branches, window.tokens), strict=True):
            scores[tail] = value + sum(known[tail.start - 1, token] for token in tail.tokens[:1])
        return [_differences(*(None if tail is None else scores[tail] for tail in group)) for group in tails]

    def _prefill(self, window: _Window, asked: Mapping[int, set[int]]) -> dict[tuple[int, int], float]:
        """The log probability of each token asked for after each position; the main sequence then holds the tokens."""
        begin = self._begin(tuple(window.tokens[: window.starts[0] - 1]))  # something is asked after the prompt's last token
        tokens = window.tokens
        steps = [_Step(tokens[i], i, _MAIN, tuple(asked.get(i, ()))) for i in range(begin, max(asked, default=-1) + 1)]
        values = self._run(steps)
        return {
            (step.position, token): value
            for step, found in zip(steps, values, strict=True)
            for token, value in zip(step.asked, found, strict=True)
        }

    def _begin(self, head: tuple[int, ...]) -> int:
        """Let the main sequence hold what all texts with a prompt begin with; how many tokens that are.

        Run by itself, always: in one batch with the words it would come out a little different each time.
        """
        llama = self._llama
        if len(head) < _WORTH_KEEPING:
            head = ()
        if not head or head != llama.head or not llama.truncate(_MAIN, len(head)):
            llama.clear()
            self._run([_Step(token, i, _MAIN) for i, token in enumerate(head)])
            llama.head = head
        return len(head)

    def _run_branches(self, tails: Sequence[_Tail], tokens: Sequence[int]) -> list[float]:
        """The log probabilities of all tokens but the first of each tail, as parallel sequences in as few batches as fit."""
        sums = []
        for group in self._groups(tails, self._llama.context_tokens - len(tokens)):
            steps = [tail.steps(sequence) for sequence, tail in enumerate(group, _MAIN + 1)]
            for sequence, tail in enumerate(group, _MAIN + 1):
                self._llama.branch(_MAIN, sequence, tail.start)
            try:
                values = iter(self._run(list(chain(*steps))))
            finally:
                for sequence in range(_MAIN + 1, _MAIN + 1 + len(group)):
                    self._llama.truncate(sequence, -1)
            sums += [sum(chain(*islice(values, len(own)))) for own in steps]
        return sums

    def _groups(self, tails: Sequence[_Tail], room: int) -> Iterator[list[_Tail]]:
        """As many at a time as there are sequences, and room for in the cache."""
        group: list[_Tail] = []
        for tail in tails:
            if len(group) == self._llama.sequences - 1 or sum(len(t.tokens) for t in (*group, tail)) > room:
                yield group
                group = []
            group.append(tail)
        if group:
            yield group

    def _run_one_by_one(self, tails: Sequence[_Tail], tokens: Sequence[int]) -> list[float]:
        """The same for a model whose memory cannot branch; from the end, so that what is cut off is not needed again."""
        sums = {}
        for tail in sorted(tails, key=lambda tail: tail.start, reverse=True):
            kept = tail.start
            if not self._llama.truncate(_MAIN, kept):
                self._llama.clear()
                kept = 0
            before = [_Step(tokens[i], i, _MAIN) for i in range(kept, tail.start)]
            sums[tail] = sum(chain(*self._run([*before, *tail.steps(_MAIN)])))
        return [sums[tail] for tail in tails]

    def _run(self, steps: Sequence[_Step]) -> list[list[float]]:
        """The log probabilities asked for after each step."""
        return [[] if row is None else _log_probabilities_of(row, step.asked) for step, row in self._rows(steps)]

    def _rows(self, steps: Sequence[_Step]) -> Iterator[tuple[_Step, NDArray[np.float32] | None]]:
        """Each step with the logits after it, where something is asked; to be read before the next is taken."""
        for part in self._parts(steps):
            rows = iter(self._llama.decode([(s.token, s.position, s.sequence, bool(s.asked)) for s in part]))
            yield from ((step, next(rows) if step.asked else None) for step in part)

    def _parts(self, steps: Sequence[_Step]) -> Iterator[Sequence[_Step]]:
        """Batches, bounded in tokens and in logits."""
        most_rows = max(1, _LOGITS_BYTES // (4 * self._llama.vocabulary_size))
        begin = rows = 0
        for index, step in enumerate(steps):
            rows += bool(step.asked)
            if index - begin == BATCH_TOKENS or rows > most_rows:
                yield steps[begin:index]
                begin, rows = index, int(bool(step.asked))
        yield from [steps[begin:]] if steps[begin:] else []

    def _probe(self) -> bool:
        """Whether sequences branch as they should: copies end where they should, can be dropped, give what one alone gives.

        Two runs of a few tokens: whoever waits for the model waits for this.
        """
        window = _Window(self._llama, _PROBE.split(), prompt=BEGINNING)
        stand, *others = (tail for tail in window.tails(_PROBED) if tail is not None)
        known = self._prefill(window, {step.position: set(step.asked) for step in stand.steps(_MAIN)})
        self._llama.branch(_MAIN, 1, stand.start)
        whole = self._llama.last_position(1) == stand.start - 1
        if not (whole and self._llama.truncate(1, -1) and self._llama.last_position(1) == -1):
            return False
        together, *_ = self._run_branches([stand, *others], window.tokens)
        return abs(together - sum(known.values())) < _PROBE_TOLERANCE_NATS


class ModelWriter:
    """Lets the model write, greedily."""

    def __init__(self, llama: Llama) -> None:
        self._llama = llama

    def write(self, instruction: str, text: str, *, max_tokens: int, expired: Callable[[], bool]) -> Written:
        """The model's answer to the instruction and the text. Clears what the context holds."""
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


def _stretches(questions: Sequence[Question], starts: Sequence[int], *, room: int) -> Iterator[tuple[int, list[int]]]:
    """Questions that fit into one window of so many tokens, and the word that it begins with; in all but odd cases: all, and 0.

    starts: of the words, in tokens. Questions about too long places, and those without alternatives, are left out.
    """
    begin = 0
    group: list[int] = []
    head = starts[0]
    for index in sorted(range(len(questions)), key=lambda i: questions[i].first):
        first, last = starts[questions[index].first], starts[questions[index].last]
        if last - first > _PLACE_TOKENS or not questions[index].alternatives:
            continue
        if head + last + RIGHT_TOKENS - starts[begin] > room:
            if group:
                yield begin, group
            begin, group = bisect_left(starts, first - (room - head) // 2), []
        group.append(index)
    if group:
        yield begin, group


def _differences(standing: float | None, *others: float | None) -> list[float]:
    """By how much each is more than what stands; what is not known is never better."""
    return [-math.inf if standing is None or other is None else round(other - standing, 3) for other in others]


def _told(row: NDArray[np.float32], token: int) -> tuple[float, list[int]]:
    """The surprise of a token, in nats, and the likeliest tokens in its place, the likeliest first."""
    likely = np.argpartition(row, -GUESSES)[-GUESSES:]
    return -_log_probabilities_of(row, [token])[0], [int(other) for other in likely[np.argsort(-row[likely])]]


def _log_probabilities_of(row: NDArray[np.float32], tokens: Sequence[int]) -> list[float]:
    """The log probabilities of some tokens, without a whole log-softmax in memory."""
    top = row.max()
    normalizer = float(top) + math.log(float(np.exp(row - top).sum()))
    return [float(row[token]) - normalizer for token in tokens]
