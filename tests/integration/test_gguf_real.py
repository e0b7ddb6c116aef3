"""The header of a real model, read without llama.cpp, against what is known of the file and what llama.cpp says of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ocrwatch.correction import gguf
from tests.faults import models


def test_real_model_has_the_shape_that_llama_cpp_tells_of() -> None:
    """SmolLM2-135M: 30 blocks, 3 heads of 64 values for keys and values each, tied weights; no byte of the data is left over."""
    header = gguf.read_header(models.smollm2())
    assert sum(tensor.size_bytes for tensor in header.tensors) == header.data_bytes == 96_576_768
    shape = gguf.read(models.smollm2())
    assert (shape.architecture, shape.layers, shape.vocabulary, shape.embedding) == ("llama", 31, 49_152, 576)
    assert shape.kv_bytes_per_token == (768,) * 30  # 90 MiB for 4,096 tokens, as llama.cpp says
    tied = shape.input_bytes
    assert sum(shape.block_bytes) + shape.output_bytes + shape.input_bytes - tied == header.data_bytes


@pytest.mark.slow
def test_real_model_is_as_large_as_llama_cpp_says() -> None:
    """Padding aside, the tensors are what llama.cpp counts, and so are the layers."""
    size_bytes, layers = _in_a_process_of_its_own(_LOOK).split()
    header, shape = gguf.read_header(models.smollm2()), gguf.read(models.smollm2())
    assert header.data_bytes - int(size_bytes) in range(32 * len(header.tensors))
    assert shape.layers == int(layers) + 1


@pytest.mark.slow
def test_native_log_outlives_the_model_that_asked_for_it() -> None:
    """llama.cpp has one log for the whole process: what it calls must be there when a model is long gone."""
    assert _in_a_process_of_its_own(_FORGET + _LOOK).split()


_FORGET = """
import ctypes, gc, os, sys
import llama_cpp  # its own log comes first, so that nothing replaces ours later
from ocrwatch.correction.llama import Llama, LoadOptions
Llama(LoadOptions(sys.argv[1], gpu_layers=0, context_tokens=512))
gc.collect()
in_its_place = [ctypes.CFUNCTYPE(None)(lambda: os._exit(3)) for _ in range(1000)]
"""

_LOOK = """
import sys
import llama_cpp
llama_cpp.llama_backend_init()
model = llama_cpp.llama_model_load_from_file(sys.argv[1].encode(), llama_cpp.llama_model_default_params())
print(llama_cpp.llama_model_size(model), llama_cpp.llama_model_n_layer(model))
llama_cpp.llama_model_free(model)
"""


def _in_a_process_of_its_own(program: str) -> str:
    """What a program says that loads the model by llama.cpp; a crash there is this test's failure alone."""
    pytest.importorskip("llama_cpp")
    command = [sys.executable, "-X", "faulthandler", "-c", program, str(models.smollm2())]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout
