"""Whether this machine has a driver for NVIDIA's GPUs. Owns that one look, which opens no device and loads no library.

What the GPUs are and have free is asked by `devices`, in a process of its own.
"""

from __future__ import annotations

import os

_SIGNS = (
    "proc/driver/nvidia/version",  # the kernel module is loaded
    "dev/nvidiactl",  # the same, where a container hides the former
    "dev/dxg",  # Windows drives the GPU for its Linux guests
)


def has_driver(root: str = "/") -> bool:
    """Whether it is worth asking `devices`. root: where the machine's file system begins."""
    return any(os.path.exists(os.path.join(root, sign)) for sign in _SIGNS)
