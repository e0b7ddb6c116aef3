"""Files that others hold open, as Windows clients do on SMB shares: waited for, with a reason, and taken when they are free."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocrwatch.intake import syscalls, tree
from ocrwatch.intake.troubles import output_error, source_error
from tests.faults.calls import after_call, failing
from tests.faults.mounting import BindMounts
from tests.faults.rig import Rig, scan_of, text_of

_SCAN = scan_of("one")
_NUMBERS = [errno.EBUSY, errno.ETXTBSY, errno.EACCES, errno.EAGAIN]


class Holder:
    """Somebody who has a file open, and lets nobody else have it meanwhile."""

    def __init__(self) -> None:
        self.name = ""

    def refuses(self, *arguments: object, **_: object) -> bool:
        """Whether a call that names the file, by whatever argument, fails."""
        return bool(self.name) and self.name in arguments


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A service on plain folders."""
    made = Rig(tmp_path, BindMounts(), trees=())
    yield made
    made.close()


@pytest.fixture(params=_NUMBERS, ids=lambda number: errno.errorcode[number])
def holder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Holder:
    """Nobody, until the test names a file."""
    made = Holder()
    failing(monkeypatch, "open_beneath", request.param, when=made.refuses, module=syscalls)
    failing(monkeypatch, "rename_noreplace", request.param, when=made.refuses, module=syscalls)
    for call in ("open", "rename"):
        failing(monkeypatch, call, request.param, when=made.refuses)
    return made


def _arrives(rig: Rig, data: bytes = _SCAN) -> None:
    scan = rig.at("a.pdf")
    fresh = scan.with_name(".making")
    fresh.write_bytes(data)
    fresh.replace(scan)
    rig.hint("a.pdf")


def _is_done(rig: Rig, data: bytes = _SCAN) -> None:
    told = rig.why("a.pdf")
    assert told["state"] == "done", told
    assert rig.sidecar("a.pdf.txt").read_text(encoding="utf-8") == text_of(data)


def test_scan_that_is_held_open_when_it_settles_waits(rig: Rig, holder: Holder) -> None:
    """Its writer has it still: no job, no failure."""
    holder.name = "a.pdf"
    _arrives(rig)
    rig.after(60)
    told = rig.why("a.pdf")
    assert (told["state"], told["reason"], told.get("job")) == ("waiting", "unreadable", None)
    assert "open elsewhere" in told["meaning"]
    holder.name = ""
    rig.after(60)
    _is_done(rig)


def test_scan_that_is_held_open_when_it_is_copied_is_deferred(rig: Rig, holder: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody looks at it: the file is not to blame."""

    def hold() -> None:
        holder.name = "a.pdf"

    after_call(monkeypatch, "completeness", hold, module=tree)
    _arrives(rig)
    rig.after(60)
    told = rig.why("a.pdf")
    assert (told["state"], told["reason"]) == ("deferred", "infrastructure")
    assert "open elsewhere" in told["detail"]
    holder.name = ""
    rig.after(600)
    _is_done(rig)


@pytest.mark.parametrize("suffix", [".txt", ".json"])
@pytest.mark.parametrize("is_new", [True, False], ids=["new", "replaced"])
def test_sidecar_that_is_held_open_is_replaced_when_it_is_free(rig: Rig, holder: Holder, suffix: str, is_new: bool) -> None:
    """Somebody reads the older text in an editor; a page is not read twice for that, and nothing of ours is left about."""
    if not is_new:
        _arrives(rig, scan_of("zero"))
        rig.after(60)
    holder.name = f"a.pdf{suffix}"
    _arrives(rig)
    rig.after(60)
    told = rig.why("a.pdf")
    assert (told["state"], told["reason"]) == ("deferred", "output_unwritable")
    assert "open elsewhere" in told["detail"]
    holder.name = ""
    rig.after(600)
    _is_done(rig)
    assert rig.pages_read == (1 if is_new else 2)
    assert {path.name for path in rig.at("").iterdir()} == {"a.pdf", "a.pdf.txt", "a.pdf.json", "nas"}


def test_refusal_that_may_be_one_of_rights_names_both_remedies() -> None:
    """A server answers EACCES to either; a person has to look."""
    for error in (
        source_error(PermissionError(errno.EACCES, ""), "a.pdf"),
        output_error(PermissionError(errno.EACCES, ""), "a.pdf"),
    ):
        assert "the right to" in error.remedy
        assert "open elsewhere" in error.remedy
