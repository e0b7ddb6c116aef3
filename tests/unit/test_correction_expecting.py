"""What the model itself would have expected, and what becomes of it where the lists know nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ocrwatch.correction.candidates import Candidates
from ocrwatch.correction.channel import Channel
from ocrwatch.correction.expecting import SURPRISING_NATS, guesses
from ocrwatch.correction.judge import Expectation, Guess, Question
from ocrwatch.ocr.engine import Alternative

TABLE = Channel({("e", "o"): 5, ("e", "e"): 900, ("o", "o"): 900})


class Lexicon:
    """The words given, or no list at all."""

    def __init__(self, *words: str) -> None:
        self.covers = bool(words)
        self._words = words

    def frequency(self, word: str) -> float:
        return 5.0 if word.casefold() in self._words else 0.0

    def near(self, word: str, distance: int) -> list[str]:
        return []


class Judge:
    """Is surprised by the words given, and would have gone on with the same text after their first letters."""

    def __init__(self, surprising: Sequence[str], kept: int, text: str) -> None:
        self._surprising, self._guess = surprising, Guess(kept, text)
        self.asked: list[str] = []

    def expectations(self, words: Sequence[str], places: Sequence[int], *, prompt: str) -> list[Expectation]:
        self.asked += [words[place] for place in places]
        return [
            Expectation(SURPRISING_NATS + 1 if words[place].strip(".,") in self._surprising else 0.0, (self._guess,))
            for place in places
        ]

    def gains(self, words: Sequence[str], questions: Sequence[Question], *, prompt: str) -> list[list[float]]:
        raise AssertionError("nothing is judged here")


def test_model_is_asked_about_words_of_no_list_only() -> None:
    """What the lists know is not asked about; what they lack comes with the model's guess, however surprising."""
    judge = Judge([], 5, "ent")
    found = guesses("the recipiont, at home", lexicon=Lexicon("the", "home"), judge=judge, prompt="\n")
    assert judge.asked == ["recipiont,"]
    assert "recipent" in found[4]


def test_where_no_list_is_only_surprising_words_are_looked_at() -> None:
    """Without a list a word that the model expected is taken to be read right."""
    judge = Judge(["recipiont"], 5, "ient")
    found = guesses("Gallia recipiont est", lexicon=Lexicon(), judge=judge, prompt="\n")
    assert judge.asked == ["Gallia", "recipiont", "est"]
    assert list(found) == [7]
    assert "recipient" in found[7]


def test_guess_is_tried_alone_and_with_the_rest_of_the_word() -> None:
    """A token in the middle of a word is put in the place of what was read there; marks around the word stay out."""
    judge = Judge(["“recipiont,"], 6, "ie")
    found = guesses("a “recipiont, b", lexicon=Lexicon("a", "b"), judge=judge, prompt="\n")
    assert {"recipient", "recipie"} <= set(found[3])


def test_candidates_without_a_list_are_the_engines_the_channels_and_the_models() -> None:
    """No frequency is asked of them; the model's guess must be near, a word of the document may be farther."""
    seen = Counter(["recipiont", "conditions"])
    found = Candidates(Lexicon(), TABLE, seen).texts("recipiont", (Alternative(0, 1, "R", 0.9),), ["recipient", "recently"])
    assert {"recipient", "Recipiont"} <= found
    assert "recently" not in found
    assert Candidates(Lexicon(), TABLE, seen).texts("fondibians", ()) >= {"conditions"}
