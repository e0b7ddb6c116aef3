"""Profiles: what a kind of document is like, said to the model. Owns the built-in ones; an inbox may name its own.

In `rewrite` the prompt is the instruction; in `rescore` its context stands before the text and conditions the score.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """A kind of document. prompt: the instruction for the rewriting model, or None for no context at all in `rescore`."""

    name: str
    prompt: str | None


REWRITE_INSTRUCTION = (
    "Correct the recognition errors in the following scanned text. Keep every number, currency sign, name, line break and "
    "punctuation mark as it is. Change nothing that is right. Answer with the corrected text only."
)

BUILT_IN: dict[str, Profile] = {
    "default": Profile("default", None),
    "financial": Profile(
        "financial", "Financial document: invoice, statement, account, payment, tax, total amount, balance due."
    ),
    "medical": Profile(
        "medical", "Medical document: patient, diagnosis, treatment, medication, dose, examination, clinical findings."
    ),
}


def instruction(prompt: str | None) -> str:
    """What the rewriting model is told to do."""
    return f"{REWRITE_INSTRUCTION} {prompt}" if prompt else REWRITE_INSTRUCTION
