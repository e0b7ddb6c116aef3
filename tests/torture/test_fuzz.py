"""Whatever stands in a file that people, machines or accidents wrote: an answer in the words of ocrwatch, never another error."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocrwatch import config
from ocrwatch.correction.edits import Edit, Reason
from ocrwatch.errors import OcrwatchError
from ocrwatch.intake.entries import Identity
from ocrwatch.intake.formats import check
from ocrwatch.journal.checkpoints import Checkpoints
from ocrwatch.ocr.engine import PageResult, PageSource
from ocrwatch.output import document
from ocrwatch.output.document import Document, Model, Page, PageStatus, Source
from ocrwatch.worker import frames
from tests.torture import tiny_scans

_PROJECT = Path(__file__).parents[2]
_LONG = "OCRWATCH_KILLS" in os.environ
_fuzzed = settings(
    max_examples=20_000 if _LONG else 200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["/", "..", "5s", "1e9h", "{}"])
)
_ANYTHING = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=6
)


def _places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in pairs:
        yield from _places(value, (*at, key))


def _put(tree: Any, at: tuple[Any, ...], value: Any) -> Any:
    if not at:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[at[0]] = _put(tree[at[0]], at[1:], value)
    return copy


@st.composite
def _altered(draw: st.DrawFn, tree: Any) -> Any:
    """The tree with something else in one to three places."""
    for _ in range(draw(st.integers(1, 3))):
        tree = _put(tree, draw(st.sampled_from(list(_places(tree)))), draw(_ANYTHING))
    return tree


@st.composite
def _damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes that are wrong here and there, or missing."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(0, 6))):
        changed[draw(st.integers(0, len(changed) - 1))] = draw(st.integers(0, 255))
    start = draw(st.integers(0, len(changed)))
    end = draw(st.integers(start, len(changed)))
    return bytes(changed[:start] + changed[end:]) if draw(st.booleans()) else bytes(changed)


_EXAMPLE = yaml.safe_load((_PROJECT / "config.example.yaml").read_text(encoding="utf-8"))


@_fuzzed
@given(_altered(_EXAMPLE))
def test_configuration_with_anything_in_it(tree: Any) -> None:
    """Taken, or refused with the problems."""
    with contextlib.suppress(OcrwatchError):
        config.parse(yaml.safe_dump(tree, allow_unicode=True), source="config.yaml")


@_fuzzed
@given(_damaged((_PROJECT / "config.example.yaml").read_bytes()))
def test_configuration_of_damaged_bytes(data: bytes) -> None:
    """No YAML, or another."""
    with contextlib.suppress(OcrwatchError):
        config.parse(data.decode("utf-8", "replace"), source="config.yaml")


@_fuzzed
@given(st.data())
def test_file_of_the_configuration(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever its bytes are, in UTF-8 or not."""
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_bytes(data.draw(st.binary(max_size=200)))
    with contextlib.suppress(OcrwatchError):
        config.load(path)
    with contextlib.suppress(OcrwatchError):
        config.socket_of(path)


_SIDECAR = document.render(
    Document(
        source=Source(path="a/scan.pdf", identity=Identity(size=9, mtime_ns=8, inode=7), sha256="ab" * 32),
        pages=(
            Page(raw="The qu1ck fox\n", status=PageStatus.OK, edits=(Edit(4, "qu1ck", "quick", Reason.WORD, 1.5),)),
            Page(raw="$1O0.00\n", status=PageStatus.OK, warnings=("trial",), review=("amount",)),
        ),
        engine="tesseract",
        engine_version="5.5",
        languages=("en",),
        model=Model("repository", "file", "revision", "ab" * 32),
        mode="rescore",
        profile="default",
    )
)


def _read_sidecar(text: bytes, metadata: bytes) -> None:
    document.claims(metadata)
    with contextlib.suppress(ValueError):
        document.raw_pages(text, metadata)
    with contextlib.suppress(ValueError):
        document.read_back(text, metadata)


@_fuzzed
@given(_altered(json.loads(_SIDECAR.metadata)))
def test_sidecar_with_anything_in_it(tree: Any) -> None:
    """Ours, or not: whoever edits one by hand stops nothing."""
    _read_sidecar(_SIDECAR.text, json.dumps(tree).encode())


@_fuzzed
@given(_damaged(_SIDECAR.text), _damaged(_SIDECAR.metadata))
def test_sidecar_of_damaged_bytes(text: bytes, metadata: bytes) -> None:
    """What is not as it was written is known as such: no bytes but those give a document."""
    _read_sidecar(text, metadata)
    claims = document.claims(metadata)
    assert claims is None or claims.unchanged == (metadata == _SIDECAR.metadata)


_PAGE = PageResult(
    text="The qu1ck fox",
    engine="tesseract",
    engine_version="5.5",
    source=PageSource.OCR,
    width_px=100,
    height_px=200,
    dpi=300.0,
    confidence=0.9,
    trial=False,
).to_json()


@_fuzzed
@given(_altered(_PAGE))
def test_checkpoint_with_anything_in_it(tmp_path_factory: pytest.TempPathFactory, tree: Any) -> None:
    """A page that was recognized before, or one to be recognized again."""
    folder = tmp_path_factory.getbasetemp() / "checkpoints"
    checkpoints = Checkpoints(folder)
    (folder / "7").mkdir(parents=True, exist_ok=True)
    checkpoints.save_page(7, 1, PageResult.from_json(_PAGE))
    (file,) = (folder / "7").iterdir()
    file.write_text(json.dumps(tree), encoding="utf-8")
    found = checkpoints.page(7, 1)
    assert found is None or PageResult.from_json(found.to_json()) == found


_FRAME = frames.encode({"op": "recognize", "page": 7, "text": "scan \udce4"})


@_fuzzed
@given(st.lists(_damaged(_FRAME) | st.just(_FRAME) | st.binary(max_size=20), max_size=5))
def test_stream_of_damaged_frames(parts: list[bytes]) -> None:
    """Messages, or an end with a reason; never more memory than a frame may have."""
    reader = frames.FrameReader(limit_bytes=1000)
    with contextlib.suppress(frames.FrameError):
        for part in parts:
            assert all(isinstance(message, dict) for message in reader.feed(part))


_TIFF = tiny_scans.tiff(["one page", "and another"])


@_fuzzed
@given(_damaged(_TIFF))
def test_scan_of_damaged_bytes(data: bytes) -> None:
    """Whole or not by its format: never an error, and never the whole file in memory."""
    check(io.BytesIO(data), len(data))
