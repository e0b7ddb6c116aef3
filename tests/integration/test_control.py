"""The control socket: real sockets, callers that are slow, wrong, or not allowed."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.errors import EncryptedFile, Infrastructure, OcrwatchError, UsageError
from ocrwatch.service import control
from ocrwatch.service.control import Caller, ControlServer, NoDaemon, ask
from ocrwatch.worker import frames


def _echo(request: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
    return {"said": request.get("text"), "uid": caller.uid, "pid": caller.pid}


def _refuse(_: Mapping[str, Any], __: Caller) -> dict[str, Any]:
    raise EncryptedFile("it needs a password", "remove it")


def _bug(_: Mapping[str, Any], __: Caller) -> dict[str, Any]:
    raise KeyError("nobody foresaw this")


def _nonsense(_: Mapping[str, Any], __: Caller) -> dict[str, Any]:
    return {"no": float("nan"), "set": {1}}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The socket of a server that answers, with callers cut off after a short time."""
    monkeypatch.setattr(control, "_PATIENCE_S", 0.3)
    answers = {"echo": _echo, "refuse": _refuse, "bug": _bug, "nonsense": _nonsense}
    server = ControlServer(tmp_path / "c.sock", answers)
    yield tmp_path / "c.sock"
    server.close()
    assert not (tmp_path / "c.sock").exists()


def test_request_is_answered_and_the_caller_is_known(path: Path) -> None:
    """By what the kernel says, not by what it says of itself."""
    assert ask(path, {"op": "echo", "text": "x", "uid": 99}) == {"said": "x", "uid": os.geteuid(), "pid": os.getpid()}


def test_name_that_is_not_utf8_goes_both_ways(path: Path) -> None:
    """`why` is asked of such files too."""
    name = os.fsdecode(b"\xff\n.pdf")
    assert ask(path, {"op": "echo", "text": name})["said"] == name


def test_error_comes_back_as_its_type(path: Path) -> None:
    """With its remedy."""
    with pytest.raises(EncryptedFile, match="password; remove it"):
        ask(path, {"op": "refuse"})


def test_unknown_request_is_told(path: Path) -> None:
    """An older daemon, a newer command."""
    with pytest.raises(UsageError, match="no request 'fly'"):
        ask(path, {"op": "fly"})
    with pytest.raises(UsageError, match="no request None"):
        ask(path, {})


@pytest.mark.parametrize("request_", ["bug", "nonsense"])
def test_request_that_goes_wrong_does_not_end_the_daemons_ear(path: Path, request_: str) -> None:
    """The next one is answered, whatever the first brought to light."""
    with pytest.raises(OcrwatchError, match="Error"):
        ask(path, {"op": request_})
    assert ask(path, {"op": "echo", "text": "still here"})["said"] == "still here"


def test_socket_is_for_its_user_and_group_only(path: Path) -> None:
    """0660."""
    status = path.lstat()
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o660


@pytest.mark.parametrize("words", [b"", b"\x00\x00", b"\xff\xff\xff\xff", b"\x00\x00\x00\x05hello", b"GET / HTTP/1.1\r\n\r\n"])
def test_caller_that_says_nothing_or_nonsense_is_left(path: Path, words: bytes) -> None:
    """Others are answered meanwhile or soon after."""
    with socket.socket(socket.AF_UNIX) as rude:
        rude.connect(str(path))
        rude.sendall(words)
        assert ask(path, {"op": "echo", "text": "next"})["said"] == "next"


def test_caller_that_dribbles_is_cut_off(path: Path) -> None:
    """A byte now and then does not hold the daemon: the time is for the whole request."""
    done = threading.Event()

    def dribble() -> None:
        with socket.socket(socket.AF_UNIX) as slow, contextlib.suppress(OSError):
            slow.connect(str(path))
            slow.sendall((1000).to_bytes(4, "big"))
            while not done.wait(0.05):
                slow.sendall(b" ")

    thread = threading.Thread(target=dribble)
    thread.start()
    with socket.socket(socket.AF_UNIX) as first:  # so that the slow one is at the server before us
        first.connect(str(path))
    begin = time.monotonic()
    try:
        assert ask(path, {"op": "echo", "text": "next"})["said"] == "next"
    finally:
        done.set()
        thread.join()
    assert time.monotonic() - begin < 5


