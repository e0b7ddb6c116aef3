"""What the service manager hears, on a socket as systemd gives one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.daemon import Service

pytest.importorskip("systemd.daemon", reason="systemd-python is absent: the daemon says READY to nobody")
pytestmark = pytest.mark.acceptance


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A notification socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        yield listener


def _hear(manager: socket.socket, wanted: str) -> list[str]:
    """Everything up to a message that holds `wanted`."""
    heard: list[str] = []
    while not heard or wanted not in heard[-1]:
        heard.append(manager.recv(4096).decode())
    return heard


def test_service_manager_hears_ready_status_watchdog_reload_and_stop(tmp_path: Path, manager: socket.socket) -> None:
    """READY=1 after the first listing, then a status and the watchdog from the main loop, and STOPPING=1 at the end."""
    service = Service(tmp_path)
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
    with subprocess.Popen(
        [sys.executable, "-m", "ocrwatch", "run", "--config", str(service.config)], env=environment, stderr=subprocess.DEVNULL
    ) as daemon:
        try:
            _hear(manager, "READY=1")
            assert "watching 1 inboxes" in _hear(manager, "STATUS=")[-1]
            assert len([m for m in _hear(manager, "WATCHDOG=1") if "WATCHDOG=1" in m]) == 1
            daemon.send_signal(signal.SIGHUP)
            assert "MONOTONIC_USEC=" in _hear(manager, "RELOADING=1")[-1]
            assert not any("STOPPING=1" in message for message in _hear(manager, "READY=1"))
            daemon.terminate()
            _hear(manager, "STOPPING=1")
            assert daemon.wait(timeout=30) == 0
        finally:
            daemon.kill()
