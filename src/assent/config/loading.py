"""From a run file or Python values to a checked `RunConfig`; every mistake is named with its place and its remedy."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from assent.config.foreign import check_peft, check_quantization, check_training, known_training_fields
from assent.config.reading import RawRun, override, read_run_file
from assent.config.run_config import RunConfig
from assent.errors import InputError

# Where people put keys that live elsewhere.
ELSEWHERE = {
    "beta": "objective.<name>.beta",
    "loss_type": "objective",
    "max_length": "data.max_length",
    "columns": "data.columns",
    "train": "data.train",
    "eval": "data.eval",
    "train_dataset": "data.train",
    "eval_dataset": "data.eval",
    "dataset_name": "data.train",
    "ref_model": "reference",
    "model_name_or_path": "model",
    "lora": "peft",
    "r": "peft.r",
    "lora_alpha": "peft.lora_alpha",
    "target_modules": "peft.target_modules",
    "load_in_4bit": "quantization.load_in_4bit",
    "load_in_8bit": "quantization.load_in_8bit",
    "trust_remote_code": "model.trust_remote_code",
    "dtype": "model.dtype",
}


def load_run(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The checked configuration of a YAML run file, with `key=value` overrides applied."""
    raw = read_run_file(path)
    override(raw, overrides)
    return check(raw)


def run_from(values: Mapping[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """The checked configuration of the same keys given as Python values."""
    raw = RawRun(dict(values), "configuration")
    override(raw, overrides)
    return check(raw)


def check(raw: RawRun) -> RunConfig:
    """The configuration of raw keys; raises an InputError for the first mistake, naming how many more there are."""
    try:
        config = RunConfig.model_validate(raw.values)
    except ValidationError as error:
        raise _explained(error, raw) from None
    config._raw = raw
    if (config.objective is None) == (config.preference_model is None):
        found = "neither" if config.objective is None else "both"
        raise InputError(
            "a run trains a policy or a preference model",
            where=raw.name,
            field="objective",
            found=f"{found} of `objective` and `preference_model`",
            remedy="Write for example `objective: {dpo: {beta: 0.1}}`; `assent methods` lists them",
        )
    if config.features is not None and config.preference_model is None:
        raise InputError(
            "only a preference model is trained on frozen features", where=raw.where("features"), field="features"
        )
    if not config.model.path and config.features is None:
        raise InputError(
            "a key is missing", where=raw.name, field="model", expected="a hub name or a folder with a model"
        )
    config.training = check_training(config.training, raw)
    if config.peft is not None:
        config.peft = check_peft(config.peft, raw)
    if config.quantization is not None:
        config.quantization = check_quantization(config.quantization, raw)
    return config


def _explained(error: ValidationError, raw: RawRun) -> InputError:
    problems = error.errors()
    first = next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])
    key = ".".join(str(part) for part in _plain_location(first["loc"]))
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        return unknown_key(key, _keys_at(first["loc"][:-1]), raw)
    if first["type"] == "missing":
        return InputError(f"a key is missing{more}", where=raw.where(key.rpartition(".")[0]), field=key)
    found = "" if isinstance(first["input"], Mapping) else repr(first["input"])[:80]
    message = first["msg"].removeprefix("Value error, ")
    return InputError(
        f"a setting cannot be used{more}", where=raw.where(key), field=key or None, found=found, expected=message
    )


def unknown_key(key: str, known: Sequence[str], raw: RawRun) -> InputError:
    """The error for a key that nobody reads: it names the nearest known one."""
    name = key.rpartition(".")[2]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    remedy = None
    if near:
        remedy = f"Did you mean `{near[0]}`?"
    elif name in ELSEWHERE:
        remedy = f"Did you mean `{ELSEWHERE[name]}`?"
    elif name in known_training_fields():
        remedy = f"Did you mean `training.{name}`?"
    elif near := difflib.get_close_matches(name, known, n=1):
        remedy = f"Did you mean `{near[0]}`?"
    return InputError("unknown key", where=raw.where(key), field=key, expected=", ".join(known), remedy=remedy)


def _plain_location(location: Sequence[str | int]) -> list[str | int]:
    """The location without the names of union members, which no user wrote."""
    return [part for part in location if isinstance(part, int) or part not in _UNION_TAGS]


_UNION_TAGS = {"LabelThreshold", "str", "int", "constrained-str", "literal['from_pairs','refuse']", "literal['auto']"}


def _keys_at(location: Sequence[str | int]) -> list[str]:
    """The known keys of the section at a location."""
    section: Any = RunConfig
    for part in _plain_location(location):
        if isinstance(part, int) or section is None:
            continue
        section = _section(section.model_fields[part].annotation) if part in section.model_fields else None
    return [] if section is None else list(section.model_fields)


def _section(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        if (found := _section(part)) is not None:
            return found
    return None
