"""The configuration: one YAML file into frozen settings, every problem reported at once with its dotted path and line.

Reads and checks it as a whole. Only what puts the parts together reads it (see .importlinter); the stages get plain values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from pydantic import ValidationError

from ocrwatch import problems, yamlmap
from ocrwatch.correction.profiles import BUILT_IN
from ocrwatch.errors import ConfigError, UsageError
from ocrwatch.quantities import is_within
from ocrwatch.settings import Configuration, InboxSettings


def default_path() -> Path:
    """The configuration that a command takes when none is named: the system's, else the user's."""
    system = Path("/etc/ocrwatch/config.yaml")
    user = Path(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")) / "ocrwatch" / "config.yaml"
    # Neither Path.home, which raises where there is none, nor Path.exists, where a folder on the way is closed to whoever asks.
    return user if os.path.exists(user) and not os.path.exists(system) else system


def load(path: Path) -> Configuration:
    """The settings in the file. Raises ConfigError with every problem, UsageError when it cannot be read."""
    return parse(_text_of(path), source=str(path))


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"no configuration at {path}", "copy config.example.yaml there, or name one with --config") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the configuration {path}: {error}", "check its permissions and encoding") from error


def socket_of(path: Path) -> Path:
    """Where the daemon listens, though the rest of the file may be wrong: the one that runs took an earlier version of it.

    Raises UsageError when there is no file, it is no YAML at all, or what it says of the socket is wrong too.
    """
    text = _text_of(path)
    try:
        return parse(text, source=str(path)).socket_path
    except ConfigError as error:
        data = yaml.load(text, Loader=yamlmap.Loader)  # noqa: S506 - a SafeLoader
        if not isinstance(data, dict):
            raise
        said = {key: data[key] for key in ("state_dir", "control_socket") if key in data}
        try:
            return Configuration.model_validate({"inboxes": [{"path": "/"}], **said}).socket_path
        except ValidationError:
            raise error from None


def parse(text: str, *, source: str) -> Configuration:
    """The settings in YAML text; `source` names it in problems. Raises ConfigError with every problem at once."""
    try:
        tree = yaml.compose(text, Loader=yamlmap.Loader)
        data = yaml.load(text, Loader=yamlmap.Loader)  # noqa: S506 - a SafeLoader
        lines = dict(yamlmap.lines(tree))
    except RecursionError as error:
        raise UsageError(f"{source}: not YAML: it refers to itself, or is nested too deeply") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise UsageError(f"{source}{line}: not YAML: {getattr(error, 'problem', None) or error}") from error
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        # PyYAML's own, where a tag says `!!bool` or `!!timestamp` of something else.
        raise UsageError(f"{source}: a value is not of the type that its tag (!!) says: {error}", "leave the tags out") from error
    if not isinstance(data, dict):
        raise ConfigError([f"{source}: must hold keys and values; `inboxes` is the one that it needs"])
    found = [(lines[path], yamlmap.dotted(path), "the key is there twice") for path in yamlmap.duplicates(tree)]
    try:
        configuration = _with_names(Configuration.model_validate(data))
        found += [(yamlmap.line(lines, path), yamlmap.dotted(path), message) for path, message in _cross_checks(configuration)]
    except ValidationError as error:
        found += [problems.of_validation(dict(e), lines, Configuration) for e in error.errors()]
    if found:
        raise ConfigError(problems.as_lines(source, found))
    return configuration


def _with_names(configuration: Configuration) -> Configuration:
    named = tuple(i.model_copy(update={"name": i.name or _name_from(i.path)}) for i in configuration.inboxes)
    return configuration.model_copy(update={"inboxes": named})


def _name_from(path: Path) -> str:
    return re.sub(r"[^\w.-]", "_", path.name) or "root"


def _cross_checks(configuration: Configuration) -> Iterator[tuple[yamlmap.Path, str]]:
    known_profiles = BUILT_IN.keys() | set(configuration.correction.profiles)
    if configuration.correction.profile not in known_profiles:
        yield ("correction", "profile"), _no_profile(configuration.correction.profile, known_profiles)
    for index, inbox in enumerate(configuration.inboxes):
        here: yamlmap.Path = ("inboxes", index)
        for other in configuration.inboxes[:index]:
            yield from (((*here, *key), message) for key, message in _conflicts(inbox, other))
        for other in configuration.inboxes:
            for key, place in (("archive_to", inbox.archive_to), ("quarantine_to", inbox.quarantine_to)):
                if place is not None and is_within(place, other.path):
                    yield (*here, key), f"lies in the inbox {other.path}, so what is moved there would arrive again"
        if is_within(configuration.state_dir, inbox.path):
            yield (*here, "path"), f"holds the state directory {configuration.state_dir}; keep them apart"
        profile = inbox.correction.profile
        if profile is not None and profile not in known_profiles:
            yield (*here, "correction", "profile"), _no_profile(profile, known_profiles)
        dictionary = inbox.correction.dictionary
        if dictionary is not None and not dictionary.is_file():
            yield (*here, "correction", "dictionary"), f"{dictionary} is no file; it should hold one word a line"


def _no_profile(name: str, known: set[str] | frozenset[str]) -> str:
    return f"no profile {name!r}; there is {', '.join(sorted(known))}, and what you add under correction.profiles"


def _conflicts(inbox: InboxSettings, other: InboxSettings) -> Iterator[tuple[yamlmap.Path, str]]:
    if inbox.name == other.name:
        yield ("name",), f"another inbox has the name {inbox.name!r} too; give each a `name` of its own"
    if _overlap(inbox.path, other.path):
        yield ("path",), f"overlaps with the inbox {other.path}; a scan belongs to one inbox"
    elif _overlap(inbox.output.directory or inbox.path, other.output.directory or other.path):
        yield ("output", "directory"), f"overlaps with where the inbox {other.name} writes; texts of one name would collide"


def _overlap(one: Path, other: Path) -> bool:
    return is_within(one, other) or is_within(other, one)
