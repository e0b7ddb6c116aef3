"""The prompted rewrite, with arithmetic in the place of a model: bounded in tokens, in time and by the context."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.correction.llama import BATCH_TOKENS, Llama
from ocrwatch.correction.model import ModelWriter
from ocrwatch.correction.rewrite import Written
from tests.faults.fake_llama import FakeLlama, logits

INSTRUCTION = "Mend it"


def text_of(tokens: int) -> str:
    """A text that has, with the instruction before it, so many tokens."""
    text = "ab" * (tokens - len(FakeLlama().tokenize(f"{INSTRUCTION}\n", first=True)))
    assert len(FakeLlama().tokenize(f"{INSTRUCTION}\n{text}", first=True)) == tokens
    return text


def greedy(text: str, count: int) -> list[int]:
    """The tokens that the model would write, one after the other."""
    history = FakeLlama().tokenize(f"{INSTRUCTION}\n{text}", first=True)
    written: list[int] = []
    for _ in range(count):
        written.append(int(logits([*history, *written]).argmax()))
    return written


def write(llama: FakeLlama, text: str, *, max_tokens: int, expired: Callable[[], bool] = lambda: False) -> Written:
    return ModelWriter(cast(Llama, llama)).write(INSTRUCTION, text, max_tokens=max_tokens, expired=expired)


def test_long_prompt_goes_in_batches_that_the_context_takes() -> None:
    """2,500 tokens are three batches; the answer follows one token at a time."""
    llama = FakeLlama(context_tokens=4096)
    write(llama, text_of(2500), max_tokens=5)
    assert llama.batches[:3] == [BATCH_TOKENS, BATCH_TOKENS, 2500 - 2 * BATCH_TOKENS]
    assert set(llama.batches[3:]) <= {1}


@given(st.integers(10, 3 * BATCH_TOKENS))
def test_prompt_is_run_once_whatever_its_length(tokens: int) -> None:
    """Every token of the prompt, none twice, no batch too large, and only one row of logits."""
    llama = FakeLlama(context_tokens=4 * BATCH_TOKENS)
    write(llama, text_of(tokens), max_tokens=0)
    assert sum(llama.batches) == tokens
    assert max(llama.batches) <= BATCH_TOKENS
    assert llama.rows == 1


@pytest.mark.parametrize("length", [0, 1, 7])
def test_answer_is_what_is_likeliest_up_to_the_end(length: int) -> None:
    """Greedy, and the same again on a model that has written before."""
    tokens = greedy("ab cd", 40)
    last = next(i for i in range(length, 40) if tokens[i] not in tokens[:i])
    llama = FakeLlama(ends={tokens[last]})
    first, again = (write(llama, "ab cd", max_tokens=40) for _ in range(2))
    assert first == again == Written(b"".join(map(llama.piece, tokens[:last])).decode(), "")


def test_endless_answer_stops_at_its_bound() -> None:
    """No part of it is used: a text that was cut off is no corrected text."""
    llama = FakeLlama()
    assert write(llama, "ab cd", max_tokens=30) == Written("", "the model's answer did not end")
    assert llama.batches.count(1) <= 30


def test_answer_ends_when_the_time_is_up() -> None:
    """Asked before each token, so nothing more is run; what was written till then is not used."""
    asked = iter([False, False, True])
    llama = FakeLlama()
    assert write(llama, "ab cd", max_tokens=30, expired=lambda: next(asked)) == Written(
        "", "the time was up before the model had answered"
    )
    assert llama.batches.count(1) == 2


@pytest.mark.parametrize("spare", [-1, 0])
def test_text_that_leaves_no_room_for_the_answer_is_not_begun(spare: int) -> None:
    """One token too few and nothing is run; with just enough it is written."""
    llama = FakeLlama(context_tokens=200 + 40 + spare)
    written = write(llama, text_of(200), max_tokens=40)
    assert (written.why == "the text is too long for the model's context") == (spare < 0)
    assert bool(llama.batches) == (spare >= 0)


def test_answers_do_not_hear_of_one_another() -> None:
    """The context is cleared: three texts in any order are answered as each alone."""
    texts = ["ab cd", "cd ab", text_of(1500)]
    ends = {token for text in texts for token in greedy(text, 12)[-1:]}
    alone = [write(FakeLlama(ends=ends), text, max_tokens=60) for text in texts]
    shared = FakeLlama(ends=ends)
    assert [write(shared, text, max_tokens=60).why for text in texts] == [answer.why for answer in alone]
    for before, after in pairwise(range(len(texts))):
        write(shared, texts[after], max_tokens=60)
        assert write(shared, texts[before], max_tokens=60) == write(shared, texts[before], max_tokens=60)
