"""What a GGUF file says of itself: how many bytes each layer of the model has. Owns the reading of headers; loads no model.

The file comes from a stranger: everything read is bounded, and whatever is wrong with it is one error. The format:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ocrwatch.correction import split
from ocrwatch.errors import ModelUnavailable

Value = int | float | bool | str | tuple[int | float | bool, ...]

_MOST_HEADER_BYTES = 32 << 20
"""Of one part. Gemma 3, with one of the largest vocabularies in use (262,144 tokens), has 6.5 MB."""

_MOST_ENTRIES = 65_536  # tensors, or keys, of one part: some models have two thousand tensors, none more than 100 keys
_MOST_KEY_BYTES = 65_535
_MOST_NAME_BYTES = 64
_MOST_KEPT_BYTES = 1024  # of a text; templates and licences are passed over
_MOST_KEPT_ITEMS = 4096  # of a list: one a block; vocabularies are passed over
_MOST_DIMENSIONS = 4
_MOST_BLOCKS = 1024  # llama.cpp takes 512
_MOST_OF_A_NUMBER = 1 << 32
_F16_BYTES = 2
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9
_BLOCK = re.compile(r"blk\.(\d{1,6})\.")
_INPUTS = {"token_embd", "token_embd_norm", "token_types", "position_embd", "per_layer_token_embd"}
"""What llama.cpp keeps in the memory of the machine whatever is offloaded: LLM_TENSOR_LAYER_INPUT of its llama-arch.cpp."""

_REMEDY = "run `ocrwatch model verify`, and `ocrwatch model pull` when the file is damaged"


@dataclass(frozen=True)
class Shape:
    """The sizes of a model, as far as they say what a placement takes.

    block_bytes, kv_bytes_per_token: by block. output_bytes: all that goes along with the first offloaded layer; where input and
    output share their weights (tied), these count in both. kv_bytes_per_token: keys and values as f16; 0 in a block that keeps a
    state instead, as all do in a recurrent model: the state itself, of a few megabytes, is not counted.
    vocabulary in tokens; embedding, heads, feed_forward: widths, the widest of any block.
    """

    architecture: str
    block_bytes: tuple[int, ...]
    output_bytes: int
    input_bytes: int
    kv_bytes_per_token: tuple[int, ...]
    vocabulary: int
    embedding: int
    heads: int = 0
    feed_forward: int = 0

    @property
    def layers(self) -> int:
        """As llama.cpp counts: the blocks, and the output as one more."""
        return len(self.block_bytes) + 1

    def to_json(self) -> dict[str, Any]:
        """The shape as a JSON object, for a frame."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Shape:
        """The shape of `to_json`. Raises KeyError, TypeError or ValueError on anything else."""
        lists = {name: tuple(int(value) for value in data[name]) for name in ("block_bytes", "kv_bytes_per_token")}
        if len(lists["block_bytes"]) != len(lists["kv_bytes_per_token"]):
            raise ValueError("a shape with blocks of which nothing is known")
        return Shape(**(dict(data) | lists))


@dataclass(frozen=True)
class Tensor:
    """One tensor: its name, its dimensions (the row length first), and its bytes, padding included."""

    name: str
    dimensions: tuple[int, ...]
    size_bytes: int


@dataclass(frozen=True)
class Header:
    """What one file has before its data: short values and lists of numbers by key, and the tensors of this file."""

    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    data_bytes: int


class _Malformed(Exception):
    """The file is no GGUF that can be used; the message says why."""


def read(path: Path) -> Shape:
    """The shape of the model in a file, or in all parts of a split one. Raises ModelUnavailable for whatever is not right."""
    headers = [read_header(part) for part in _parts(path)]
    try:
        return _shape(headers[0].metadata, list(chain.from_iterable(header.tensors for header in headers)))
    except _Malformed as error:
        raise ModelUnavailable(f"{path} is no model that can be used: {error}", _REMEDY) from error


def _parts(path: Path) -> list[Path]:
    """All parts, by the names that llama.cpp would open; a folder that this process may not list is no obstacle."""
    part = split.part_of(path.name)
    if part is not None and not 1 <= part.total <= split.MOST_PARTS:
        raise ModelUnavailable(f"{path} is one of {part.total} parts, {split.MOST_PARTS} is the most", _REMEDY)
    return [path.with_name(name) for name in split.names_of(path.name)]


