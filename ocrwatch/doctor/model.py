"""Whether the correction model is there and right, and what a GPU would have of it. Goes to no network."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ocrwatch import composition, modelling
from ocrwatch.correction import gguf
from ocrwatch.correction.calibrations import Calibrations
from ocrwatch.correction.driver import has_driver
from ocrwatch.correction.fit import gpu_bytes, layers_that_fit
from ocrwatch.correction.placing import Device, Survey
from ocrwatch.doctor.findings import Finding, bad, ok, quoted, warn
from ocrwatch.doctor.unit import Unit
from ocrwatch.errors import MissingPart, OcrwatchError
from ocrwatch.settings import Configuration
from ocrwatch.wording import size
from ocrwatch.worker.process import WorkerProcess, WorkerSpec

_PULL = "ocrwatch model pull"
_FIND_S, _LOOK_S = 600.0, 30.0


def examine_model(settings: Configuration | None, unit: Unit | None, scratch: Path) -> Iterator[Finding]:
    """The model, the installed llama-cpp-python and the GPUs, where any inbox is corrected. unit: whose cache of models it is."""
    if settings is None or not any(composition.correction_plan(settings, inbox) for inbox in settings.inboxes):
        return
    found: Path | None = None
    try:
        spec = modelling.fetch_spec(scratch, {**os.environ, **(unit.environment if unit is not None else {})})
        reply = _ask(spec, {"op": "find", "wish": modelling.wish_of(settings).to_json()}, _FIND_S)
    except MissingPart as error:
        fetched = settings.model.download == "auto"
        remedy = for_service(error.remedy, unit)
        yield (
            warn(error.message, f"it is fetched when it is first needed, or now; {remedy}")
            if fetched
            else bad(error.message, remedy)
        )
    except OcrwatchError as error:
        yield bad(error.message, for_service(error.remedy, unit))
    else:
        try:
            gguf.read(Path(reply["path"]))  # what `model.path` names has no checksum to be held against
        except OcrwatchError as error:
            yield bad(error.message, _whole_one(settings) or for_service(error.remedy, unit))
        else:
            found = Path(reply["path"])
            yield ok(f"model {reply['file']} is here, {size(reply['size_bytes'])}, sha256 {reply['sha256'][:12]}...")
            yield _calibration(settings, found)
    yield from _gpu(settings, found)


def _whole_one(settings: Configuration) -> str:
    path = settings.model.path
    return "" if path is None else f"put a whole file at {path}, or leave `model.path` out and fetch one: {_PULL}"


def for_service(remedy: str, unit: Unit | None) -> str:
    """The command that fetches a model to where the service looks for it, and as its user."""
    home = None if unit is None else unit.environment.get("HF_HOME")
    if unit is None or unit.user is None or home is None:
        return remedy
    return remedy.replace(_PULL, f"sudo -u {unit.user} env HF_HOME={quoted(home)} {_PULL}")


def _ask(spec: WorkerSpec, request: Mapping[str, object], deadline_s: float) -> dict[str, Any]:
    with WorkerProcess(spec) as worker:
        return worker.call(request, deadline_s=deadline_s)


def _calibration(settings: Configuration, model: Path) -> Finding:
    try:
        found = Calibrations(settings.state_dir).of(model)
    except OcrwatchError as error:
        return bad(error.message, error.remedy)
    return (
        ok(f"the model {model.name}: {found.state}")
        if found.origin
        else warn(f"the model {model.name}: {found.state}", found.remedy)
    )


def _gpu(settings: Configuration, model: Path | None) -> Iterator[Finding]:
    try:
        with WorkerProcess(WorkerSpec(module="ocrwatch.correction.build")) as worker:
            build = worker.hello
    except OcrwatchError as error:
        yield bad(f"llama-cpp-python cannot be loaded: {error.message}", error.remedy or _install(cuda=has_driver()))
        return
    kind = "with GPU offload" if build["offload"] else "for the CPU alone"
    built = f"llama-cpp-python {build['version']} is built {kind}"
    if settings.model.gpu_layers == 0:
        yield ok(f"{built}; `model.gpu_layers` is 0: the model stays on the CPU")
        return
    if not has_driver():
        if settings.model.require_gpu:
            yield bad(f"{built}; `model.require_gpu` is true, and no NVIDIA driver is to be seen", "apt install nvidia-driver")
        else:
            yield ok(f"{built}; no NVIDIA driver is to be seen, so the model runs on the CPU")
        return
    if not build["offload"]:
        say = bad if settings.model.require_gpu else warn
        yield say(f"{built}, though an NVIDIA driver is there", _install(version=str(build["version"]), cuda=True))
    else:
        yield ok(built)
    yield from _room(settings, model)


def _install(*, version: str = "", cuda: bool) -> str:
    """The command that builds it anew. Without its cache pip would bring the old build again: it knows nothing of CMAKE_ARGS."""
    package = f"llama-cpp-python=={version}" if version else "llama-cpp-python"
    options = "--force-reinstall --no-deps --no-cache-dir --no-binary llama-cpp-python"
    command = f"{'CMAKE_ARGS=-DGGML_CUDA=on ' if cuda else ''}{quoted(sys.executable)} -m pip install {options} {package}"
    if not cuda or shutil.which("nvcc"):
        return command
    if os.path.exists("/usr/local/cuda/bin/nvcc"):
        return f"PATH=$PATH:/usr/local/cuda/bin {command}"
    return f"apt install nvidia-cuda-toolkit && {command}"


def _room(settings: Configuration, model: Path | None) -> Iterator[Finding]:
    try:
        request = {"op": "look", "model_path": None if model is None else str(model)}
        survey = Survey.from_json(_ask(WorkerSpec(module="ocrwatch.correction.devices"), request, _LOOK_S))
    except OcrwatchError as error:
        yield warn(f"the GPUs give no answer: {error.message}", "nvidia-smi")
        return
    if survey.problem:
        yield warn(survey.problem, "nvidia-smi")
    yield from room_findings(settings, survey)


def room_findings(settings: Configuration, survey: Survey) -> Iterator[Finding]:
    """What of the model each GPU has room for at this moment."""
    named = settings.model.device
    if named != "auto" and survey.devices and all(device.uuid != named for device in survey.devices):
        there = ", ".join(f"{device.uuid} ({device.name})" for device in survey.devices)
        yield bad(f"there is no GPU {named}, but {there}", "set `model.device` to one of them, or to auto")
        return
    for device in survey.devices:
        if named in ("auto", device.uuid):
            yield _fit(settings, survey, device)


def _fit(settings: Configuration, survey: Survey, device: Device) -> Finding:
    where = f"{device.name} ({device.uuid}) has {size(device.free_bytes)} of {size(device.total_bytes)} free"
    shape, policy = survey.shape, modelling.plan_of(settings, threads=1).gpu
    if shape is None:
        return ok(where)
    wanted = shape.layers if policy.layers is None else min(policy.layers, shape.layers)
    needed = gpu_bytes(shape, layers=wanted, context_tokens=policy.context_tokens) + policy.margin_bytes
    fitting = layers_that_fit(
        shape, context_tokens=policy.context_tokens, free_bytes=device.free_bytes, margin_bytes=policy.margin_bytes
    )
    needs = f"{where}; {wanted} of the model's {shape.layers} layers need {size(needed)}"
    if fitting >= wanted:
        return ok(needs)
    remedy = "end what else uses it (`nvidia-smi` lists it), or take a smaller `model.quantization` or `model.context`"
    if fitting:
        return warn(f"{needs}: {fitting} layers fit, the others run on the CPU", remedy)
    return bad(f"{needs}: none fits", remedy) if settings.model.require_gpu else warn(f"{needs}: none fits", remedy)
