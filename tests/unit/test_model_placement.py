"""Where a model lies, from llama.cpp's log, and what a failed load says of a device's memory."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as bindings
import pytest

from ocrwatch.correction import llama
from ocrwatch.correction.llama import Llama, LoadOptions
from ocrwatch.correction.placement import Placement, placement, was_short
from ocrwatch.correction.worker import read_ahead
from ocrwatch.errors import DeviceFull, ModelUnavailable

MIB = 1 << 20

ON_CPU = """
load_tensors:   CPU_Mapped model buffer size =    92.10 MiB
llama_context:        CPU  output buffer size =    12.00 MiB
llama_kv_cache:        CPU KV buffer size =    45.00 MiB
sched_reserve:        CPU compute buffer size =   102.51 MiB
"""
# As llama.cpp's CI has it: all on one GPU.
ON_GPU = """
load_tensors: loading model tensors, this can take a while... (mmap = true)
load_tensors: offloading 12 repeating layers to GPU
load_tensors: offloading output layer to GPU
load_tensors: offloaded 13/13 layers to GPU
load_tensors:        CUDA0 model buffer size =    40.73 MiB
load_tensors:   CPU_Mapped model buffer size =    23.11 MiB
llama_context:  CUDA_Host  output buffer size =     0.00 MiB
llama_kv_cache:      CUDA0 KV buffer size =     9.00 MiB
sched_reserve:      CUDA0 compute buffer size =    16.75 MiB
sched_reserve:  CUDA_Host compute buffer size =     2.51 MiB
"""
# llama.cpp#12614: no layer was wanted on the GPU, and it computes there all the same.
COMPUTES_ON_GPU = """
load_tensors: offloading 0 repeating layers to GPU
load_tensors: offloaded 0/29 layers to GPU
load_tensors:   CPU_Mapped model buffer size = 14526.27 MiB
llama_context:        CPU  output buffer size =     0.58 MiB
init:        CPU KV buffer size =   224.00 MiB
llama_context:      CUDA0 compute buffer size =  1480.00 MiB
llama_context:  CUDA_Host compute buffer size =    15.01 MiB
"""
# ollama#9782, shortened to two of its GPUs.
ON_TWO = """
load_tensors: offloaded 62/62 layers to GPU
load_tensors:        CUDA0 model buffer size = 48928.09 MiB
load_tensors:        CUDA1 model buffer size = 70752.48 MiB
load_tensors:   CPU_Mapped model buffer size =   497.11 MiB
"""
# Where CUDA did not start, as ollama#7765 tells of it.
CUDA_FAILED = """
load_tensors: offloading 28 repeating layers to GPU
load_tensors: offloading output layer to GPU
load_tensors: offloaded 29/29 layers to GPU
load_tensors:   CPU_Mapped model buffer size =   372.65 MiB
llama_kv_cache:        CPU KV buffer size =   112.00 MiB
"""
IN_PART_OF_TWO_CACHES = """
load_tensors: offloaded 9/27 layers to GPU
load_tensors:      Vulkan0 model buffer size =   100.00 MiB
load_tensors:  Vulkan_Host model buffer size =   300.00 MiB
llama_kv_cache:    Vulkan0 KV buffer size =    10.50 MiB
llama_kv_cache:        CPU KV buffer size =    20.00 MiB
llama_kv_cache:    Vulkan0 KV buffer size =     2.25 MiB
llama_memory_recurrent:    Vulkan0 RS buffer size =     1.25 MiB
sched_reserve:    Vulkan0 compute buffer size =    64.00 MiB
"""


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (ON_CPU, Placement("cpu", 0, 31, 0)),
        (ON_GPU, Placement("gpu", 13, 13, round(66.48 * MIB))),
        (COMPUTES_ON_GPU, Placement("cpu", 0, 29, 1480 * MIB)),
        (ON_TWO, Placement("gpu", 62, 62, round(119680.57 * MIB))),
        (CUDA_FAILED, Placement("cpu", 0, 29, 0)),
        (IN_PART_OF_TWO_CACHES, Placement("gpu", 9, 27, 178 * MIB)),
        ("", Placement("cpu", 0, 31, 0)),
    ],
    ids=["cpu", "gpu", "computes on the gpu", "two gpus", "cuda failed", "in part", "no log"],
)
def test_placement_is_told_by_the_buffers_that_were_made(log: str, found: Placement) -> None:
    """Device buffers count, pinned memory of the machine does not, and layers only where their weights have a device buffer."""
    read = placement(log.splitlines(), layers=31)
    assert read.gpu_bytes == pytest.approx(found.gpu_bytes, abs=2)
    assert (read.device, read.layers_on_gpu, read.layers) == (found.device, found.layers_on_gpu, found.layers)


SHORT = [
    # llama.cpp#20431 and #26297, ollama#8447
    "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 144817.04 MiB on device 0: cudaMalloc failed: out of memory",
    "alloc_tensor_range: failed to allocate CUDA0 buffer of size 151851674624",
    "ggml_gallocr_reserve_n_impl: failed to allocate CUDA1 buffer of size 54262464512",
    "llama_model_load: error loading model: unable to allocate CUDA0 buffer",
    "llama_model_load: error loading model: unable to allocate ROCm0 buffer",
    "CUDA error: out of memory",
    # llama.cpp#15256
    "ggml_vulkan: Device memory allocation of size 118497280 failed.",
    "ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory",
]
NOT_SHORT = [
    "ggml_aligned_malloc: insufficient memory (attempted to allocate 21976.88 MB)",
    "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 23044423680",
    "alloc_tensor_range: failed to allocate CPU buffer of size 23044423680",
    "alloc_tensor_range: failed to allocate CUDA_Host buffer of size 23044423680",
    "llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache",
    "llama_model_load: error loading model: mmap failed: Cannot allocate memory",
    "llama_model_load: error loading model: tensor 'blk.7.ffn_up.weight' data is not within the file bounds",
]


@pytest.mark.parametrize("line", SHORT)
def test_short_device_is_told_from_llama_cpps_error(line: str) -> None:
    """Each backend says it in its own words."""
    assert was_short(["something else", line])


@pytest.mark.parametrize("line", NOT_SHORT)
def test_other_errors_are_no_short_device(line: str) -> None:
    """Fewer layers on the GPU do not help a machine that is short of memory itself, nor a damaged file."""
    assert not was_short([line])


class FailingBuild:
    """llama.cpp, as far as a load goes, with a log and an end that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *lines: str, level: int = 4) -> None:
        self._lines, self._level = lines, level
        self._log: Callable[[int, bytes, Any], None]
        monkeypatch.setattr(bindings, "llama_log_set", self._keep_log)
        monkeypatch.setattr(llama, "_native_log", llama._NativeLog)  # the process's own log is taken up but once
        monkeypatch.setattr(bindings, "llama_model_load_from_file", self._load)

    def _keep_log(self, callback: Callable[[int, bytes, Any], None], _: object) -> None:
        self._log = callback

    def _load(self, _: bytes, parameters: Any) -> None:
        self.parameters = parameters
        for fraction in (0.25, 1.0):
            assert parameters.progress_callback(fraction, None)
        for line in self._lines:
            self._log(self._level, f"{line}\n".encode(), None)