def read_header(path: Path) -> Header:
    """The header of one file. Raises ModelUnavailable when it has none, or cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_HEADER_BYTES)
            size_bytes = file.seek(0, 2)
    except OSError as error:
        raise ModelUnavailable(f"cannot read the model {path}: {error.strerror}", "check its permissions and the disk") from error
    try:
        return _parse(data, size_bytes)
    except _Malformed as error:
        raise ModelUnavailable(f"{path} is no GGUF file that can be used: {error}", _REMEDY) from error


class _Cursor:
    """Takes one value after the other from the beginning of a file, and never reads beyond it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def skip(self, count: int) -> int:
        """Pass over so many bytes; where they began."""
        begin = self.at
        if count > len(self._data) - begin:
            raise _Malformed("its header is cut off, or larger than any")
        self.at = begin + count
        return begin

    def numbers(self, form: str, count: int = 1) -> tuple[Any, ...]:
        """Values of one type of `struct`."""
        begin = self.skip(struct.calcsize(f"<{form}") * count)
        return struct.unpack_from(f"<{count}{form}", self._data, begin)

    def count(self, most: int, what: str) -> int:
        """A count of 64 bits. Raises _Malformed beyond what is sensible."""
        (count,) = self.numbers("Q")
        if count > most:
            raise _Malformed(f"{count} {what}, {most} is the most")
        return int(count)

    def text(self, most_bytes: int) -> str:
        """A string, of at most so many bytes."""
        length = self.count(most_bytes, "bytes of a name")
        begin = self.skip(length)
        return self._data[begin : begin + length].decode("utf-8", "replace")

    def value(self) -> Value | None:
        """A value of the metadata with its type before it; None for one that is passed over."""
        (kind,) = self.numbers("I")
        if kind == _LIST:
            return self._list()
        if kind == _TEXT:
            (length,) = self.numbers("Q")
            begin = self.skip(length)
            return self._data[begin : self.at].decode("utf-8", "replace") if length <= _MOST_KEPT_BYTES else None
        number: Value = self.numbers(_form(kind))[0]
        return number

    def _list(self) -> Value | None:
        (kind,) = self.numbers("I")
        (count,) = self.numbers("Q")
        if kind == _TEXT:
            self._skip_texts(count)
            return None
        form = _form(kind)
        if count <= _MOST_KEPT_ITEMS:
            return self.numbers(form, count)
        self.skip(struct.calcsize(f"<{form}") * count)
        return None

    def _skip_texts(self, count: int) -> None:
        begin = self.skip(8 * count)  # each has at least its length: a count that cannot be is told before anything is read
        self.at = begin
        data, at, length_of = self._data, begin, struct.Struct("<Q").unpack_from  # a quarter of a million of them: kept quick
        try:
            for _ in range(count):
                at += 8 + length_of(data, at)[0]
        except (struct.error, OverflowError):
            at = len(data) + 1
        self.skip(at - begin)


def _form(kind: int) -> str:
    if kind not in _NUMBERS:
        raise _Malformed(f"a value of the unknown type {kind}")
    return _NUMBERS[kind]


