"""How many texts there were when, beside how many documents: the table of `bench.watch.run` as a picture.

Wants matplotlib (`pip install -e '.[bench]'`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def plot(paces: Mapping[str, Mapping[str, Sequence[float]]], to: Path) -> None:
    """Draw a panel a pace, a step line a name: the number of things by the seconds at which each was there."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(paces), figsize=(8, 3 * len(paces)), layout="constrained", squeeze=False)
    for axis, (pace, lines) in zip(axes[:, 0], paces.items(), strict=True):
        for name, at_s in lines.items():
            axis.step([0.0, *sorted(at_s)], range(len(at_s) + 1), where="post", label=name, linewidth=1.2)
        axis.set_title(pace, fontsize="small", loc="left")
        axis.set_ylabel("documents, texts")
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small", loc="lower right")
    axes[-1, 0].set_xlabel("seconds since the first document")
    figure.savefig(to)
