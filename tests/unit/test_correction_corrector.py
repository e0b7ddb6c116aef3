"""The corrector with a judge that is told what to like: which places it asks about, and what it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocrwatch.correction import channel
from ocrwatch.correction.corrector import correct_page
from ocrwatch.correction.edits import Reason, apply, undo
from ocrwatch.correction.judge import Question
from ocrwatch.correction.protocol import Correction, CorrectionRequest, Mode
from ocrwatch.correction.rewrite import Written
from ocrwatch.correction.weights import Weights
from ocrwatch.ocr.engine import Alternative, Word

TABLE = channel.parse((files("ocrwatch.correction") / "channel.tsv").read_text(encoding="utf-8").splitlines())
WEIGHTS = Weights(
    judged={"edit": -1.0, "gain": 0.8, "cost": -0.8, "quote": 9.0},
    prior={"zipf": 2.0, "read_zipf": -2.5, "cost": -0.8, "split": -2.0, "join": -2.0, "quote": 9.0},
    margin=1.0,
    least=-5.0,
    foreign=0.22,
)
WORDS = "the a of on mat cat sat total date invoice quick was with license recipient now not note known well mike"


class Lexicon:
    """A small word list."""

    covers = True

    def __init__(self, words: str = WORDS) -> None:
        self._words = words.split()

    def frequency(self, word: str) -> float:
        return 5.0 if word.casefold() in self._words else 0.0

    def near(self, word: str, distance: int) -> list[str]:
        return [w for w in self._words if abs(len(w) - len(word)) <= distance and w != word.casefold()]


class Judge:
    """Likes words of the list by the same number of nats, and remembers what it was asked."""

    def __init__(self, liking: float = 25.0) -> None:
        self.asked: list[tuple[list[str], Question]] = []
        self._liking = liking
        self._lexicon = Lexicon()

    def gains(self, words: Sequence[str], questions: Sequence[Question], *, prompt: str) -> list[list[float]]:
        self.asked += [(list(words), question) for question in questions]
        return [[self._like(text.split(" ")) - self._like(words[q.first : q.last]) for text in q.alternatives] for q in questions]

    def _like(self, words: Sequence[str]) -> float:
        return self._liking if all(self._lexicon.frequency(w.strip(".,‘")) for w in words) else 0.0


class Writer:
    """Answers what it was given to answer."""

    def __init__(self, answer: str) -> None:
        self._answer = answer

    def write(self, instruction: str, text: str, *, max_tokens: int, expired: Callable[[], bool]) -> Written:
        return Written(self._answer, "")


def corrected(request: CorrectionRequest, judge: Judge | None = None, writer: Writer | None = None) -> tuple[str, Correction]:
    result = correct_page(request, judge=judge or Judge(), lexicon=Lexicon(), channel=TABLE, writer=writer, weights=WEIGHTS)
    return apply(request.text, result.edits), result


def test_page_without_suspicious_words_costs_nothing() -> None:
    """The model is not asked about a page of known words and numbers."""
    judge = Judge()
    text, result = corrected(CorrectionRequest("The cat sat on the mat: total 12.50\n"), judge)
    assert (text, judge.asked, result.suspicious, result.scored) == ("The cat sat on the mat: total 12.50\n", [], 0, 0)


def test_page_is_corrected_where_the_judge_is_sure() -> None:
    """A misread word is replaced, with offset, reason and score; the rest of the page stays."""
    text, result = corrected(CorrectionRequest("The cat sat on tlie mat\nwith the recipiont\n"))
    assert text == "The cat sat on the mat\nwith the recipient\n"
    assert [(e.offset, e.before, e.after, e.reason) for e in result.edits] == [
        (15, "tlie", "the", Reason.WORD),
        (33, "recipiont", "recipient", Reason.WORD),
    ]
    assert all(e.score > 0 for e in result.edits)


def test_page_stays_raw_where_the_judge_is_not_sure() -> None:
    """A gain that does not pay the channel's cost and the margin changes nothing."""
    text, result = corrected(CorrectionRequest("The cat sat on tlie mat"), Judge(liking=3.0))
    assert text == "The cat sat on tlie mat"
    assert result.scored == 1


