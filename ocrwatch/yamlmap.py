"""The YAML of the configuration, and where a value stands in it: the line of every dotted path, keys that are there twice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import yaml

Path = tuple[str | int, ...]

_BOOLEAN, _DATE = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"


class Loader(yaml.SafeLoader):
    """YAML in which only `true` and `false` are booleans and nothing is a date: `off` is a mode and `no` a language."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML keeps them
        first: [(tag, shape) for tag, shape in resolvers if tag not in (_BOOLEAN, _DATE)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


Loader.add_implicit_resolver(_BOOLEAN, re.compile("true|True|TRUE|false|False|FALSE"), list("tTfF"))


def lines(node: yaml.Node | None, path: Path = ()) -> Iterator[tuple[Path, int]]:
    """Every path below a node with its line, from 1."""
    if node is None:
        return
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from lines(value, (*path, key.value))
            yield (*path, key.value), key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from lines(value, (*path, index))


def duplicates(node: yaml.Node | None, path: Path = ()) -> Iterator[Path]:
    """Paths of keys that are there more than once."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                yield (*path, key.value)
            seen.add(key.value)
            yield from duplicates(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from duplicates(value, (*path, index))


def line(known: Mapping[Path, int], path: Path) -> int:
    """The line of a path, or of the nearest above it that the file has."""
    while path and path not in known:
        path = path[:-1]
    return known.get(path, 1)


def dotted(path: Path) -> str:
    """`inboxes[0].path`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "(file)"
