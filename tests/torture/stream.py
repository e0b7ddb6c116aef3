"""A scanner and its people, from a seed: files appear, grow, are renamed, replaced and deleted; and what ought to come of it.

Keeps account of every version that was ever whole under a name. What the daemon published is held against it.
"""

from __future__ import annotations

import hashlib
import os
import random
import threading
from collections import defaultdict
from pathlib import Path

from tests.torture import tiny_scans

_MOST = 2000
"""As many lie there at most, since in a thousand lives of a second each the daemon does not keep up with what comes."""

_WORDS = ("invoice", "number", "total", "amount", "letter", "paid", "due", "date", "of", "the", "and")


class Stream:
    """Changes an inbox in a thread of its own, from `start` to `stop`."""

    def __init__(self, inbox: Path, seed: int, *, pause_s: float = 0.02) -> None:
        self.inbox = inbox
        self.now: dict[str, bytes] = {}
        """What lies there, whole, by name."""
        self.versions: defaultdict[str, list[list[str]]] = defaultdict(list)
        """The pages of all that ever lay there whole, by name."""
        self.appearances: defaultdict[str, int] = defaultdict(int)
        """Under how many names a content was to be seen, by its sha256."""
        self._random = random.Random(seed)
        self._pause_s = pause_s
        self._made = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End with a whole file."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.step()
            self._stopping.wait(self._pause_s)

    def step(self) -> None:
        """One change."""
        weights = (6, 2, 2, 1) if len(self.now) < _MOST else (1, 2, 2, 6)
        self._random.choices((self._create, self._rename, self._replace, self._delete), weights)[0]()

    def _content(self) -> bytes:
        self._made += 1
        pages = [
            f"{' '.join(self._random.choices(_WORDS, k=self._random.randint(1, 6)))} {self._made} {number}"
            for number in range(self._random.choice((1, 1, 1, 2, 5)))
        ]
        return tiny_scans.tiff(pages)

    def _lies_there(self, name: str, data: bytes) -> None:
        self.now[name] = data
        self.versions[name].append(tiny_scans.texts(data))
        self.appearances[hashlib.sha256(data).hexdigest()] += 1

    def _write(self, name: str, data: bytes) -> None:
        """In place, in several parts, as a scanner does it; or at once under another name."""
        path = self.inbox / name
        # Before: a version may be taken the moment that its last byte is there.
        self._lies_there(name, data)
        if self._random.random() < 0.3:
            part = self.inbox / f".{name}.part"
            part.write_bytes(data)
            os.replace(part, path)
            return
        cuts = sorted(self._random.sample(range(1, len(data)), k=2))
        with path.open("wb", buffering=0) as file:
            for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
                file.write(data[start:end])
                self._stopping.wait(self._random.random() * self._pause_s)

    def _create(self) -> None:
        folder = self._random.choice(("", "", "post/"))
        (self.inbox / folder).mkdir(exist_ok=True)
        self._write_new(f"{folder}{self._made:06}.tif")

    def _write_new(self, name: str) -> None:
        if "/" in name:  # its temporary name would be in another folder
            data = self._content()
            self._lies_there(name, data)
            (self.inbox / name).write_bytes(data)
        else:
            self._write(name, self._content())

    def _some(self) -> str | None:
        return self._random.choice(sorted(self.now)) if self.now else None

    def _rename(self) -> None:
        if (old := self._some()) is not None:
            self._made += 1
            new, data = f"{self._made:06}-renamed.tif", self.now.pop(old)
            self._lies_there(new, data)
            (self.inbox / old).rename(self.inbox / new)

    def _replace(self) -> None:
        if (name := self._some()) is not None:
            self._write_new(name)

    def _delete(self) -> None:
        if len(self.now) > 5 and (name := self._some()) is not None:
            del self.now[name]
            (self.inbox / name).unlink()
