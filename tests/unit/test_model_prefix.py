"""A prompt stays in the model's cache between windows, and no answer shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocrwatch.correction.judge import Question
from ocrwatch.correction.llama import Llama
from ocrwatch.correction.model import ModelJudge, ModelWriter
from ocrwatch.errors import ModelUnavailable
from tests.faults.fake_llama import FakeLlama

LONG = "A letter about money, and of whom\n\n"
PROMPTS = (LONG, "A letter about other things, and who\n\n", "\n", "")
WORDS = ["ab", "cdef", "gh", "ij"]
QUESTIONS = [Question(1, 2, ("cd", "ef gh")), Question(3, 4, ("kl",))]


def gains(llama: FakeLlama, prompt: str, words: Sequence[str] = WORDS) -> list[list[float]]:
    return ModelJudge(cast(Llama, llama)).gains(words, QUESTIONS, prompt=prompt)


def test_prompt_is_run_once_for_all_windows() -> None:
    """The second window costs its words, and the last token of the prompt, after which something is asked."""
    llama = FakeLlama()
    judge = ModelJudge(cast(Llama, llama))
    judge.gains(WORDS, QUESTIONS, prompt=LONG)
    first, llama.batches = sum(llama.batches), []
    judge.gains(WORDS, QUESTIONS, prompt=LONG)
    head = len(llama.tokenize(LONG, first=True)) - 1
    assert head > 10
    assert sum(llama.batches) <= first - head


@settings(deadline=None)
@given(st.lists(st.sampled_from([*PROMPTS, "write", "expect"]), max_size=6), st.sampled_from(PROMPTS), st.booleans())
def test_answer_is_the_same_whatever_came_before(before: list[str], prompt: str, truncates: bool) -> None:
    """Other prompts, a rewrite, expectations: to the last digit what a fresh model says."""
    llama = FakeLlama(truncates=truncates)
    judge, writer = ModelJudge(cast(Llama, llama)), ModelWriter(cast(Llama, llama))
    for what in before:
        if what == "write":
            writer.write("Mend it", "ab cd", max_tokens=3, expired=lambda: False)
        elif what == "expect":
            judge.expectations(WORDS, [1], prompt="")
        else:
            judge.gains(["mn", *WORDS], QUESTIONS, prompt=what)
    assert judge.gains(WORDS, QUESTIONS, prompt=prompt) == gains(FakeLlama(truncates=truncates), prompt)


def test_window_that_failed_leaves_nothing_behind() -> None:
    """A request that the cache had no room for is answered with an error; the next one as ever."""

    class Failing(FakeLlama):
        fails_at = -1

        def branch(self, sequence: int, into: int, position: int = -1) -> None:
            super().branch(sequence, into, position)
            self.fails_at = self.calls if self.fails_at == 0 else self.fails_at

        def decode(self, entries: Sequence[tuple[int, int, int, bool]]):  # type: ignore[no-untyped-def]
            if self.fails_at == self.calls:
                self.fails_at = -1
                raise ModelUnavailable("no room")
            return super().decode(entries)

    llama = Failing()
    judge = ModelJudge(cast(Llama, llama))
    judge.gains(WORDS, QUESTIONS, prompt=LONG)
    llama.fails_at = 0
    with pytest.raises(ModelUnavailable):
        judge.gains(WORDS, QUESTIONS, prompt=LONG)
    assert judge.gains(WORDS, QUESTIONS, prompt=LONG) == gains(FakeLlama(), LONG)
