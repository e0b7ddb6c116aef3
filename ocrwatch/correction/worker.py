"""The correction worker: `python -m ocrwatch.correction.worker FD PPID`. Owns the model and the word lists of one process.

First frame (options) and hello, and the operations `correct` and `judge`, are described in `start` and `protocol`. The reply
lists edits; the text itself does not travel back. The process ends to give the device back.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocrwatch.correction import channel, split
from ocrwatch.correction.calibration import STRICTEST, Calibration
from ocrwatch.correction.protocol import CorrectionRequest, Judged, JudgedPlace
from ocrwatch.correction.weights import weights_for
from ocrwatch.errors import OcrwatchError
from ocrwatch.worker import child, sandbox

if TYPE_CHECKING:
    from ocrwatch.correction.channel import Channel
    from ocrwatch.correction.lexicon import WordList
    from ocrwatch.correction.llama import Llama, LoadOptions

_WORD_LISTS_KEPT = 4
_SMALLEST_CONTEXT_TOKENS = 2048
"""Room for the left text and the longest alternatives that a hostile page can make."""

_PROGRESS_EVERY_S = 1.0
_SLICE_BYTES = 1 << 17
"""The kernel reads no more ahead at once than its largest request: of a gigabyte in one piece, 8 MB came (Linux 6.18)."""

_AHEAD_BYTES = 64 << 20


def start(options: child.Message) -> tuple[child.Message, Mapping[str, child.Handler]]:
    """Lock this process in, then load the model.

    options: `model_path`; `gpu_layers` (null or "auto" for as many as the build takes, or a number); `context_tokens`; `threads`;
    `mmap` ("auto", true or false); `calibration` (`gain` and `margin`; without it the strictest holds); `word_lists` (objects of
    `languages` and `dictionary`, as requests have them: they are made ready while the model loads).
    The hello: `device` ("cpu" or "gpu"), `layers_on_gpu`, `layers`, `gpu_bytes`, `load_s`, `branching`, `calibrated`, `sandbox`
    (see `Confinement`). Progress tells the fraction that is `loaded`.

    Raises ModelUnavailable with llama.cpp's reason, DeviceFull where a GPU's memory was short, ValueError for no options.
    """
    rules = policy(options)
    if rules.scratch is not None:
        with contextlib.suppress(OSError):  # then nothing is kept
            rules.scratch.mkdir(parents=True, exist_ok=True)
    # NumPy starts threads as it is imported, and `_load_options` imports it.
    confinement = sandbox.enter(rules)
    tell = _now_and_then(_PROGRESS_EVERY_S)
    reading = threading.Thread(target=read_ahead, args=(rules.readable, tell), daemon=True)
    reading.start()
    load = _load_options(options)
    begun = time.monotonic()
    from ocrwatch.correction.llama import Llama  # native: not before the process is set up

    tables = Tables(options.get("word_lists", ()))
    llama = Llama(load, progress=lambda fraction: tell(loaded=round(fraction, 3)))
    corrector = Worker(llama, tables, _calibration(options))
    reading.join()  # what it tells belongs to the load
    placement = llama.placement
    hello = {
        "device": placement.device,
        "layers_on_gpu": placement.layers_on_gpu,
        "layers": placement.layers,
        "gpu_bytes": placement.gpu_bytes,
        "load_s": round(time.monotonic() - begun, 3),
        "branching": corrector.branching,
        "calibrated": _calibration(options) != STRICTEST,
        "sandbox": confinement.to_json(),
    }
    return hello, {"correct": corrector.correct, "judge": corrector.judge}


class Tables:
    """What correction knows without a model: the confusions of engines, and the word lists that were asked for last."""

    def __init__(self, wanted: Iterable[Mapping[str, Any]] = ()) -> None:
        """wanted: word lists that are made ready at once, in a thread: loading a model leaves the interpreter free."""
        self._word_lists: dict[tuple[tuple[str, ...], tuple[str, ...]], WordList] = {}
        keys = [(tuple(each.get("languages", ())), tuple(each.get("dictionary", ()))) for each in wanted][:_WORD_LISTS_KEPT]
        self._preparing = threading.Thread(target=self._prepare, args=(keys,), daemon=True)
        self._preparing.start()

    @cached_property
    def channel(self) -> Channel:
        """How engines misread, whatever the language."""
        return channel.parse((files("ocrwatch.correction") / "channel.tsv").read_text(encoding="utf-8").splitlines())

    def word_list(self, languages: tuple[str, ...], dictionary: tuple[str, ...]) -> WordList:
        """The words of the languages and of a dictionary."""
        self._preparing.join()
        return self._word_list(languages, dictionary)

    def _prepare(self, keys: Iterable[tuple[tuple[str, ...], tuple[str, ...]]]) -> None:
        import ocrwatch.correction.corrector  # noqa: F401 - what the first request would have to import

        _ = self.channel
        for languages, dictionary in keys:
            self._word_list(languages, dictionary)

    def _word_list(self, languages: tuple[str, ...], dictionary: tuple[str, ...]) -> WordList:
        from ocrwatch.correction.lexicon import WordList

        key = (languages, dictionary)
        if key not in self._word_lists:
            while len(self._word_lists) >= _WORD_LISTS_KEPT:
                del self._word_lists[next(iter(self._word_lists))]
            self._word_lists[key] = WordList(languages, dictionary)
        return self._word_lists[key]


class Worker:
    """Answers requests with one model."""

    def __init__(self, llama: Llama, tables: Tables, calibration: Calibration) -> None:
        from ocrwatch.correction.model import ModelJudge, ModelWriter

        self._calibration, self._tables = calibration, tables
        self._judge, self._writer = ModelJudge(llama), ModelWriter(llama)

    @property
    def branching(self) -> bool:
        """Whether alternatives run in parallel."""
        return self._judge.branching

    def correct(self, message: child.Message) -> child.Message:
        """One page. Raises OcrwatchError for a request that is none."""
        from ocrwatch.correction.corrector import correct_page

        request = read_request(message)
        begun = time.monotonic()
        lexicon = self._tables.word_list(request.languages, request.dictionary)
        correction = correct_page(
            request,
            judge=self._judge,
            lexicon=lexicon,
            channel=self._tables.channel,
            writer=self._writer,
            weights=weights_for(request.languages, covered=lexicon.covers).calibrated(self._calibration),
            expired=_expiry(begun, request.budget_s),
        )
        return replace(correction, seconds=round(time.monotonic() - begun, 3)).to_json()

    def judge(self, message: child.Message) -> child.Message:
        """What the model says of a page, whatever its calibration. Raises OcrwatchError for a request that is none."""
        from ocrwatch.correction.corrector import surveyed
        from ocrwatch.correction.judge import BEGINNING
        from ocrwatch.correction.judging import judgements

        request = read_request(message)
        lexicon = self._tables.word_list(request.languages, request.dictionary)
        weights = weights_for(request.languages, covered=lexicon.covers)
        expired = _expiry(time.monotonic(), request.budget_s)
        found = surveyed(
            request, judge=self._judge, lexicon=lexicon, channel=self._tables.channel, weights=weights, expired=expired
        )
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


def read_request(message: child.Message) -> CorrectionRequest:
    """The request of a frame. Raises OcrwatchError, naming the fault, for anything else."""
    try:
        return CorrectionRequest.from_json(message)
    except (KeyError, TypeError, ValueError) as error:
        raise OcrwatchError(f"no request for correction: {type(error).__name__} {error}") from error


def policy(options: Mapping[str, Any]) -> sandbox.Policy:
    """The model's file, or all of its parts, to read; to write, nothing but the folder where CUDA keeps what it compiled."""
    model = Path(str(options["model_path"]))
    parts = (model.with_name(name) for name in split.names_of(model.name))
    gpu = options.get("gpu_layers", "auto") != 0
    cache = os.environ.get("CUDA_CACHE_PATH") if gpu else None
    return sandbox.Policy(readable=tuple(parts), scratch=Path(cache) if cache else None, gpu=gpu)


