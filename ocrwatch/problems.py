"""What is wrong with the values of a configuration file, as lines for a person: place, key, message. Knows no key by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from ocrwatch import yamlmap

_QUOTED = re.compile(r"'([^']*)'")

Problem = tuple[int, str, str]  # line, dotted path, message


def of_validation(error: Mapping[str, Any], lines: Mapping[yamlmap.Path, int], model: type[BaseModel]) -> Problem:
    """One error of pydantic's, of validating the file against `model`."""
    # Pydantic adds the names of union members and validators to the location; the file knows only its own keys.
    path: yamlmap.Path = ()
    for part in error["loc"]:
        if (*path, part) in lines or error["type"] in ("missing", "extra_forbidden"):
            path = (*path, part)
    return yamlmap.line(lines, path), yamlmap.dotted(path), _message(error, model)


def as_lines(source: str, problems: list[Problem]) -> list[str]:
    """One line a place: what several alternatives of a value say of it is joined."""
    by_place: dict[tuple[int, str], list[str]] = {}
    for line, path, message in sorted(set(problems)):
        by_place.setdefault((line, path), []).append(message)
    # A list whose items are wrong counts as too short as well, which would only mislead.
    wrong_inside = {path.partition("[")[0] if "[" in path else path.rpartition(".")[0] for _, path in by_place}
    wrong_inside |= {path.rpartition("[")[0] for _, path in by_place if "[" in path}
    return [
        f"{source}:{line}: {path}: {', or: '.join(messages)}"
        for (line, path), messages in by_place.items()
        if not (path in wrong_inside and all("should have at least 1 item" in message for message in messages))
    ]


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field of this type may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from models_in(argument)


def _message(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    if error["type"] == "extra_forbidden":
        key = str(error["loc"][-1])
        near = difflib.get_close_matches(key, _known_keys(error["loc"], model), n=1, cutoff=0.6)
        return f"unknown key; did you mean `{near[0]}`?" if near else "unknown key"
    if error["type"] == "missing":
        return "is missing"
    if error["type"] in ("enum", "literal_error") and isinstance(error["input"], str):
        near = difflib.get_close_matches(error["input"].lower(), _QUOTED.findall(error["ctx"]["expected"]), n=1, cutoff=0.6)
        return f"{error['msg']}; did you mean `{near[0]}`?" if near else str(error["msg"])
    return str(error["msg"]).removeprefix("Value error, ")


def _known_keys(location: yamlmap.Path, model: type[BaseModel]) -> list[str]:
    for part in location[:-1]:
        if isinstance(part, int) or part not in model.model_fields:
            continue
        found = list(models_in(model.model_fields[part].annotation))
        model = found[0] if found else model
    return list(model.model_fields)
