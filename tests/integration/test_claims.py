"""Whose claim on an inbox keeps a daemon from it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocrwatch.errors import UsageError
from ocrwatch.service.claims import held_inboxes

SERVICE, SOMEBODY = 65534, 65533


@contextlib.contextmanager
def acting_as(uid: int) -> Iterator[None]:
    """This process is that user's meanwhile."""
    if os.geteuid() != 0:
        pytest.skip("only root becomes another user")
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


@contextlib.contextmanager
def claimed(path: Path, *, by: int, listening: bool = True) -> Iterator[None]:
    """A user has taken the name of the claim on an inbox."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as taken, acting_as(by):
        taken.bind(b"\0ocrwatch-inbox-" + hashlib.sha256(os.fsencode(path)).digest())
        if listening:
            taken.listen()
        os.seteuid(0)
        yield


@pytest.mark.parametrize("holder", [SERVICE, 0])
def test_inbox_of_another_daemon_is_refused(tmp_path: Path, holder: int) -> None:
    """Of the same user, or of root."""
    refused = pytest.raises(UsageError, match="another ocrwatch watches")
    with claimed(tmp_path, by=holder), acting_as(SERVICE), refused, held_inboxes([tmp_path / "free", tmp_path]):
        pass


@pytest.mark.parametrize("listening", [True, False])
def test_somebody_who_takes_the_name_keeps_no_service_down(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, listening: bool
) -> None:
    """The name of a claim is no secret, and every user of the machine may take it."""
    with claimed(tmp_path, by=SOMEBODY, listening=listening), acting_as(SERVICE), held_inboxes([tmp_path]):
        pass
    assert f"{tmp_path} is claimed by the user {SOMEBODY if listening else None}" in caplog.text


def test_root_believes_everybody(tmp_path: Path) -> None:
    """Whoever tries something by hand beside a service of another user is told of it."""
    with claimed(tmp_path, by=SERVICE), pytest.raises(UsageError, match="another ocrwatch watches"), held_inboxes([tmp_path]):
        pass


def test_claim_is_free_again_afterwards(tmp_path: Path) -> None:
    """And two inboxes are two claims."""
    for _ in range(2):
        with held_inboxes([tmp_path, tmp_path / "other"]), pytest.raises(UsageError), held_inboxes([tmp_path]):
            pass
