"""What may stand in a place, and what is told of it as evidence."""

from __future__ import annotations

from collections import Counter

import pytest

from ocrwatch.correction.candidates import Candidates
from ocrwatch.correction.channel import Channel
from ocrwatch.correction.evidence import FEATURES, changes
from ocrwatch.correction.sites import Finder, Option, Page, Site
from ocrwatch.correction.words import pieces
from ocrwatch.ocr.engine import Alternative, Word

TABLE = Channel(
    {
        ("rn", "m"): 9,
        ("rn", "rn"): 90,
        ("m", "m"): 900,
        ("t", "l"): 3,
        ("t", "t"): 900,
        ("e", "e"): 900,
        ("e", "c"): 20,
        (" ", " "): 99,
    }
)
ZIPF = {
    "a": 7.3,
    "modem": 3.0,
    "modern": 4.5,
    "strasse": 4.0,
    "the": 7.0,
    "of": 7.0,
    "recognition": 4.0,
    "recipient": 4.0,
    "letter": 5.0,
}


class Lexicon:
    """A few words, all of which are near to one another."""

    covers = True

    def frequency(self, word: str) -> float:
        return ZIPF.get(word.casefold(), 0.0)

    def near(self, word: str, distance: int) -> list[str]:
        return sorted(w for w in ZIPF if abs(len(w) - len(word)) <= distance and w[0] == word[0].casefold())


def finder(raw: str, words: tuple[Word, ...] = ()) -> Finder:
    seen = Counter(piece.text for piece in pieces(raw))
    return Finder(Page(raw, pieces(raw), {w.offset: w for w in words}, seen, 0.0), Candidates(Lexicon(), TABLE, seen), TABLE)


def texts(site: Site | None) -> list[str]:
    return [] if site is None else [option.edit.after for option in site.options]


def word_site(raw: str, word: Word | None = None) -> Site:
    return finder(raw).word(pieces(raw)[0], word)


def test_confusions_are_undone_and_the_sharp_s_is_kept() -> None:
    """A confusion of two characters is found in a word of the list; casefolded lists do not spoil `ß`."""
    assert texts(word_site("modem")) == ["modern"]
    assert "Straße" in texts(word_site("Slraße"))


def test_what_the_engine_offers_is_tried_alone_and_in_pairs() -> None:
    """Two letters that the engine itself doubted are changed together; the evidence says that it offered both, and how sure."""
    offers = (Alternative(1, 2, "e", 0.7), Alternative(5, 6, "r", 0.9), Alternative(3, 4, "x", 0.5))
    site = word_site("lcttec", Word("lcttec", 0, confidence=0.6, alternatives=offers))
    option = next(o for o in site.options if o.edit.after == "letter")
    assert (option.evidence["offered"], option.evidence["cost"]) == (2.0, 0.0)
    assert option.evidence["doubt"] == pytest.approx(0.4)
    assert option.evidence["unsure"] == pytest.approx(0.4)


def test_case_of_the_reading_is_carried_over() -> None:
    """A candidate is written as what was read; a small first letter may itself be a misread capital (`lt` for `It`)."""
    assert texts(word_site("Recipiont")) == ["Recipient"]
    assert texts(word_site("RECIPIONT")) == ["RECIPIENT"]
    assert {"the", "The"} <= set(texts(word_site("lhe")))


def test_blank_is_found_in_a_word_of_no_list() -> None:
    """Only between two frequent words."""
    assert "of the" in texts(word_site("ofthe"))
    assert "mod ern" not in texts(word_site("modern"))


def test_blank_is_lost_between_two_halves() -> None:
    """Two pieces that are a word together; not where more than a blank parts them, nor where they are none."""
    raw = "recog nition of the"
    site = finder(raw).joined(*pieces(raw)[:2], word=None)
    assert texts(site) == ["recognition"]
    assert texts(finder("of the").joined(*pieces("of the"), word=None)) == []


