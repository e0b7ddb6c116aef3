"""Fixtures that every test may use: shared data, and folders that stand for inboxes and state."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

# A deadline for each example would fail on a busy machine; pytest-timeout bounds each test as a whole.
settings.register_profile("ocrwatch", deadline=None)
settings.load_profile("ocrwatch")

# A script's shell starts jobs of the background with SIGINT ignored, and every process of a test would inherit that: Ctrl-C
# would end none of them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans and texts, which is not part of the project; the test is skipped where it is absent."""
    folder = Path(os.environ.get("OCRWATCH_SHARED", PROJECT.parent / "shared")) / "data"
    if not (folder / "images" / "manifest.tsv").is_file():
        pytest.skip(f"no shared test data at {folder} (set OCRWATCH_SHARED)")
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test logged of names that are no text can travel from one process of the tests to another (execnet wants UTF-8)."""
    report = yield
    report.sections = [(title, text.encode("utf-8", "backslashreplace").decode()) for title, text in report.sections]
    return report
