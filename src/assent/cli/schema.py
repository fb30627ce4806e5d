"""`assent schema`: the JSON schema of run files."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import typer


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("schema")(print_schema)


def print_schema() -> None:
    """Prints the JSON schema of run files, which editors use to complete and check them.

    Example (with the YAML extension of VS Code, in the first line of run.yaml):

      assent schema > run.schema.json

      # yaml-language-server: $schema=run.schema.json
    """
    typer.echo(json.dumps(full_schema(), indent=2))


def full_schema() -> dict[str, Any]:
    """The schema of run files with the options of every objective."""
    from assent.config import run_schema
    from assent.objectives import objective_classes

    schema = run_schema()
    methods = {slug: _options(cls) for slug, cls in objective_classes().items()}
    one = {
        "anyOf": [
            {"type": "string"},
            {"type": "object", "properties": methods, "minProperties": 1, "maxProperties": 1},
        ]
    }
    schema["$defs"]["Objective"] = one
    reference = {"$ref": "#/$defs/Objective"}
    schema["properties"]["objective"] = {
        "description": schema["properties"]["objective"]["description"],
        "anyOf": [reference, {"type": "array", "items": reference}, {"type": "null"}],
    }
    return schema


_KINDS = {"float": "number", "int": "integer", "bool": "boolean", "str": "string"}


def _options(cls: type[Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {"weight": {"type": "number", "description": "weight in a sum"}}
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        described: dict[str, Any] = {}
        if str(field.type) in _KINDS:
            described["type"] = _KINDS[str(field.type)]
        if isinstance(field.default, int | float | str | bool):
            described["default"] = field.default
        properties[field.name] = described
    summary = (cls.__doc__ or "").strip().splitlines()
    return {
        "type": ["object", "null"],
        "description": summary[0] if summary else "",
        "properties": properties,
        "additionalProperties": False,
    }