def test_word_at_a_line_end_is_mended_in_the_half_that_is_wrong() -> None:
    """The edit stays on its side of the line end."""
    raw = "the recog-\nnltion of"
    first, second = (piece for piece in pieces(raw) if piece.joined)
    site = finder(raw).hyphenated(first, second)
    assert site is not None
    assert next((o.edit.offset, o.edit.before, o.edit.after) for o in site.options) == (11, "nltion", "nition")


def test_words_of_the_document_are_candidates() -> None:
    """What stands there twice is a word, though in no list."""
    raw = "Afiero and Affero say Affero"
    assert "Affero" in texts(finder(raw).word(pieces(raw)[0], None))


def test_mark_is_changed_only_where_the_engine_doubted_it() -> None:
    """A stop for a comma needs the engine's own alternative; without what it told there is no site."""
    offered = Word("letter.", 4, confidence=0.7, alternatives=(Alternative(6, 7, ",", 0.6),))
    assert texts(finder("the letter. of").mark(4, "letter.", offered)) == ["letter,"]
    assert finder("the letter. of").mark(4, "letter.", Word("letter.", 4, confidence=0.7)) is None
    assert finder("the letter. of").mark(4, "letter.", None) is None


def test_all_evidence_has_a_name_in_the_table() -> None:
    """What is not in `FEATURES` could never get a weight."""
    sites = [word_site("ofthe"), word_site("lcttec"), finder("recog nition").joined(*pieces("recog nition"), word=None)]
    options: list[Option] = [option for site in sites if site is not None for option in site.options]
    assert options
    assert {name for option in options for name in option.evidence} <= set(FEATURES)


@pytest.mark.parametrize(
    ("read", "candidate", "found"),
    [
        ("lcttec", "letter", [("c", "e"), ("c", "r")]),
        ("ofthe", "of the", [("", " ")]),
        ("same", "same", []),
    ],
)
def test_changes_are_what_differs(read: str, candidate: str, found: list[tuple[str, str]]) -> None:
    """Each place that differs is one change, in order."""
    assert [(c.before, c.after) for c in changes(read, candidate)] == found


@pytest.mark.parametrize(
    ("offers", "confidence"),
    [
        ([Alternative(0, 2, "xy", 0.4)], 0.4),
        ([Alternative(0, 1, "x", 0.5), Alternative(1, 2, "y", 0.3)], 0.3),
        ([Alternative(0, 1, "x", 0.5)], None),
    ],
)
def test_stretch_is_offered_whole_or_letter_by_letter(offers: list[Alternative], confidence: float | None) -> None:
    """The engine offers a change when it offers all of it; it is as sure as of the least sure letter."""
    assert [c.offered for c in changes("abut", "xyut", offers)] == [confidence]


def test_words_of_the_lists_are_held_against_more_frequent_ones_only() -> None:
    """`modem` is a word, yet `modern` is more usual; nothing is offered in the place of the commonest word."""
    assert "modern" in texts(word_site("modem"))
    assert "modem" not in texts(word_site("modern"))


def test_halves_of_a_word_are_no_words_of_the_lists() -> None:
    """The evidence for a join tells that what was read is in no list, by its rarer half."""
    found = finder("recog nition")
    first, second = pieces("recog nition")
    joined = found.joined(first, second, None)
    assert texts(joined) == ["recognition"]
    assert joined is not None
    assert joined.options[0].evidence["read_unlisted"] == 1.0


@pytest.mark.parametrize(("raw", "found"), [("such & modem", False), ("such @ letter of", True), ("Such @ letter of", False)])
def test_sign_alone_in_running_text_may_be_a_letter(raw: str, found: bool) -> None:
    """Behind a small word and before another; never between names."""
    raw = raw.replace("such &", "Smith &")
    start = next(i for i, c in enumerate(raw) if c in "@&")
    assert (finder(raw).lone_sign(start, raw[start], None) is not None) is found
