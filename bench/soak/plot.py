"""What was seen over the time, as a picture. Wants matplotlib (`pip install -e '.[bench]'`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.soak.samples import Sample

_PANELS = (
    ("memory of the parent, MB", lambda each: each.resident_bytes / 1e6),
    ("descriptors and threads of the parent", lambda each: (each.descriptors, each.threads)),
    ("memory of its children, MB", lambda each: each.children_bytes / 1e6),
)


def plot(samples: Sequence[Sample], to: Path) -> None:
    """Draw the samples over minutes, one panel a figure."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(_PANELS), sharex=True, figsize=(8, 6), layout="constrained")
    minutes = [each.at_s / 60 for each in samples]
    for axis, (title, value) in zip(axes, _PANELS, strict=True):
        axis.plot(minutes, [value(each) for each in samples], linewidth=0.8)
        axis.set_title(title, fontsize="small", loc="left")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("minutes")
    figure.savefig(to)
