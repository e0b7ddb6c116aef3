"""What a card gets back when the model is unloaded, beside `Llama.close()`; a filled card; speed against the CPU.

`python -m bench.model.gpu` builds llama-cpp-python for the card into an environment of its own, and measures there. Where there
is no GPU it says so and is content: status 0. Status 1: a figure is missed, or could not be had.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.model import life
from bench.model.gpu import build, card
from ocrwatch.correction.driver import has_driver

PROJECT = Path(__file__).resolve().parents[3]


def main(arguments: Sequence[str] | None = None) -> int:
    """Build and measure, where there is something to measure."""
    options = _arguments(arguments)
    if not has_driver():
        return _nothing("no NVIDIA driver is to be seen on this machine")
    try:
        seen = card.look()
    except card.NoCard as error:
        return _nothing(str(error))
    print(f"{seen.name}: building llama.cpp for it (sm_{seen.architecture}), unless that is done", file=sys.stderr, flush=True)
    try:
        python = options.python or build.environment(options.environments, seen.architecture)
    except build.BuildFailed as error:
        print(error, file=sys.stderr)
        return 1
    asked = {"model": str(options.model or life.installed_model()), "rounds": options.rounds}
    command = [str(python), "-m", "bench.model.gpu.measure", json.dumps(asked)]
    visible = os.environ | {"CUDA_VISIBLE_DEVICES": seen.uuid}
    return subprocess.run(command, cwd=PROJECT, env=visible, check=False).returncode


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.model.gpu", description=__doc__)
    kept = PROJECT / ".cache" / "model-gpu"
    parser.add_argument("--environments", type=Path, default=kept, help="where what is built stays (default: %(default)s)")
    parser.add_argument("--python", type=Path, help="of an environment that has llama.cpp for the card and this project")
    parser.add_argument("--model", type=Path, help="a GGUF file (default: SmolLM2, from its package)")
    parser.add_argument("--rounds", type=int, default=9, help="of the comparison with the CPU")
    return parser.parse_args(arguments)


def _nothing(why: str) -> int:
    print(f"no GPU here, nothing is measured: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
