"""System calls that fail: the errno that a disk, a share or a kernel gives, at the call where it would come."""

from __future__ import annotations

import errno as numbers
import os
from collections.abc import Callable
from typing import Any

import pytest

from ocrwatch.intake import syscalls


def failing(
    patch: pytest.MonkeyPatch,
    call: str,
    errno: int,
    *,
    first: int = 1,
    times: int = 1_000_000,
    when: Callable[..., bool] = lambda *_, **__: True,
    module: Any = os,
) -> list[tuple[Any, ...]]:
    """Let `module.call` fail from its `first` matching use on, `times` times; returns the arguments of every matching use."""
    real, uses = getattr(module, call), []

    def instead(*arguments: Any, **options: Any) -> Any:
        if when(*arguments, **options):
            uses.append(arguments)
            if first <= len(uses) < first + times:
                raise OSError(errno, os.strerror(errno))
        return real(*arguments, **options)

    patch.setattr(module, call, instead)
    return uses


def without_openat2(patch: pytest.MonkeyPatch) -> None:
    """A kernel before 5.6, or a sandbox that refuses the call."""
    failing(patch, "open_beneath", numbers.ENOSYS, module=syscalls)


def without_rename_noreplace(patch: pytest.MonkeyPatch) -> None:
    """A file system like NFS, which has no flags for rename."""
    failing(patch, "rename_noreplace", numbers.EINVAL, module=syscalls)


def without_links(patch: pytest.MonkeyPatch) -> None:
    """A file system like FAT, which has no hard links."""
    failing(patch, "link", numbers.EPERM)


def without_reflinks(patch: pytest.MonkeyPatch) -> None:
    """A file system like ext4, which cannot share blocks."""
    failing(patch, "reflink", numbers.EOPNOTSUPP, module=syscalls)


def after_call(patch: pytest.MonkeyPatch, call: str, act: Callable[[], object], *, nth: int = 1, module: Any = os) -> None:
    """Let something happen right after the nth use of a call: what another process does in mid work."""
    real, uses = getattr(module, call), []

    def instead(*arguments: Any, **options: Any) -> Any:
        result = real(*arguments, **options)
        uses.append(arguments)
        if len(uses) == nth:
            act()
        return result

    patch.setattr(module, call, instead)


def before_call(patch: pytest.MonkeyPatch, call: str, act: Callable[[], object], *, nth: int = 1, module: Any = os) -> None:
    """Let something happen right before the nth use of a call."""
    real, uses = getattr(module, call), []

    def instead(*arguments: Any, **options: Any) -> Any:
        uses.append(arguments)
        if len(uses) == nth:
            act()
        return real(*arguments, **options)

    patch.setattr(module, call, instead)
