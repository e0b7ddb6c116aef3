"""The far end of the guest's console: runs what the tests ask for, and asks the daemon that runs beside it. Decides nothing.

A line of JSON is a request, a line of JSON its answer. Each request has a thread: what touches a dead mount never returns.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import tty
from pathlib import Path
from typing import Any

from ocrwatch.errors import OcrwatchError
from ocrwatch.service.control import NoDaemon, ask


def _shell(request: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", request["script"]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="backslashreplace",
        timeout=request["timeout_s"],
        check=False,
    )
    return {"status": done.returncode, "output": done.stdout}


def _ask(request: dict[str, Any]) -> dict[str, Any]:
    begin = time.monotonic()
    try:
        answer = ask(Path(request["socket"]), request["request"])
    except (NoDaemon, OcrwatchError) as error:
        return {"error": f"{type(error).__name__}: {error}", "seconds": time.monotonic() - begin}
    return {"answer": answer, "seconds": time.monotonic() - begin}


def _serve(request: dict[str, Any], lock: threading.Lock) -> None:
    try:
        reply = _shell(request) if "script" in request else _ask(request)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        reply = {"failure": repr(error)}
    with lock:
        sys.stdout.write(json.dumps({"id": request["id"], **reply}) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Serve until the console closes."""
    tty.setraw(sys.stdin.fileno())  # else a line ends at 4,095 characters and comes back as an echo
    lock = threading.Lock()
    print(json.dumps({"id": 0}), flush=True)
    for line in sys.stdin:
        threading.Thread(target=_serve, args=(json.loads(line), lock), daemon=True).start()


if __name__ == "__main__":
    main()
