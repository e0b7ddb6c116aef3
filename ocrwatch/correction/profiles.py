"""Profiles: what a kind of document is like, said to the model. Owns the built-in ones; an inbox may name its own.

In `rewrite` the prompt is the instruction; in `rescore` its context stands before the text and conditions the score.
"""

from __future__ import annotations

REWRITE_INSTRUCTION = (
    "Correct the recognition errors in the following scanned text. Keep every number, currency sign, name, line break and "
    "punctuation mark as it is. Change nothing that is right. Answer with the corrected text only."
)

BUILT_IN: dict[str, str | None] = {
    "default": None,
    "financial": "Financial document: invoice, statement, account, payment, tax, total amount, balance due.",
    "medical": "Medical document: patient, diagnosis, treatment, medication, dose, examination, clinical findings.",
}
"""What is said of each kind of document; None for no context at all in `rescore`."""


def instruction(prompt: str | None) -> str:
    """What the rewriting model is told to do."""
    return f"{REWRITE_INSTRUCTION} {prompt}" if prompt else REWRITE_INSTRUCTION
