"""The header of a real model, read without llama.cpp, against what is known of the file and what llama.cpp says of it."""

from __future__ import annotations

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
    llama_cpp = pytest.importorskip("llama_cpp")
    parameters = llama_cpp.llama_model_default_params()
    model = llama_cpp.llama_model_load_from_file(str(models.smollm2()).encode(), parameters)
    try:
        header, shape = gguf.read_header(models.smollm2()), gguf.read(models.smollm2())
        assert header.data_bytes - llama_cpp.llama_model_size(model) in range(32 * len(header.tensors))
        assert shape.layers == llama_cpp.llama_model_n_layer(model) + 1
    finally:
        llama_cpp.llama_model_free(model)
