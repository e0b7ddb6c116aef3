"""Other users of the machine: what they see when they call at the control socket, or look at a file."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.worker import frames

# They become the user after their start: others may not get at the tests' own interpreter.
_BECOME = """
import os, socket, sys
path, uid, *groups = sys.argv[1:]
os.setgroups([int(group) for group in groups])
os.setresgid(int(uid), int(uid), int(uid))
os.setresuid(int(uid), int(uid), int(uid))
"""
_CALL = """
with socket.socket(socket.AF_UNIX) as channel:
    channel.connect(path)
    channel.sendall(sys.stdin.buffer.read())
    while data := channel.recv(1 << 16):
        sys.stdout.buffer.write(data)
"""
_LOOK = "os.lstat(path)"


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter; those that pytest makes are for one user."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@dataclass(frozen=True)
class User:
    """Somebody else, with a group of the same number and others. Tests are skipped where nobody can become them."""

    uid: int
    groups: Collection[int] = ()

    def ask(self, path: Path, /, **request: object) -> dict[str, Any]:
        """What the daemon answers; `{"error": ...}` when it refuses, or when the socket does."""
        done = self._run(_CALL, path, data=frames.encode(request))
        if done.returncode != 0:
            return {"error": done.stderr.decode()}
        (reply,) = frames.FrameReader().feed(done.stdout)
        return dict(reply["ok"]) if "ok" in reply else {"error": str(reply["error"]["message"])}

    def error_of_look(self, path: Path) -> str:
        """How the kernel refuses a look at the path; '' when it does not."""
        return self._run(_LOOK, path).stderr.decode().strip().rpartition("\n")[2].partition(":")[0]

    def _run(self, code: str, path: Path, *, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        if os.geteuid() != 0:
            pytest.skip("only root becomes another user")
        command = [sys.executable, "-I", "-c", _BECOME + code, str(path), str(self.uid), *(str(group) for group in self.groups)]
        return subprocess.run(command, input=data, capture_output=True, timeout=60, check=False)
