"""Whether another user could reach a path: judged as the kernel judges it."""

from __future__ import annotations

import errno
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocrwatch.worker.rights import User, may_stat

_ALICE = User(54321, frozenset({54321, 54400}))
_OTHER_GROUP = 54401


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter, as far as the way to it lets them; those of pytest are for one user."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _inner(folder: Path, mode: int, *, gid: int = -1) -> str:
    inner = folder / "inner"
    inner.mkdir()
    if gid != -1:
        if os.geteuid() != 0:
            pytest.skip("only root gives a folder to a group that it is not in")
        os.chown(inner, -1, gid)
    inner.chmod(mode)
    return str(inner / "scan.pdf")


@pytest.mark.parametrize(("mode", "may"), [(0o755, True), (0o711, True), (0o700, False), (0o750, False), (0o754, False)])
def test_others_need_search_on_every_folder(folder: Path, mode: int, may: bool) -> None:
    """Not read: a name can be known. The file itself need not be there."""
    assert may_stat(_inner(folder, mode), _ALICE) is may


@pytest.mark.parametrize(
    ("mode", "gid", "may"),
    [
        (0o750, 54400, True),
        (0o750, 54321, True),
        (0o750, _OTHER_GROUP, False),
        (0o705, 54400, False),
        (0o705, _OTHER_GROUP, True),
    ],
)
def test_any_group_counts_and_shuts_out_too(folder: Path, mode: int, gid: int, may: bool) -> None:
    """One who is in the group is none of the others, whatever these may."""
    assert may_stat(_inner(folder, mode, gid=gid), _ALICE) is may


def test_owner_is_judged_by_the_owners_bits(folder: Path) -> None:
    """Even where all others may more."""
    path = _inner(folder, 0o077)
    assert not may_stat(path, User(os.geteuid(), frozenset()))
    Path(path).parent.chmod(0o700)
    assert may_stat(path, User(os.geteuid(), frozenset()))


def test_symlink_on_the_way_leads_through_what_it_points_to(folder: Path) -> None:
    """A link in an open folder opens no closed one, and the folders of the link's own way count as well."""
    (folder / "closed" / "deep").mkdir(parents=True)
    (folder / "open").mkdir()
    (folder / "open" / "link").symlink_to("../closed/deep")
    (folder / "open" / "absolute").symlink_to(folder / "closed" / "deep")
    for link in ("link", "absolute"):
        path = str(folder / "open" / link / "scan.pdf")
        (folder / "closed").chmod(0o755)
        assert may_stat(path, _ALICE)
        (folder / "closed").chmod(0o700)
        assert not may_stat(path, _ALICE)
    assert may_stat(str(folder / "open" / "link"), _ALICE), "of the link itself, the folder that it is in decides"


def test_what_cannot_be_walked_is_not_seen(folder: Path) -> None:
    """A circle, a file as a folder, a folder that is not there."""
    (folder / "circle").symlink_to("circle")
    (folder / "file").touch()
    for name in ("circle/a.pdf", "file/a.pdf", "absent/a.pdf"):
        assert not may_stat(str(folder / name), _ALICE), name


def _set_list(path: str, *entries: tuple[int, int, int]) -> None:
    packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(Path(path).parent, "system.posix_acl_access", packed)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            pytest.skip("the file system of the temporary folder has no access lists")
        raise


_NOBODY = 0xFFFFFFFF
_OWNER, _NO_GROUP = (0x01, 7, _NOBODY), (0x04, 0, _NOBODY)
_FULL_MASK, _NO_OTHERS, _ALL_OTHERS = (0x10, 7, _NOBODY), (0x20, 0, _NOBODY), (0x20, 5, _NOBODY)


@pytest.mark.parametrize(
    ("entries", "may"),
    [
        ([_OWNER, (0x02, 1, 54321), _NO_GROUP, _FULL_MASK, _NO_OTHERS], True),
        ([_OWNER, (0x02, 0, 54321), _NO_GROUP, _FULL_MASK, _ALL_OTHERS], False),
        ([_OWNER, (0x02, 5, 54321), _NO_GROUP, (0x10, 4, _NOBODY), _NO_OTHERS], False),
        ([_OWNER, (0x02, 5, 777), _NO_GROUP, _FULL_MASK, _NO_OTHERS], False),
        ([_OWNER, _NO_GROUP, (0x08, 5, 54400), _FULL_MASK, _NO_OTHERS], True),
        ([_OWNER, _NO_GROUP, (0x08, 4, 54400), _FULL_MASK, _ALL_OTHERS], False),
        ([_OWNER, _NO_GROUP, (0x08, 4, 54400), (0x08, 1, 54321), _FULL_MASK, _NO_OTHERS], True),
        ([_OWNER, _NO_GROUP, (0x08, 5, _OTHER_GROUP), _FULL_MASK, _ALL_OTHERS], True),
    ],
)
def test_access_list_counts(folder: Path, entries: list[tuple[int, int, int]], may: bool) -> None:
    """A NAS gives rights by lists; the mode bits show only the mask of them."""
    path = _inner(folder, 0o755)
    _set_list(path, *sorted(entries, key=lambda entry: (entry[0], entry[2])))
    assert may_stat(path, _ALICE) is may
