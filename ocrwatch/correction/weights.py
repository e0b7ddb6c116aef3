"""The numbers of the corrector's formula, by language. Owns what was calibrated, and the strict ones for all else. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Weights:
    """The numbers of the formula, in nats; `bench/correction/run.py` measures what they do.

    alpha: how far the model's gain is believed. margin: asked of every edit. known: more, for a rare word of the lists.
    capitalized, capitals: more, for a word that may be a name, written so. sure: more, where the engine was sure of it.
    clean: how far a page with few suspicious words raises the margin. rewrite: more, for what the model wrote. digit: more,
    for a letter in the place of a digit. rare_zipf: words of the lists up to this frequency may be misreadings too, which the
    lists' own sources had. short: more, for an unlisted word of two letters. shortest: letters of the shortest word looked at.
    foreign_share: a page with more suspicious words is not in the language that it is said to be in, or no text at all; measured:
    damaged English up to 0.17 with the English list, German 0.14 to 0.38 and Polish 0.6 to 0.8 with it.
    """

    alpha: float = 0.8
    margin: float = 1.0
    known: float = 1.5
    capitalized: float = 2.0
    capitals: float = 6.0
    sure: float = 1.5
    clean: float = 1.5
    rewrite: float = 1.0
    digit: float = 1.0
    rare_zipf: float = 3.0
    short: float = 2.0
    shortest: int = 2
    foreign_share: float = 0.22


CALIBRATED = {"en": Weights()}
"""By language, as measured with SmolLM2-135M on degraded English pages and newspapers: ten right edits to a wrong one and
more, where most of the wrong ones mend what the printer had wrong."""

STRICT = Weights(alpha=0.6, margin=1.5, rare_zipf=0.0, shortest=3, foreign_share=0.35)
"""For every other language: a small model knows it less than it seems to, and takes rare words and names for misreadings."""


def weights_for(languages: Sequence[str]) -> Weights:
    """The weights of the page's languages; those of the first one rule, because the word lists of all hold at once."""
    return CALIBRATED.get(languages[0], STRICT) if languages else STRICT
