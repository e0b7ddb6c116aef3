"""The benchmark of correction: what it counts, how it cuts a truth, which page comes in which turn, and its table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.correction import table
from bench.correction.outcome import BASELINE, ON_TRUTH, Mode, Outcome, read_pages, turns, write_pages
from bench.correction.sets import Group, Lacking, Page, PageSet, all_sets, beginning, chosen, normal
from bench.correction.tally import Measured, measured, summaries, summary
from ocrwatch.correction.edits import Edit, Reason, apply
from ocrwatch.ocr.engine import Alternative, Word

TRUE = "The quick brown fox\npaid $100.00 for it"
READ = "Tbe quick brown fox\npaid $1O0.00 for it"


def no_pages() -> Iterator[Page]:
    """Of a set that is only a name."""
    return iter(())


SET = PageSet("hipe_x_en", Group.PAIRS, "en", no_pages)
PAGE = Page("p1", "en", READ, TRUE)


def outcome(*edits: Edit, text: str | None = None, seconds: float = 1.0) -> Outcome:
    """What a mode made of the page."""
    made = apply(READ, edits) if text is None else text
    return Outcome(made, edits, len(READ), seconds, 2 * seconds, 300_000_000)


def counted(*edits: Edit, text: str | None = None, mode: Mode = Mode.RESCORE, model: str = "smollm2") -> Measured:
    """The figures of the page."""
    return measured(PAGE, outcome(*edits, text=text), of=SET, model=model, mode=mode)


def test_measured_counts_errors_before_and_after() -> None:
    """A mended word is one error less, and one right edit."""
    found = counted(Edit(0, "Tbe", "The", Reason.WORD, 2.0))
    assert (found.before, found.after, found.words_before, found.words_after) == (2, 1, 2, 1)
    assert (found.right, found.neutral, found.wrong, found.changed) == (1, 0, 0, 1)
    assert found.characters == len(normal(TRUE))


def test_measured_judges_each_edit_by_what_it_does_alone() -> None:
    """Edits are told apart even where one makes good what another spoils."""
    found = counted(Edit(0, "Tbe", "The", Reason.WORD, 2.0), Edit(4, "quick", "quack", Reason.WORD, 1.0))
    assert (found.right, found.neutral, found.wrong) == (1, 0, 1)
    assert found.after == found.before


def test_measured_leaves_the_listed_exceptions_out_of_the_numbers() -> None:
    """A letter that becomes a digit by the rule is no changed number; any other edit of a number is."""
    assert counted(Edit(25, "$1O0.00", "$100.00", Reason.LETTER_TO_DIGIT, 9.0)).numbers == 0
    assert counted(Edit(25, "$1O0.00", "$100.00", Reason.WORD, 9.0)).numbers == 1
    assert counted(Edit(25, "$1O0.00", "100,00", Reason.REWRITE, 9.0)).numbers == 2


def test_measured_takes_what_the_prompt_answers_as_the_text() -> None:
    """Without edits the whole answer is held against the truth, its lost numbers too."""
    found = counted(text="Sure! Here it is.", mode=Mode.PROMPT)
    assert found.numbers == 5
    assert found.after > 20
    assert (found.right, found.neutral, found.wrong) == (0, 0, 0)


def test_measured_takes_the_truth_as_input_where_it_is_asked_for() -> None:
    """In the no-harm test nothing is wrong before, and every change is one too many."""
    edit = Edit(4, "quick", "quack", Reason.WORD, 1.0)
    found = measured(PAGE, outcome(edit, text=apply(TRUE, [edit])), of=SET, model="m", mode=Mode.TRUTH)
    assert (found.before, found.after, found.changed, found.input) == (0, 1, 1, len(TRUE))


def test_measured_refuses_edits_that_do_not_lead_back() -> None:
    """The raw text can always be had from the corrected one."""
    with pytest.raises(ValueError, match="edit"):
        counted(Edit(0, "Tbe", "The", Reason.WORD, 2.0), text="Another text")


def test_summary_holds_speeds_against_the_prompt_on_the_same_pages() -> None:
    """A page that only one of the two did does not count."""
    slow = replace(counted(text=READ, mode=Mode.PROMPT), seconds=8.0, cpu_s=6.0, written=len(READ) // 2)
    fast, other = replace(counted(), seconds=2.0, cpu_s=1.0), replace(counted(), page="p2", seconds=100.0)
    found = summary("x", model="smollm2", mode=Mode.RESCORE, pages=[slow, fast, other])
    assert found.against is not None
    assert (found.against.clock, found.against.cpu) == (4.0, 6.0)
    assert found.against.written == pytest.approx(8.0, rel=0.05)
    assert len(found.pages) == 2
    assert summary("x", model="smollm2", mode=Mode.RESCORE, pages=[fast]).against is None


def test_summaries_keep_sets_models_and_modes_apart() -> None:
    """One row for each, in order."""
    pages = [counted(model=model, mode=mode, text=READ) for model in ("a", "b") for mode in (Mode.RESCORE, Mode.PROMPT)]
    assert [(s.model, s.mode) for s in summaries(pages)] == [
        (model, mode) for model in ("a", "b") for mode in (Mode.PROMPT, Mode.RESCORE)
    ]


@given(st.text(alphabet="abcdefgh \n", min_size=60, max_size=200), st.floats(0.2, 0.9))
def test_beginning_finds_where_a_cut_text_ends(true: str, share: float) -> None:
    """What was read without an error fits its own stretch of the truth without an error."""
    read = true[: round(share * len(true))]
    assert normal(beginning(true, read)) == normal(read)


def test_beginning_bears_misreadings() -> None:
    """Some wrong characters do not move the end by much."""
    true = "Amazon Web Services Invoice\nEmail or talk to us about your AWS account or bill, visit aws.amazon.com"
    assert beginning(true, "Amazon Wcb Serviccs Invoice\nEmail or ta1k") == "Amazon Web Services Invoice\nEmail or talk"
    assert beginning(true, "") == ""


def test_turns_alternate_and_spare_the_modes_that_write() -> None:
    """Neither mode is always the first, and a slow one has few pages."""
    pages = [replace(PAGE, name=name) for name in "abc"]
    found = [(page.name, mode) for page, mode in turns(pages, [Mode.PROMPT, Mode.RESCORE], prompt_pages=2)]
    first, second = [("a", Mode.PROMPT), ("a", Mode.RESCORE)], [("b", Mode.RESCORE), ("b", Mode.PROMPT)]
    assert found == [*first, *second, ("c", Mode.RESCORE)]


def test_pages_come_back_as_they_were_written(tmp_path: Path) -> None:
    """Words with their alternatives reach the process that corrects; their boxes do not."""
    word = Word("Tbe", 0, None, 0.5, (Alternative(1, 2, "h", 0.4),))
    page = replace(PAGE, words=(word,))
    write_pages(tmp_path / "pages", [page, PAGE])
    assert read_pages(tmp_path / "pages") == [page, PAGE]


def test_all_sets_tells_what_is_not_here(tmp_path: Path) -> None:
    """Without the shared data there are the rendered sets, and a word on each of the others."""
    found, lacking = all_sets(tmp_path)
    assert {each.group for each in found} == {Group.RENDERED}
    assert [why.partition(":")[0] for why in lacking] == ["pairs", "images", "degraded"]
    assert [each.name for each in chosen(found, ["rendered_e?"])] == ["rendered_en", "rendered_es"]
    with pytest.raises(Lacking, match="rendered_pl"):
        chosen(found, ["nothing"])


def targets(*pages: Measured) -> dict[str, table.Target]:
    """What is found of each target."""
    return {each.what: each for each in table.targets(pages)}


def test_targets_say_what_is_reached_and_what_is_not_measured() -> None:
    """Half of the errors gone is enough; a changed number is one too many; what is missing is named."""
    half = counted(Edit(0, "Tbe", "The", Reason.WORD, 2.0))
    found = targets(half)
    assert found["errors, hipe_x_en"].verdict == "reached"
    assert found["errors, degraded pages"].verdict == "not measured"
    assert found["numbers changed, rescore"].verdict == "reached"
    assert found["true text changed"].verdict == "not measured"
    assert targets(replace(half, before=0, after=0))["errors, hipe_x_en"].verdict == "not measured"
    assert targets(replace(half, numbers=1))["numbers changed, rescore"].verdict == "NOT reached"


def test_targets_bound_the_pages_made_worse_and_the_worst() -> None:
    """One page in fifty may be worse, by three characters."""
    good = [replace(counted(), page=f"p{n}", before=9, after=9) for n in range(49)]
    found = targets(*good, replace(counted(), page="bad", before=9, after=12))
    assert found["pages worse, pairs and images"].reached
    assert found["worst page, pairs and images"].reached
    found = targets(*good[1:], replace(counted(), page="bad", before=9, after=13))
    assert not found["pages worse, pairs and images"].reached
    assert not found["worst page, pairs and images"].reached


def test_targets_ask_more_of_a_faster_model() -> None:
    """Six times the speed of the prompt is enough for SmolLM2, not for Gemma 3."""
    for model, reached in (("smollm2", True), ("gemma3", False)):
        slow = replace(counted(text=READ, mode=Mode.PROMPT, model=model), seconds=6.0)
        target = targets(slow, replace(counted(model=model), seconds=1.0))["times the prompt's speed (cpu, written)"]
        assert target.reached is reached


@pytest.mark.parametrize("mode", Mode)
def test_rows_have_every_column_in_every_mode(mode: Mode) -> None:
    """Text and Markdown show the same cells."""
    pages = [counted(text=TRUE if mode in ON_TRUTH else READ, mode=mode)]
    if mode in BASELINE:
        pages.append(counted(text=READ, mode=BASELINE[mode]))
    rows = table.rows([*summaries(pages), *table.groups(pages)])
    assert len({len(row) for row in rows}) == 1
    assert len(rows) == 1 + 2 * len(pages)
    for row, line in zip(rows, table.text(rows).splitlines(), strict=True):
        assert line.split("  ")[0].strip() == row[0]
    assert table.markdown(rows).count("\n") == len(rows) + 1
