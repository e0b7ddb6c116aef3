"""A model in several files, by the names that llama.cpp gives to its parts and opens: `NAME-00001-of-00003.gguf`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_PARTS = 1000
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})(?P<end>\.gguf)", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """One of the files of a model. stem: what all their names begin with. number: from 1. end: the suffix, as it is written."""

    stem: str
    number: int
    total: int
    end: str

    def siblings(self) -> list[str]:
        """The names of all parts, this one among them, in order; MOST_PARTS of them at most."""
        return [f"{self.stem}-{number:05}-of-{self.total:05}{self.end}" for number in range(1, min(self.total, MOST_PARTS) + 1)]


def part_of(name: str) -> Part | None:
    """What a file's name says; None where it is the name of a whole model."""
    found = _PART.fullmatch(name)
    return found and Part(found["stem"], int(found["number"]), int(found["total"]), found["end"])


def names_of(name: str) -> list[str]:
    """The names of all files of the model that has a file of this name."""
    part = part_of(name)
    return [name] if part is None else part.siblings()
