"""The configuration: every problem at once, with its place; the example says all there is to say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from ocrwatch.config import default_path, load, parse, socket_of
from ocrwatch.errors import ConfigError, UsageError
from ocrwatch.problems import models_in
from ocrwatch.quantities import parse_duration, parse_size
from ocrwatch.settings import Configuration, CorrectionMode, InboxSettings, ProfileSettings
from tests.conftest import PROJECT

EXAMPLE = PROJECT / "config.example.yaml"


def _problems(text: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        parse(text, source="c.yaml")
    return caught.value.problems if isinstance(caught.value, ConfigError) else [caught.value.message]


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("5s", 5), ("10m", 600), ("1.5h", 5400), ("2d", 172800), (0, 0), ("0s", 0)]
)
def test_duration_is_a_number_and_a_unit(text: object, seconds: float) -> None:
    """Seconds inside, whatever the unit outside."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", [5, "5", "5 weeks", "-5s", "5s5", "", None, True, False, "1:30", [5]])
def test_duration_without_its_unit_is_refused_with_an_example(text: object) -> None:
    """A bare number would be read as whatever the reader expects."""
    with pytest.raises(ValueError, match="5s, 10m or 1h"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "size"), [("600MB", 600 * 10**6), ("2GB", 2 * 10**9), ("1GiB", 2**30), ("1.5 kB", 1500)])
def test_size_is_a_number_and_a_unit(text: str, size: int) -> None:
    """Decimal and binary units mean what they say."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", [5, "5", "5G", "-1GB", None, True])
def test_size_without_its_unit_is_refused_with_an_example(text: object) -> None:
    """As with durations."""
    with pytest.raises(ValueError, match="600MB or 2GB"):
        parse_size(text)


def test_every_problem_is_told_at_once_with_its_place() -> None:
    """Nobody should have to run `check-config` five times."""
    problems = _problems(
        "state_dir: var\n"
        "inboxes:\n"
        "  - path: /srv/a\n"
        "    setle: 5s\n"
        "    languages: []\n"
        "  - recursive: maybe\n"
        "model:\n"
        "  idle_unload: soon\n"
        "ocr:\n"
        "  workers: 0\n"
        "  tesseract: {tesdata: /x}\n"
    )
    assert [p.split(": ")[0:2] for p in problems] == [
        ["c.yaml:1", "state_dir"],
        ["c.yaml:4", "inboxes[0].setle"],
        ["c.yaml:5", "inboxes[0].languages"],
        ["c.yaml:6", "inboxes[1].path"],
        ["c.yaml:6", "inboxes[1].recursive"],
        ["c.yaml:8", "model.idle_unload"],
        ["c.yaml:10", "ocr.workers"],
        ["c.yaml:11", "ocr.tesseract.tesdata"],
    ]
    assert "is missing" in problems[3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("inboxs: []", "did you mean `inboxes`?"),
        ("inboxes: [{path: /a, setle: 5s}]", "did you mean `settle`?"),
        ("inboxes: [{path: /a}]\nmodel: {idle_unlod: 5m}", "did you mean `idle_unload`?"),
        ("inboxes: [{path: /a}]\nmodel: {device: 0}", "model.device"),
        ("inboxes: [{path: /a}]\nmodel: {device: cuda}", "`nvidia-smi -L` lists them"),
        ("inboxes: [{path: /a}]\nmodel: {require_gpu: true, gpu_layers: 0}", "take one of them away"),
        ("inboxes: [{path: /a, output: {dir: /b}}]", "unknown key"),
        ("inboxes: [{path: /a}]\nocr: {aspose: {licence_file: /x}}", "did you mean `license_file`?"),
        ("inboxes: [{path: /a}]\ncorrection: {profiles: {mine: {promt: x}}}", "did you mean `prompt`?"),
    ],
)
def test_unknown_key_comes_with_the_one_that_was_meant(text: str, words: str) -> None:
    """At every level."""
    assert any(words in problem for problem in _problems(text))


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ("{path: /srv/a/b}", "overlaps with the inbox /srv/a"),
        ("{path: /srv, name: x}", "overlaps with the inbox /srv/a"),
        ("{path: /srv/a/../a, name: x}", "overlaps with the inbox /srv/a"),
        ("{path: /other/a}", "the name 'a' too"),
        ("{path: /b, correction: {profile: legal}}", "no profile 'legal'"),
        ("{path: /b, correction: {dictionary: /no/such/file}}", "is no file"),
        ("{path: /var/lib}", "holds the state directory"),
        ("{path: /b, after: archive}", "needs `archive_to`"),
        ("{path: /b, after: archive, archive_to: /b/old}", "lies inside the inbox"),
        ("{path: /b, output: {directory: /srv/a}}", "overlaps with where the inbox a writes"),
        ("{path: /b, output: {directory: /srv/a/texts}}", "overlaps with where the inbox a writes"),
        ("{path: /b, languages: [klingon]}", "klingon"),
        ("{path: b}", "is not absolute"),
        ("{path: ~no-such-user/b}", "is not absolute"),
    ],
)
def test_inboxes_that_do_not_fit_together_are_refused(second: str, words: str) -> None:
    """One scan belongs to one inbox, one sidecar to one scan, and nothing arrives twice."""
    problems = _problems(f"inboxes:\n  - path: /srv/a\n  - {second}\n")
    assert [p for p in problems if words in p and p.startswith("c.yaml:3: inboxes[1]")], problems


def test_two_inboxes_with_one_output_folder_are_refused() -> None:
    """`a/scan.pdf` and `b/scan.pdf` would have the same sidecar, and the later one would replace the other's."""
    output = "output: {directory: /texts}"
    problems = _problems(f"inboxes:\n  - {{path: /a, {output}}}\n  - {{path: /b, {output}}}\n")
    assert problems == [
        "c.yaml:3: inboxes[1].output.directory: overlaps with where the inbox a writes; texts of one name would collide"
    ]


