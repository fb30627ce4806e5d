"""From the `objective:` of a run file to an object: by slug, alias, dotted path, weighted sum or nesting."""

from __future__ import annotations

import difflib
import importlib
import inspect
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, get_type_hints, runtime_checkable

from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from assent.errors import InputError
from assent.objectives.judged import Judged, Needs
from assent.objectives.names import ALIASES, AMBIGUOUS


@runtime_checkable
class Objective(Protocol):
    """A pure function from the likelihoods of comparisons to their losses.

    It returns [B]; or [B, M] with an attribute `terms` naming the M columns; or a scalar where the loss exists
    only over the whole step.
    """

    @property
    def needs(self) -> Needs:
        """What it needs of the data and of the engine."""

    def __call__(self, batch: Judged) -> Tensor:
        """The loss: [B], [B, M] or a scalar."""


Spec = str | Mapping[str, Any] | Sequence[Any]


def objective_classes() -> dict[str, type[Any]]:
    """Every built-in objective by slug; the slug is the file's name."""
    room = importlib.import_module("assent.objectives")
    classes = [getattr(room, name) for name in room.METHODS]
    return {cls.__module__.rsplit(".", 1)[1]: cls for cls in classes}


def build_objective(spec: Spec) -> Objective:
    """The objective of a specification; raises an InputError that names the nearest known name or option."""
    if isinstance(spec, str):
        return _build_one(spec, {})
    if isinstance(spec, Mapping):
        if len(spec) != 1:
            raise InputError(
                "an objective is one name with its options",
                field="objective",
                found=", ".join(map(str, spec)) or "nothing",
                remedy="Write a sum as a list: [{dpo: {...}}, {sft: {weight: 0.2}}]",
            )
        ((name, options),) = spec.items()
        return _build_one(str(name), options or {})
    if isinstance(spec, Sequence) and spec:
        return _build_sum(spec)
    raise InputError(
        "no objective", field="objective", found=repr(spec), expected="a name, {name: options} or a list"
    )


def _build_sum(specs: Sequence[Any]) -> Objective:
    from assent.objectives.weighted_sum import WeightedSum

    objectives, weights = [], []
    for spec in specs:
        weight: Any = 1.0
        if isinstance(spec, Mapping) and len(spec) == 1:
            ((name, options),) = spec.items()
            if isinstance(options, Mapping) and "weight" in options:
                weight = options["weight"]
                spec = {name: {key: value for key, value in options.items() if key != "weight"}}
        objectives.append(build_objective(spec))
        weights.append(_weight(weight))
    return WeightedSum(tuple(objectives), tuple(weights))


def _weight(value: Any) -> Any:
    """A number, or a ramp {from, to, until}."""
    from assent.objectives.weighted_sum import Ramp

    try:
        if isinstance(value, Mapping):
            names = {"from": "start", "to": "end", "until": "until"}
            unknown = [key for key in value if key not in names]
            if unknown:
                raise ValueError(f"unknown key `{unknown[0]}`")
            return Ramp(**{names[key]: number for key, number in value.items()})
        return Ramp(value, value).start
    except (TypeError, ValueError) as error:
        raise InputError(
            "a weight cannot be read",
            field="objective.weight",
            found=f"{value!r} ({error})",
            expected="a number, or {from: 1, to: 0.1, until: 0.5}",
        ) from None


def _build_one(name: str, options: Any) -> Objective:
    if not isinstance(options, Mapping):
        raise InputError("options are a mapping", field=f"objective.{name}", found=repr(options))
    cls, preset = find_objective(name)
    parameters = inspect.signature(cls).parameters
    arguments: dict[str, Any] = {**preset, **options}
    for key in arguments:
        if key not in parameters:
            near = difflib.get_close_matches(str(key), parameters, n=1)
            raise InputError(
                f"`{name}` has no option `{key}`",
                field=f"objective.{name}.{key}",
                expected=", ".join(parameters) or "no options",
                remedy=f"Did you mean `{near[0]}`?" if near else None,
            )
    hints = get_type_hints(cls)
    read = {key: _option(name, key, value, hints.get(key, Any)) for key, value in arguments.items()}
    try:
        objective: Objective = cls(**read)
    except (ValueError, TypeError) as error:
        raise InputError(str(error), field=f"objective.{name}") from error
    for message in unusual(objective):
        logging.getLogger("assent").warning("objective.%s: %s", name, message)
    return objective


def unusual(objective: Objective) -> list[str]:
    """Options ten times outside the range that is used for them, one sentence each."""
    messages = []
    for key, (low, high) in getattr(objective, "usual", {}).items():
        value = getattr(objective, key)
        if value != 0 and not low / 10 <= value <= high * 10:
            messages.append(f"`{key}` is {value:g}; values in use are {low:g} to {high:g}")
    return messages


def _option(name: str, key: str, value: Any, hint: Any) -> Any:
    """The option as its annotated type: YAML reads 1e-3 as a text, and true as a number would train."""
    if hint is Objective:
        return build_objective(value)
    if hint is Any:
        return value
    if hint is str and isinstance(value, bool):
        return str(value).lower()  # YAML reads the formula `true` as a boolean
    number = hint in (int, float)
    try:
        if number and isinstance(value, bool):
            raise ValueError("a number is expected")
        read = TypeAdapter(hint).validate_python(value)
        if isinstance(read, float) and not math.isfinite(read):
            raise ValueError("a finite number is expected")
        return read
    except (ValidationError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise InputError(
            f"`{key}` of `{name}` cannot be read", field=f"objective.{name}.{key}", found=repr(value), expected=reason
        ) from None


def find_objective(name: str) -> tuple[type[Any], dict[str, Any]]:
    """The class and preset options of a slug, an alias or a dotted path; an InputError with the nearest name."""
    if ":" in name:
        return _imported(name), {}
    slug = name.replace("-", "_")
    classes = objective_classes()
    if slug in classes:
        return classes[slug], {}
    if slug in ALIASES:
        target, preset = ALIASES[slug]
        return classes[target], dict(preset)
    if slug in AMBIGUOUS:
        raise InputError(f"`{name}` means several methods", field="objective", expected=", ".join(AMBIGUOUS[slug]))
    near = difflib.get_close_matches(slug, [*classes, *ALIASES], n=1)
    raise InputError(
        f"no objective is called `{name}`",
        field="objective",
        remedy=f"Did you mean `{near[0]}`?" if near else "`assent methods` lists them",
    )


def _imported(path: str) -> type[Any]:
    module, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"cannot import `{path}`", field="objective", found=str(error), expected="package.module:Class"
        ) from error
