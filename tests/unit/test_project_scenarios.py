"""The table of what may happen to the model, against the tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
TABLE = (TESTS / "README.md").read_text(encoding="utf-8")
_NAMED = re.compile(r"`((?:unit|integration|acceptance)/\w+\.py|test_\w+)`")


def test_every_test_that_the_table_names_is_in_its_file() -> None:
    """A row whose test was renamed or taken away has none."""
    lost, defined = [], ""
    for name in _NAMED.findall(TABLE):
        if name.endswith(".py"):
            defined = (TESTS / name).read_text(encoding="utf-8")
        elif f"\ndef {name}(" not in defined:
            lost.append(name)
    assert lost == []


def test_every_row_is_there_and_names_a_test() -> None:
    """In their order."""
    rows = re.findall(r"^\| B(\d+) \|.*`test_\w+`.*\|$", TABLE, re.MULTILINE)
    assert [int(row) for row in rows] == list(range(1, 26))