def test_key_that_is_there_twice_is_a_problem() -> None:
    """YAML would silently take the last."""
    problems = _problems("inboxes:\n  - path: /a\n    path: /b\nstate_dir: /x\nstate_dir: /y\n")
    assert problems == ["c.yaml:3: inboxes[0].path: the key is there twice", "c.yaml:5: state_dir: the key is there twice"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("inboxes: [", "c.yaml:1: not YAML"),
        ("inboxes:\n\t- path: /a\n", "c.yaml:2: not YAML"),
        ("", "must hold keys and values"),
        ("- a\n- b\n", "must hold keys and values"),
        ("inboxes: []", "inboxes"),
        ("a: 1\n---\nb: 2\n", "not YAML"),
        ("state_dir: 2026-13-45\ninboxes: [{path: /a}]", "state_dir: '2026-13-45' is not absolute"),
        ("inboxes: \x01", "not YAML"),
        ("inboxes: !!bool maybe", "not of the type that its tag"),
        ("inboxes: !!int many", "not of the type that its tag"),
        ("inboxes: !!timestamp soon", "not of the type that its tag"),
        ("{}: 1", ""),
        ("? [a, b]\n: 1\n", "not YAML"),
        ("5: x\ninboxes: [{path: /a}]", ""),
        ("inboxes: &a [*a]", "refers to itself"),
    ],
)
def test_file_that_is_no_configuration_is_refused_in_words(text: str, words: str) -> None:
    """Whatever is in it: an error of ours, never a traceback."""
    assert any(words in problem for problem in _problems(text))


def test_words_that_yaml_takes_for_no_are_what_they_look_like() -> None:
    """`mode: off` and the language `no` are written as the documentation writes them; YAML makes both a boolean."""
    settings = parse("inboxes: [{path: /a, languages: [no], correction: {mode: off}}]\ncorrection: {mode: off}", source="c")
    assert settings.correction.mode is CorrectionMode.OFF
    assert settings.inboxes[0].correction.mode is CorrectionMode.OFF
    assert settings.inboxes[0].languages == parse("inboxes: [{path: /a, languages: ['no']}]", source="c").inboxes[0].languages


@pytest.mark.parametrize(("text", "idle_s"), [("never", None), ("0", 0.0), ("5m", 300.0)])
def test_model_is_unloaded_when_told(text: str, idle_s: float | None) -> None:
    """A time, at once, or never."""
    assert parse(f"inboxes: [{{path: /a}}]\nmodel: {{idle_unload: {text}}}", source="c").model.idle_unload == idle_s


