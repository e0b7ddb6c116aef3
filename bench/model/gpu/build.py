"""llama-cpp-python built for one card, in an environment of its own that borrows everything else from this one."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sysconfig
import venv
from collections.abc import Mapping
from pathlib import Path

_PACKAGE = "llama-cpp-python"
_OFFLOADS = "import llama_cpp, sys; sys.exit(not llama_cpp.llama_supports_gpu_offload())"
_TOOLKIT = Path("/usr/local/cuda/bin/nvcc")


class BuildFailed(Exception):
    """There is no llama.cpp for the card; the message says why, and what to do."""


def cmake_args(architecture: str) -> str:
    """What CMake is told: CUDA, and one architecture, which keeps the build short."""
    return f"-DGGML_CUDA=on -DCMAKE_CUDA_ARCHITECTURES={architecture}"


def install_command(python: Path, version: str) -> list[str]:
    """How the package gets into an environment.

    Without the cache: pip keeps the wheel that it built by the name of its source, and would give out the one for the CPU.
    """
    options = ["--no-cache-dir", "--no-deps", "--ignore-installed", "--no-binary", _PACKAGE]
    return [str(python), "-m", "pip", "install", "--disable-pip-version-check", *options, f"{_PACKAGE}=={version}"]


def build_environment(base: Mapping[str, str], architecture: str, *, nvcc: Path) -> dict[str, str]:
    """The variables of the build. FORCE_CMAKE is of older versions."""
    return {**base, "CMAKE_ARGS": cmake_args(architecture), "CUDACXX": str(nvcc), "FORCE_CMAKE": "1"}


def find_nvcc() -> Path:
    """CUDA's compiler. Raises BuildFailed."""
    found = shutil.which("nvcc")
    if found is None and not _TOOLKIT.is_file():
        raise BuildFailed(f"there is no nvcc on PATH, and no {_TOOLKIT}: install the CUDA toolkit (Debian: nvidia-cuda-toolkit)")
    return Path(found) if found else _TOOLKIT


def environment(folder: Path, architecture: str) -> Path:
    """The interpreter of the environment; built, in some minutes, unless it is there from before. Raises BuildFailed."""
    home = folder / f"sm_{architecture}"
    python = home / "bin" / "python"
    if python.is_file() and offloads(python):
        return python
    nvcc = find_nvcc()
    venv.create(home, with_pip=True, clear=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    # After its own packages, which thus come first. As a site folder: a project that is installed for editing is found, too.
    here = sysconfig.get_path("purelib")
    (packages / "borrowed.pth").write_text(f"import site; site.addsitedir({here!r})\n", encoding="utf-8")
    command = install_command(python, importlib.metadata.version(_PACKAGE))
    done = subprocess.run(command, env=build_environment(os.environ, architecture, nvcc=nvcc), check=False)
    if done.returncode:
        raise BuildFailed(f"{_PACKAGE} could not be built for architecture {architecture}; what pip said is above")
    if not offloads(python):
        raise BuildFailed(f"{_PACKAGE} was built, and takes no layer to a GPU; is the driver older than {nvcc}?")
    return python


def offloads(python: Path) -> bool:
    """Whether the llama.cpp of an environment takes layers to a GPU."""
    done = subprocess.run([str(python), "-c", _OFFLOADS], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return done.returncode == 0
