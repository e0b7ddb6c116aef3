"""llama.cpp, as far as correction needs it: load a GGUF, text to tokens, tokens to logits, sequences. Owns every native call.

Uses the low-level API, because the high-level one has a single sequence and redirects the process's descriptors when it is told
to be quiet. Nothing is redirected here: llama.cpp's log goes through a callback, and the last lines are kept for error messages.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import importlib.util
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("GGML_NO_BACKTRACE", "1")  # an abort would fork a debugger
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin for each other stand still where a recognizer has a core

import numpy as np
from numpy.typing import NDArray

from ocrwatch.correction.placement import placement, was_short
from ocrwatch.errors import DeviceFull, ModelUnavailable


def _bindings() -> Any:
    """The bindings alone: what else the package imports is not needed here, and was a fifth of the time to load a small model."""
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or "llama_cpp" in sys.modules:
        return importlib.import_module("llama_cpp.llama_cpp")
    sys.modules["llama_cpp"] = importlib.util.module_from_spec(spec)  # not executed
    try:
        return importlib.import_module("llama_cpp.llama_cpp")
    finally:
        del sys.modules["llama_cpp"]  # whoever imports the package gets all of it


llama_cpp = _bindings()

BATCH_TOKENS = 1024
MAX_SEQUENCES = 64
_LOG_LINES = 400
_DEBUG_LEVEL, _ERROR_LEVEL = 1, 4
_NO_REASON = ["llama.cpp gave no reason"]
_ALL_LAYERS = 999
_STDERR = 2
_FULL = "end what else uses the GPU, or lower model.gpu_layers"


@dataclass(frozen=True)
class LoadOptions:
    """How to load a model.

    gpu_layers: None for as many as fit the build, 0 for the CPU alone. mmap: None maps the file, except where it is better read.
    """

    path: str
    gpu_layers: int | None = None
    context_tokens: int = 4096
    threads: int = 2
    mmap: bool | None = None


class _NativeLog:
    """The last lines that llama.cpp said. It has one log for the whole process, and calls it as long as the process lives."""

    def __init__(self) -> None:
        self.lines: deque[tuple[int, str]] = deque(maxlen=_LOG_LINES)
        self._callback = llama_cpp.llama_log_callback(self._on_line)
        llama_cpp.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _on_line(self, level: int, text: bytes, _: object) -> None:
        if level == _DEBUG_LEVEL:  # thousands of lines, which would push out those that are read here
            return
        self.lines.append((level, text.decode("utf-8", "replace").strip()))
        if level == _ERROR_LEVEL:  # after an abort these are the only words that are left of this process
            with contextlib.suppress(OSError):
                os.write(_STDERR, text)


_native_log = functools.cache(_NativeLog)
"""Made once and never freed: a model that is gone must not take with it what llama.cpp calls."""


class Llama:
    """A loaded model with one context of several sequences that share their cache."""

    def __init__(self, options: LoadOptions, *, progress: Callable[[float], None] = lambda fraction: None) -> None:
        """progress: gets the fraction that is loaded, many times a second; not as long as a mapped file is being brought in.

        Raises ModelUnavailable with llama.cpp's own error line; DeviceFull where a GPU's memory was short.
        """
        self._log = _native_log().lines
        llama_cpp.llama_backend_init()
        self._model = self._load(options, progress)
        self.sequences = 1 if self._remembers_a_state() else MAX_SEQUENCES
        self._context = self._make_context(options)
        layers = int(llama_cpp.llama_model_n_layer(self._model)) + 1
        self.placement = placement((text for _, text in self._log), layers=layers)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._model)
        self._batch = llama_cpp.llama_batch_init(BATCH_TOKENS, 0, 1)
        self.head: tuple[int, ...] = ()
        """What sequence 0 begins with, noted by who ran it; nothing after `clear`."""
        self.vocabulary_size = int(llama_cpp.llama_vocab_n_tokens(self._vocabulary))
        self.context_tokens = int(llama_cpp.llama_n_ctx(self._context))

    def _load(self, options: LoadOptions, progress: Callable[[float], None]) -> Any:
        def on_progress(fraction: float, _: object) -> bool:
            progress(fraction)
            return True  # go on

        parameters = llama_cpp.llama_model_default_params()
        none_of_the_devices = (ctypes.c_void_p * 1)(None)
        if options.gpu_layers == 0:  # else llama.cpp computes on a GPU what it can, and takes memory there
            parameters.devices = ctypes.addressof(none_of_the_devices)
        parameters.n_gpu_layers = _ALL_LAYERS if options.gpu_layers is None else options.gpu_layers
        parameters.load_mode = _load_mode(options)
        parameters.progress_callback = llama_cpp.llama_progress_callback(on_progress)
        self._log.clear()  # of what the search for devices said
        model = llama_cpp.llama_model_load_from_file(os.fsencode(options.path), parameters)
        if not model:  # the first error is the cause, the others follow from it
            raise self._unavailable(f"cannot load {options.path}: {(self._errors() or _NO_REASON)[0]}", self._remedy(options))
        return model

    def _make_context(self, options: LoadOptions) -> Any:
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = options.context_tokens
        parameters.n_batch = BATCH_TOKENS
        parameters.n_ubatch = 512
        parameters.n_seq_max = self.sequences
        parameters.kv_unified = True
        parameters.swa_full = True  # a sliding window keeps too little to branch from
        parameters.n_threads = parameters.n_threads_batch = options.threads
        context = llama_cpp.llama_init_from_model(self._model, parameters)
        if not context:
            why = (self._errors() or _NO_REASON)[-1]
            message = f"cannot make a context of {options.context_tokens} tokens for {options.path}: {why}"
            raise self._unavailable(message, "lower model.context, or free memory")
        return context

    def _remembers_a_state(self) -> bool:
        """Whether the model is recurrent, in part at least: it can't branch in the middle, and each sequence costs memory."""
        return bool(llama_cpp.llama_model_is_recurrent(self._model) or llama_cpp.llama_model_is_hybrid(self._model))

    def _unavailable(self, message: str, remedy: str) -> ModelUnavailable:
        """The error for what llama.cpp has just refused. The machine's memory can be short as well, and that is no DeviceFull."""
        return DeviceFull(message, _FULL) if was_short(self._errors()) else ModelUnavailable(message, remedy)

    def _remedy(self, options: LoadOptions) -> str:
        if not os.path.exists(options.path):
            return "run `ocrwatch model pull`, or correct model.path"
        if re.search(r"alloc|out of memory", " ".join(self._errors()), re.IGNORECASE):
            return "take a smaller quantization, or free memory"
        return "run `ocrwatch model verify`, and `ocrwatch model pull` when the file is damaged"

    def _errors(self) -> list[str]:
        return [text for level, text in self._log if level == _ERROR_LEVEL and text]

    @property
    def description(self) -> str:
        """Architecture, size and quantization, as llama.cpp says them."""
        buffer = ctypes.create_string_buffer(256)
        llama_cpp.llama_model_desc(self._model, buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace")

    def tokenize(self, text: str, *, first: bool, special: bool = False) -> list[int]:
        """The tokens of a text. first: the text begins the sequence, so the model's own start token comes before it."""
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        tokens = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self._vocabulary, data, len(data), tokens, room, first, special)
        return list(tokens[:count])

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for; control tokens stand for none."""
        buffer = ctypes.create_string_buffer(256)
        length = llama_cpp.llama_token_to_piece(self._vocabulary, token, buffer, len(buffer), 0, False)
        return buffer.raw[: max(length, 0)]

    def is_end(self, token: int) -> bool:
        """Whether the token ends a generation."""
        return bool(llama_cpp.llama_vocab_is_eog(self._vocabulary, token))

    @property
    def start_token(self) -> int:
        """A token that may stand before any text."""
        begin = int(llama_cpp.llama_vocab_bos(self._vocabulary))
        return begin if begin >= 0 else int(llama_cpp.llama_vocab_eos(self._vocabulary))

    def decode(self, entries: Sequence[tuple[int, int, int, bool]]) -> NDArray[np.float32]:
        """Run (token, position, sequence, wanted) entries, at most BATCH_TOKENS.

        Returns the logits of the wanted ones, in order, valid until the next call.
        Raises ModelUnavailable when the cache has no room, DeviceFull when the GPU has none, ValueError for too many entries.
        """
        if len(entries) > BATCH_TOKENS:  # llama.cpp would write beyond its batch
            raise ValueError(f"{len(entries)} tokens at once, {BATCH_TOKENS} is the most")
        batch, wanted = self._batch, 0
        batch.n_tokens = len(entries)
        for row, (token, position, sequence, is_wanted) in enumerate(entries):
            batch.token[row], batch.pos[row], batch.n_seq_id[row] = token, position, 1
            batch.seq_id[row][0], batch.logits[row] = sequence, int(is_wanted)
            wanted += is_wanted
        self._log.clear()  # a load that went well may have had its errors
        status = llama_cpp.llama_decode(self._context, batch)
        if status != 0:
            why = (self._errors() or _NO_REASON)[-1]
            raise self._unavailable(f"the model could not compute (llama_decode {status}: {why})", "raise model.context")
        if not wanted:
            return np.empty((0, self.vocabulary_size), dtype=np.float32)
        return np.ctypeslib.as_array(llama_cpp.llama_get_logits(self._context), shape=(wanted, self.vocabulary_size))

    def clear(self) -> None:
        """Forget all sequences."""
        llama_cpp.llama_memory_clear(self._memory, True)
        self.head = ()

    def truncate(self, sequence: int, position: int) -> bool:
        """Forget a sequence from a position on; False where the model's memory cannot do that."""
        return bool(llama_cpp.llama_memory_seq_rm(self._memory, sequence, position, -1))

    def branch(self, sequence: int, into: int, position: int = -1) -> None:
        """Let another sequence begin as this one, up to a position; -1 for all of it."""
        llama_cpp.llama_memory_seq_cp(self._memory, sequence, into, -1, position)

    def last_position(self, sequence: int) -> int:
        """Position of the last token of a sequence, -1 for an empty one."""
        return int(llama_cpp.llama_memory_seq_pos_max(self._memory, sequence))

    def chat_prompt(self, instruction: str, text: str) -> str:
        """The instruction and the text in the model's own chat form; a base model without one gets them plainly."""
        template = llama_cpp.llama_model_chat_template(self._model, None)
        if not template:
            return f"{instruction}\n\nScanned text:\n{text}\n\nCorrected text:\n"
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        form = Jinja2ChatFormatter(template=template.decode("utf-8"), eos_token="", bos_token="")
        return str(form(messages=[{"role": "user", "content": f"{instruction}\n\n{text}"}]).prompt)


def _load_mode(options: LoadOptions) -> int:
    """Where all layers go to a GPU the file is only passed through: mapping it took 34 s where reading took 14 (llama.cpp#14396).

    Mapped elsewhere, as a file that is in the page cache costs nothing; llama.cpp itself knows on which GPUs that is slow.
    """
    if options.mmap is not None:
        return int(llama_cpp.LLAMA_LOAD_MODE_MMAP if options.mmap else llama_cpp.LLAMA_LOAD_MODE_NONE)
    all_on_gpu = options.gpu_layers is None and llama_cpp.llama_supports_gpu_offload()
    return int(llama_cpp.LLAMA_LOAD_MODE_NONE if all_on_gpu else llama_cpp.LLAMA_LOAD_MODE_AUTO)
