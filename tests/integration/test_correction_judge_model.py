"""The judge with a real model: alternatives that branch are worth what they are worth alone."""

from __future__ import annotations

import pytest

from ocrwatch.correction.judge import Question
from ocrwatch.correction.llama import Llama, LoadOptions
from ocrwatch.correction.model import ModelJudge
from tests.faults import models

pytestmark = pytest.mark.slow

TEXT = (
    "Tbe recipiont automatically receives a licerise from the original licensors, to run, modify and propagate tlie work, "
    "subject to these terms. You are not responsib1e for enforcing compliance by third parties with this Licence."
)
WORDS = TEXT.split()
QUESTIONS = [
    Question(0, 1, ("The", "Toe")),
    Question(1, 2, ("recipient", "recipients", "recipiont")),
    Question(5, 6, ("license", "licence", "lice rise")),
    Question(15, 16, ("the", "tile")),
    Question(24, 25, ("responsible", "response")),
    Question(len(WORDS) - 1, len(WORDS), ("License.", "Silence.")),
]
TOLERANCE_NATS = 1.0
"""Activations are rounded to eight bits, which makes much of the last bit of a differently shaped batch."""


@pytest.fixture(scope="module")
def judge() -> ModelJudge:
    return ModelJudge(Llama(LoadOptions(str(models.smollm2()), gpu_layers=0, context_tokens=2048)))


def test_branches_gain_what_each_alone_gains(judge: ModelJudge) -> None:
    """In parallel and one after another: the same within rounding, and the right words win."""
    assert judge.branching
    together = judge.gains(WORDS, QUESTIONS, prompt="\n")
    judge.branching = False
    alone = judge.gains(WORDS, QUESTIONS, prompt="\n")
    judge.branching = True
    for left, right in zip(together, alone, strict=True):
        assert left == pytest.approx(right, abs=TOLERANCE_NATS)
    assert together[1][0] > 5
    assert together[1][2] == 0.0
    assert together[2][0] > 5
    assert together[3][0] > 5 > together[3][1]
    assert together[4][0] > 5


def test_same_question_has_the_same_answer(judge: ModelJudge) -> None:
    """To the last digit, whatever was asked between."""
    first = judge.gains(WORDS, QUESTIONS, prompt="\n")
    judge.gains(WORDS[:9], QUESTIONS[:1], prompt="An invoice.\n\n")
    assert judge.gains(WORDS, QUESTIONS, prompt="\n") == first


def test_more_alternatives_than_sequences_and_context_are_answered(judge: ModelJudge) -> None:
    """Two hundred alternatives in a text longer than the context."""
    words = WORDS * 60
    questions = [Question(i, i + 1, ("the", "a", "of", "word", "nothing much")) for i in range(1, len(words), 45)]
    gains = judge.gains(words, questions, prompt="\n")
    assert [len(answer) for answer in gains] == [5] * len(questions)
    assert all(-200 < gain < 200 for answer in gains for gain in answer)
