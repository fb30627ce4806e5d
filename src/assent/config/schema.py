"""The JSON schema of run files, for editors."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from assent.config.foreign import known_training_fields, training_argument_fields
from assent.config.run_config import RunConfig, SourceConfig
from assent.config.training_fields import TRAINING_FIELDS


def run_schema() -> dict[str, Any]:
    """The JSON schema of a run file, with the fields of `training:`, `peft:` and `quantization:` filled in."""
    from peft import LoraConfig
    from transformers import BitsAndBytesConfig

    schema = RunConfig.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Assent run file"
    properties = schema["properties"]
    properties["training"] = _closed(
        {name: _training_field(name) for name in known_training_fields() if TRAINING_FIELDS[name].kind != "refused"},
        properties["training"]["description"],
    )
    properties["peft"] = _closed(
        {field.name: {} for field in dataclasses.fields(LoraConfig)}, properties["peft"]["description"]
    )
    properties["quantization"] = _closed(
        {name: {} for name in inspect.signature(BitsAndBytesConfig).parameters if name != "kwargs"},
        properties["quantization"]["description"],
    )
    # The shorthands of the run file.
    source = {"anyOf": [{"type": "string"}, {"$ref": f"#/$defs/{SourceConfig.__name__}"}]}
    many = {"anyOf": [source, {"type": "array", "items": source}]}
    for name in ("model", "reference"):
        properties[name] = {"anyOf": [{"type": "string"}, properties[name]]}
    properties["data"] = {"anyOf": [many, properties["data"]]}
    data = schema["$defs"]["DataConfig"]["properties"]
    data["train"] = {**many, "description": data["train"]["description"]}
    data["eval"] = {"anyOf": [many, data["eval"]]}
    return schema


def _closed(properties: dict[str, Any], description: str) -> dict[str, Any]:
    return {
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": False,
        "description": description,
    }


_KINDS = {int: "integer", float: "number", bool: "boolean", str: "string"}


def _training_field(name: str) -> dict[str, Any]:
    field, rule = training_argument_fields().get(name), TRAINING_FIELDS[name]
    described: dict[str, Any] = {"description": rule.note} if rule.note else {}
    if field is None:
        return described
    if field.type in _KINDS:
        described["type"] = _KINDS[field.type]
    if isinstance(field.default, int | float | str | bool):
        described["default"] = field.default
    return described
