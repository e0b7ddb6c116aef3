"""The judge, with arithmetic in the place of a model: what it answers is what the whole text would say, run word by word."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocrwatch.correction.judge import RIGHT_TOKENS, RIGHT_WORDS, Question
from ocrwatch.correction.llama import Llama
from ocrwatch.correction.model import ModelJudge
from tests.faults.fake_llama import FakeLlama, logits

PROMPT = "A letter\n\n"


def judge(toy: FakeLlama) -> ModelJudge:
    return ModelJudge(cast(Llama, toy))


def in_tokens(words: Sequence[str], *, opens: bool) -> list[int]:
    return [
        token
        for index, word in enumerate(words)
        for token in FakeLlama().tokenize(word if opens and index == 0 else f" {word}", first=False)
    ]


def score(left: Sequence[str], place: Sequence[str], right: Sequence[str]) -> float:
    """log P(place + right | prompt + left), one token after the other."""
    history = FakeLlama().tokenize(PROMPT, first=True) + in_tokens(left, opens=True)
    following = in_tokens(right[:RIGHT_WORDS], opens=not (left or place))[:RIGHT_TOKENS]
    total = 0.0
    for token in in_tokens(place, opens=not left) + following:
        row = logits(history).astype(np.float64)
        total += float(row[token] - np.log(np.exp(row).sum()))
        history.append(token)
    return total


def by_hand(words: Sequence[str], question: Question) -> list[float]:
    left, stand, right = words[: question.first], words[question.first : question.last], words[question.last :]
    return [score(left, text.split(), right) - score(left, stand, right) for text in question.alternatives]


WORDS = st.text("abcdefgh,.", min_size=1, max_size=9)
TEXTS = st.lists(WORDS, max_size=3).map(" ".join)


@st.composite
def windows(draw: st.DrawFn) -> tuple[list[str], list[Question]]:
    """Words and questions about any of them, in any order; places may overlap, alternatives may be what stands already."""
    words = draw(st.lists(WORDS, min_size=1, max_size=12))
    questions = []
    for _ in range(draw(st.integers(0, 5))):
        first = draw(st.integers(0, len(words) - 1))
        last = draw(st.integers(first, min(first + 3, len(words))))
        stand = st.just(" ".join(words[first:last]))
        questions.append(Question(first, last, tuple(draw(st.lists(TEXTS | stand, max_size=4)))))
    return words, questions


@settings(deadline=None)
@given(windows(), st.sampled_from([2, 3, 6, 64]), st.sampled_from(["branches", "cannot copy", "cannot truncate", "one sequence"]))
def test_gains_are_what_the_whole_text_says(window: tuple[list[str], list[Question]], sequences: int, memory: str) -> None:
    """However the alternatives are run, together or alone, each gain is the difference of two whole texts."""
    words, questions = window
    toy = FakeLlama(
        sequences=1 if memory == "one sequence" else sequences,
        copies=memory != "cannot copy",
        truncates=memory != "cannot truncate",
    )
    asked = judge(toy)
    assert asked.branching == (memory in ("branches", "cannot truncate"))
    for _ in range(2):  # nothing of the first answer is left in the second
        for question, gains in zip(questions, asked.gains(words, questions, prompt=PROMPT), strict=True):
            assert gains == pytest.approx(by_hand(words, question), abs=0.01)


def test_first_word_follows_the_prompt_and_last_word_has_no_right_context() -> None:
    """The ends of a window are places like others."""
    words = ["Tbe", "quick", "fcx"]
    questions = [Question(0, 1, ("The", "T he")), Question(2, 3, ("fox", "")), Question(0, 3, ("none",)), Question(3, 3, ("!",))]
    gains = judge(FakeLlama()).gains(words, questions, prompt=PROMPT)
    assert gains == [pytest.approx(by_hand(words, question), abs=0.01) for question in questions]


def test_what_stands_costs_no_branch() -> None:
    """The words as they stand, and alternatives of one token without right context, are known from the one run."""
    toy = FakeLlama()
    asked = judge(toy)
    toy.calls = 0
    gains = asked.gains(["ab", "cd"], [Question(0, 1, ("ab",)), Question(1, 2, ("ef", "gh", "cd"))], prompt=PROMPT)
    assert toy.calls == 1
    assert gains[0] == [0.0]
    assert gains[1][2] == 0.0


def test_logits_are_made_only_where_they_are_needed() -> None:
    """Rows: one a token of the place and its right context; none for the words between."""
    toy = FakeLlama()
    asked = judge(toy)
    toy.rows = 0
    asked.gains(["ab"] * 40, [Question(20, 21, ("cd",))], prompt=PROMPT)
    assert toy.rows == (1 + RIGHT_WORDS) + RIGHT_WORDS


def test_nothing_asked_is_nothing_run() -> None:
    """No question, or none with an alternative, costs nothing."""
    toy = FakeLlama()
    asked = judge(toy)
    toy.calls = 0
    assert asked.gains(["ab", "cd"], [], prompt=PROMPT) == []
    assert asked.gains([], [], prompt="") == []
    assert asked.gains(["ab", "cd"], [Question(0, 1, ())], prompt=PROMPT) == [[]]
    assert toy.calls == 0


def test_windows_longer_than_the_context_are_judged_in_stretches() -> None:
    """Each question is answered, with as much of the left text as there is room for."""
    toy = FakeLlama(context_tokens=256)
    words = [f"w{i}" for i in range(600)]
    questions = [Question(i, i + 1, ("xy", "x y")) for i in (599, 3, 300, 301, 310)]
    gains = judge(toy).gains(words, questions, prompt=PROMPT)
    assert all(math.isfinite(gain) for answer in gains for gain in answer)
    assert gains[1] == pytest.approx(by_hand(words, questions[1]), abs=0.01)


@pytest.mark.parametrize("long", ["x" * 5000, " ".join("x" * 200)])
def test_too_long_a_word_is_never_taken(long: str) -> None:
    """A place or an alternative without end gains minus infinity; others beside it are answered."""
    words = ["ab", "cd", *long.split(), "ef", "gh"]
    last = len(words) - 2
    questions = [Question(2, last, ("ab",)), Question(1, 2, ("xy", long)), Question(last, last + 1, ("xy",))]
    gains = judge(FakeLlama(context_tokens=512)).gains(words, questions, prompt=PROMPT)
    assert gains[0] == [-math.inf]
    assert math.isfinite(gains[1][0])
    assert gains[1][1] == -math.inf
    assert math.isfinite(gains[2][0])


def test_endless_prompt_leaves_room_for_the_words() -> None:
    """Of a prompt that is longer than the context its end counts."""
    gains = judge(FakeLlama(context_tokens=512)).gains(["ab", "cd"], [Question(1, 2, ("ef",))], prompt="long " * 1000)
    assert math.isfinite(gains[0][0])


@settings(deadline=None)
@given(st.lists(st.text("abcd", min_size=1, max_size=6), min_size=1, max_size=8), st.data())
def test_expectation_tells_the_surprise_of_the_unlikeliest_token(words: list[str], data: st.DataObject) -> None:
    """The surprise is that of the whole text run token by token."""
    place = data.draw(st.integers(0, len(words) - 1))
    (found,) = judge(FakeLlama()).expectations(words, [place], prompt=PROMPT)
    history = FakeLlama().tokenize(PROMPT, first=True) + in_tokens(words[:place], opens=True)
    surprises = []
    for token in in_tokens([words[place]], opens=place == 0):
        row = logits(history).astype(np.float64)
        surprises.append(float(np.log(np.exp(row).sum()) - row[token]))
        history.append(token)
    assert found.surprise == pytest.approx(max(surprises), abs=0.01)
    assert all(guess.text for guess in found.guesses)


def test_nothing_is_expected_in_a_window_beyond_the_context() -> None:
    """A hostile page with endless words gets no guesses, and no error."""
    found = judge(FakeLlama(context_tokens=64)).expectations(["ab" * 100, "cd"], [0, 1], prompt=PROMPT)
    assert [(e.surprise, e.guesses) for e in found] == [(0.0, ()), (0.0, ())]
