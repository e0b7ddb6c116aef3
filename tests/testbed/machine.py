"""A Linux of the tests' own, with kernel NFS and SMB clients and servers for them: User Mode Linux, an ordinary process.

Owns its boot and its end, and the line to the agent inside. Knows nothing of shares and of what is tested on them.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
_PROJECT = _HERE.parent.parent
_LAYER = _PROJECT / ".cache" / "testbed"  # where fetch.sh unpacked what is not installed
_NEEDED = {
    "user-mode-linux": "usr/bin/linux.uml",
    "kmod": "bin/kmod",
    "iproute2": "bin/ip",
    "nfs-kernel-server": "usr/sbin/exportfs",
    "nfs-common": "sbin/mount.nfs4",
    "cifs-utils": "sbin/mount.cifs",
    "samba": "usr/sbin/smbd",
    "python3-samba": "usr/lib/python3/dist-packages/samba/samba3",
}
_BOOT_S = 60.0


def _environment(layer: Path) -> str:
    values = {"LAYER": layer, "TESTBED": _HERE, "PYTHON": sys.executable, "PYTHONPATH": _PROJECT}
    return "".join(f"export {name}={shlex.quote(str(value))}\n" for name, value in values.items())


class CannotBoot(Exception):
    """This machine cannot run the guest; the message says why and what to do."""


def what_is_missing() -> str:
    """What has to be done before a guest can run; empty when everything is there."""
    lacking = [package for package, path in _NEEDED.items() if not any((base / path).exists() for base in (_LAYER, Path("/")))]
    return f"tests/testbed/fetch.sh .cache/testbed (lacking: {', '.join(lacking)})" if lacking else ""


class Machine:
    """A guest that runs from its making to `end`. folder: what it shares with this machine, at /run/common inside."""

    def __init__(self, folder: Path) -> None:
        """Boot. Raises CannotBoot where that cannot be; an AssertionError when the guest runs and its set-up fails."""
        self._folder = folder
        self._said = b""
        self._next_id = 1
        self._replies: dict[int, dict[str, Any]] = {}
        (folder / "init").symlink_to(_HERE / "init.sh")
        # Without its set-user-ID bit: to the guest of somebody who is not root, root's files are somebody else's.
        (folder / "bin").mkdir()
        shutil.copyfile("/bin/mount", folder / "bin" / "mount")
        (folder / "bin" / "mount").chmod(0o755)
        layer = _LAYER if _LAYER.exists() else folder
        (folder / "guest.env").write_text(_environment(layer))
        # The guest cannot write beside the sources, and compiles them at every start of Python otherwise.
        subprocess.run([sys.executable, "-m", "compileall", "-q", _PROJECT / "ocrwatch", _HERE], check=False)
        to_guest, self._to_guest = os.pipe()
        self._from_guest, from_guest = os.pipe()
        with (folder / "console").open("wb") as console:
            self._process = subprocess.Popen(
                [_HERE / "boot.sh", folder, str(to_guest), str(from_guest)],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                pass_fds=(to_guest, from_guest),
                env={"PATH": f"{layer}/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            )
        for descriptor in (to_guest, from_guest):
            os.close(descriptor)
        try:
            self._reply(0, limit_s=time.monotonic() + _BOOT_S)
        except AssertionError as error:
            self.end()
            if "guest: the kernel runs" in self.console():
                raise
            raise CannotBoot(f"User Mode Linux does not boot here: {self.console()[-500:].strip()}") from error

    def console(self) -> str:
        """What the guest's kernel and its first process said, without the traces of a panic."""
        return (self._folder / "console").read_text(encoding="utf-8", errors="replace").partition("Kernel panic")[0]

    def shell(self, script: str, *, timeout_s: float = 20.0, check: bool = True) -> str:
        """What a script printed; it must succeed, unless told otherwise. It must not touch a mount that may hang."""
        reply = self._call({"script": script, "timeout_s": timeout_s}, timeout_s=timeout_s + 10)
        assert not check or reply.get("status") == 0, f"in the guest: {script!r}: {reply}"
        return str(reply.get("output", ""))

    def ask(self, socket: str, **request: Any) -> tuple[dict[str, Any] | None, float]:
        """The answer of the daemon at a control socket, None when there was none, and the seconds that it took."""
        reply = self._call({"socket": socket, "request": request}, timeout_s=90)
        return reply.get("answer"), float(reply["seconds"])

    def end(self) -> None:
        """The guest and everything in it is gone."""
        self._process.kill()
        self._process.wait()
        for descriptor in (self._to_guest, self._from_guest):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _call(self, request: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
        number, self._next_id = self._next_id, self._next_id + 1
        os.write(self._to_guest, json.dumps({"id": number, **request}).encode() + b"\n")
        return self._reply(number, limit_s=time.monotonic() + timeout_s)

    def _reply(self, number: int, *, limit_s: float) -> dict[str, Any]:
        while number not in self._replies:
            readable, _, _ = select.select([self._from_guest], [], [], max(0.0, limit_s - time.monotonic()))
            data = os.read(self._from_guest, 1 << 16) if readable else b""
            assert data, f"the guest gave no answer; its console: {self.console()[-3000:]}"
            *lines, self._said = (self._said + data).split(b"\n")
            for line in lines:
                with contextlib.suppress(ValueError):  # what the console echoed before the agent silenced it
                    reply = json.loads(line)
                    self._replies[reply["id"]] = reply
        return self._replies.pop(number)
