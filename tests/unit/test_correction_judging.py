"""How places are put before the model: what is asked, and what stands around it."""

from __future__ import annotations

from collections.abc import Sequence

from ocrwatch.correction.edits import Edit, Reason
from ocrwatch.correction.judge import Expectation, Question
from ocrwatch.correction.judging import judgements
from ocrwatch.correction.sites import Option, Site
from ocrwatch.correction.window import RunningText

RAW = "tbe cat sal on the mat"


class Judge:
    """Remembers what it was asked, and likes each alternative the more the later it comes."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], Question]] = []

    def gains(self, words: Sequence[str], questions: Sequence[Question], *, prompt: str) -> list[list[float]]:
        self.asked += [(list(words), question) for question in questions]
        return [[float(index) for index in range(len(question.alternatives))] for question in questions]

    def expectations(self, words: Sequence[str], places: Sequence[int], *, prompt: str) -> list[Expectation]:
        raise AssertionError("nothing is expected here")


def site(read: str, **odds: float) -> Site:
    start = RAW.index(read)
    options = tuple(Option(Edit(start, read, text, Reason.WORD, 0.0), {"edit": value}) for text, value in odds.items())
    return Site(start, start + len(read), read, options)


def judged(*sites: Site) -> tuple[Judge, list[list[str]]]:
    judge = Judge()
    answers = judgements(RunningText(RAW), sites, judge, prompt="\n", before=lambda option: option.evidence["edit"])
    return judge, [[option.edit.after for option in answer.options] for answer in answers]


def test_options_far_behind_the_best_of_their_place_are_not_asked_about() -> None:
    """Each alternative costs the model's time; one that the other evidence speaks against gets none."""
    judge, kept = judged(site("sal", sat=0.0, sad=-1.5, sol=-2.5))
    assert kept == [["sat", "sad"]]
    assert judge.asked[0][1].alternatives == ("sal", "sat", "sad")


def test_option_far_ahead_stands_in_the_context_of_other_places() -> None:
    """A misread word would spoil the context of its neighbours; at its own place the reading competes all the same."""
    judge, kept = judged(site("tbe", the=3.0), site("sal", sat=0.0))
    assert kept == [["the"], ["sat"]]
    assert judge.asked[1][0][0] == "the"
    assert judge.asked[0][1].alternatives == ("tbe", "the")
