"""Fixtures that every test may use: shared data, and folders that stand for inboxes and state."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans and texts, which is not part of the project; the test is skipped where it is absent."""
    folder = Path(os.environ.get("OCRWATCH_SHARED", PROJECT.parent / "shared")) / "data"
    if not (folder / "images" / "manifest.tsv").is_file():
        pytest.skip(f"no shared test data at {folder} (set OCRWATCH_SHARED)")
    return folder
