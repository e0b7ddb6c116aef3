"""The wire format between parent and worker."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.worker import frames
from ocrwatch.worker.frames import FrameError, FrameReader, FrameTooLarge

_TEXT = st.text(alphabet=st.characters(codec=None, exclude_categories=()))
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)
_MESSAGES = st.lists(st.dictionaries(_TEXT, _VALUES, max_size=4), max_size=5)


@given(messages=_MESSAGES, cuts=st.lists(st.integers(min_value=1, max_value=40), min_size=1, max_size=20))
def test_messages_survive_however_the_stream_is_cut(messages: list[dict[str, Any]], cuts: list[int]) -> None:
    """Names that are not UTF-8 included; the order stays."""
    stream = b"".join(frames.encode(message) for message in messages)
    reader, found, turn = FrameReader(), [], 0
    while stream:
        step = cuts[turn % len(cuts)]
        found += reader.feed(stream[:step])
        stream, turn = stream[step:], turn + 1
    assert found == messages


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999"])
def test_number_that_is_none_is_no_message(number: bytes) -> None:
    """Python reads and writes them; no JSON file of ours could hold them."""
    body = b'{"x": [%s]}' % number
    with pytest.raises(FrameError):
        FrameReader().feed(len(body).to_bytes(4, "big") + body)


@pytest.mark.parametrize("body", [b"hello", b"[1]", b"7", b"\xff\xfe", b"[" * 100_000, b""])
def test_body_that_is_no_object_is_an_error(body: bytes) -> None:
    """Whatever a broken or hostile worker sends, the parent gets the one error that it knows."""
    with pytest.raises(FrameError):
        FrameReader().feed(len(body).to_bytes(4, "big") + body)


def test_frame_that_announces_too_much_is_refused_before_it_comes() -> None:
    """A worker cannot make the parent hold gigabytes."""
    with pytest.raises(FrameError, match="announced"):
        FrameReader().feed(b"\xff\xff\xff\xff")


def test_message_that_is_too_large_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender learns of it."""
    monkeypatch.setattr(frames, "MAX_FRAME_BYTES", 100)
    assert len(frames.encode({"x": "ж" * 46})) == 4 + 100
    with pytest.raises(FrameTooLarge, match="larger than 100"):
        frames.encode({"x": "ж" * 47})


def test_end_between_two_frames_is_the_end_and_within_one_an_error() -> None:
    """The other side went in peace, or it did not."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(frames.encode({"n": 1}) + b"\x00\x00")
        theirs.shutdown(socket.SHUT_WR)
        assert frames.receive(ours) == {"n": 1}
        with pytest.raises(FrameError, match="middle"):
            frames.receive(ours)
        assert frames.receive(ours) is None
