"""The sections whose keys belong to other libraries: `training:`, `peft:` and `quantization:`."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, get_args, get_type_hints

from assent.config.reading import RawRun
from assent.config.training_fields import RENAMED, TRAINING_FIELDS
from assent.errors import InputError

SPELLINGS = {
    "activation_checkpointing": "gradient_checkpointing",
    "activation_checkpointing_kwargs": "gradient_checkpointing_kwargs",
}
"""Newer names of fields and the one that a resolved configuration uses."""


def check_training(values: Mapping[str, Any], raw: RawRun) -> dict[str, Any]:
    """The fields of `training:`, spelled and typed as TrainingArguments wants them."""
    known = known_training_fields()
    checked: dict[str, Any] = {}
    for name, value in values.items():
        key = f"training.{name}"
        if name not in known:
            raise _unknown(name, known, "training", raw)
        rule = TRAINING_FIELDS[name]
        if rule.kind == "refused" and not _is_default(name, value):
            raise InputError(
                f"`{name}` is refused", where=raw.where(key), field=key, found=repr(value)[:80], remedy=rule.note
            )
        if rule.kind == "refused":
            continue
        canonical = SPELLINGS.get(name, name)
        if canonical in checked and checked[canonical] != value:
            raise InputError(f"`{name}` and `{canonical}` are one setting", where=raw.where(key), field=key)
        checked[canonical] = _typed(canonical, value, key, raw)
    if "warmup_ratio" in checked:
        share = checked.pop("warmup_ratio")
        if share and checked.get("warmup_steps"):
            raise InputError(
                "both `warmup_ratio` and `warmup_steps`",
                where=raw.where("training.warmup_ratio"),
                remedy="Keep one; warmup_steps below 1 is a share",
            )
        if share:
            checked["warmup_steps"] = share
    return checked


def check_peft(values: Mapping[str, Any], raw: RawRun) -> dict[str, Any]:
    """The fields of `peft:`, checked against peft.LoraConfig."""
    from peft import LoraConfig

    known = [field.name for field in dataclasses.fields(LoraConfig)]
    for name in values:
        if name not in known:
            raise _unknown(name, known, "peft", raw)
    return dict(values)


def check_quantization(values: Mapping[str, Any], raw: RawRun) -> dict[str, Any]:
    """The fields of `quantization:`, checked against transformers.BitsAndBytesConfig."""
    from transformers import BitsAndBytesConfig

    known = [name for name in inspect.signature(BitsAndBytesConfig).parameters if name != "kwargs"]
    for name in values:
        if name not in known:
            raise _unknown(name, known, "quantization", raw)
    return dict(values)


@cache
def training_argument_fields() -> dict[str, Any]:
    """The fields of the installed version's TrainingArguments by name."""
    from transformers import TrainingArguments

    return {field.name: field for field in dataclasses.fields(TrainingArguments)}


@cache
def known_training_fields() -> tuple[str, ...]:
    """What `training:` takes: the installed version's fields and the other spellings that we translate."""
    translated = (name for name, rule in TRAINING_FIELDS.items() if rule.kind != "passed")
    return tuple(
        dict.fromkeys((*(name for name in training_argument_fields() if name in TRAINING_FIELDS), *translated))
    )


def _is_default(name: str, value: Any) -> bool:
    field = training_argument_fields().get(name)
    if field is None:
        return value in (None, False)
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return bool(value == default)


@cache
def _hints() -> dict[str, Any]:
    from transformers import TrainingArguments

    try:
        return get_type_hints(TrainingArguments)
    except Exception:  # a name that an optional dependency would bring
        return {}


def _typed(name: str, value: Any, key: str, raw: RawRun) -> Any:
    """The value as the field's type; quoted numbers are numbers, everything else of another type is an error."""
    hint = _hints().get(name)
    kinds = {kind for kind in (get_args(hint) or (hint,)) if isinstance(kind, type)}
    plain = kinds & {int, float, bool, str}
    if not plain or kinds - plain - {type(None)} or value is None:
        return value
    wanted = " or ".join(sorted(kind.__name__ for kind in plain))
    if isinstance(value, bool):
        fits = bool in plain or str in plain
    elif isinstance(value, int):
        fits = bool(plain & {int, float, str})
        value = float(value) if float in plain and int not in plain else value
    elif isinstance(value, float):
        if int in plain and float not in plain and value.is_integer():
            value = int(value)
        fits = isinstance(value, int) or float in plain
    elif isinstance(value, str) and str not in plain:
        try:
            value, fits = (float(value) if float in plain else int(value)), bool(plain & {int, float})
        except ValueError:
            fits = False
    else:
        fits = str in plain and isinstance(value, str)
    if not fits:
        raise InputError("a wrong kind of value", where=raw.where(key), field=key, found=repr(value), expected=wanted)
    return value


def _unknown(name: str, known: Collection[str], section: str, raw: RawRun) -> InputError:
    near = [RENAMED[name]] if name in RENAMED else difflib.get_close_matches(name, known, n=1)
    return InputError(
        "unknown key",
        where=raw.where(f"{section}.{name}"),
        field=f"{section}.{name}",
        remedy=f"Did you mean `{near[0]}`?" if near else None,
    )
