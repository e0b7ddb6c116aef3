"""The correction worker: `python -m ocrwatch.correction.worker FD PPID`. Owns the model and the word lists of one process.

First frame (options) and hello, and the operations `correct` and `judge`, are described in `start` and `protocol`. The reply
lists edits; the text itself does not travel back. The process ends to give the device back.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocrwatch.correction import channel
from ocrwatch.correction.calibration import STRICTEST, Calibration
from ocrwatch.correction.protocol import CorrectionRequest, Judged, JudgedPlace
from ocrwatch.correction.weights import weights_for
from ocrwatch.errors import OcrwatchError
from ocrwatch.worker import child, sandbox

if TYPE_CHECKING:
    from ocrwatch.correction.lexicon import WordList
    from ocrwatch.correction.llama import Llama, LoadOptions

_WORD_LISTS_KEPT = 4
_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_SMALLEST_CONTEXT_TOKENS = 2048
"""Room for the left text and the longest alternatives that a hostile page can make."""

_PROGRESS_EVERY_S = 2.0


def start(options: child.Message) -> tuple[child.Message, Mapping[str, child.Handler]]:
    """Lock this process in, then load the model.

    options: `model_path`, `gpu_layers` ("auto" or a number), `context_tokens`, `threads`, `mmap`, `calibration` (`gain` and
    `margin`; without it the strictest holds). The hello: `device` ("cpu" or "gpu"), `layers_on_gpu`, `layers`, `parameters`,
    `context_tokens`, `memory_bytes` (resident), `load_s`, `description`, `branching`, `sandbox` (see `Confinement`).

    Raises ModelUnavailable with llama.cpp's reason, ValueError for options that are none.
    """
    rules = policy(options)
    if rules.scratch is not None:
        with contextlib.suppress(OSError):  # then nothing is kept
            rules.scratch.mkdir(parents=True, exist_ok=True)
    # NumPy starts threads as it is imported, and `_load_options` imports it.
    confinement = sandbox.enter(rules)
    load = _load_options(options)
    begun = time.monotonic()
    from ocrwatch.correction.llama import Llama  # native: not before the process is set up

    llama = Llama(load)
    corrector = Worker(llama, _calibration(options))
    hello = {
        "device": llama.placement.device,
        "layers_on_gpu": llama.placement.layers_on_gpu,
        "layers": llama.placement.layers,
        "parameters": llama.parameters,
        "context_tokens": llama.context_tokens,
        "memory_bytes": resident_bytes(),
        "load_s": round(time.monotonic() - begun, 3),
        "description": llama.description,
        "branching": corrector.branching,
        "sandbox": confinement.to_json(),
    }
    return hello, {"correct": corrector.correct, "judge": corrector.judge}


class Worker:
    """Answers requests with one model."""

    def __init__(self, llama: Llama, calibration: Calibration) -> None:
        from ocrwatch.correction.model import ModelJudge, ModelWriter

        self._calibration = calibration
        self._judge, self._writer = ModelJudge(llama), ModelWriter(llama)
        self._channel = channel.parse((files("ocrwatch.correction") / "channel.tsv").read_text(encoding="utf-8").splitlines())
        self._word_lists: dict[tuple[tuple[str, ...], tuple[str, ...]], WordList] = {}

    @property
    def branching(self) -> bool:
        """Whether alternatives run in parallel."""
        return self._judge.branching

    def correct(self, message: child.Message) -> child.Message:
        """One page. Raises OcrwatchError for a request that is none."""
        from ocrwatch.correction.corrector import correct_page

        request = read_request(message)
        begun = time.monotonic()
        lexicon = self._lexicon(request)
        correction = correct_page(
            request,
            judge=self._judge,
            lexicon=lexicon,
            channel=self._channel,
            writer=self._writer,
            weights=weights_for(request.languages, covered=lexicon.covers).calibrated(self._calibration),
            expired=_expiry(begun, request.budget_s),
        )
        return replace(correction, seconds=round(time.monotonic() - begun, 3)).to_json()

    def judge(self, message: child.Message) -> child.Message:
        """What the model says of a page, whatever its calibration. Raises OcrwatchError for a request that is none."""
        from ocrwatch.correction.corrector import BEGINNING, surveyed
        from ocrwatch.correction.judging import judgements

        request = read_request(message)
        lexicon = self._lexicon(request)
        weights = weights_for(request.languages, covered=lexicon.covers)
        expired = _expiry(time.monotonic(), request.budget_s)
        found = surveyed(request, judge=self._judge, lexicon=lexicon, channel=self._channel, weights=weights, expired=expired)
        places = [
            JudgedPlace(answer.site.start, answer.site.end, tuple((o.edit, o.evidence) for o in answer.options))
            for answer in judgements(
                found.text,
                found.sites,
                self._judge,
                prompt=BEGINNING,
                before=lambda option: weights.before(option.evidence),
                expired=expired,
            )
        ]
        return Judged(tuple(places), found.is_foreign, truncated=len(places) < len(found.sites)).to_json()

    def _lexicon(self, request: CorrectionRequest) -> WordList:
        from ocrwatch.correction.lexicon import WordList

        key = (request.languages, request.dictionary)
        if key not in self._word_lists:
            while len(self._word_lists) >= _WORD_LISTS_KEPT:
                del self._word_lists[next(iter(self._word_lists))]
            self._word_lists[key] = WordList(request.languages, request.dictionary)
        return self._word_lists[key]


def read_request(message: child.Message) -> CorrectionRequest:
    """The request of a frame. Raises OcrwatchError, naming the fault, for anything else."""
    try:
        return CorrectionRequest.from_json(message)
    except (KeyError, TypeError, ValueError) as error:
        raise OcrwatchError(f"no request for correction: {type(error).__name__} {error}") from error


def resident_bytes() -> int:
    """The memory of this process that is resident."""
    with open("/proc/self/statm", encoding="ascii") as numbers:
        return int(numbers.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def policy(options: Mapping[str, Any]) -> sandbox.Policy:
    """The model's file, or all of its parts, to read; to write, nothing but the folder where CUDA keeps what it compiled."""
    model = Path(str(options["model_path"]))
    whole = _PART.sub("", model.name)
    parts = (model,) if whole == model.name else model.parent.glob(f"{glob.escape(whole)}-*-of-*")
    gpu = options.get("gpu_layers", "auto") != 0
    cache = os.environ.get("CUDA_CACHE_PATH") if gpu else None
    return sandbox.Policy(readable=tuple(parts), scratch=Path(cache) if cache else None, gpu=gpu)


def _load_options(options: Mapping[str, Any]) -> LoadOptions:
    from ocrwatch.correction.llama import LoadOptions

    layers = options.get("gpu_layers", "auto")
    return LoadOptions(
        path=str(options["model_path"]),
        gpu_layers=None if layers == "auto" else int(layers),
        context_tokens=max(_SMALLEST_CONTEXT_TOKENS, int(options.get("context_tokens", 4096))),
        threads=max(1, int(options.get("threads") or len(os.sched_getaffinity(0)))),
        mmap=bool(options.get("mmap", True)),
    )


def _calibration(options: Mapping[str, Any]) -> Calibration:
    given = options.get("calibration")
    return STRICTEST if given is None else Calibration(float(given["gain"]), float(given["margin"]))


def _expiry(begun: float, budget_s: float) -> Callable[[], bool]:
    """Whether the time is up; asking also tells the parent, now and then, that the work moves."""
    told = begun

    def expired() -> bool:
        nonlocal told
        now = time.monotonic()
        if now - told >= _PROGRESS_EVERY_S:
            told = now
            child.progress()
        return now - begun > budget_s

    return expired


if __name__ == "__main__":
    child.serve(start)
