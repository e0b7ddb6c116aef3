"""The figures of a card, in the environment that has llama.cpp for it: `python -m bench.model.gpu.measure JSON`.

Memory is what NVML says the whole device has in use: nothing else should begin or end on it meanwhile.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.model import life
from bench.model.gpu import card, holders
from bench.model.gpu.card import RETURNED_BYTES, Card
from bench.model.table import NO_TARGET, Row, print_table, verdict
from ocrwatch.correction import gguf
from ocrwatch.correction.fit import gpu_bytes
from ocrwatch.correction.owner import ModelOwner

_SETTLE_S = 5.0  # for a device to show less in use
_LOOK_S = 0.25
_CONTEXT_TOKENS = 4096
_MIB = 2**20
_LEFT = (1.5, 1.0, 0.75, 0.5, 0.1)
"""What another process leaves free of the card, in parts of what all layers need."""


@dataclass(frozen=True)
class Stay:
    """In use before a model came, with it, and after it went. pid: of its process. is_on: whether that is there still."""

    before_bytes: int
    loaded_bytes: int
    after_bytes: int
    pid: int
    is_on: bool

    @property
    def kept_bytes(self) -> int:
        """More in use than before."""
        return self.after_bytes - self.before_bytes


def stay(before: Card, loaded: Card, after: Card, *, pid: int) -> Stay:
    """Three looks at one model."""
    return Stay(before.used_bytes, loaded.used_bytes, after.used_bytes, pid, is_on=pid in after.held_bytes)


def stay_rows(name: str, found: Stay, *, must_return: bool) -> list[Row]:
    """What a stay came to."""
    kept = f"{found.kept_bytes / _MIB:+.0f} MiB"
    is_met = found.kept_bytes <= RETURNED_BYTES and not found.is_on
    target = (f"<= {RETURNED_BYTES // _MIB} MiB", verdict(is_met)) if must_return else NO_TARGET
    return [
        (f"{name}: device before", f"{found.before_bytes / _MIB:.0f} MiB", *NO_TARGET),
        ("  loaded, one page done", f"{found.loaded_bytes / _MIB:.0f} MiB", *NO_TARGET),
        (f"  afterwards, its process {'still' if found.is_on else 'not'} on the device", kept, *target),
    ]


def main() -> int:
    """Measure what the options name; 1 when a figure is missed."""
    options = json.loads(sys.argv[1])
    model, seen = Path(options["model"]), card.look()
    rows: list[Row] = [(f"{seen.name}, {seen.total_bytes / _MIB:.0f} MiB", "", "", "")]
    with tempfile.TemporaryDirectory(prefix="ocrwatch-bench-") as name:
        folder = Path(name)
        parts: tuple[tuple[str, Callable[[], list[Row]]], ...] = (
            ("memory of the device, the model's process", lambda: _process(model, folder, seen.uuid)),
            ("memory of the device, Llama.close() in process", lambda: _in_process(model, seen.uuid)),
            ("a card that another process has filled", lambda: _ladder(model, folder, seen.uuid)),
            ("the same pages on the GPU and on the CPU", lambda: _speed(model, folder, rounds=options["rounds"])),
        )
        for words, part in parts:
            print(words, file=sys.stderr, flush=True)
            rows += part()
    print_table(rows)
    return int(any(told == "MISSED" for *_, told in rows))


def _process(model: Path, folder: Path, uuid: str) -> list[Row]:
    """The service's own way: an idle model's process ends."""
    before = card.look(uuid)
    with life.owned(life.real_plan(model, folder, idle=0, device=uuid)) as owner:
        with owner.soft_lease() as lease:  # keeps it for the look
            lease.take()
            life.corrected(owner, life.PAGE)
            pid, on_gpu = owner.status().worker.pid or 0, _where(owner)
            loaded = card.look(uuid)
        life.wait_until_cold(owner)
        life.wait_until(lambda: owner.status().returned is not None or not on_gpu[0], what="there was no verdict")
        after = settled(lambda: card.look(uuid), before, pid=pid)
        proof = owner.status().returned
    told = "none" if proof is None else f"{proof.verdict} after {proof.after_s:.1f} s"
    return [
        *stay_rows("the model's process, gone when idle", stay(before, loaded, after, pid=pid), must_return=True),
        ("  the service's own verdict", told, "verified", verdict(told.startswith("verified"))),
    ]


def _in_process(model: Path, uuid: str) -> list[Row]:
    """What a service would keep that frees the model and goes on."""
    before = card.look(uuid)
    with holders.holder("close", {"path": str(model), "context_tokens": _CONTEXT_TOKENS}, uuid=uuid) as holder:
        holder.reach("ready")
        pid = holder.reach("loaded")
        loaded = card.look(uuid)
        holder.reach("closed")
        after = settled(lambda: card.look(uuid), before, pid=None)
    return stay_rows("in process, after Llama.close()", stay(before, loaded, after, pid=pid), must_return=False)


def settled(look: Callable[[], Card], before: Card, *, pid: int | None, pause: Callable[[float], object] | None = None) -> Card:
    """The card once no more is in use than before and the process is off it, or what it is when the time is over."""
    wait, seen = pause or threading.Event().wait, look()
    for _ in range(round(_SETTLE_S / _LOOK_S)):
        if seen.used_bytes - before.used_bytes <= RETURNED_BYTES and pid not in seen.held_bytes:
            break
        wait(_LOOK_S)
        seen = look()
    return seen


def _ladder(model: Path, folder: Path, uuid: str) -> list[Row]:
    """By the sums (auto), and with all layers demanded, where only running out of memory leads down."""
    shape = gguf.read(model)
    needed_bytes = gpu_bytes(shape, layers=shape.layers, context_tokens=_CONTEXT_TOKENS)
    rows: list[Row] = []
    for left in _LEFT:
        with holders.holder("fill", {"leave_bytes": round(left * needed_bytes)}, uuid=uuid) as filler:
            filler.reach("ready")
            filler.reach("filled")
            free_mib = card.look(uuid).free_bytes / _MIB
            for kind, wanted in (("auto", "auto"), ("all demanded", shape.layers)):
                with life.owned(life.real_plan(model, folder, gpu_layers=wanted, device=uuid)) as owner:
                    is_corrected = bool(life.corrected(owner, life.PAGE).edits)
                    layers, why = _where(owner)
                    processes = owner.status().epoch
                told = f"{layers}/{shape.layers} layers"
                rows.append(
                    (f"{free_mib:.0f} MiB free, {kind}: {why or 'as wanted'}"[:64], told, "no loss", verdict(is_corrected))
                )
                rows.append((f"  processes of the model: {processes}", "", "", ""))
    return rows


def _where(owner: ModelOwner) -> tuple[int, str]:
    status = owner.status()
    return int((status.worker.hello or {}).get("layers_on_gpu", 0)), status.degraded


def _speed(model: Path, folder: Path, *, rounds: int) -> list[Row]:
    text, rates = life.letter(), {"GPU": list[float](), "CPU": list[float]()}
    plans = {"GPU": life.real_plan(model, folder), "CPU": life.real_plan(model, folder, gpu_layers=0)}
    with life.owned(plans["GPU"]) as on_gpu, life.owned(plans["CPU"]) as on_cpu:
        owners = {"GPU": on_gpu, "CPU": on_cpu}
        for number in range(rounds + 1):
            for where in list(owners)[:: -1 if number % 2 else 1]:
                begun = time.perf_counter()
                life.corrected(owners[where], text)
                if number:  # the first round loads
                    rates[where].append(len(text) / (time.perf_counter() - begun))
        layers, why = _where(on_gpu)
    ratio = median(gpu / cpu for gpu, cpu in zip(rates["GPU"], rates["CPU"], strict=True))
    return [
        (f"a letter, {layers} layers on the GPU {why}".rstrip(), f"{median(rates['GPU']):.0f} ch/s", *NO_TARGET),
        ("  the same on the CPU", f"{median(rates['CPU']):.0f} ch/s", *NO_TARGET),
        ("  GPU / CPU", f"{ratio:.2f} x", *NO_TARGET),
    ]


if __name__ == "__main__":
    sys.exit(main())
