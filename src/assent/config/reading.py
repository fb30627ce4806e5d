"""Run files as plain data: YAML with the line of every key, and dotted overrides from the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from assent.errors import InputError


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads `5e-6` as a number, which YAML 1.1 takes for text."""


# YAML 1.1 wants a dot and a signed exponent; nobody writes learning rates that way.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:float"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?$|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)

# A shorthand and the key it stands for: overrides reach below it all the same.
SHORTHANDS = {"model": "path", "data": "train", "reference": "source"}


@dataclass
class RawRun:
    """A run file before validation.

    Args:
        values: its keys as plain data.
        name: the file, for messages.
        lines: the line of every dotted key; text of the command line for overridden ones.
    """

    values: dict[str, Any]
    name: str = "run"
    lines: dict[str, int | str] = field(default_factory=dict)

    def where(self, key: str) -> str:
        """File and line of a dotted key, or of the nearest key above it that the file names."""
        while key:
            if key in self.lines:
                line = self.lines[key]
                return line if isinstance(line, str) else f"{self.name}:{line}"
            key = key.rpartition(".")[0]
        return self.name


def read_run_file(path: str | Path) -> RawRun:
    """The keys of a YAML run file with their lines."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError("no such run file", where=str(path), remedy="Give the path of a YAML run file") from None
    except IsADirectoryError:
        raise InputError("a folder, not a run file", where=str(path)) from None
    except (UnicodeDecodeError, OSError) as error:
        raise InputError("cannot be read", where=str(path), found=str(error), expected="YAML in UTF-8") from None
    return parse_run(text, str(path))


def parse_run(text: str, name: str) -> RawRun:
    """The keys of YAML text with their lines."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        lines: dict[str, int | str] = {}
        if node is not None:
            _collect(node, "", lines, name)
        values = {} if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError("not valid YAML", where=f"{name}{line}", found=error.problem) from None
    except yaml.YAMLError as error:
        raise InputError("not valid YAML", where=name, found=str(error)[:200]) from None
    finally:
        loader.dispose()
    if not isinstance(values, dict):
        raise InputError("not a run file", where=name, found=type(values).__name__, expected="keys and values")
    return RawRun(values, name, lines)


def _collect(node: yaml.Node, prefix: str, lines: dict[str, int | str], name: str) -> None:
    """Writes the line of every key below a node; a key that stands twice is an error."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key_node, value in node.value:
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key in seen:
                raise InputError(
                    "a key stands twice",
                    where=f"{name}:{line}",
                    field=prefix + key,
                    found=f"first in line {seen[key]}",
                )
            seen[key] = line
            lines[prefix + key] = line
            _collect(value, f"{prefix}{key}.", lines, name)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[f"{prefix}{index}"] = item.start_mark.line + 1
            _collect(item, f"{prefix}{index}.", lines, name)


def parse_value(text: str) -> Any:
    """A value as YAML would read it: numbers, true, null, lists and mappings; anything else is text."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except yaml.YAMLError:
        return text
    finally:
        loader.dispose()


def override(raw: RawRun, assignments: Sequence[str]) -> None:
    """Sets dotted keys from `key=value` texts, in order; later ones win."""
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            raise InputError(
                "an override is key=value",
                where="command line",
                found=assignment,
                expected="for example objective.dpo.beta=0.05",
            )
        _assign(raw.values, parts, parse_value(text), assignment)
        raw.lines[".".join(parts)] = f"command line, {assignment}"


def _assign(values: dict[str, Any], parts: Sequence[str], value: Any, assignment: str) -> None:
    place: Any = values
    for depth, part in enumerate(parts[:-1]):
        below = _child(place, part, assignment)
        if below is None:
            below = {}
        elif not isinstance(below, dict | list):
            # `objective: dpo` with `objective.dpo.beta=0.05`; `data: a.jsonl` with `data.max_length=512`.
            shorthand = SHORTHANDS.get(part) if depth == 0 else None
            below = {shorthand: below} if shorthand else {} if below == parts[depth + 1] else {str(below): {}}
            if depth == 0 and part == "objective":
                below = {str(place[part]): {}}
        elif depth == 0 and part == "data" and isinstance(below, list):
            below = {"train": below}
        _set(place, part, below, assignment)
        place = below
    _set(place, parts[-1], value, assignment)


def _child(place: Any, part: str, assignment: str) -> Any:
    if isinstance(place, Mapping):
        return place.get(part)
    return place[_index(place, part, assignment)]


def _set(place: Any, part: str, value: Any, assignment: str) -> None:
    if isinstance(place, dict):
        place[part] = value
    else:
        place[_index(place, part, assignment)] = value


def _index(place: Sequence[Any], part: str, assignment: str) -> int:
    if not part.isdigit() or int(part) >= len(place):
        raise InputError(
            "an override needs the position in a list",
            where="command line",
            found=assignment,
            expected=f"0 to {len(place) - 1} in place of `{part}`",
        )
    return int(part)