def _parse(data: bytes, size_bytes: int) -> Header:
    """The header at the beginning of a file of so many bytes."""
    if data[:4] != b"GGUF":
        raise _Malformed("it does not begin with GGUF")
    cursor = _Cursor(data)
    cursor.skip(4)
    (version,) = cursor.numbers("I")
    if version not in (2, 3):
        raise _Malformed(f"its version is {version}; 2 and 3, little-endian, are known")
    tensors, keys = cursor.count(_MOST_ENTRIES, "tensors"), cursor.count(_MOST_ENTRIES, "keys")
    pairs = [(cursor.text(_MOST_KEY_BYTES), cursor.value()) for _ in range(keys)]
    metadata = {key: value for key, value in pairs if value is not None}
    places = [_tensor(cursor) for _ in range(tensors)]
    alignment = _whole(metadata.get("general.alignment", 32), "general.alignment", least=1)
    data_bytes = size_bytes - -(-cursor.at // alignment) * alignment
    return Header(metadata, _sized(places, data_bytes), max(0, data_bytes))


def _tensor(cursor: _Cursor) -> tuple[int, str, tuple[int, ...]]:
    """Offset, name and dimensions."""
    name = cursor.text(_MOST_NAME_BYTES)
    (count,) = cursor.numbers("I")
    if not 1 <= count <= _MOST_DIMENSIONS:
        raise _Malformed(f"{name} has {count} dimensions")
    dimensions = cursor.numbers("Q", count)
    _, offset = *cursor.numbers("I"), *cursor.numbers("Q")
    return offset, name, dimensions


def _sized(places: Iterable[tuple[int, str, tuple[int, ...]]], data_bytes: int) -> tuple[Tensor, ...]:
    """Each tensor reaches to the next, the last to the end: so no table of quantizations is needed, which grows every year."""
    ordered = sorted(places)
    if ordered and ordered[-1][0] > data_bytes:
        raise _Malformed(f"it is cut off before {ordered[-1][1]}")
    bounds = [*(offset for offset, *_ in ordered), data_bytes]
    return tuple(
        Tensor(name, dimensions, end - offset) for (offset, name, dimensions), end in zip(ordered, bounds[1:], strict=True)
    )


def _shape(metadata: Mapping[str, Value], tensors: Sequence[Tensor]) -> Shape:
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str):
        raise _Malformed("it names no architecture")
    own = _Parameters(metadata, architecture)
    embedding, heads = own.number("embedding_length", least=1), own.by_block("attention.head_count", [0])
    caches = own.by_block("attention.head_count_kv", heads)  # as llama.cpp: without it, each head has its own
    width = embedding // max(heads) if max(heads) else 0
    head_values = sum(max(own.by_block(f"attention.{name}_length", [width])) for name in ("key", "value"))
    experts = max(own.by_block("expert_used_count", [0])) * max(own.by_block("expert_feed_forward_length", [0]))
    sizes = _sizes(tensors, own.blocks)
    rows = {tensor.name: tensor.dimensions for tensor in tensors}.get("token_embd.weight", ())
    if len(rows) < 2 or rows[1] > _MOST_OF_A_NUMBER:
        raise _Malformed("it has no token_embd.weight")
    return Shape(
        architecture=architecture,
        block_bytes=tuple(sizes[str(block)] for block in range(own.blocks)),
        output_bytes=sizes["output"],
        input_bytes=sizes["input"],
        kv_bytes_per_token=tuple(_F16_BYTES * count * head_values for count in caches),
        vocabulary=rows[1],
        embedding=embedding,
        heads=max(heads),
        feed_forward=max(experts, *own.by_block("feed_forward_length", [0])),
    )


def _sizes(tensors: Sequence[Tensor], blocks: int) -> dict[str, int]:
    """Bytes by the number of the block, of `input`, and of `output`, which is everything else."""
    sizes = dict.fromkeys(("input", "output", *map(str, range(blocks))), 0)
    for tensor in tensors:
        block = _BLOCK.match(tensor.name)
        place = "input" if tensor.name.partition(".")[0] in _INPUTS else str(int(block[1])) if block else "output"
        if place not in sizes:
            raise _Malformed(f"{tensor.name} belongs to none of its {blocks} blocks")
        sizes[place] += tensor.size_bytes
    names = {tensor.name for tensor in tensors}
    if "output.weight" not in names:  # tied: llama.cpp makes a second copy, on the device of the output
        sizes["output"] += sum(tensor.size_bytes for tensor in tensors if tensor.name == "token_embd.weight")
    return sizes


class _Parameters:
    """The numbers that a model's architecture has in the metadata: `llama.block_count` and others."""

    def __init__(self, metadata: Mapping[str, Value], architecture: str) -> None:
        self._metadata, self._prefix = metadata, f"{architecture}."
        self.blocks = self.number("block_count", least=1)
        if self.blocks > _MOST_BLOCKS:
            raise _Malformed(f"{self.blocks} blocks, {_MOST_BLOCKS} is the most")

    def number(self, name: str, otherwise: int | None = None, *, least: int = 0) -> int:
        """One number. Raises _Malformed for anything else, and without one where nothing stands for it."""
        return _whole(self._metadata.get(self._prefix + name, otherwise), self._prefix + name, least=least)

    def by_block(self, name: str, otherwise: Sequence[int]) -> list[int]:
        """A number for each block; one number, or a list of one, stands for all."""
        found = self._metadata.get(self._prefix + name, tuple(otherwise))
        values = [_whole(value, self._prefix + name) for value in (found if isinstance(found, tuple) else (found,))]
        if len(values) == 1:
            values *= self.blocks
        if len(values) < self.blocks:
            raise _Malformed(f"{self._prefix + name} has {len(values)} numbers for {self.blocks} blocks")
        return values[: self.blocks]


def _whole(value: Value | None, name: str, *, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < _MOST_OF_A_NUMBER:
        raise _Malformed(f"{name} is {'missing' if value is None else 'no number that can be'}")
    return value
