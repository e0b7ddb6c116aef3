"""Where a model's next process puts its layers: every rule, with devices that the test makes up and a clock that it moves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ocrwatch.correction.fit import RETRY_S, gpu_bytes
from ocrwatch.correction.gguf import Shape
from ocrwatch.correction.placing import Device, GpuPolicy, Placer, Placing, Survey, is_shortage
from ocrwatch.correction.store import ModelFile, Source
from ocrwatch.errors import DeviceFull, ModelUnavailable, OcrwatchError, WorkerDied, WorkerTimedOut
from tests.faults.waiting import FakeClock

MB, GB = 10**6, 10**9
CONTEXT, MARGIN = 4096, 500 * MB

SHAPE = Shape(
    architecture="qwen2",
    block_bytes=(80 * MB,) * 36,
    output_bytes=300 * MB,
    input_bytes=300 * MB,
    kv_bytes_per_token=(1024,) * 36,
    vocabulary=150_000,
    embedding=2048,
    heads=16,
    feed_forward=11_008,
)
ALL = 37
FILE = ModelFile(path=Path("/models/m.gguf"), file="m.gguf", sha256="abc", size_bytes=1, source=Source.PATH)
ON_CPU = {"device": "cpu", "layers_on_gpu": 0, "layers": ALL, "gpu_bytes": 0}


def on_gpu(layers: int = ALL) -> dict[str, Any]:
    """What a process says that has so many layers there."""
    return {"device": "gpu", "layers_on_gpu": layers, "layers": ALL, "gpu_bytes": 1}


def room_for(layers: int) -> int:
    """Free bytes of a device on which so many layers just fit."""
    return gpu_bytes(SHAPE, layers=layers, context_tokens=CONTEXT) + MARGIN


def device(uuid: str = "GPU-a", *, free: int) -> Device:
    return Device(uuid, name="Fake 4090", total_bytes=24 * GB, free_bytes=free, used_bytes=24 * GB - free)


class Machine:
    """The devices as they are at present, and how often they were looked at."""

    def __init__(self, *devices: Device, shape: Shape | None = SHAPE, problem: str = "") -> None:
        self.survey = Survey(devices=devices, shape=shape, problem=problem)
        self.looks = 0
        self.clock = FakeClock()

    def look(self, file: ModelFile) -> Survey:
        assert file is FILE
        self.looks += 1
        return self.survey

    def placer(self, **policy: Any) -> Placer:
        return Placer(wanted(**policy), look=self.look, clock=self.clock)


def wanted(*, layers: int | None = None, device: str | None = None, require: bool = False) -> GpuPolicy:
    return GpuPolicy(layers=layers, device=device, require=require, margin_bytes=MARGIN, context_tokens=CONTEXT)


def without_driver(**policy: Any) -> Placer:
    return Placer(wanted(**policy), look=None, clock=FakeClock())


def test_cpu_that_is_asked_for_is_no_fall_back() -> None:
    """Nobody looks at a GPU that nobody wants: a look would wake it."""
    machine = Machine(device(free=24 * GB))
    placer = machine.placer(layers=0)
    assert placer.next(FILE) == Placing(0)
    assert placer.loaded(ON_CPU) == ""
    assert not placer.failed()
    assert machine.looks == 0


def test_machine_without_a_gpu_is_not_degraded() -> None:
    """Most machines have none, and nobody asked for one."""
    placer = without_driver()
    assert placer.next(FILE) == Placing(None)
    assert placer.loaded(ON_CPU) == ""


def test_gpu_of_another_maker_is_taken_and_left_when_it_is_full() -> None:
    """A build for ROCm or Vulkan finds its own device; what it holds is not known, so it is all or nothing."""
    placer = without_driver()
    assert placer.next(FILE) == Placing(None)
    assert placer.failed()
    assert placer.next(FILE) == Placing(0, reason="the GPU ran out of memory")
    assert placer.loaded(ON_CPU) == "the GPU ran out of memory"
    assert not placer.failed()


@pytest.mark.parametrize("policy", [{"layers": 20}, {"device": "GPU-a"}])
def test_gpu_that_is_asked_for_and_not_there_is_told(policy: dict[str, Any]) -> None:
    """Whoever sets a number of layers, or names a GPU, counts on it."""
    placer = without_driver(**policy)
    assert placer.next(FILE) == Placing(policy.get("layers"), policy.get("device"))
    assert "no NVIDIA driver" in placer.loaded(ON_CPU)


def test_required_gpu_without_a_driver_is_not_waited_for_by_loading() -> None:
    """Gigabytes are not loaded only to be dropped; the error says what to do."""
    with pytest.raises(DeviceFull, match="no NVIDIA driver") as raised:
        without_driver(require=True).next(FILE)
    assert "model.require_gpu" in raised.value.remedy


def test_required_gpu_of_another_maker_is_tried() -> None:
    """A number of layers says that there is one; whether it runs there is seen afterwards."""
    placer = without_driver(require=True, layers=20)
    assert placer.next(FILE) == Placing(20)
    assert placer.loaded(on_gpu(20)) == ""
    placer.next(FILE)
    with pytest.raises(DeviceFull, match="runs on the CPU: no NVIDIA driver"):
        placer.loaded(ON_CPU)


def test_all_goes_to_a_gpu_with_room() -> None:
    """The plain case, and nothing to tell of it."""
    machine = Machine(device(free=room_for(ALL)))
    placer = machine.placer()
    assert placer.next(FILE) == Placing(None, "GPU-a")
    assert placer.loaded(on_gpu()) == ""
    assert machine.looks == 1


def test_what_fits_goes_to_a_gpu_with_less_room() -> None:
    """And the reason says how much is lacking."""
    machine = Machine(device(free=room_for(20)))
    placer = machine.placer()
    placing = placer.next(FILE)
    assert (placing.layers, placing.device) == (20, "GPU-a")
    assert placer.loaded(on_gpu(20)) == placing.reason
    assert placing.reason == "no room for more: GPU-a has 3.3 GB free, all 37 layers need 4.1 GB and 500 MB to spare"


def test_full_gpu_is_left_alone() -> None:
    """The reason completes `degraded: cpu (...)`."""
    machine = Machine(device(free=300 * MB))
    placer = machine.placer()
    placing = placer.next(FILE)
    assert placing == Placing(0, None, "no room: GPU-a has 300 MB free, all 37 layers need 4.1 GB and 500 MB to spare")
    assert placer.loaded(ON_CPU) == placing.reason
    assert not placer.failed()


def test_full_gpu_is_looked_at_anew_before_each_load() -> None:
    """What was free an hour ago says nothing; what was not, neither."""
    machine = Machine(device(free=0))
    placer = machine.placer()
    assert placer.next(FILE).layers == 0
    placer.loaded(ON_CPU)
    machine.survey = Survey(devices=(device(free=24 * GB),), shape=SHAPE)
    assert placer.next(FILE) == Placing(None, "GPU-a")


def test_gpu_that_llama_cpp_does_not_take_is_told() -> None:
    """`offloaded 29/29 layers` is printed even where CUDA failed (ollama#7765): what the buffers say counts."""
    placer = Machine(device(free=24 * GB)).placer()
    placer.next(FILE)
    assert "built for none, or CUDA did not start" in placer.loaded(ON_CPU)


@pytest.mark.parametrize("shape", [SHAPE, None])
def test_devices_that_cannot_be_asked_are_left_to_llama_cpp(shape: Shape | None) -> None:
    """In WSL and in containers NVML may be missing where CUDA works."""
    placer = Machine(shape=shape, problem="GPUs cannot be asked: no libnvidia-ml").placer()
    assert placer.next(FILE) == Placing(None, reason="GPUs cannot be asked: no libnvidia-ml")
    assert placer.loaded(on_gpu()) == ""
    placer.next(FILE)
    assert placer.loaded(ON_CPU) == "GPUs cannot be asked: no libnvidia-ml"


def test_devices_that_cannot_be_asked_are_stepped_down_as_well() -> None:
    """How many layers there are is known from the file; how many fit is found by trying."""
    placer = Machine(problem="no NVML").placer(device="GPU-z")
    tried = [placer.next(FILE)]
    while placer.failed():
        tried.append(placer.next(FILE))
    assert [placing.layers for placing in tried] == [None, 27, 18, 9, 0]
    assert {placing.device for placing in tried[:-1]} == {"GPU-z"}


def test_model_of_unknown_shape_goes_to_the_device_with_the_most_room() -> None:
    """Its header could not be read; llama.cpp may know more of it than we do."""
    machine = Machine(device("GPU-a", free=GB), device("GPU-b", free=2 * GB), shape=None, problem="no GGUF")
    placer = machine.placer()
    assert placer.next(FILE) == Placing(None, "GPU-b", "no GGUF")
    assert placer.failed()
    assert placer.next(FILE).device == "GPU-a"


def test_device_that_is_named_is_taken() -> None:
    """Though another has more room."""
    machine = Machine(device("GPU-a", free=24 * GB), device("GPU-b", free=room_for(5)))
    placing = machine.placer(device="GPU-b").next(FILE)
    assert (placing.layers, placing.device) == (5, "GPU-b")


def test_device_that_is_not_there_is_an_error_that_lists_what_is() -> None:
    """A card was changed, or the UUID mistyped: not silently another one."""
    machine = Machine(device("GPU-a", free=GB), device("GPU-b", free=GB))
    with pytest.raises(ModelUnavailable, match=r"no GPU GPU-c, but GPU-a .Fake 4090., GPU-b .Fake 4090."):
        machine.placer(device="GPU-c").next(FILE)


def test_device_on_which_all_fits_is_chosen_and_the_emptiest_of_them() -> None:
    """The first that CUDA counts is everybody's first."""
    machine = Machine(
        device("GPU-a", free=room_for(36)),
        device("GPU-b", free=room_for(ALL)),
        device("GPU-c", free=room_for(ALL) + GB),
        device("GPU-d", free=room_for(30)),
    )
    assert machine.placer().next(FILE) == Placing(None, "GPU-c")


def test_device_with_the_most_room_is_chosen_where_nothing_fits_whole() -> None:
    """More layers there than anywhere else."""
    machine = Machine(device("GPU-a", free=room_for(9)), device("GPU-b", free=room_for(30)), device("GPU-c", free=0))
    placing = machine.placer().next(FILE)
    assert (placing.layers, placing.device) == (30, "GPU-b")


def test_device_that_fails_is_left_for_another() -> None:
    """The sums are wrong for one card, or its free memory is taken by somebody quicker."""
    machine = Machine(device("GPU-a", free=24 * GB), device("GPU-b", free=room_for(ALL)))
    placer = machine.placer()
    assert placer.next(FILE) == Placing(None, "GPU-a")
    assert placer.failed()
    assert placer.next(FILE) == Placing(None, "GPU-b")
    assert placer.loaded(on_gpu()) == ""


def test_shortage_is_answered_with_ever_fewer_layers() -> None:
    """Each in a new process, and the reason tells what happened."""
    placer = Machine(device(free=24 * GB)).placer()
    tried = [placer.next(FILE)]
    while placer.failed():
        tried.append(placer.next(FILE))
    assert [placing.layers for placing in tried] == [None, 27, 18, 9, 0]
    assert [placing.reason for placing in tried[1::3]] == [
        "GPU-a ran out of memory with more than 27 of 37 layers",
        "GPU-a ran out of memory",
    ]


def test_shortage_while_computing_is_answered_the_same() -> None:
    """A page that ends the process because the card is full costs layers, not the page."""
    placer = Machine(device(free=24 * GB)).placer()
    placer.next(FILE)
    assert placer.loaded(on_gpu()) == ""
    assert placer.failed()
    assert placer.next(FILE).layers == 27
    assert placer.loaded(on_gpu(27)) == "GPU-a ran out of memory with more than 27 of 37 layers"


def test_one_shortage_costs_one_step() -> None:
    """Told twice, it is still one."""
    placer = Machine(device(free=24 * GB)).placer()
    placer.next(FILE)
    assert placer.failed()
    assert not placer.failed()
    assert placer.next(FILE).layers == 27


def test_step_is_kept_for_an_hour_and_then_one_more_is_tried() -> None:
    """Whoever filled the card may be gone."""
    machine = Machine(device(free=24 * GB))
    placer = machine.placer()
    for _ in range(2):
        placer.next(FILE)
        assert placer.failed()
    assert placer.next(FILE).layers == 18
    placer.loaded(on_gpu(18))
    machine.clock.now += RETRY_S - 1
    assert placer.next(FILE).layers == 18
    placer.loaded(on_gpu(18))
    machine.clock.now += 1
    assert placer.next(FILE).layers == 27
    assert placer.loaded(on_gpu(27)) == "GPU-a ran out of memory with more than 27 of 37 layers"
    machine.clock.now += RETRY_S
    assert placer.next(FILE) == Placing(None, "GPU-a")
    assert placer.loaded(on_gpu()) == ""


def test_number_of_layers_is_tried_whatever_the_sums_say() -> None:
    """Who sets a number knows the machine better; the ladder catches the rest."""
    placer = Machine(device(free=room_for(3))).placer(layers=20)
    tried = [placer.next(FILE)]
    assert placer.loaded(on_gpu(20)) == ""
    while placer.failed():
        tried.append(placer.next(FILE))
    assert [placing.layers for placing in tried] == [20, 15, 10, 5, 0]
    assert tried[1].reason == "GPU-a ran out of memory with more than 15 of 37 layers"


def test_number_beyond_all_layers_means_all() -> None:
    """999 is what people write; three quarters of it would still be all."""
    placer = Machine(device(free=24 * GB)).placer(layers=999)
    assert placer.next(FILE) == Placing(999, "GPU-a")
    assert placer.failed()
    assert placer.next(FILE).layers == 27


def test_number_of_layers_is_counted_down_without_a_shape_too() -> None:
    """The number itself is the top then."""
    placer = without_driver(layers=20)
    placer.next(FILE)
    assert placer.failed()
    assert placer.next(FILE) == Placing(15, reason="the GPU ran out of memory with more than 15 of 20 layers")


def test_required_gpu_without_room_is_waited_for() -> None:
    """The error names the device, what it has and what the model needs."""
    machine = Machine(device(free=300 * MB))
    placer = machine.placer(require=True)
    with pytest.raises(DeviceFull, match=r"no room: GPU-a has 300 MB free, all 37 layers need 4.1 GB") as raised:
        placer.next(FILE)
    assert "model.require_gpu" in raised.value.remedy
    machine.survey = Survey(devices=(device(free=24 * GB),), shape=SHAPE)
    assert placer.next(FILE) == Placing(None, "GPU-a")


def test_required_gpu_with_room_for_a_part_is_used() -> None:
    """Some layers there are a GPU in use."""
    placer = Machine(device(free=room_for(4))).placer(require=True)
    placing = placer.next(FILE)
    assert placing.layers == 4
    assert placer.loaded(on_gpu(4)) == placing.reason


def test_required_gpu_is_never_given_up_for_the_cpu() -> None:
    """The last step is the least that is on the GPU; then it waits, and tries that again."""
    machine = Machine(device(free=24 * GB))
    placer = machine.placer(require=True)
    tried = [placer.next(FILE).layers]
    while placer.failed():
        tried.append(placer.next(FILE).layers)
    assert tried == [None, 27, 18, 9]
    assert placer.next(FILE).layers == 9
    placer.loaded(on_gpu(9))
    machine.clock.now += RETRY_S
    assert placer.next(FILE).layers == 18


def test_required_gpu_is_left_with_its_output_alone() -> None:
    """One layer is a GPU in use as well."""
    placer = Machine(device(free=24 * GB)).placer(require=True, layers=2)
    assert placer.next(FILE).layers == 2
    assert placer.failed()
    assert placer.next(FILE).layers == 1
    assert not placer.failed()


def test_required_gpu_that_llama_cpp_does_not_take_is_an_error() -> None:
    """The process runs on the CPU: it is to be ended."""
    placer = Machine(device(free=24 * GB)).placer(require=True)
    placer.next(FILE)
    with pytest.raises(DeviceFull, match=r"the model runs on the CPU: llama.cpp put nothing on the GPU") as raised:
        placer.loaded(ON_CPU)
    assert "ocrwatch doctor" in raised.value.remedy


def test_another_model_begins_at_its_top() -> None:
    """What one model had no room for says nothing of another."""
    machine = Machine(device(free=24 * GB))
    placer = Placer(wanted(), look=lambda _: machine.survey, clock=machine.clock)
    placer.next(FILE)
    assert placer.failed()
    other = ModelFile(path=FILE.path, file="m.gguf", sha256="def", size_bytes=1, source=Source.PATH)
    assert placer.next(other) == Placing(None, "GPU-a")
    assert placer.next(FILE).layers == 27


@pytest.mark.parametrize("shape", [SHAPE, None])
def test_survey_crosses_to_another_process(shape: Shape | None) -> None:
    """As JSON, whole."""
    survey = Survey(devices=(device(free=1), device("GPU-b", free=2)), shape=shape, problem="one is left out")
    assert Survey.from_json(json.loads(json.dumps(survey.to_json()))) == survey


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"devices": [{}], "shape": None, "problem": ""},
        {"devices": [{"uuid": "a", "name": "b", "total_bytes": "x"}], "shape": None, "problem": ""},
        {"devices": 5, "shape": None, "problem": ""},
        {"devices": [], "shape": {"block_bytes": [1]}, "problem": ""},
    ],
)
def test_survey_from_rubbish_is_refused(data: dict[str, Any]) -> None:
    """With one of the errors that the caller expects."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        Survey.from_json(data)


@pytest.mark.parametrize(
    "line",
    [
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 590.07 MiB on device 0: cudaMalloc failed: out of memory",
        "llama_model_load: error loading model: unable to allocate CUDA0 buffer",
        "alloc_tensor_range: failed to allocate ROCm0 buffer of size 1879048192",
        "CUDA error: out of memory",
        "/src/ggml-cuda.cu:107: CUDA error",
        "ROCm error: out of memory",
        "  CUBLAS_STATUS_ALLOC_FAILED",
        "ggml_vulkan: Device memory allocation of size 1073741824 failed.",
        "vk::Device::allocateMemory: ErrorOutOfDeviceMemory",
    ],
)
def test_last_words_of_a_shortage_are_known(line: str) -> None:
    """As llama.cpp and its users have them."""
    assert is_shortage(WorkerDied("the worker was ended by SIGABRT", last_words=["loading", line, "aborted"]))
    assert is_shortage(WorkerDied(f"the worker was ended by SIGABRT; its last words: {line}"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DeviceFull("no memory"), True),
        (ModelUnavailable("cannot load: CUDA error"), False),
        (WorkerTimedOut("CUDA error"), False),
        (WorkerDied("the worker was ended by SIGSEGV", last_words=["load_tensors: offloaded 37/37 layers to GPU"]), False),
        (WorkerDied("the worker held 900 MB, more than the limit of 800 MB, and was killed"), False),
        (WorkerDied("ended", last_words=["ggml_aligned_malloc: insufficient memory", "failed to allocate CPU buffer"]), False),
        (
            WorkerDied("ended", last_words=["ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device is detected"]),
            False,
        ),
    ],
)
def test_shortage_is_told_from_other_ends(error: OcrwatchError, expected: bool) -> None:
    """A bug on a page, or a machine without memory, is not mended by fewer layers."""
    assert is_shortage(error) is expected
