"""The header of a GGUF file: the bytes of each layer, and nothing but one kind of error for whatever is wrong."""

from __future__ import annotations

import json
import os
import struct
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.correction import gguf
from ocrwatch.correction.gguf import Shape
from ocrwatch.errors import ModelUnavailable

U32, F32, BOOL, TEXT, LIST, U64 = 4, 6, 7, 8, 9, 10
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", U32: "I", 5: "i", F32: "f", BOOL: "?", U64: "Q", 11: "q", 12: "d"}
ALIGNMENT = 32

Key = tuple[str, int, Any]
"""A key, its type, and its value; of a list: the type of the items, and the items."""

PLAIN: tuple[Key, ...] = (
    ("general.architecture", TEXT, "llama"),
    ("general.tied", BOOL, True),
    ("llama.rope.freq_base", F32, 1e4),
    ("llama.block_count", U32, 3),
    ("llama.embedding_length", U32, 64),
    ("llama.feed_forward_length", U32, 256),
    ("llama.attention.head_count", U32, 8),
    ("llama.attention.head_count_kv", U32, 2),
    ("tokenizer.ggml.tokens", LIST, (TEXT, [f"token {n}" for n in range(100)])),
    ("tokenizer.ggml.scores", LIST, (F32, [0.0] * 5000)),
    ("tokenizer.chat_template", TEXT, "x" * 5000),
)
TENSORS = (
    ("token_embd.weight", (64, 100), 3200),
    ("blk.0.attn_q.weight", (64, 64), 640),
    ("blk.0.ffn_up.weight", (64, 256), 1024),
    ("blk.2.attn_q.weight", (64, 64), 704),
    ("blk.1.attn_q.weight", (64, 64), 1280),
    ("output_norm.weight", (64,), 256),
    ("output.weight", (64, 100), 6400),
    ("rope_freqs.weight", (8,), 32),
)


@dataclass(frozen=True)
class File:
    """A GGUF file to be written."""

    keys: tuple[Key, ...] = PLAIN
    tensors: Sequence[tuple[str, Sequence[int], int]] = TENSORS
    version: int = 3
    counts: tuple[int | None, int | None] = (None, None)
    offsets: dict[str, int] = field(default_factory=dict)

    def without(self, *names: str) -> File:
        """The file without some keys or tensors."""
        return replace(
            self,
            keys=tuple(key for key in self.keys if key[0] not in names),
            tensors=[tensor for tensor in self.tensors if tensor[0] not in names],
        )

    def with_key(self, *key: Any) -> File:
        """The file with one key added, or in place of the same."""
        return replace(self, keys=(*self.without(key[0]).keys, key))

    @property
    def header(self) -> bytes:
        """All before the data."""
        tensors, keys = self.counts
        parts = [b"GGUF", struct.pack("<I", self.version)]
        parts.append(
            struct.pack("<QQ", len(self.tensors) if tensors is None else tensors, len(self.keys) if keys is None else keys)
        )
        parts += [text(name) + struct.pack("<I", kind) + value(kind, content) for name, kind, content in self.keys]
        offset = 0
        for name, dimensions, size in self.tensors:
            parts.append(text(name) + struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions))
            parts.append(struct.pack("<IQ", 0, self.offsets.get(name, offset)))
            offset += size
        header = b"".join(parts)
        return header + bytes(-len(header) % ALIGNMENT)

    @property
    def content(self) -> bytes:
        """The whole file."""
        return self.header + bytes(sum(size for *_, size in self.tensors))

    def at(self, path: Path) -> Path:
        """The file, written."""
        path.write_bytes(self.content)
        return path


def text(content: str) -> bytes:
    return struct.pack("<Q", len(content.encode())) + content.encode()