def test_load_that_a_device_is_too_small_for_is_told_from_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """DeviceFull is for fewer layers or a later try; anything else stays what it is."""
    model = tmp_path / "model.gguf"
    model.touch()
    FailingBuild(monkeypatch, *SHORT[:4])
    with pytest.raises(DeviceFull, match=r"cannot load .*model.gguf.*out of memory.*GPU"):
        Llama(LoadOptions(str(model)))
    FailingBuild(monkeypatch, *NOT_SHORT[:3])
    with pytest.raises(ModelUnavailable, match="free memory") as raised:
        Llama(LoadOptions(str(model)))
    assert not isinstance(raised.value, DeviceFull)
    FailingBuild(monkeypatch, SHORT[0], level=3)  # a warning: it went on with something else
    with pytest.raises(ModelUnavailable, match="model verify") as raised:
        Llama(LoadOptions(str(model)))
    assert not isinstance(raised.value, DeviceFull)


def test_errors_of_llama_cpp_are_also_written_for_the_parent(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """After an abort these are a process's last words: without them nobody knows that a GPU was full."""
    FailingBuild(monkeypatch, "CUDA error: out of memory")
    with pytest.raises(DeviceFull):
        Llama(LoadOptions("model.gguf"))
    assert capfd.readouterr().err == "CUDA error: out of memory\n"
    FailingBuild(monkeypatch, "llama_model_loader: loaded meta data", level=2)
    with pytest.raises(ModelUnavailable):
        Llama(LoadOptions("model.gguf"))
    assert capfd.readouterr().err == ""


def test_load_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow load that moves is no load that hangs."""
    FailingBuild(monkeypatch)
    told: list[float] = []
    with pytest.raises(ModelUnavailable):
        Llama(LoadOptions("model.gguf"), progress=told.append)
    assert told == [0.25, 1.0]


@pytest.mark.parametrize(
    ("options", "offloads", "mode"),
    [
        (LoadOptions("m"), True, "LLAMA_LOAD_MODE_NONE"),
        (LoadOptions("m"), False, "LLAMA_LOAD_MODE_AUTO"),
        (LoadOptions("m", gpu_layers=12), True, "LLAMA_LOAD_MODE_AUTO"),
        (LoadOptions("m", gpu_layers=0), True, "LLAMA_LOAD_MODE_AUTO"),
        (LoadOptions("m", mmap=True), True, "LLAMA_LOAD_MODE_MMAP"),
        (LoadOptions("m", mmap=False, gpu_layers=0), True, "LLAMA_LOAD_MODE_NONE"),
    ],
)
def test_file_is_mapped_unless_all_of_it_goes_to_a_gpu(
    monkeypatch: pytest.MonkeyPatch, options: LoadOptions, *, offloads: bool, mode: str
) -> None:
    """What a person set holds; else the file is read where it is only passed through."""
    build = FailingBuild(monkeypatch)
    monkeypatch.setattr(bindings, "llama_supports_gpu_offload", lambda: offloads)
    with pytest.raises(ModelUnavailable):
        Llama(options)
    assert build.parameters.load_mode == getattr(bindings, mode)


def test_cpu_alone_sees_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step of the ladder takes nothing of a GPU that is full: llama.cpp is given an empty list of devices."""
    build = FailingBuild(monkeypatch)
    with pytest.raises(ModelUnavailable):
        Llama(LoadOptions("m"))
    assert build.parameters.devices is None
    seen: list[int | None] = []

    def load(_: bytes, parameters: Any) -> None:
        seen.append(ctypes.c_void_p.from_address(parameters.devices).value)

    monkeypatch.setattr(bindings, "llama_model_load_from_file", load)
    with pytest.raises(ModelUnavailable):
        Llama(LoadOptions("m", gpu_layers=0))
    assert seen == [None]


def test_files_are_brought_into_the_page_cache(tmp_path: Path) -> None:
    """All parts, whatever is not there; what is further back than the last 64 MiB is there when it returns."""
    part = tmp_path / "model-00002-of-00002.gguf"
    with open(part, "wb") as file:
        for _ in range(66):
            file.write(os.urandom(MIB))
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if is_cached(part, 0):
        pytest.skip("the file system of the test's folder keeps its pages in memory")
    told: list[int] = []
    read_ahead((tmp_path / "gone.gguf", part), lambda **details: told.append(details["read_bytes"]))
    assert is_cached(part, MIB)
    assert told == sorted(told)
    assert told[-1] > 65 * MIB


def is_cached(path: Path, offset: int) -> bool:
    """Whether a piece of a file can be had without waiting for a disk."""
    with open(path, "rb", buffering=0) as file:
        try:
            return os.preadv(file.fileno(), [bytearray(1)], offset, os.RWF_NOWAIT) == 1
        except OSError as error:
            if error.errno != errno.EAGAIN:
                pytest.skip(f"the file system of the test's folder cannot tell: {error}")
            return False
