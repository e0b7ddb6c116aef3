"""The program that fetches OpenSSL 1.1, against the archive that this machine's apt knows."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from ocrwatch.tools import openssl11


@pytest.mark.slow
def test_fetch_brings_libraries_that_load_and_is_quick_the_second_time(tmp_path: Path) -> None:
    """What is fetched is the pinned pair, with its licence; the second run only looks."""
    command = [sys.executable, "-m", "ocrwatch.tools.openssl11", str(tmp_path / "openssl")]
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    if first.returncode == 3:
        pytest.skip(f"this machine cannot fetch it: {first.stderr.strip()}")
    assert first.stdout == f"OpenSSL 1.1 fetched into {tmp_path / 'openssl'}\n"
    assert openssl11.is_whole(tmp_path / "openssl")
    assert {path.name for path in (tmp_path / "openssl").iterdir()} == {*openssl11.LIBRARIES, "copyright"}
    for name in openssl11.LIBRARIES:
        ctypes.CDLL(str(tmp_path / "openssl" / name))
    assert "already in" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