def read_ahead(paths: Iterable[Path], tell: Callable[..., None]) -> None:
    """Bring files into the kernel's cache and tell how far that is: whoever maps them waits, and tells nothing.

    The last of it may still be under way when this returns. What cannot be read is left to whoever loads it.
    """
    for path in paths:
        with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:
            for offset in range(0, os.fstat(file.fileno()).st_size, _SLICE_BYTES):
                os.posix_fadvise(file.fileno(), offset, _SLICE_BYTES, os.POSIX_FADV_WILLNEED)
                if offset >= _AHEAD_BYTES:  # wait for what was asked for a while ago
                    os.pread(file.fileno(), 1, offset - _AHEAD_BYTES)
                tell(read_bytes=offset)


def _load_options(options: Mapping[str, Any]) -> LoadOptions:
    from ocrwatch.correction.llama import LoadOptions

    layers, mmap = options.get("gpu_layers"), options.get("mmap", "auto")
    return LoadOptions(
        path=str(options["model_path"]),
        gpu_layers=None if layers in (None, "auto") else int(layers),
        context_tokens=max(_SMALLEST_CONTEXT_TOKENS, int(options.get("context_tokens", 4096))),
        threads=max(1, int(options.get("threads") or len(os.sched_getaffinity(0)))),
        mmap=None if mmap == "auto" else bool(mmap),
    )


def _calibration(options: Mapping[str, Any]) -> Calibration:
    given = options.get("calibration")
    return STRICTEST if given is None else Calibration(float(given["gain"]), float(given["margin"]))


def _expiry(begun: float, budget_s: float) -> Callable[[], bool]:
    """Whether the time is up; asking also tells the parent, now and then, that the work moves."""
    tell = _now_and_then(_PROGRESS_EVERY_S)

    def expired() -> bool:
        tell()
        return time.monotonic() - begun > budget_s

    return expired


def _now_and_then(every_s: float) -> Callable[..., None]:
    """Progress for the parent, passed on once in a while."""
    told = time.monotonic()

    def tell(**details: object) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= every_s:
            told = now
            child.progress(**details)

    return tell


if __name__ == "__main__":
    child.serve(start)