def value(kind: int, content: Any) -> bytes:
    if kind == LIST:
        of, items = content
        return struct.pack("<IQ", of, len(items)) + b"".join(value(of, item) for item in items)
    return text(content) if kind == TEXT else struct.pack("<" + NUMBERS[kind], content)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Where a test writes its file."""
    return tmp_path / "model.gguf"


def test_shape_has_the_bytes_of_each_layer(model: Path) -> None:
    """What a layer takes is known from the places of its tensors, whatever their quantization."""
    assert gguf.read(File().at(model)) == Shape(
        architecture="llama",
        block_bytes=(1664, 1280, 704),
        output_bytes=256 + 6400 + 32,
        input_bytes=3200,
        kv_bytes_per_token=(64, 64, 64),  # 2 bytes, 2 heads, 8 values of a key and 8 of a value
        vocabulary=100,
        embedding=64,
        heads=8,
        feed_forward=256,
    )


def test_all_bytes_of_the_data_belong_to_a_tensor(model: Path) -> None:
    """Nothing is lost between two tensors."""
    header = gguf.read_header(File().at(model))
    assert sum(tensor.size_bytes for tensor in header.tensors) == header.data_bytes == sum(size for *_, size in TENSORS)


def test_tied_weights_count_for_the_input_and_for_the_output(model: Path) -> None:
    """llama.cpp copies them to the device of the output; the ones for the input stay where they are."""
    shape = gguf.read(File().without("output.weight").at(model))
    assert (shape.output_bytes, shape.input_bytes) == (256 + 32 + 3200, 3200)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([("llama.attention.head_count_kv", LIST, (U32, [2, 0, 1]))], (64, 0, 32)),
        ([("llama.attention.key_length", U32, 32), ("llama.attention.value_length", U64, 16)], (192, 192, 192)),
        ([("llama.attention.head_count", U32, 0), ("llama.attention.head_count_kv", U32, 0)], (0, 0, 0)),
    ],
    ids=["by-block", "lengths", "recurrent"],
)
def test_cache_is_counted_as_the_architecture_says(model: Path, keys: list[Key], expected: tuple[int, ...]) -> None:
    """A block without attention keeps no keys and values; heads may be wider than the embedding has it."""
    file = File()
    for key in keys:
        file = file.with_key(*key)
    assert gguf.read(file.at(model)).kv_bytes_per_token == expected


def test_model_that_names_neither_heads_nor_widths_is_recurrent(model: Path) -> None:
    """It keeps a state, and no keys and values."""
    plain = File().without("llama.attention.head_count", "llama.attention.head_count_kv", "llama.feed_forward_length")
    shape = gguf.read(plain.at(model))
    assert (shape.kv_bytes_per_token, shape.heads, shape.feed_forward, shape.layers) == ((0, 0, 0), 0, 0, 4)


@pytest.mark.parametrize("version", [2, 3])
def test_every_type_of_number_is_read_or_passed_over(model: Path, version: int) -> None:
    """One that were taken for wider or narrower would shift all that follows."""
    file = replace(File(), version=version)
    for kind, form in NUMBERS.items():
        file = file.with_key(f"x.{form}", kind, 1).with_key(f"x.{form}s", LIST, (kind, [1] * 5))
        file = file.with_key(f"x.many {form}", LIST, (kind, [1] * 5000))
    metadata = gguf.read_header(file.at(model)).metadata
    assert gguf.read(model).block_bytes == (1664, 1280, 704)
    assert all(metadata[f"x.{form}"] == 1 and metadata[f"x.{form}s"] == (1,) * 5 for form in NUMBERS.values())
    assert not [key for key in metadata if "many" in key]


def test_each_head_has_its_own_cache_where_nothing_else_is_said(model: Path) -> None:
    """Models from before grouped queries do not name the number."""
    assert gguf.read(File().without("llama.attention.head_count_kv").at(model)).kv_bytes_per_token == (256, 256, 256)


def test_widest_feed_forward_part_counts(model: Path) -> None:
    """Blocks may differ, and the experts of a mixture run several at a time."""
    wide = File().with_key("llama.feed_forward_length", LIST, (U32, [100, 900, 200]))
    assert gguf.read(wide.at(model)).feed_forward == 900
    experts = wide.with_key("llama.expert_used_count", U32, 8).with_key("llama.expert_feed_forward_length", U32, 200)
    assert gguf.read(experts.at(model)).feed_forward == 1600


def parts_of(folder: Path) -> list[Path]:
    """The same model in two parts; only the first has the metadata."""
    first, second = (folder / f"model-0000{number}-of-00002.gguf" for number in (1, 2))
    return [File(tensors=TENSORS[:4]).at(first), File(keys=(), tensors=TENSORS[4:]).at(second)]


def test_parts_are_one_model(tmp_path: Path, model: Path) -> None:
    """A split model has the shape of the whole, whichever part is named."""
    whole = gguf.read(File().at(model))
    assert [gguf.read(part) for part in parts_of(tmp_path)] == [whole, whole]


def test_first_part_may_be_without_tensors(tmp_path: Path, model: Path) -> None:
    """Some splits put the metadata into a part of its own."""
    whole = gguf.read(File().at(model))
    first, second = parts_of(tmp_path)
    File(tensors=()).at(first)
    File(keys=()).at(second)
    assert gguf.read(first) == whole


def test_part_that_is_missing_is_named(tmp_path: Path) -> None:
    """Half a model is none."""
    first, second = parts_of(tmp_path)
    second.unlink()
    with pytest.raises(ModelUnavailable, match=second.name):
        gguf.read(first)


def test_offsets_need_not_be_in_order(model: Path) -> None:
    """A tensor reaches to the one that lies behind it, wherever that is listed."""
    assert gguf.read(File(tensors=TENSORS).at(model)) == gguf.read(
        File(tensors=TENSORS[:1] + TENSORS[2:3] + TENSORS[1:2] + TENSORS[3:]).at(model)
    )


def test_alignment_may_be_another(model: Path) -> None:
    """The data begin where the file says, not always at 32."""
    file = File().with_key("general.alignment", U32, 4096)
    data = bytes(-len(file.header) % 4096) + bytes(sum(size for *_, size in TENSORS))
    model.write_bytes(file.header + data)
    assert gguf.read(model).output_bytes == 256 + 6400 + 32


WRONG = {
    "empty": (b"", "does not begin with GGUF"),
    "other": (b"PK\x03\x04" + bytes(100), "does not begin with GGUF"),
    "version 1": (File(version=1).content, "version is 1"),
    "big-endian": (b"GGUF" + struct.pack(">I", 3) + bytes(100), "little-endian"),
    "too many tensors": (File(counts=(2**63, None)).content, "tensors"),
    "too many keys": (File(counts=(None, 2**40)).content, "keys"),
    "one tensor too many": (File(counts=(9, None)).content, "cut off|dimensions|bytes of a name"),
    "list of lists": (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("x") + struct.pack("<IIQ", LIST, LIST, 1), "unknown type 9"),
    "kind 99": (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("x") + struct.pack("<I", 99), "unknown type 99"),
    "endless list": (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("x") + struct.pack("<IIQ", LIST, TEXT, 2**62), "cut off"),
    "endless item": (
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("x") + struct.pack("<IIQQ", LIST, TEXT, 2, 2**63) + bytes(99),
        "cut off",
    ),
    "endless text": (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("x") + struct.pack("<IQ", TEXT, 2**64 - 1), "cut off"),
    "long name": (File(tensors=[("blk.0." + "x" * 100, (1,), 32)]).content, "bytes of a name"),
    "five dimensions": (File(tensors=[("blk.0.x", (1,) * 5, 32)]).content, "5 dimensions"),
    "no architecture": (File().without("general.architecture").content, "no architecture"),
    "no blocks": (File().without("llama.block_count").content, "block_count is missing"),
    "no embedding": (File().without("llama.embedding_length").content, "embedding_length is missing"),
    "no tokens": (File().without("token_embd.weight").content, "token_embd.weight"),
    "flat tokens": (File(tensors=[("token_embd.weight", (64,), 32)]).content, "token_embd.weight"),
    "huge vocabulary": (File(tensors=[("token_embd.weight", (64, 2**40), 32)]).content, "token_embd.weight"),
    "too many blocks": (File().with_key("llama.block_count", U32, 100_000).content, "100000 blocks"),
    "zero blocks": (File().with_key("llama.block_count", U32, 0).content, "no number that can be"),
    "block as text": (File().with_key("llama.block_count", TEXT, "3").content, "no number that can be"),
    "a block too far": (
        File().with_key("llama.block_count", U32, 2).content,
        "blk.2.attn_q.weight belongs to none of its 2 blocks",
    ),
    "heads of two": (File().with_key("llama.attention.head_count_kv", LIST, (U32, [1, 1])).content, "2 numbers for 3 blocks"),
    "alignment": (File().with_key("general.alignment", U32, 0).content, "alignment"),
    "beyond the end": (File(offsets={"output.weight": 10**9}).content, "cut off before output.weight"),
    "no data": (File().header, "cut off before"),
}


@pytest.mark.parametrize(("content", "why"), WRONG.values(), ids=WRONG.keys())
def test_file_that_is_wrong_is_refused_with_the_reason(model: Path, content: bytes, why: str) -> None:
    """Whoever put the file there reads what is wrong with it, and with which."""
    model.write_bytes(content)
    with pytest.raises(ModelUnavailable, match=why) as raised:
        gguf.read(model)
    assert str(model) in raised.value.message
    assert "ocrwatch model" in raised.value.remedy


def test_header_that_is_cut_off_is_refused_wherever_that_is(model: Path) -> None:
    """A download that broke off is no model."""
    header = File(keys=(*PLAIN[:8], ("tokenizer.ggml.tokens", LIST, (TEXT, ["a", "b"])))).header
    for length in range(len(header)):
        model.write_bytes(header[:length])
        with pytest.raises(ModelUnavailable):
            gguf.read(model)


@pytest.mark.parametrize(
    "name", ["absent.gguf", "folder", "model-00001-of-00002.gguf", "model-00001-of-99999.gguf", "a-00001-of-00000.gguf"]
)
def test_path_that_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    """Nothing but ModelUnavailable comes out, of the file system either."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(ModelUnavailable):
        gguf.read(tmp_path / name)


