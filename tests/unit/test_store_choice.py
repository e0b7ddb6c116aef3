"""Which file is the model: names, quantizations, parts, and the memory of digests."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.correction.store import (
    Digests,
    Download,
    ModelFile,
    ModelWish,
    Source,
    check,
    choose,
    has_quantization,
    local_parts,
    stamp_of,
)
from ocrwatch.errors import MissingPart, ModelUnavailable

QWEN = [
    "README.md",
    "mmproj-model-f16.gguf",
    "qwen2.5-3b-instruct-fp16-00001-of-00002.gguf",
    "qwen2.5-3b-instruct-fp16-00002-of-00002.gguf",
    "qwen2.5-3b-instruct-q4_k_m.gguf",
    "qwen2.5-3b-instruct-q4_0.gguf",
    "qwen2.5-3b-instruct-q8_0.gguf",
]


def quiet(_done: int, _total: int) -> None:
    """Progress that nobody looks at."""


@pytest.mark.parametrize(
    ("quantization", "name"),
    [
        ("int8", "qwen2.5-3b-instruct-q8_0.gguf"),
        ("INT4", "qwen2.5-3b-instruct-q4_k_m.gguf"),
        ("Q4_K_M", "qwen2.5-3b-instruct-q4_k_m.gguf"),
        ("q4_0", "qwen2.5-3b-instruct-q4_0.gguf"),
    ],
)
def test_choose_takes_the_file_of_the_quantization(quantization: str, name: str) -> None:
    """The names of the Aspose sample and of llama.cpp mean one file each."""
    assert choose(QWEN, file=None, quantization=quantization, where="there") == (name,)


def test_choose_takes_all_parts_of_a_split_model_in_order() -> None:
    """A model in parts is whole or not there."""
    parts = [name for name in QWEN if "fp16" in name]
    assert choose(reversed(QWEN), file=parts[1], quantization=None, where="there") == tuple(parts)


def test_choose_refuses_a_split_model_that_lacks_a_part() -> None:
    """The part that is missing is named."""
    names = ["big-q8_0-00001-of-00003.gguf", "big-q8_0-00003-of-00003.gguf"]
    with pytest.raises(MissingPart, match="part 2 of 3 of big-q8_0 is not there"):
        choose(names, file=None, quantization="int8", where="there")


@pytest.mark.parametrize(
    ("quantization", "message"), [("q6_k", "no model of quantization q6_k"), (None, "more than one model there")]
)
def test_choose_lists_what_there_is_when_it_cannot_choose(quantization: str | None, message: str) -> None:
    """An error about a choice tells the choices."""
    with pytest.raises(MissingPart, match=message) as caught:
        choose(QWEN, file=None, quantization=quantization, where="there")
    assert "qwen2.5-3b-instruct-q8_0.gguf" in str(caught.value)
    assert "mmproj" not in str(caught.value)


def test_choose_says_when_there_is_no_model_at_all() -> None:
    """A repository of safetensors is told from a wrong quantization."""
    with pytest.raises(MissingPart, match=r"no \.gguf file there"):
        choose(["model.safetensors"], file=None, quantization="int8", where="there")


@pytest.mark.parametrize("name", ["model-bf16.gguf", "model-iq4_k_m.gguf", "model-q4_k_m_l.gguf", "modelq4_k_m.gguf"])
def test_quantization_is_a_whole_word_of_the_name(name: str) -> None:
    """`bf16` is no `f16`: other numbers, other memory."""
    assert not has_quantization(name, "f16")
    assert not has_quantization(name, "q4_k_m")


@given(st.permutations(QWEN), st.sampled_from(["int8", "int4", "q4_0", "f16", "q2_k"]))
def test_choose_depends_on_the_names_not_on_their_order(names: list[str], quantization: str) -> None:
    """Two listings of one folder give the same model."""

    def chosen(of: list[str]) -> tuple[str, ...] | str:
        try:
            return choose(of, file=None, quantization=quantization, where="there")
        except MissingPart as error:
            return str(error)

    assert chosen(names) == chosen(QWEN)


def test_a_directory_with_one_model_needs_no_quantization(tmp_path: Path) -> None:
    """Whoever puts one model into a folder means that one, whatever the default quantization is."""
    model = tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf"
    model.write_bytes(b"GGUF")
    assert local_parts(ModelWish(directory=tmp_path, quantization="int8")) == (model,)
    (tmp_path / "other-q8_0.gguf").write_bytes(b"GGUF")
    assert local_parts(ModelWish(directory=tmp_path, quantization="int8")) == (tmp_path / "other-q8_0.gguf",)


def test_a_path_without_a_file_says_which_key_to_set(tmp_path: Path) -> None:
    """The administrator is told where and what to do."""
    with pytest.raises(MissingPart, match=r"no model at .*absent\.gguf; set `model\.path`"):
        local_parts(ModelWish(path=tmp_path / "absent.gguf"))
    with pytest.raises(MissingPart, match=r"cannot list .*nowhere: No such file"):
        local_parts(ModelWish(directory=tmp_path / "nowhere"))


def test_a_digest_is_computed_once(tmp_path: Path) -> None:
    """Gigabytes are read once, and again when the file changes or somebody doubts."""
    model, memory = tmp_path / "model.gguf", tmp_path / "state" / "digests.json"
    model.write_bytes(b"one")
    seen: list[tuple[int, int]] = []

    def digest(*, recompute: bool = False) -> str:
        return Digests(memory).sha256(model, progress=lambda done, total: seen.append((done, total)), recompute=recompute)

    assert digest() == digest() == hashlib.sha256(b"one").hexdigest()
    assert seen == [(3, 3)]
    digest(recompute=True)
    assert len(seen) == 2
    model.write_bytes(b"four")
    assert digest() == hashlib.sha256(b"four").hexdigest()


def test_a_memory_of_digests_that_cannot_be_kept_leaves_nothing_behind(tmp_path: Path) -> None:
    """Where the memory cannot be written the file is still read once only, and no half-written file stays."""
    model, memory = tmp_path / "model.gguf", tmp_path / "digests.json"
    model.write_bytes(b"one")
    memory.mkdir()
    digests, reads = Digests(memory), list[int]()
    for _ in range(2):
        assert digests.sha256(model, progress=lambda done, _: reads.append(done)) == hashlib.sha256(b"one").hexdigest()
    assert reads == [3]
    assert sorted(os.listdir(tmp_path)) == ["digests.json", "model.gguf"]


@pytest.mark.parametrize("rubbish", [b"", b"[1]", b"\xff{", b'{"/x": 3}'])
def test_a_spoilt_memory_of_digests_is_no_error(tmp_path: Path, rubbish: bytes) -> None:
    """The memory saves time and decides nothing."""
    model, memory = tmp_path / "model.gguf", tmp_path / "digests.json"
    model.write_bytes(b"one")
    memory.write_bytes(rubbish)
    assert Digests(memory).sha256(model, progress=quiet) == hashlib.sha256(b"one").hexdigest()
    assert str(model) in json.loads(memory.read_bytes())
    assert sorted(os.listdir(tmp_path)) == ["digests.json", "model.gguf"]


def test_check_names_the_file_and_both_digests() -> None:
    """A damaged model is told from a missing one."""
    check(Path("/m.gguf"), expected=None, actual="ab")
    check(Path("/m.gguf"), expected="ab", actual="ab")
    with pytest.raises(ModelUnavailable, match=r"/m\.gguf is damaged .* ab, expected was cd; run: ocrwatch model pull"):
        check(Path("/m.gguf"), expected="cd", actual="ab")


def test_wish_and_file_survive_a_frame() -> None:
    """What goes to the worker and comes back is the same value."""
    wish = ModelWish(directory=Path("/models"), quantization="int8", download=Download.AUTO)
    assert ModelWish.from_json(json.loads(json.dumps(wish.to_json()))) == wish
    file = ModelFile(
        path=Path("/m.gguf"),
        file="m.gguf",
        sha256="ab",
        size_bytes=3,
        source=Source.CACHE,
        licence="apache-2.0",
        stamp=((1, 2), (2, 3)),
    )
    assert ModelFile.from_json(json.loads(json.dumps(file.to_json()))) == file


PARTS = [f"big-q8_0-0000{number}-of-00003.gguf" for number in (1, 2, 3)]


@pytest.mark.parametrize("names", [["model.gguf"], PARTS])
def test_a_found_model_knows_when_one_of_its_files_is_another(tmp_path: Path, names: list[str]) -> None:
    """Whatever part is written anew, replaced or taken away: what was checked is not there any more."""
    for name in names:
        (tmp_path / name).write_bytes(b"weights")
    first = tmp_path / names[0]
    file = ModelFile(path=first, file=names[0], sha256="ab", size_bytes=7, source=Source.PATH, stamp=stamp_of(first))
    assert len(file.stamp) == len(names)
    for name in names:
        part = tmp_path / name
        before = part.stat()
        assert file.is_unchanged()
        part.write_bytes(b"Weights")
        os.utime(part, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        assert not file.is_unchanged()
        part.unlink()
        assert not file.is_unchanged()
        part.write_bytes(b"weights")
        os.utime(part, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_file_that_was_never_checked_is_not_unchanged(tmp_path: Path) -> None:
    """Without a stamp nothing is known."""
    model = tmp_path / "model.gguf"
    model.write_bytes(b"weights")
    assert not ModelFile(path=model, file=model.name, sha256="ab", size_bytes=7, source=Source.PATH).is_unchanged()