@pytest.mark.parametrize(("caution", "edits"), [(0.0, 1), (1.0, 1), (20.0, 0)])
def test_caution_moves_the_margin(caution: float, edits: int) -> None:
    """One number makes the correction bolder or stricter."""
    _, result = corrected(CorrectionRequest("The cat sat on tlie mat", caution=caution))
    assert len(result.edits) == edits


def test_tutorial_total_needs_no_model() -> None:
    """`$1O0.00` is mended by rule, whatever the judge thinks."""
    text, result = corrected(CorrectionRequest("Total: $1O0.00\nDate: 2023-07-15"), Judge(liking=0.0))
    assert text == "Total: $100.00\nDate: 2023-07-15"
    assert [e.reason for e in result.edits] == [Reason.LETTER_TO_DIGIT]


def test_exceptions_can_be_switched_off() -> None:
    """Without the two exceptions no digit comes or goes."""
    raw = "Total $1O0.00 the qu1ck cat"
    text, _ = corrected(CorrectionRequest(raw, letter_to_digit=False, digit_to_letter=False))
    assert text == raw


def test_misread_letter_is_mended_when_the_judge_agrees() -> None:
    """A digit in a word becomes a letter by the model's consent only, with its own reason."""
    text, result = corrected(CorrectionRequest("The qu1ck cat sat"))
    assert (text, [e.reason for e in result.edits]) == ("The quick cat sat", [Reason.DIGIT_TO_LETTER])
    assert corrected(CorrectionRequest("The qu1ck cat sat"), Judge(liking=0.0))[0] == "The qu1ck cat sat"


def test_name_that_occurs_twice_is_left_alone() -> None:
    """An unlisted capitalized word is a name when the page, or an earlier one, has it again."""
    assert corrected(CorrectionRequest("The Mlke sat"))[0] == "The Mike sat"
    assert corrected(CorrectionRequest("The Mlke sat on Mlke"))[0] == "The Mlke sat on Mlke"
    assert corrected(CorrectionRequest("The Mlke sat", earlier=("with Mlke",)))[0] == "The Mlke sat"


def test_word_broken_over_a_line_end_is_mended_in_one_half() -> None:
    """The halves are judged as one word; the line end stays where it is."""
    assert corrected(CorrectionRequest("the cat lic-\nemse sat"))[0] == "the cat lic-\nense sat"


def test_page_in_another_language_is_left_alone() -> None:
    """Where most words are in no list, the lists are the wrong ones: nothing is asked, and the reply says why."""
    judge = Judge()
    _, result = corrected(CorrectionRequest("der tlie kate sass aufd matte undx rief lauto nochs mahl " * 3), judge)
    assert (result.edits, judge.asked) == ((), [])
    assert "languages" in result.why


def test_blanks_are_lost_and_found() -> None:
    """Two pieces that are a word together become one, one piece that is two words becomes two; layout stays."""
    text, result = corrected(CorrectionRequest("the reci pient sat onthe mat"))
    assert text == "the recipient sat on the mat"
    assert [e.reason for e in result.edits] == [Reason.WORD, Reason.WORD]
    assert corrected(CorrectionRequest("the reci  pient sat on tot\nal"))[0] == "the reci  pient sat on tot\nal"


def test_engine_alternatives_are_candidates() -> None:
    """What the engine would have read instead is put before the judge."""
    judge, lexicon = Judge(), Lexicon()
    lexicon.near = lambda word, distance: []  # type: ignore[method-assign]
    word = Word("lisqnse,", 4, confidence=0.4, alternatives=(Alternative(2, 4, "ce", 0.3), Alternative(7, 8, ".", 0.3)))
    request = CorrectionRequest("the lisqnse, cat", words=(word,))
    correct_page(request, judge=judge, lexicon=lexicon, channel=TABLE, weights=WEIGHTS)
    assert judge.asked[0][1].alternatives == ("lisqnse,", "license,")
    correct_page(replace(request, words=()), judge=judge, lexicon=lexicon, channel=TABLE, weights=WEIGHTS)
    assert len(judge.asked) == 1


