"""Length-framed JSON messages on a socket between parent and worker. Owns the wire format, nothing else.

A frame is four bytes of length (big-endian) and that many bytes of JSON, one object, in UTF-8 with lone surrogates (of file names
that are not UTF-8) as they are. JSON, not pickle: a worker handles hostile files and must not be able to run code in the parent.
"""

from __future__ import annotations

import json
import math
import socket
import struct
from typing import Any

MAX_FRAME_BYTES = 512 * 1024 * 1024
"""The result of fifty thousand pages, on its way to a share, is shorter."""

USUAL_FRAME_BYTES = 64 * 1024 * 1024
_HEADER = struct.Struct(">I")


class FrameError(Exception):
    """The other side closed, or sent what is no frame."""


class FrameTooLarge(FrameError):
    """The message is longer than any frame; nothing of it was sent."""


def encode(message: dict[str, Any]) -> bytes:
    """One message as a frame. Raises FrameTooLarge."""
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "surrogatepass")
    if len(body) > MAX_FRAME_BYTES:
        raise FrameTooLarge(f"message of {len(body)} bytes is larger than {MAX_FRAME_BYTES}")
    return _HEADER.pack(len(body)) + body


def decode(body: bytes) -> dict[str, Any]:
    """The message in the body of a frame."""
    try:
        message = json.loads(body, parse_constant=_refused, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"no JSON in a frame of {len(body)} bytes") from error
    if not isinstance(message, dict):
        raise FrameError("a frame holds an object, this one does not")
    return message


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refused(digits)


class FrameReader:
    """Cuts a byte stream into messages of at most `limit_bytes`. Feed it what arrives; it keeps what is not whole yet."""

    def __init__(self, limit_bytes: int = USUAL_FRAME_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The messages that are complete after `data`, in order."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= _HEADER.size:
            (length,) = _HEADER.unpack_from(self._buffer)
            if length > self._limit_bytes:
                raise FrameError(f"a frame of {length} bytes was announced, and {self._limit_bytes} are the most that is taken")
            end = _HEADER.size + length
            if len(self._buffer) < end:
                break
            messages.append(decode(bytes(self._buffer[_HEADER.size : end])))
            del self._buffer[:end]
        return messages


def receive(channel: socket.socket) -> dict[str, Any] | None:
    """The next message, waiting for it; None when the other side has closed between two frames."""
    header = _receive_exactly(channel, _HEADER.size, may_end=True)
    return None if header is None else _body(channel, header)


def send(channel: socket.socket, message: dict[str, Any], *, descriptor: int | None) -> None:
    """One message; the other side gets a descriptor of its own for what ours is open for."""
    data = encode(message)
    if descriptor is not None:  # it goes with the first byte
        socket.send_fds(channel, [data[:1]], [descriptor])
        data = data[1:]
    channel.sendall(data)


def receive_with_descriptor(channel: socket.socket) -> tuple[dict[str, Any], int | None] | None:
    """The next message, and the descriptor that came with it, which is the caller's to close; None as with `receive`."""
    first, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    if not first:
        return None
    rest = _receive_exactly(channel, _HEADER.size - 1, may_end=False)
    return _body(channel, first + (rest or b"")), descriptors[0] if descriptors else None


def _body(channel: socket.socket, header: bytes) -> dict[str, Any]:
    (length,) = _HEADER.unpack(header)
    if length > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {length} bytes was announced")
    return decode(_receive_exactly(channel, length, may_end=False) or b"")


def _receive_exactly(channel: socket.socket, length: int, *, may_end: bool) -> bytes | None:
    data = bytearray()
    while len(data) < length:
        part = channel.recv(min(length - len(data), 1 << 20))
        if not part:
            if may_end and not data:
                return None
            raise FrameError("the other side closed in the middle of a frame")
        data += part
    return bytes(data)
