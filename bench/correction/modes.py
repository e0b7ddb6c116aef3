"""The ways to correct a page that are measured against each other, in a process of their own for each model and set.

`python -m bench.correction.modes OPTIONS` is started by `bench.correction.run`: OPTIONS is JSON (model, threads, modes,
prompt_pages, pages: a file with them), what comes out is a line of JSON for the model and one for each page and mode. The
modes take turns on a page, and the next page goes the other way round, so that a busy machine is busy for all of them. Loading
the model and the word lists is not timed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.resources import files
from pathlib import Path

from bench.correction.outcome import ON_TRUTH, Mode, Outcome, read_pages, turns
from bench.correction.sets import Page
from bench.ocr.memory import held_bytes
from ocrwatch.correction import channel, edits, protocol, rewrite
from ocrwatch.correction.calibration import Calibration
from ocrwatch.correction.calibrations import Calibrations
from ocrwatch.correction.corrector import correct_page
from ocrwatch.correction.edits import Edit
from ocrwatch.correction.lexicon import WordList
from ocrwatch.correction.llama import Llama, LoadOptions
from ocrwatch.correction.model import ModelJudge, ModelWriter
from ocrwatch.correction.protocol import Correction, CorrectionRequest
from ocrwatch.correction.weights import weights_for
from ocrwatch.errors import OcrwatchError

PROMPT = "Correct OCR errors, keep numbers and currency symbols intact. Output only the corrected text."
_MORE_TOKENS = 64  # an answer may have as many as the product lets a rewrite have
_NOTHING_KEPT = Path("/nonexistent")  # no state folder: what is measured is what is shipped
_WARMING = "Tbe quick brown fox\n"


class Overheard(Llama):
    """A model whose words are kept as it writes them: an answer that does not end is thrown away by the product, but it is what
    somebody who relies on the prompt alone gets.
    """

    def __init__(self, options: LoadOptions) -> None:
        super().__init__(options)
        self._heard = bytearray()

    def piece(self, token: int) -> bytes:
        """See `Llama.piece`."""
        piece = super().piece(token)
        self._heard += piece
        return piece

    def heard(self) -> str:
        """What was written since the last time."""
        text = self._heard.decode("utf-8", "replace")
        self._heard.clear()
        return text

    @property
    def is_base(self) -> bool:
        """Whether it has no chat form, so that the instruction is put before the text as it is."""
        return self.chat_prompt(PROMPT, "").startswith(PROMPT)


class Corrector:
    """One model, and all modes. calibration: that which the product ships for the model, or the strictest."""

    def __init__(self, llama: Overheard, calibration: Calibration) -> None:
        self._calibration = calibration
        self._llama, self._judge, self._writer = llama, ModelJudge(llama), ModelWriter(llama)
        self._channel = channel.parse((files("ocrwatch.correction") / "channel.tsv").read_text(encoding="utf-8").splitlines())
        self._lists: dict[str, WordList] = {}

    def correct(self, page: Page, mode: Mode) -> Outcome:
        """A page, with the time it takes and the most memory that the process holds meanwhile."""
        text = page.true if mode in ON_TRUTH else page.raw
        lexicon = self._lexicon(page.language)
        _forget_peak()
        begun, cpu_s = time.perf_counter(), time.process_time()
        if mode in {Mode.PROMPT, Mode.PROMPT_TRUTH}:
            answer, characters, why = self._prompted(text)
            made: tuple[Edit, ...] = ()
        else:
            correction = self._verified(page, text, mode, lexicon)
            answer, made = edits.apply(text, correction.edits), correction.edits
            characters, why = len(text), correction.why
        seconds, cpu_s = time.perf_counter() - begun, time.process_time() - cpu_s
        return Outcome(answer, made, characters, seconds, cpu_s, held_bytes(os.getpid(), "VmHWM"), why)

    def _verified(self, page: Page, text: str, mode: Mode, lexicon: WordList) -> Correction:
        """As the product's worker does it."""
        request = CorrectionRequest(
            text,
            languages=(page.language,),
            mode=protocol.Mode.REWRITE if mode is Mode.REWRITE else protocol.Mode.RESCORE,
            words=() if mode in ON_TRUTH else page.words,
        )
        end = time.monotonic() + request.budget_s
        return correct_page(
            request,
            judge=self._judge,
            lexicon=lexicon,
            channel=self._channel,
            writer=self._writer,
            weights=weights_for((page.language,), covered=lexicon.covers).calibrated(self._calibration),
            expired=lambda: time.monotonic() > end,
        )

    def _prompted(self, text: str) -> tuple[str, int, str]:
        """What the model answers, chunk by chunk; how many characters it came with; and why that is not all."""
        end = time.monotonic() + CorrectionRequest(text).budget_s
        parts: list[str] = []
        done = 0
        whys: list[str] = []
        for offset, chunk in rewrite.chunks(text):
            if time.monotonic() > end:
                parts.append(text[offset:])
                break
            done = offset + len(chunk)
            if not chunk.strip():
                parts.append(chunk)
                continue
            self._llama.heard()
            limit = len(chunk) // 2 + _MORE_TOKENS
            written = self._writer.write(PROMPT, chunk.rstrip(), max_tokens=limit, expired=lambda: time.monotonic() > end)
            heard = self._llama.heard()
            parts.append(f"{heard}\n" if heard or not written.why else chunk)  # what does not fit the context stays as it is
            whys += [written.why] if written.why else []
        return "".join(parts), done, "; ".join(f"{why} ({whys.count(why)}x)" for why in dict.fromkeys(whys))

    def _lexicon(self, language: str) -> WordList:
        """The words of a language; one at a time, for the memory's sake. Nothing is loaded any more on the first page then."""
        if language not in self._lists:
            self._lists.clear()
            self._lists[language] = WordList([language])
            self._verified(Page("", language, "", ""), _WARMING, Mode.RESCORE, self._lists[language])
        return self._lists[language]


def _forget_peak() -> None:
    """Let the process's highest memory count from now on. (`ru_maxrss` would begin with what the parent held.)"""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def main() -> None:
    """Load the model and correct."""
    options = json.loads(sys.argv[1])
    try:
        llama = Overheard(LoadOptions(path=options["model"], threads=options["threads"]))
    except OcrwatchError as error:
        raise SystemExit(str(error)) from error
    corrector = Corrector(llama, Calibrations(_NOTHING_KEPT).of(Path(options["model"])).calibration)
    print(json.dumps({"description": llama.description, "is_base": llama.is_base}), flush=True)
    modes = [Mode(name) for name in options["modes"]]
    for page, mode in turns(read_pages(Path(options["pages"])), modes, prompt_pages=options["prompt_pages"]):
        outcome = corrector.correct(page, mode)
        print(json.dumps({"page": page.name, "mode": mode, **outcome.to_json()}), flush=True)


if __name__ == "__main__":
    main()