def test_judge_reads_both_sides_with_the_likeliest_words_standing() -> None:
    """Around a place stands what its misread neighbours most likely are; line ends are folded, punctuation stays."""
    judge = Judge()
    corrected(CorrectionRequest("on tlie mat,\nthe licemse sat with the cat"), judge)
    words, question = judge.asked[-1]
    assert words == ["on", "the", "mat,", "the", "license", "sat", "with", "the", "cat"]
    assert (question.first, question.last) == (4, 5)
    assert question.alternatives[:2] == ("licemse", "license")


def test_expired_budget_leaves_the_rest_raw_and_says_so() -> None:
    """Nothing after the end of the time is touched; the reply is marked."""
    answers = iter([False, True, True])
    between = " the cat sat on the mat" * 20
    request = CorrectionRequest(f"on tlie mat{between} the licemse sat")
    result = correct_page(
        request, judge=Judge(), lexicon=Lexicon(), channel=TABLE, weights=WEIGHTS, expired=lambda: next(answers)
    )
    assert apply(request.text, result.edits) == f"on the mat{between} the licemse sat"
    assert result.truncated
    assert result.review
    assert result.why


def test_rewrite_is_cut_into_edits_and_the_refused_are_listed() -> None:
    """Of what the model writes, word edits are judged; additions, numbers and swaps are refused with their reason."""
    request = CorrectionRequest("the wel1 known cat now sat on 6000 cat", mode=Mode.REWRITE, digit_to_letter=False)
    _, result = corrected(request, writer=Writer("the well known cat not sat on 60000 cat today"))
    assert [r.after for r in result.refused] == ["well", "not", "60000", "today"]
    assert all(r.why for r in result.refused)
    assert result.edits == ()


def test_marks_at_words_are_mended_when_the_judge_agrees() -> None:
    """A stop becomes a comma, a speck before a word goes, and numbers beside keep theirs."""

    class Commas(Judge):
        def _like(self, words: Sequence[str]) -> float:
            return 25.0 * sum(w.endswith(",") for w in words) - 25.0 * sum("‘" in w for w in words)

    raw = "‘The cat sat. the recipient with total. 12"
    words = (
        Word("‘The", 0, confidence=0.9),
        Word("sat.", 9, confidence=0.7, alternatives=(Alternative(3, 4, ",", 0.6),)),
        Word("total.", 33, confidence=0.7, alternatives=(Alternative(5, 6, ",", 0.6),)),
    )
    text, result = corrected(CorrectionRequest(raw, words=words), Commas())
    assert text == "The cat sat, the recipient with total. 12"
    assert corrected(CorrectionRequest(raw), Commas())[0] == raw
    assert {e.reason for e in result.edits} == {Reason.PUNCTUATION}


def test_useless_rewrite_changes_nothing_and_says_why() -> None:
    """An answer that is not the text leaves the page as it is."""
    _, result = corrected(CorrectionRequest("The cat sat", mode=Mode.REWRITE), writer=Writer("<think>hmm"))
    assert result.edits == ()
    assert result.why == "the model thought and did not answer"


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="thecatlifsmOl105$.,- \n\f'’-qunorw", max_size=80), st.text(alphabet="thecat 105$\n", max_size=60))
def test_corrected_page_can_be_undone_whatever_is_on_it(raw: str, answer: str) -> None:
    """With a judge and a writer that like everything, undoing gives the raw page, and the lines are the same in number."""
    request = CorrectionRequest(raw, mode=Mode.REWRITE, caution=0.0)
    text, result = corrected(request, Judge(liking=90.0), Writer(answer))
    assert undo(text, result.edits) == raw
    assert len(text.splitlines()) == len(raw.splitlines())
    assert corrected(request, Judge(liking=90.0), Writer(answer))[1] == result
