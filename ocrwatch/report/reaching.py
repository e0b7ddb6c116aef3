"""How a report gets at texts and scans, wherever they are: a mount that gives no answer is soon asked no more.

Owns the shares, one a root; what is mounted below a root is a root of its own.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from ocrwatch.errors import Infrastructure, OutputUnwritable, ShareOffline, SourceChanged, SourceVanished
from ocrwatch.intake.beneath import Root
from ocrwatch.intake.entries import Kind
from ocrwatch.intake.mounts import MountTable, points_below, resolve
from ocrwatch.output.document import Document, Source
from ocrwatch.output.listing import Folder
from ocrwatch.output.sidecar import Names, SidecarState
from ocrwatch.report.content import Place, Text
from ocrwatch.worker.access import Access, MountAccess
from ocrwatch.worker.share import Share

_MOST_TROUBLES = 3  # a bad sector or two are not yet a mount that is away, and each time may take a minute

_Answer = TypeVar("_Answer")


class Reaching:
    """Reads texts and copies scans. A context: the processes that ask mounts end with it. For one thread.

    access: how the files of a root are asked for, by its name.
    """

    def __init__(self, *, mounts: MountTable, access: Callable[[str], Access]) -> None:
        self._mounts = mounts
        self._access = access
        self._shares: dict[str, Share] = {}
        self._troubles: Counter[str] = Counter()
        self._last: tuple[Text, Document | None] | None = None

    @staticmethod
    def by_mounts(clock: Callable[[], float]) -> Reaching:
        """The usual way: what may hang is asked by a process of its own."""
        mounts = MountTable()
        return Reaching(mounts=mounts, access=lambda root: MountAccess(root, mounts=mounts, clock=clock))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        for share in self._shares.values():
            share.close()
        self._mounts.close()

    def texts(self, root: str, path: str) -> Folder:
        """The sidecars and folders that stand directly in `path` beneath the root. Raises ShareOffline."""
        at, inner = self._at(root, path)
        return self._ask(at, lambda share: share.texts(Root(at), inner))

    def document(self, text: Text) -> Document | None:
        """`sidecar.read_back`; the last one is kept at hand. Raises what that raises."""
        if self._last is None or self._last[0] != text:
            at, names = self._names(text)
            self._last = text, self._ask(at, lambda share: share.read_back(Root(at), names))
        return self._last[1]

    def state(self, text: Text) -> SidecarState:
        """What stands where the text should be. Raises what `sidecar.examine` raises."""
        at, names = self._names(text)
        return self._ask(at, lambda share: share.examine(Root(at), names)).state

    def copy(self, place: Place, source: Source, destination: Path) -> None:
        """Copy the very scan that was read, if it is there; else nothing remains.

        Raises SourceVanished, SourceChanged, ShareOffline, or what `spool.copy` raises.
        """
        at, path = self._at(*place)
        seen = self._ask(at, lambda share: share.look(Root(at), path, closely=False))
        if seen is None or seen.kind is not Kind.REGULAR or seen.identity is None:
            raise SourceVanished(f"{path!r} is not there")
        found = seen.identity
        if found.size == source.identity.size:
            spooled = self._ask(at, lambda share: share.spool(Root(at), path, expected=found, destination=destination))
            if spooled.sha256 == source.sha256:
                return
            destination.unlink()
        raise SourceChanged(f"{path!r} was changed since it was read")

    def _names(self, text: Text) -> tuple[str, Names]:
        at, metadata = self._at(text.root, text.names.metadata)
        return at, Names(text=self._at(text.root, text.names.text)[1], metadata=metadata)

    def _at(self, root: str, path: str) -> tuple[str, str]:
        """The innermost mount's root that holds the path, and the path beneath it. Raises ShareOffline."""
        mounts = self._mounts.current()
        for point in reversed(points_below(resolve(root, mounts), mounts)):
            if path == point or path.startswith(point + "/"):
                return os.path.join(root, point), path[len(point) + 1 :]
        return root, path

    def _ask(self, root: str, question: Callable[[Share], _Answer]) -> _Answer:
        if self._troubles[root] >= _MOST_TROUBLES:
            raise ShareOffline(f"{root!r} gave no answer {_MOST_TROUBLES} times, and is not asked any more")
        if root not in self._shares:
            self._shares[root] = Share(self._access(root))
        try:
            return question(self._shares[root])
        except ShareOffline:
            self._troubles[root] += 1
            raise
        except OutputUnwritable as error:  # so says whoever looks at a text with the aim to replace it
            raise Infrastructure(error.message.replace("cannot be written", "cannot be read")) from error
        except ValueError as error:
            raise SourceVanished(f"it has no path beneath {root!r}") from error
