"""Pieces of a page, its running text, windows, and the request's JSON form."""

from __future__ import annotations

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.correction.edits import Edit, Reason
from ocrwatch.correction.protocol import Correction, CorrectionRequest, Mode, Refusal
from ocrwatch.correction.window import AHEAD_WORDS, LEFT_WORDS, MOST_WORDS, RunningText, windows
from ocrwatch.correction.words import carry_case, pieces
from ocrwatch.ocr.engine import Alternative, Word


def test_pieces_are_where_they_say() -> None:
    """Hyphens part words, elisions are left out, halves of broken words know the whole."""
    text = "d'accuser un libre-pen-\nseur, it's w|th 12kg"
    found = pieces(text)
    assert [p.text for p in found] == ["accuser", "un", "libre", "pen", "seur", "it's", "w|th", "kg"]
    assert all(text[p.start : p.end] == p.text for p in found)
    assert [p.joined for p in found[2:5]] == ["", "penseur", "penseur"]


@given(st.text(max_size=60))
def test_pieces_of_any_text_are_in_order(text: str) -> None:
    """Pieces do not overlap and are slices of the text, whatever it is."""
    found = pieces(text)
    assert all(text[p.start : p.end] == p.text for p in found)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))


def test_case_is_carried_over() -> None:
    """A candidate is written as the word that was read."""
    assert [carry_case(p, "license") for p in ("licemse", "Licemse", "LICEMSE", "LICEmSE")] == [
        "license",
        "License",
        "LICENSE",
        "LICENSE",
    ]


@given(st.text(alphabet="ab-\n ¬", max_size=60))
def test_running_text_has_every_word_once(raw: str) -> None:
    """Words cover what is no white space, in order; halves of a word that a line end parts are one."""
    text = RunningText(raw)
    words = [text.text(i, i + 1) for i in range(len(text))]
    assert "".join(words) == re.sub(r"(?<=[ab])[-¬]\s*\n\s*(?=[ab])", "", raw).replace(" ", "").replace("\n", "")
    assert all(word and not any(c.isspace() for c in word) for word in words)


def test_running_text_has_edits_made() -> None:
    """Edits within a range of words are made; hyphens at line ends are closed."""
    text = RunningText("on tlie lic-\nense of\nit")
    edit = Edit(3, "tlie", "the", Reason.WORD, 1.0)
    assert text.text(0, len(text), [edit]) == "on the license of it"
    assert text.covering(3, 7) == (1, 2)
    assert text.covering(13, 17) == (2, 3)


@given(st.lists(st.integers(0, 2_000), unique=True, min_size=1, max_size=60).map(sorted))
def test_windows_hold_every_place_once_and_are_bounded(places: list[int]) -> None:
    """Each place is in one window, with words on both sides where there are any."""
    count = 2_001
    found = list(windows([(at, at + 1) for at in places], count))
    assert [index for window in found for index in window.places] == list(range(len(places)))
    for window in found:
        assert window.last - window.first <= MOST_WORDS + AHEAD_WORDS
        assert window.first == max(0, places[window.places[0]] - LEFT_WORDS)
        assert window.last >= min(count, places[window.places[-1]] + 1 + AHEAD_WORDS)


def test_request_survives_the_wire() -> None:
    """What the parent asks is what the worker reads; what is absent has its default."""
    request = CorrectionRequest(
        "text\f",
        languages=("de", "en"),
        mode=Mode.REWRITE,
        prompt="p",
        earlier=("a",),
        words=(Word("text", 0, confidence=0.5, alternatives=(Alternative(0, 1, "l", 0.1),)),),
        dictionary=("Ocrwatch",),
        budget_s=5.0,
    )
    assert CorrectionRequest.from_json(request.to_json()) == request
    assert CorrectionRequest.from_json({"text": "a"}) == CorrectionRequest("a")


def test_correction_survives_the_wire() -> None:
    """The worker's reply is what the parent reads."""
    correction = Correction(
        edits=(Edit(0, "a", "b", Reason.WORD, 1.5),), refused=(Refusal(1, "c", "d", "no"),), review=True, why="w"
    )
    assert Correction.from_json(correction.to_json()) == correction
