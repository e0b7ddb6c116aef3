"""Pieces of a page, contexts, candidates and the request's JSON form."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.correction.candidates import propose
from ocrwatch.correction.channel import Channel
from ocrwatch.correction.context import LEFT_CHARACTERS, Context
from ocrwatch.correction.edits import Edit, Reason
from ocrwatch.correction.protocol import Correction, CorrectionRequest, Mode, Refusal
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


class Lexicon:
    """Three words."""

    def frequency(self, word: str) -> float:
        return {"modem": 3.0, "modern": 4.5, "strasse": 4.0}.get(word.casefold(), 0.0)

    def near(self, word: str, distance: int) -> list[str]:
        return ["strasse"] if word.startswith("S") else []


def test_candidates_undo_confusions_and_keep_the_sharp_s() -> None:
    """A confusion of two characters is found though no list was searched for it; casefolded lists do not spoil `ß`."""
    channel = Channel({("rn", "m"): 9, ("rn", "rn"): 90, ("m", "m"): 900, ("t", "l"): 3, ("t", "t"): 900})
    assert [c.text for c in propose("modem", lexicon=Lexicon(), channel=channel)] == ["modern"]
    assert [c.text for c in propose("Slraße", lexicon=Lexicon(), channel=channel)] == ["Straße"]


def test_context_anchor_stays_and_then_moves() -> None:
    """The left text begins at the same place for many words, so that the model's cache of it can be kept, and is bounded."""
    raw = "word " * 1000
    context = Context(raw)
    lengths = [len(context.around(at, at + 4, [])[0]) for at in range(0, len(raw), 5)]
    assert max(lengths) <= LEFT_CHARACTERS + 10
    assert sum(a > b for a, b in itertools.pairwise(lengths)) < 15


def test_context_is_bounded_where_a_word_has_no_end() -> None:
    """A hostile page of one endless word gives no more to the model than any other."""
    context = Context("x" * 50_000 + " licemse " + "y" * 50_000)
    left, right = context.around(50_001, 50_008, [])
    assert len(left) <= LEFT_CHARACTERS + 2
    assert len(right) <= 40


def test_context_has_the_prompt_first_and_edits_made() -> None:
    """A profile's prompt conditions the score; edits so far are read as made; hyphens at line ends are closed."""
    context = Context("on tlie lic-\nense of\nit", prompt="Medical.")
    edit = Edit(3, "tlie", "the", Reason.WORD, 1.0)
    assert context.around(18, 20, [edit]) == ("Medical.\n\non the license ", " it")


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
