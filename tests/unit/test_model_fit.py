"""How many layers a GPU has room for, and the ladder of what to try: arithmetic, and a clock that the test moves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.correction.fit import CUDA_CONTEXT_BYTES, RETRY_S, Key, Ladder, gpu_bytes, layers_that_fit, steps
from ocrwatch.correction.gguf import Shape

MIB = 1 << 20

# As its header and llama.cpp have it.
SMOLLM2 = Shape(
    architecture="llama",
    block_bytes=(2_216_448,) * 30,
    output_bytes=30_083_328,
    input_bytes=30_081_024,
    kv_bytes_per_token=(768,) * 30,
    vocabulary=49_152,
    embedding=576,
    heads=9,
    feed_forward=1536,
)
KEY = Key("abc", 4096, "GPU-1")


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """Models of any proportions."""
    blocks = draw(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**5)), min_size=1, max_size=12))
    widths = [draw(st.integers(0, 10**6)) for _ in range(4)]
    return Shape(
        architecture="llama",
        block_bytes=tuple(size for size, _ in blocks),
        kv_bytes_per_token=tuple(cache for _, cache in blocks),
        output_bytes=draw(st.integers(0, 10**9)),
        input_bytes=draw(st.integers(0, 10**9)),
        vocabulary=widths[0],
        embedding=widths[1],
        heads=widths[2] % 200,
        feed_forward=widths[3],
    )


contexts = st.integers(1, 40_000)
sizes = st.integers(0, 10**11)


def test_sum_is_what_llama_cpp_takes() -> None:
    """All of SmolLM2 with 4,096 tokens: llama.cpp told of 90 MiB for the cache and 98.25 MiB to compute, both on a CPU."""
    weights = sum(SMOLLM2.block_bytes) + SMOLLM2.output_bytes
    told = CUDA_CONTEXT_BYTES + weights + 90 * MIB + 98.25 * MIB
    assert told <= gpu_bytes(SMOLLM2, layers=31, context_tokens=4096) <= told + 12 * MIB


def test_output_goes_first_and_then_the_last_blocks() -> None:
    """As `i_gpu_start` has it: one layer is the output alone, two are the output and the last block."""
    shape = replace(SMOLLM2, block_bytes=(100, 30, 7), kv_bytes_per_token=(5, 3, 2))
    output, *_ = taken = [gpu_bytes(shape, layers=layers, context_tokens=256) for layers in range(1, 5)]
    behind = [100, 100, 100, 0]  # the largest block that stays behind is copied
    on_it = [0, 7 + 256 * 2, 37 + 256 * 5, 137 + 256 * 10]
    assert [amount - output for amount in taken] == [a + b - 100 for a, b in zip(behind, on_it, strict=True)]


def test_attention_counts_where_it_is_the_widest() -> None:
    """The scores of all heads outgrow the logits in a long context: SmolLM2 took 166.4 MiB to compute at 8,192 tokens."""
    without = gpu_bytes(replace(SMOLLM2, heads=0), layers=1, context_tokens=8192)
    rest = without - CUDA_CONTEXT_BYTES - SMOLLM2.output_bytes - max(SMOLLM2.block_bytes)
    extra = gpu_bytes(SMOLLM2, layers=1, context_tokens=8192) - without
    assert 166 * MIB <= rest + extra <= 172 * MIB


@given(shape=shapes(), context=contexts)
def test_each_layer_takes_more(shape: Shape, context: int) -> None:
    """So the most that fit can be found from below."""
    taken = [gpu_bytes(shape, layers=layers, context_tokens=context) for layers in range(-1, shape.layers + 2)]
    assert taken == sorted(taken)
    assert taken[:2] == [0, 0]
    assert taken[-1] == taken[-2]  # more than all are all


def test_feed_forward_part_counts_where_it_is_the_widest() -> None:
    """Gate, up and their product, 512 tokens of each as f32, and the mask of 256 tokens."""
    shape = replace(SMOLLM2, vocabulary=0, heads=0, feed_forward=100_000)
    rest = gpu_bytes(shape, layers=31, context_tokens=200) - gpu_bytes(shape, layers=0, context_tokens=200)
    weights = sum(SMOLLM2.block_bytes) + SMOLLM2.output_bytes
    assert rest == CUDA_CONTEXT_BYTES + weights + 256 * 768 * 30 + 4 * 512 * (256 + 3 * 100_000 + 3 * 576)


@pytest.mark.parametrize("layers", range(1, 32))
def test_what_just_fits_does_and_a_byte_less_does_not(layers: int) -> None:
    """The margin is left to the byte, for the first layer as for the last."""
    free = gpu_bytes(SMOLLM2, layers=layers, context_tokens=4096) + 1000
    assert layers_that_fit(SMOLLM2, context_tokens=4096, free_bytes=free, margin_bytes=1000) == layers
    assert layers_that_fit(SMOLLM2, context_tokens=4096, free_bytes=free, margin_bytes=1001) == layers - 1


@given(shape=shapes(), context=contexts, free=sizes, margin=sizes)
def test_what_fits_leaves_the_margin_and_one_more_would_not(shape: Shape, context: int, free: int, margin: int) -> None:
    """The most that there is room for, and never less than nothing."""
    fitting = layers_that_fit(shape, context_tokens=context, free_bytes=free, margin_bytes=margin)
    assert 0 <= fitting <= shape.layers
    assert fitting == 0 or gpu_bytes(shape, layers=fitting, context_tokens=context) <= free - margin
    assert fitting == shape.layers or gpu_bytes(shape, layers=fitting + 1, context_tokens=context) > free - margin


@given(shape=shapes(), context=contexts, free=sizes, more=sizes)
def test_more_room_never_takes_fewer_layers(shape: Shape, context: int, free: int, more: int) -> None:
    """Monotone in what is free."""
    less = layers_that_fit(shape, context_tokens=context, free_bytes=free, margin_bytes=0)
    assert less <= layers_that_fit(shape, context_tokens=context, free_bytes=free + more, margin_bytes=0)


@given(shape=shapes(), context=contexts)
def test_nothing_fits_into_little_and_all_into_much(shape: Shape, context: int) -> None:
    """The CUDA context alone is more than a full card has."""
    for free, expected in ((0, 0), (CUDA_CONTEXT_BYTES - 1, 0), (10**18, shape.layers)):
        assert layers_that_fit(shape, context_tokens=context, free_bytes=free, margin_bytes=0) == expected


@given(first=st.integers(0, 1000))
def test_steps_fall_to_none(first: int) -> None:
    """At most five tries, each with less, the last without the GPU."""
    tried = steps(first)
    assert tried[0] == first
    assert tried[-1] == 0
    assert list(tried) == sorted(set(tried), reverse=True)
    assert len(tried) <= 5


@pytest.mark.parametrize(("first", "expected"), [(37, (37, 27, 18, 9, 0)), (2, (2, 1, 0)), (1, (1, 0)), (0, (0,))])
def test_steps_are_quarters(first: int, expected: tuple[int, ...]) -> None:
    """Each is tried with a process of its own, so there are few."""
    assert steps(first) == expected


def test_what_worked_at_once_is_not_remembered() -> None:
    """Less room at one load, by the sums, is no reason for less at the next."""
    ladder = Ladder()
    assert ladder.first(KEY, fitting=10, now=0.0) == 10
    ladder.worked(KEY, layers=10, now=1.0)
    assert ladder.first(KEY, fitting=37, now=2.0) == 37


def fallen(*, to: int) -> Ladder:
    """A ladder of 37 on which all above `to` has failed at 0 s, and that worked."""
    ladder = Ladder()
    layers = ladder.first(KEY, fitting=37, now=0.0)
    while layers > to:
        lower = ladder.failed(KEY, layers=layers, now=0.0)
        assert lower is not None
        layers = lower
    ladder.worked(KEY, layers=layers, now=1.0)
    return ladder


def test_step_that_worked_is_remembered_for_an_hour() -> None:
    """A load that runs out of memory costs a minute: not at every load."""
    ladder = fallen(to=18)
    assert ladder.first(KEY, fitting=37, now=RETRY_S - 1) == 18
    assert ladder.first(KEY, fitting=11, now=RETRY_S - 1) == 11  # less fits now
    assert ladder.first(KEY, fitting=37, now=RETRY_S) == 27


def test_loads_do_not_put_off_the_try_upwards() -> None:
    """The hour counts from the failure; a model that is loaded every six minutes climbs as well."""
    ladder = fallen(to=18)
    for now in range(0, int(RETRY_S), 360):
        assert ladder.first(KEY, fitting=37, now=float(now)) == 18
        ladder.worked(KEY, layers=18, now=float(now))
    assert ladder.first(KEY, fitting=37, now=RETRY_S) == 27


def test_try_upwards_that_fails_falls_back_and_waits_again() -> None:
    """To where it came from, not to the bottom, and for another hour."""
    ladder = fallen(to=18)
    assert ladder.first(KEY, fitting=37, now=RETRY_S) == 27
    assert ladder.failed(KEY, layers=27, now=RETRY_S) == 18
    assert ladder.first(KEY, fitting=37, now=RETRY_S + 1) == 18
    assert ladder.first(KEY, fitting=37, now=2 * RETRY_S) == 27


def test_try_upwards_falls_no_deeper_than_what_worked() -> None:
    """With other sums the steps lie elsewhere; what worked is between two of them."""
    ladder = fallen(to=18)
    assert ladder.first(KEY, fitting=30, now=RETRY_S) == 22
    assert ladder.failed(KEY, layers=22, now=RETRY_S) == 18


def test_ladder_is_climbed_a_step_an_hour_and_then_forgotten() -> None:
    """From the CPU back to all of it."""
    ladder, now = fallen(to=0), 0.0
    for expected in (9, 18, 27, 37):
        assert ladder.first(KEY, fitting=37, now=now + RETRY_S - 1) < expected
        now += RETRY_S
        assert ladder.first(KEY, fitting=37, now=now) == expected
        ladder.worked(KEY, layers=expected, now=now)
    assert ladder.first(KEY, fitting=37, now=now) == 37
    assert ladder.failed(KEY, layers=37, now=now) == 27


def test_climb_to_all_that_fits_is_forgotten_though_more_fits_later() -> None:
    """Nothing has failed at the top, so nothing stands against a higher one."""
    ladder = fallen(to=18)
    assert ladder.first(KEY, fitting=20, now=RETRY_S) == 20
    ladder.worked(KEY, layers=20, now=RETRY_S)
    assert ladder.first(KEY, fitting=37, now=RETRY_S + 1) == 37


def test_there_is_nothing_below_the_cpu() -> None:
    """A model that does not even run there has another fault."""
    assert fallen(to=0).failed(KEY, layers=0, now=5.0) is None


@pytest.mark.parametrize("other", [replace(KEY, sha256="d"), replace(KEY, context_tokens=1), replace(KEY, device_uuid="GPU-2")])
def test_another_model_context_or_device_begins_at_its_top(other: Key) -> None:
    """What one card has no room for, another may have."""
    assert fallen(to=9).first(other, fitting=37, now=2.0) == 37


@given(holds=st.integers(0, 40), fitting=st.integers(1, 40), later=st.floats(0, 10 * RETRY_S))
def test_load_ends_within_five_tries(holds: int, fitting: int, later: float) -> None:
    """Whatever the device holds really, and whatever was learnt before: each try has less, and the last succeeds."""
    ladder = Ladder()
    for now in (0.0, later):
        layers, tries = ladder.first(KEY, fitting=fitting, now=now), 1
        while layers > holds:
            lower = ladder.failed(KEY, layers=layers, now=now)
            assert lower is not None
            assert lower < layers
            layers = ladder.first(KEY, fitting=fitting, now=now)
            assert layers == lower
            tries += 1
        ladder.worked(KEY, layers=layers, now=now)
        assert tries <= 5
