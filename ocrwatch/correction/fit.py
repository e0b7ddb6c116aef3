"""How many layers of a model a GPU has room for, and what to try next when it had not. Pure: arithmetic and a memory.

The sums follow llama.cpp as the correction worker sets it up: 512 tokens at a time, keys and values as f16, one cache that all
sequences share, sliding windows kept whole. They err on the large side; what they still miss, the margin and the ladder take.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocrwatch.correction.gguf import Shape

RETRY_S = 3600.0
"""How long a step that was too high is not tried again."""

CUDA_CONTEXT_BYTES = 457 << 20
"""What a process has on a GPU before any tensor: ollama's `cudaMinimumMemory` (discover/gpu.go). llama.cpp#20595 and #23604
tell of 120 to 550 MB, by card and driver."""

_AT_ONCE_TOKENS = 512  # n_ubatch
_CACHE_CELLS = 256  # the context is rounded up to a multiple of this
_F32_BYTES = 4


def gpu_bytes(shape: Shape, *, layers: int, context_tokens: int) -> int:
    """What so many layers take of a GPU, all told; 0 for none.

    The output is the first layer to go there, then the blocks from the last to the first: `i_gpu_start = max(n_layer + 1 -
    n_gpu_layers, 0)` in `load_tensors` of llama.cpp's llama-model.cpp; `shape.layers` is all. The cache of a block lies with it.
    A block that stays behind is computed on the GPU all the same when there are many tokens, its weights copied for the
    time, one after the other (`op_offload`; ggml-backend.cpp starts a new split so that "the memory of the previously offloaded
    weights can be reused"): the largest block is counted for that.
    """
    if layers <= 0:
        return 0
    begin = max(shape.layers - layers, 0)
    cells = -(-context_tokens // _CACHE_CELLS) * _CACHE_CELLS
    weights = shape.output_bytes + sum(shape.block_bytes[begin:]) + max(shape.block_bytes[:begin], default=0)
    return CUDA_CONTEXT_BYTES + weights + cells * sum(shape.kv_bytes_per_token[begin:]) + _compute_bytes(shape, cells)


def _compute_bytes(shape: Shape, cells: int) -> int:
    """The compute buffer: the mask, and what lives at once in the widest of three places, for 512 tokens as f32.

    The logits: vocabulary and twice the embedding were all of it for SmolLM2 (98.25 MiB) and Gemma 3 270M (514.5 MiB), on a CPU.
    The attention, where it is not the "flash" one: the scores of all heads, and the embedding six times (SmolLM2 with 8,192
    tokens: 166.4 MiB). The feed-forward part: gate, up and their product. ollama's GraphSize (fs/ggml) has the first two.
    """
    logits = shape.vocabulary + 3 * shape.embedding
    attention = cells * shape.heads + 6 * shape.embedding
    feed_forward = 3 * (shape.feed_forward + shape.embedding)
    return _F32_BYTES * _AT_ONCE_TOKENS * (cells + max(logits, attention, feed_forward))


def layers_that_fit(shape: Shape, *, context_tokens: int, free_bytes: int, margin_bytes: int) -> int:
    """The most layers that leave the margin free, as `gpu_bytes` counts; 0 where not even the output fits."""
    room = free_bytes - margin_bytes
    fitting = 0
    for layers in range(1, shape.layers + 1):  # each takes more than the one before
        if gpu_bytes(shape, layers=layers, context_tokens=context_tokens) > room:
            break
        fitting = layers
    return fitting


def steps(first: int) -> tuple[int, ...]:
    """The numbers of layers to try one after the other: `first`, three quarters of it, half, a quarter, none."""
    return tuple(sorted({first * quarters // 4 for quarters in range(5)}, reverse=True))


@dataclass(frozen=True)
class Key:
    """For what a step is remembered: another model, context or device is another matter. device_uuid: empty if unknown."""

    sha256: str
    context_tokens: int
    device_uuid: str


@dataclass(frozen=True)
class _Rung:
    layers: int
    since: float


class Ladder:
    """Remembers where memory was short, and to how many layers that led; tries upwards again, one step at a time.

    Nothing is remembered of what went well at once: the next load asks the device anew. `now` is in monotonic seconds.
    """

    def __init__(self) -> None:
        self._tops: dict[Key, int] = {}
        self._rungs: dict[Key, _Rung] = {}

    def first(self, key: Key, *, fitting: int, now: float) -> int:
        """The layers to load with, where so many would fit by the sums."""
        self._tops[key] = fitting
        rung = self._rungs.get(key)
        if rung is None or rung.layers >= fitting:
            return fitting
        if now - rung.since < RETRY_S:
            return rung.layers
        return min(step for step in steps(fitting) if step > rung.layers)

    def failed(self, key: Key, *, layers: int, now: float) -> int | None:
        """Memory was short with so many layers. The next lower step, from now on the remembered one; None below 0."""
        known = set(steps(self._tops.get(key, layers)))
        if key in self._rungs:
            known.add(self._rungs[key].layers)  # where a try upwards began: it need not fall deeper than that
        lower = max((step for step in known if step < layers), default=None)
        if lower is not None:
            self._rungs[key] = _Rung(lower, now)
        return lower

    def worked(self, key: Key, *, layers: int, now: float) -> None:
        """The model runs with so many layers. A step upwards is remembered; at the top there is nothing more to remember."""
        rung = self._rungs.get(key)
        if rung is None or layers <= rung.layers:  # the time stays that of the failure: loads alone must not put off the retry
            return
        if layers >= self._tops.get(key, layers):
            del self._rungs[key]
        else:
            self._rungs[key] = _Rung(layers, now)
