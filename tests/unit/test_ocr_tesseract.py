"""What may be chosen of Tesseract, and what that means for results that are there already."""

from __future__ import annotations

import pytest

from ocrwatch import composition
from ocrwatch.config import parse
from ocrwatch.errors import ConfigError
from ocrwatch.intake.beneath import Root
from ocrwatch.ocr.engine import EngineName
from ocrwatch.settings import Configuration
from ocrwatch.treatment import Treatment
from ocrwatch.worker.access import LocalAccess
from ocrwatch.worker.share import Reach, Share


def settings(tesseract: str = "{}", output: str = "{}", psm: str = "null") -> Configuration:
    """A configuration with these settings of Tesseract, and these of its one inbox."""
    inbox = f"{{path: /srv/a, output: {output}, psm: {psm}}}"
    return parse(f"inboxes: [{inbox}]\nocr: {{tesseract: {tesseract}}}", source="c.yaml")


def treatment(own: Configuration, engine: EngineName = EngineName.TESSERACT) -> Treatment:
    """What becomes of the scans of the inbox."""
    reach = Reach(Share(LocalAccess()), Root("/srv/a"))
    return composition.treatment(own, own.inboxes[0], engine=engine, scans=lambda _: reach, texts=None, archive=None)


@pytest.mark.parametrize("psm", ["0", "2", "7", "auto"])
def test_mode_that_reads_no_page_is_refused(psm: str) -> None:
    """One that finds the orientation alone, or reads a line, leaves nothing or next to nothing of a page."""
    with pytest.raises(ConfigError) as refusal:
        settings(f"{{psm: {psm}}}")
    assert "ocr.tesseract.psm: Input should be 3, 4, 6 or 11" in str(refusal.value.problems)
    with pytest.raises(ConfigError) as refusal:
        settings(psm=psm)
    assert "inboxes[0].psm: Input should be 3, 4, 6 or 11" in str(refusal.value.problems)


def test_choices_reach_the_worker() -> None:
    """As plain values in its first frame."""
    specs = composition.engine_specs(settings("{tessdata: /srv/best}"))
    assert specs[EngineName.TESSERACT]().options["tessdata"] == "/srv/best"


def test_mode_of_an_inbox_goes_before_the_common_one() -> None:
    """It goes with the page, not with the worker, which serves every inbox; it makes another text exactly where it is another."""
    common, own, same = settings("{psm: 6}"), settings("{psm: 6}", psm="11"), settings("{psm: 4}", psm="6")
    assert [treatment(each).psm for each in (settings(), common, own, same)] == [3, 6, 11, 6]
    assert treatment(common).settings == treatment(same).settings != treatment(own).settings


def test_other_choices_make_another_text() -> None:
    """So that a scan is read again instead of taking the text of its twin; but not where Aspose reads it."""
    plain, forms, best = settings(), settings("{psm: 11}"), settings("{tessdata: /srv/best}")
    assert len({treatment(own).settings for own in (plain, forms, best)}) == 3
    assert len({treatment(own, EngineName.ASPOSE).settings for own in (plain, forms, best)}) == 1


def test_hocr_is_chosen_by_inbox() -> None:
    """It is not there unless it is wanted, and it changes no text."""
    plain, wanted = treatment(settings()), treatment(settings(output="{hocr: true}"))
    assert (plain.hocr, wanted.hocr) == (False, True)
    assert plain.settings == wanted.settings
