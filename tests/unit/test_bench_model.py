"""The benchmark of the model's life: what it counts as flat, how it compares, and what it makes of a card."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model import cycles, run
from bench.model.cycles import Held, course
from bench.model.delay import Delays, Page
from bench.model.gpu import __main__ as gpu
from bench.model.gpu import build, measure
from bench.model.gpu.card import RETURNED_BYTES, Card, NoCard, parsed
from bench.model.reload import Reloads
from bench.model.table import Row
from ocrwatch.correction.driver import has_driver

MIB = 2**20
PLAIN = Held(descriptors=4, threads=2, children=0, resident_bytes=40 * MIB)


def verdicts(rows: list[Row]) -> list[str]:
    """The last column, where it says something."""
    return [told for *_, told in rows if told]


@given(st.integers(1, 300))
def test_course_of_what_never_changes_is_flat(count: int) -> None:
    """However many cycles there are: each tenth has one at least."""
    found = course([PLAIN] * count)
    assert found.counts_are_flat
    assert found.growth_bytes == 0
    assert verdicts(run.cycle_rows("model", found)) == ["ok", "ok"]


@pytest.mark.parametrize("leak", ["descriptors", "threads", "children"])
def test_course_is_not_flat_when_a_hundred_cycles_leave_one_thing_behind(leak: str) -> None:
    """A slow leak is one, and each kind counts."""
    slow = [replace(PLAIN, **{leak: getattr(PLAIN, leak) + number // 100}) for number in range(200)]
    assert not course(slow).counts_are_flat
    assert "MISSED" in verdicts(run.cycle_rows("model", course(slow)))


def test_course_compares_the_first_tenth_with_the_last() -> None:
    """What lies between them, and a single peak of memory, is not asked."""
    sizes = [10] * 10 + [99] * 80 + [12] * 9 + [80]
    found = course([Held(4, 2, 0, size * MIB) for size in sizes])
    assert found.resident_bytes == (10 * MIB, 12 * MIB)
    assert verdicts(run.cycle_rows("model", found)) == ["ok", "MISSED"]


def test_holds_sees_a_descriptor_and_a_child_more() -> None:
    """The figures are of this process, and a child that is not reaped is among them."""
    before = cycles.holds()
    descriptor = os.open("/dev/null", os.O_RDONLY)
    child = subprocess.Popen(["true"])
    now = cycles.holds()
    child.wait()
    os.close(descriptor)
    assert (now.descriptors, now.children) == (before.descriptors + 1, before.children + 1)
    assert cycles.holds().children == before.children


def test_reload_takes_its_ratio_round_by_round() -> None:
    """A round in which the machine was busy for both weighs no more than another."""
    times = Reloads(ours_s=(1.1, 11.0, 1.2), bare_s=(1.0, 10.0, 1.0), batches=(10, 4))
    assert times.ratio == pytest.approx(1.1)
    assert verdicts(run.reload_rows("note", times)) == ["ok"]
    assert "14 tokens in 2 batches" in str(run.reload_rows("note", times))


def test_reload_that_takes_too_long_is_told() -> None:
    """The target is a ratio, not a time."""
    times = Reloads(ours_s=(1.3,), bare_s=(1.0,), batches=(10,))
    assert verdicts(run.reload_rows("note", times)) == ["MISSED"]


@pytest.mark.parametrize(("idle_s", "verdict"), [(1.55, "ok"), (1.65, "MISSED")])
def test_delay_is_of_the_whole_page(idle_s: float, verdict: str) -> None:
    """Recognition that the load slows down counts, too."""
    times = Delays(after_idle=(Page(1.3, idle_s - 1.3),), kept=(Page(1.0, 0.5),), load_s=(0.4,))
    assert times.added_s == pytest.approx(idle_s - 1.5)
    assert verdicts(run.delay_rows(times)) == [verdict]


def test_delay_has_no_target_where_the_load_takes_longer_than_the_page() -> None:
    """Nothing could hide it then."""
    times = Delays(after_idle=(Page(1.0, 3.0),), kept=(Page(1.0, 0.5),), load_s=(3.4,))
    assert verdicts(run.delay_rows(times)) == ["the load took longer than the recognition"]


def card_with(used_mib: int, *pids: int) -> Card:
    """A card with so much in use."""
    total = 80_000 * MIB
    used = used_mib * MIB
    return Card("GPU-1", "card", (9, 0), total, used, total - used, dict.fromkeys(pids, MIB))


def test_card_is_what_a_look_printed() -> None:
    """Through JSON, pids and all."""
    said = vars(card_with(500, 7)) | {"capability": [8, 6]}
    found = parsed(subprocess.CompletedProcess([], 0, stdout=json.dumps(said), stderr=""))
    assert (found.used_bytes, found.held_bytes, found.architecture) == (500 * MIB, {7: MIB}, "86")


@pytest.mark.parametrize(
    ("status", "stdout", "stderr", "why"),
    [
        (1, "", "a warning\nNVML says NVML Shared Library Not Found\n", "Shared Library Not Found"),
        (-6, "", "", "status -6"),
        (0, "{}", "", "nonsense"),
        (0, "no JSON", "", "nonsense"),
    ],
)
def test_card_that_cannot_be_looked_at_says_why(status: int, stdout: str, stderr: str, why: str) -> None:
    """The last word of the process that looked is the reason."""
    with pytest.raises(NoCard, match=why):
        parsed(subprocess.CompletedProcess([], status, stdout=stdout, stderr=stderr))


@pytest.mark.parametrize(
    ("after", "verdict"), [(card_with(532), "ok"), (card_with(533), "MISSED"), (card_with(500, 7), "MISSED")]
)
def test_stay_is_over_when_the_process_is_off_and_the_memory_back(after: Card, verdict: str) -> None:
    """Both: within 32 MiB of before, and the pid absent."""
    found = measure.stay(card_with(500), card_with(1200, 7), after, pid=7)
    assert verdicts(measure.stay_rows("model", found, must_return=True)) == [verdict]
    assert verdicts(measure.stay_rows("model", found, must_return=False)) == []


def test_settled_waits_for_the_memory_and_not_for_ever() -> None:
    """A card needs a moment; one that never comes back is what it is."""
    before, looks, pauses = card_with(500), iter([card_with(900, 7), card_with(900), card_with(510)]), list[float]()
    assert measure.settled(lambda: next(looks), before, pid=7, pause=pauses.append) == card_with(510)
    assert len(pauses) == 2
    stuck = card_with(500 + RETURNED_BYTES // MIB + 1)
    assert measure.settled(lambda: stuck, before, pid=7, pause=pauses.append) == stuck


def test_build_is_for_one_architecture_and_never_from_the_cache() -> None:
    """The cache of pip knows a wheel by its source alone: it would give out the one for the CPU."""
    made = build.build_environment({"PATH": "/bin", "CMAKE_ARGS": "-DOTHER=on"}, "90", nvcc=Path("/cuda/bin/nvcc"))
    assert made["CMAKE_ARGS"] == "-DGGML_CUDA=on -DCMAKE_CUDA_ARCHITECTURES=90"
    assert (made["CUDACXX"], made["PATH"]) == ("/cuda/bin/nvcc", "/bin")
    command = build.install_command(Path("/env/bin/python"), "0.3.36")
    assert command[0] == "/env/bin/python"
    assert {"--no-cache-dir", "--no-deps", "--ignore-installed", "llama-cpp-python==0.3.36"} <= set(command)


def test_without_a_gpu_the_script_says_so_and_is_content(capsys: pytest.CaptureFixture[str]) -> None:
    """Status 0 and one plain line."""
    if has_driver():
        pytest.skip("this machine has an NVIDIA driver")
    assert gpu.main([]) == 0
    assert capsys.readouterr().out == "no GPU here, nothing is measured: no NVIDIA driver is to be seen on this machine\n"


def test_driver_without_a_card_is_no_gpu_either(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The reason is NVML's."""

    def no_card() -> Card:
        raise NoCard("NVML says Driver Not Loaded")

    monkeypatch.setattr(gpu, "has_driver", lambda: True)
    monkeypatch.setattr("bench.model.gpu.card.look", no_card)
    assert gpu.main([]) == 0
    assert capsys.readouterr().out == "no GPU here, nothing is measured: NVML says Driver Not Loaded\n"
