"""Fits the line of a model in `ocrwatch/correction/calibrations.tsv`, and prints it.

    python -m bench.correction.fit_calibration GGUF --name NAME [--english 60] [--others 12] [--languages en,de,...]

The pages are those of `bench.correction.corpus`, each with what the engine told of its words and without.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.correction.corpus import CACHE, SEED, load_all, make
from bench.correction.fit_weights import LANGUAGES, Collector
from ocrwatch.correction.calibration import STRICTEST, Calibration, Sample, fit, likeliest_gain, tally
from ocrwatch.correction.calibrations import fingerprint
from ocrwatch.correction.llama import Llama, LoadOptions
from ocrwatch.correction.model import ModelJudge
from ocrwatch.correction.weights import weights_for


def main() -> None:
    """Collect, fit and print."""
    options = _arguments()
    collector = Collector(ModelJudge(Llama(LoadOptions(path=options.model, threads=options.threads))))
    samples: dict[str, Sample] = {}
    pages_read = 0
    for language in options.languages.split(","):
        count = options.english if language == "en" else options.others
        paths = make(language, options.first + count, cache=options.cache, seed=options.seed)
        pages = list(load_all(paths))[options.first : options.first + count]
        weights = weights_for((language,))
        samples[language] = Sample(collector.after(pages, weights), weights)
        pages_read += len(pages)
        print(f" {language}: {len(samples[language].places)} places", file=sys.stderr)
    used = fit(list(samples.values()), pages=pages_read).calibration
    for language, sample in samples.items():
        print(f"{language}: gain {likeliest_gain([sample])} alone; {told([sample], used)}", file=sys.stderr)
    print(f"all: {told(list(samples.values()), used)}", file=sys.stderr)
    print(f"{fingerprint(Path(options.model))}\t{used.gain}\t{used.margin}\t{options.name}")


def told(samples: Sequence[Sample], used: Calibration) -> str:
    """What a calibration does, beside the table's own margin and the strictest, on one line."""
    found = {"as the table has it": Calibration(1.0, 0.0), "uncalibrated": STRICTEST, "calibrated": used}
    tallies = {name: tally(samples, calibration) for name, calibration in found.items()}
    return "; ".join(
        f"{name}: {t.edits} edits, {t.right} right, {t.wrong} wrong ({t.wrong_share:.2%})" for name, t in tallies.items()
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.correction.fit_calibration", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("model", help="a .gguf file")
    parser.add_argument("--name", required=True, help="what the table calls it")
    parser.add_argument("--languages", default=",".join(LANGUAGES))
    parser.add_argument("--english", type=int, default=60, help="pages")
    parser.add_argument("--others", type=int, default=12, help="pages of each other language")
    parser.add_argument("--first", type=int, default=0, help="pages of each language to pass over")
    parser.add_argument("--seed", type=int, default=SEED, help="of the corpus")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