def test_file_that_cannot_be_read_is_told_with_what_to_do(tmp_path: Path) -> None:
    """Absent, a folder, or not UTF-8."""
    with pytest.raises(UsageError, match=r"no configuration at .*copy config\.example\.yaml"):
        load(tmp_path / "absent.yaml")
    with pytest.raises(UsageError, match="cannot read"):
        load(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("state_dir: /größe\n".encode("latin-1"))
    with pytest.raises(UsageError, match="encoding"):
        load(tmp_path / "latin.yaml")


def test_users_own_file_is_taken_where_the_system_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a service of one's own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    if Path("/etc/ocrwatch/config.yaml").exists():
        pytest.skip("this machine has a configuration of its own")
    assert default_path() == Path("/etc/ocrwatch/config.yaml")
    (tmp_path / "ocrwatch").mkdir()
    (tmp_path / "ocrwatch" / "config.yaml").touch()
    assert default_path() == tmp_path / "ocrwatch" / "config.yaml"


def test_example_is_the_defaults() -> None:
    """What it shows is what happens without it."""
    example = load(EXAMPLE)
    bare = parse(f"inboxes: [{{path: {example.inboxes[0].path}}}]", source="bare")
    assert example == bare


def test_example_mentions_every_key() -> None:
    """Whatever can be set is there to be found; a key in a comment does not count."""
    written = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    missing = [key for key in _keys(Configuration) if not _has(written, key)]
    assert missing == []


def _keys(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        yield (*above, name)
        for inner in models_in(field.annotation):
            if inner is not ProfileSettings:  # a mapping of the user's own, empty by default
                yield from _keys(inner, (*above, name))


def _has(data: Any, key: tuple[str, ...]) -> bool:
    if isinstance(data, list):
        return all(_has(item, key) for item in data)
    return not key or (isinstance(data, dict) and key[0] in data and _has(data[key[0]], key[1:]))


def test_keys_of_the_settings_are_all_walked() -> None:
    """The walk itself reaches the inner models."""
    keys = set(_keys(Configuration))
    assert ("inboxes", "correction", "dictionary") in keys
    assert ("ocr", "aspose", "license_file") in keys
    assert len(keys) > len(InboxSettings.model_fields) + 20


@pytest.mark.parametrize(
    ("state_dir", "beneath"),
    [("/srv/state", "/srv/state"), ("~/state", "{home}/state"), ("/srv/../srv//state/", "/srv/state"), ("2026-13-45", None)],
)
def test_socket_is_found_though_the_rest_of_the_file_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state_dir: str, beneath: str | None
) -> None:
    """`status` of a daemon that runs with an earlier version: where that would listen, whatever YAML makes of other values."""
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "config.yaml"
    rest = "inboxes:\n  - path: /srv/in\n    name: 2026-13-45\n"
    file.write_text(f"state_dir: {state_dir}\n{rest}bogus: 1\n")
    if beneath is None:
        with pytest.raises(ConfigError, match="is not absolute"):
            socket_of(file)
        return
    assert socket_of(file) == Path(beneath.format(home=tmp_path)) / "control.sock"
    file.write_text(f"control_socket: ~/own.sock\nstate_dir: {state_dir}\n{rest}bogus: 1\n")
    assert socket_of(file) == tmp_path / "own.sock"
    file.write_text(f"state_dir: {state_dir}\n{rest}")
    assert socket_of(file) == load(file).socket_path


@pytest.mark.parametrize("value", ["[]", "{}", "5", "null", ""])
def test_socket_of_a_file_that_does_not_say_where_is_an_error_in_words(tmp_path: Path, value: str) -> None:
    """Never a traceback, nor a guess."""
    file = tmp_path / "config.yaml"
    file.write_text(f"state_dir: {value}\ninboxes: []\n")
    with pytest.raises(ConfigError, match="state_dir"):
        socket_of(file)


def test_socket_of_a_file_that_does_not_name_one_is_the_default(tmp_path: Path) -> None:
    """As for a file that is right."""
    file = tmp_path / "config.yaml"
    file.write_text("bogus: 1\n")
    assert socket_of(file) == parse("inboxes: [{path: /a}]", source="c").socket_path
