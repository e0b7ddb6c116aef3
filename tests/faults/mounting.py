"""Trees that are mounted and taken away: by bind mounts, or where those are not allowed by folders that change places."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any, Protocol

import pytest

from ocrwatch.intake import beneath
from ocrwatch.intake.beneath import RootIdentity

_MS_BIND = 4096
_MNT_DETACH = 2
_CAP_SYS_ADMIN = 21


def may_mount() -> bool:
    """Whether this process may mount, as far as its capabilities say."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> _CAP_SYS_ADMIN & 1)


class Mounting(Protocol):
    """A way to have a tree at a point, and to take it away again. `tree` is where its files can be reached meanwhile."""

    def mount(self, tree: Path, point: Path) -> Path: ...
    def unmount(self, tree: Path, point: Path) -> Path: ...


class BindMounts:
    """Real mounts. The files of a tree are always to be reached below it, as on a server."""

    def mount(self, tree: Path, point: Path) -> Path:
        """Raises OSError."""
        _call("mount", os.fsencode(tree), os.fsencode(point), None, ctypes.c_ulong(_MS_BIND), None)
        return tree

    def unmount(self, tree: Path, point: Path) -> Path:
        """Whoever uses it. Raises OSError."""
        _call("umount2", os.fsencode(point), ctypes.c_int(_MNT_DETACH))
        return tree


class SwappedFolders:
    """Folders that change places; what stands at the point says of itself on which mount it is, by its number."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._mounted: dict[int, Path] = {}
        real = beneath._identity_of

        def identity_of(descriptor: int, *more: Any, **options: Any) -> RootIdentity:
            inode = os.fstat(descriptor).st_ino
            point = self._mounted.get(inode)
            return real(descriptor, *more, **options) if point is None else RootIdentity(inode, "ext4", str(point), "/", "")

        patch.setattr(beneath, "_identity_of", identity_of)

    def mount(self, tree: Path, point: Path) -> Path:
        """The files are at the point then."""
        point.rmdir()
        tree.rename(point)
        self._mounted[point.stat().st_ino] = point
        return point

    def unmount(self, tree: Path, point: Path) -> Path:
        """An empty folder is left, on the mount of everything around it."""
        point.rename(tree)
        point.mkdir()
        return tree


def _call(name: str, *arguments: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
