"""Errors on their way from one process to another."""

from __future__ import annotations

from typing import Any

import pytest

from ocrwatch.errors import DeviceFull, EncryptedFile, ModelUnavailable, OcrwatchError, WorkerRefused, from_wire


@pytest.mark.parametrize(
    "error",
    [
        EncryptedFile("it needs a password", "remove it"),
        ModelUnavailable("the hub answered 429", "try again later", wait_s=3600.0),
        DeviceFull("no memory"),
    ],
)
def test_error_arrives_as_it_left(error: OcrwatchError) -> None:
    """Its type, what it says, and for how long the hub wants to be left alone."""
    arrived = from_wire(error.to_wire())
    assert type(arrived) is type(error)
    assert (str(arrived), arrived.to_wire()) == (str(error), error.to_wire())
    assert getattr(arrived, "wait_s", None) == getattr(error, "wait_s", None)


@pytest.mark.parametrize("wait_s", ["", "soon", "-1", "nan", "inf", "1e999", None, [], {}])
def test_time_that_is_none_is_no_time(wait_s: Any) -> None:
    """The other process may say what it likes."""
    arrived = from_wire({"kind": "ModelUnavailable", "message": "x", "wait_s": wait_s})
    assert isinstance(arrived, ModelUnavailable)
    assert arrived.wait_s == 0.0


@pytest.mark.parametrize("kind", ["SystemExit", "ConfigError", "", "object"])
def test_kind_that_is_no_error_of_ours_is_a_refusal(kind: str) -> None:
    """No type is made of another process's words."""
    assert type(from_wire({"kind": kind, "message": "x"})) is WorkerRefused


def test_what_a_start_left_behind_stays_here() -> None:
    """A process cannot be sent."""
    error = ModelUnavailable("no answer")
    error.left_behind = object()
    assert from_wire(error.to_wire()).left_behind is None