def test_little_is_read_of_a_large_file(model: Path) -> None:
    """A file of terabytes costs no more memory than the largest header, whatever its lengths say."""
    model.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("x") + struct.pack("<IQ", TEXT, 2**39))
    os.truncate(model, 2**40)
    tracemalloc.start()
    with pytest.raises(ModelUnavailable, match="larger than any"):
        gguf.read(model)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 40 * 2**20
    File().at(model)
    os.truncate(model, 2**40)
    assert gguf.read(model).block_bytes == (1664, 1280, 704)


def only_a_shape_or_the_error(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        shape = gguf.read(path)
    except ModelUnavailable:
        return
    assert Shape.from_json(json.loads(json.dumps(shape.to_json()))) == shape
    assert min(shape.output_bytes, shape.input_bytes, *shape.block_bytes, *shape.kv_bytes_per_token) >= 0


@given(content=st.binary(max_size=300), begins=st.booleans())
def test_rubbish_is_nothing_but_unavailable(tmp_path_factory: pytest.TempPathFactory, content: bytes, begins: bool) -> None:
    """Whatever a stranger puts there, one kind of error comes of it."""
    path = tmp_path_factory.getbasetemp() / "rubbish.gguf"
    only_a_shape_or_the_error(path, (b"GGUF" + struct.pack("<I", 3) if begins else b"") + content)


SMALL = File(keys=(*PLAIN[:8], ("tokenizer.ggml.tokens", LIST, (TEXT, ["a", "b"]))))


@given(
    changes=st.lists(st.tuples(st.integers(0, len(SMALL.header) - 1), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4),
    length=st.integers(0, len(SMALL.content)) | st.none(),
)
def test_damage_is_nothing_but_unavailable(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bytes]], length: int | None
) -> None:
    """A header of which some bytes are others gives a shape that can be used, or the error."""
    content = bytearray(SMALL.content)
    for at, others in changes:
        content[at : at + len(others)] = others
    only_a_shape_or_the_error(tmp_path_factory.getbasetemp() / "damaged.gguf", bytes(content[:length]))


@pytest.mark.parametrize(
    "data", [{}, {"block_bytes": [1], "kv_bytes_per_token": []}, {"block_bytes": None, "kv_bytes_per_token": []}]
)
def test_shape_from_rubbish_is_refused(data: dict[str, Any]) -> None:
    """What another process sent is a shape, or one of the errors that the caller expects."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        Shape.from_json(data)