def test_caller_that_does_not_read_its_answer_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the answer is."""
    monkeypatch.setattr(control, "_PATIENCE_S", 0.2)
    large = {"text": "x" * (8 << 20)}
    server = ControlServer(tmp_path / "c.sock", {"large": lambda _, __: large, "echo": _echo})
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.connect(str(tmp_path / "c.sock"))
        deaf.sendall(frames.encode({"op": "large"}))
        assert ask(tmp_path / "c.sock", {"op": "echo", "text": "next"})["said"] == "next"
    assert ask(tmp_path / "c.sock", {"op": "large"}) == large
    server.close()


def test_question_of_many_megabytes_is_not_taken(path: Path) -> None:
    """Every member of the group may call; as objects, brackets are thirty times as much."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))
        caller.sendall(len(b"[]" * (1 << 20)).to_bytes(4, "big"))
        assert caller.recv(1) == b""
    assert ask(path, {"op": "echo", "text": "x" * 500_000})["said"] == "x" * 500_000


def test_no_daemon_is_told_apart_from_an_error(tmp_path: Path) -> None:
    """No socket, a dead one, or a name that can be none."""
    for path in (tmp_path / "absent.sock", tmp_path / ("x" * 200)):
        with pytest.raises(NoDaemon):
            ask(path, {"op": "echo"})
    dead = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(dead))
    with pytest.raises(NoDaemon):
        ask(dead, {"op": "echo"})


def test_daemon_that_breaks_off_is_told(tmp_path: Path) -> None:
    """It was stopped in the middle."""
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def hang_up() -> None:
            connection, _ = listener.accept()
            frames.receive(connection)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(OcrwatchError, match="gave no answer"):
            ask(path, {"op": "echo"})
        thread.join()


def test_socket_of_a_dead_daemon_is_replaced(tmp_path: Path) -> None:
    """A crash leaves it behind."""
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    server = ControlServer(path, {"echo": _echo})
    assert ask(path, {"op": "echo", "text": "x"})["said"] == "x"
    server.close()


def _asked(path: Path, text: str) -> tuple[threading.Thread, list[Any]]:
    """Somebody who asks, and what the answer was."""
    heard: list[Any] = []
    thread = threading.Thread(target=lambda: heard.append(ask(path, {"op": "echo", "text": text})["said"]))
    thread.start()
    return thread, heard


def test_whoever_asks_while_the_service_starts_anew_waits_for_the_answer(tmp_path: Path) -> None:
    """A reload is no time at which nobody listens."""
    path = tmp_path / "c.sock"
    ControlServer(path, {"echo": _echo}).hand_over()
    thread, heard = _asked(path, "between")
    thread.join(0.05)
    assert heard == []
    server = ControlServer(path, {"echo": _echo})
    thread.join()
    assert heard == ["between"]
    assert ask(path, {"op": "echo", "text": "after"})["said"] == "after"
    server.close()
    assert not path.exists()


def test_socket_moves_when_the_changed_configuration_says_so(tmp_path: Path) -> None:
    """The old one is gone then."""
    before, after = tmp_path / "before.sock", tmp_path / "after.sock"
    ControlServer(before, {"echo": _echo}).hand_over()
    server = ControlServer(after, {"echo": _echo})
    assert ask(after, {"op": "echo", "text": "x"})["said"] == "x"
    assert not before.exists()
    server.close()


@pytest.mark.parametrize(("name", "words"), [("absent/c.sock", "o such file"), ("x" * 150, "too long")])
def test_place_that_cannot_hold_a_socket_is_told(tmp_path: Path, name: str, words: str) -> None:
    """With the key to change."""
    with pytest.raises(Infrastructure, match=words) as caught:
        ControlServer(tmp_path / name, {})
    assert "control_socket" in caught.value.remedy


def test_close_does_not_wait_for_a_silent_caller(tmp_path: Path) -> None:
    """Nor leave its thread behind."""
    server = ControlServer(tmp_path / "c.sock", {})
    begin = time.monotonic()
    server.close()
    assert time.monotonic() - begin < 2
    assert not any(thread.name == "control" for thread in threading.enumerate())


def test_what_is_no_dead_socket_stays_where_it_is(tmp_path: Path) -> None:
    """The place is configured by hand: it may be somebody's file, or another daemon's socket."""
    file = tmp_path / "precious.txt"
    file.write_text("precious")
    with pytest.raises(Infrastructure, match="no socket"):
        ControlServer(file, {})
    assert file.read_text() == "precious"
    first = ControlServer(tmp_path / "c.sock", {"echo": _echo})
    with pytest.raises(Infrastructure, match="another program listens"):
        ControlServer(tmp_path / "c.sock", {})
    assert ask(tmp_path / "c.sock", {"op": "echo", "text": "x"})["said"] == "x"
    first.close()
