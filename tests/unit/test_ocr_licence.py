"""The licence of Aspose: where it is found, and until when it holds by its own account."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.doctor.engines import licence_findings
from ocrwatch.doctor.findings import Verdict
from ocrwatch.errors import MissingPart
from ocrwatch.ocr.licence import CREDENTIAL, Licence, find_licence, read_licence

TODAY = date(2026, 11, 22)


def licence_text(**fields: str) -> str:
    """A licence in the form that Aspose gives it, but for a signature that is one."""
    data = "".join(f"    <{name}>{value}</{name}>\n" for name, value in fields.items())
    head = (
        "    <Products><Product>Aspose.Total Product Family</Product></Products>\n    <EditionType>Professional</EditionType>\n"
    )
    return f"<License>\n  <Data>\n{head}{data}  </Data>\n  <Signature>c2VjcmV0</Signature>\n</License>\n"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"SubscriptionExpiry": "20270514"}, Licence(updates_until=date(2027, 5, 14))),
        (
            {"SubscriptionExpiry": "20270101", "LicenseExpiry": "20261222"},
            Licence(expires=date(2026, 12, 22), updates_until=date(2027, 1, 1)),
        ),
        ({"LicenseExpiry": " 2026-12-22 "}, Licence(expires=date(2026, 12, 22))),
        ({"LicenseExpiry": "20261399"}, Licence()),
        ({"LicenseExpiry": "soon"}, Licence()),
        ({}, Licence()),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_licence_tells_its_days(tmp_path: Path, fields: dict[str, str], expected: Licence, encoding: str) -> None:
    """As far as it names any that we understand, in whatever encoding it came."""
    path = tmp_path / "a.lic"
    path.write_text(licence_text(**fields), encoding=encoding)
    assert read_licence(path) == expected


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"public=123\nprivate=topsecret\n", b"<License></License>"])
def test_file_that_is_no_licence_is_named_and_not_shown(tmp_path: Path, content: bytes) -> None:
    """The message says which file and what to do; what stands in it may be a secret."""
    path = tmp_path / "a.lic"
    path.write_bytes(content)
    with pytest.raises(MissingPart, match=r"a\.lic is no licence") as refusal:
        read_licence(path)
    assert "as Aspose sent it" in refusal.value.remedy
    assert "topsecret" not in str(refusal.value)


def test_licence_that_is_not_there_names_the_setting(tmp_path: Path) -> None:
    """The path is in the message, the key in the remedy; a folder is no file."""
    for path, why in ((tmp_path / "none.lic", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(MissingPart, match=why) as refusal:
            read_licence(path)
        assert str(path) in refusal.value.message
        assert "ocr.aspose.license_file" in refusal.value.remedy


days = st.none() | st.dates()


@given(days, days)
def test_licence_crosses_a_process_boundary_whole(expires: date | None, updates: date | None) -> None:
    """JSON and back."""
    licence = Licence(expires, updates)
    assert Licence.from_json(licence.to_json()) == licence


def test_licence_is_the_services_credential_unless_the_settings_name_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is named wins; without a credential there is none."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert find_licence(None) is None
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert find_licence(None) is None
    (tmp_path / CREDENTIAL).write_text("x")
    assert find_licence(None) == tmp_path / CREDENTIAL
    assert find_licence(Path("/a.lic")) == Path("/a.lic")


@pytest.mark.parametrize(
    ("days_left", "words"), [(31, None), (30, "30 days from now"), (0, "0 days from now"), (-1, "over for 1 days")]
)
@pytest.mark.parametrize("field", ["expires", "updates_until"])
def test_doctor_warns_a_month_before_a_licence_ends(days_left: int, words: str | None, field: str) -> None:
    """Neither later nor sooner, with the day and what to do."""
    day = TODAY + timedelta(days=days_left)
    findings = list(licence_findings(Licence(**{field: day}), TODAY))
    if words is None:
        assert findings == []
        return
    (finding,) = findings
    assert finding.verdict is Verdict.WARN
    assert f"until {day}, {words}" in finding.what
    assert "renew" in finding.remedy


def test_doctor_has_nothing_to_say_of_a_licence_without_days() -> None:
    """Not every licence ends."""
    assert list(licence_findings(Licence(), TODAY)) == []
