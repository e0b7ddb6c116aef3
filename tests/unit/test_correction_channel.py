"""The channel's costs, and the table that ships."""

from __future__ import annotations

from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.correction import channel


@pytest.fixture(scope="module")
def shipped() -> channel.Channel:
    return channel.parse((files("ocrwatch.correction") / "channel.tsv").read_text(encoding="utf-8").splitlines())


def test_shipped_table_says_where_it_comes_from() -> None:
    """The table begins with its provenance: the program, its seed, the engine, the text."""
    head = [
        line
        for line in (files("ocrwatch.correction") / "channel.tsv").read_text(encoding="utf-8").splitlines()[:8]
        if line[0] == "#"
    ]
    assert any("learn_channel.py" in line and "--seed" in line for line in head)
    assert any("Tesseract" in line for line in head)


@pytest.mark.parametrize(
    ("read", "true", "other"), [("tlie", "the", "tie"), ("cornmon", "common", "corazon"), ("wiil", "will", "wild")]
)
def test_cost_prefers_usual_confusions(shipped: channel.Channel, read: str, true: str, other: str) -> None:
    """Confusions that readers make often cost less than those they do not make."""
    assert shipped.cost(read, true) < shipped.cost(read, other)


@given(st.text(alphabet="abcdeilmnorst", min_size=1, max_size=12), st.text(alphabet="abcdeilmnorst", min_size=1, max_size=12))
def test_reading_right_is_cheapest(shipped: channel.Channel, word: str, other: str) -> None:
    """No text is more likely read as a word than the word itself, short of mishaps; every cost is finite and positive."""
    assert 0 <= shipped.cost(word, word) < 3 * len(word)
    assert 0 <= shipped.cost(word, other) <= channel.IMPOSSIBLE


LETTERS = st.text(alphabet="aimnrlß'", max_size=4)


@given(LETTERS, LETTERS)
def test_cost_is_that_of_the_cheapest_segmentation(shipped: channel.Channel, read: str, true: str) -> None:
    """However the rows are worked through and kept: what the definition says."""
    assert shipped.cost(read, true) == pytest.approx(min(cheapest(shipped, read, true), channel.IMPOSSIBLE), abs=1e-9)


def cheapest(table: channel.Channel, read: str, true: str) -> float:
    """The definition, with a pair that is read right as two segments."""
    if not read and not true:
        return 0.0
    return min(
        table.segment_cost(true[:a], read[:b]) + cheapest(table, read[b:], true[a:])
        for a in range(min(channel.SEGMENT, len(true)) + 1)
        for b in range(min(channel.SEGMENT, len(read)) + 1)
        if (a or b) and not (a == channel.SEGMENT and true[:a] == read[:b])
    )


def test_unseen_confusion_costs_more_than_a_seen_one() -> None:
    """Smoothing leaves room for what was never counted, but less than for what was."""
    table = channel.Channel({("e", "e"): 990, ("e", "c"): 10})
    assert table.segment_cost("e", "c") < table.segment_cost("e", "w") < channel.IMPOSSIBLE


def test_sources_are_in_order_of_frequency() -> None:
    """The most frequent true segment of a reading comes first."""
    table = channel.Channel({("m", "rn"): 5, ("in", "rn"): 9, ("rn", "rn"): 100})
    assert table.sources("rn") == ("in", "m")


@pytest.mark.parametrize("line", ["a\tb", "a\tb\tc", "a b 3"])
def test_parse_names_the_line_that_is_wrong(line: str) -> None:
    """A damaged table is an error with a line number, not a silent gap."""
    with pytest.raises(ValueError, match="line 2"):
        channel.parse(["# provenance", line])
