"""The names of the sidecar's files."""

from __future__ import annotations

import os
import posixpath

from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.intake.ignore import SCAN_SUFFIXES, is_ours, why_ignored
from ocrwatch.output.sidecar import Naming, names

stems = st.text("ab.~-é\n\udce4", min_size=1, max_size=4) | st.text("aé\udce4", min_size=240, max_size=250)
suffixes = st.sampled_from([*sorted(SCAN_SUFFIXES), "PDF", "Tif"])
scans = st.lists(
    st.builds(lambda parts, suffix: ".".join([*parts, suffix]), st.lists(stems | suffixes, min_size=1, max_size=2), suffixes)
)


def test_append_keeps_the_whole_name() -> None:
    """OMP watcher, sjain882: scans that differ in their suffix only have different sidecars."""
    for scan in ("scan.pdf", "scan.tif", "scan.PDF", "a/x.pdf", "b/x.pdf"):
        assert (names(scan, naming=Naming.APPEND).text, names(scan, naming=Naming.APPEND).metadata) == (
            f"{scan}.txt",
            f"{scan}.json",
        )


def test_replace_drops_the_suffix_where_that_is_unambiguous() -> None:
    """`scan.txt` belongs to `scan.pdf`; other scans keep their suffix."""
    expected = {
        "scan.pdf": "scan.txt",
        "scan.tif": "scan.tif.txt",
        "scan.PDF": "scan.PDF.txt",
        "d/scan.tif.pdf": "d/scan.tif.pdf.txt",
    }
    assert {scan: names(scan, naming=Naming.REPLACE).text for scan in expected} == expected


@given(scans, st.sampled_from(Naming))
def test_names_are_distinct_short_enough_and_never_scans(found: list[str], naming: Naming) -> None:
    """Umi-OCR#1008: any name has a sidecar of its own, in 255 bytes, that is not taken for a scan."""
    made = {scan: names(scan, naming=naming) for scan in found}
    assert len({pair.text for pair in made.values()}) == len(made)
    for pair in made.values():
        for path in (pair.text, pair.metadata, pair.hocr, pair.pdf):
            assert len(os.fsencode(posixpath.basename(path))) <= 255
            assert is_ours(path)
            assert why_ignored(path)


def test_long_name_is_cut_between_characters() -> None:
    """A shortened name is valid text, and the same each time."""
    scan = "d/" + "é" * 124 + ".pdf"
    text = names(scan, naming=Naming.APPEND).text
    assert text == names(scan, naming=Naming.APPEND).text
    os.fsencode(text).decode("utf-8")
    assert text.startswith("d/ééé")
    assert text.endswith(".txt")
