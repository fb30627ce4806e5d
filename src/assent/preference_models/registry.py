"""From the `preference_model:` of a run file to a model: by slug, alias or dotted path."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from assent.comparison import Comparison
from assent.errors import InputError
from assent.preference_models.model import PreferenceModel

Spec = str | Mapping[str, Any]

ALIASES: dict[str, tuple[str, dict[str, Any]]] = {
    "bt": ("bradley_terry", {}),
    "reward": ("bradley_terry", {}),
    "pal_a": ("pal", {"variant": "a"}),
    "pal_b": ("pal", {"variant": "b"}),
    "regression": ("ordinal", {"target": "squared"}),
    "armorm": ("multi_attribute", {"gate_layers": (1024, 1024, 1024)}),
    "prm": ("process", {}),
    "multi_task": ("more", {"group_weights": "uniform"}),
    "general_preference": ("gpm", {}),
}
"""Names of the literature and of other tools, as (slug, options)."""


@dataclass(frozen=True)
class DataFacts:
    """What a model's options may be taken from the data."""

    annotators: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()

    @classmethod
    def of(cls, comparisons: Sequence[Comparison]) -> DataFacts:
        """The names that occur, sorted."""
        return cls(
            annotators=tuple(sorted({c.annotator for c in comparisons if c.annotator is not None})),
            groups=tuple(sorted({c.group for c in comparisons if c.group is not None})),
            attributes=tuple(sorted({name for c in comparisons for one in c.candidates for name in one.scores})),
        )


def preference_model_classes() -> dict[str, type[Any]]:
    """Every built-in model by slug; the slug is the file's name."""
    room = importlib.import_module("assent.preference_models")
    classes = [getattr(room, name) for name in room.MODELS]
    return {cls.__module__.rsplit(".", 1)[1]: cls for cls in classes}


def build_preference_model(
    spec: Spec, hidden_size: int, prompt_size: int | None = None, facts: DataFacts | None = None
) -> PreferenceModel:
    """The model of a specification; raises an InputError that names the nearest known name or option.

    Args:
        spec: a name, or {name: options}.
        hidden_size: H, the size of the features.
        prompt_size: P, the size of the prompt's features, for models that read them.
        facts: names found in the data, for options that are not given.
    """
    name, options = _parsed(spec)
    cls, preset = _find(name)
    known = {field.name for field in fields(cls) if field.init} - {"hidden_size"}
    arguments: dict[str, Any] = {**preset, **options}
    for key in arguments:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            raise InputError(
                f"`{name}` has no option `{key}`",
                field=f"preference_model.{name}.{key}",
                expected=", ".join(sorted(known)),
                remedy=f"Did you mean `{near[0]}`?" if near else None,
            )
    for key in ("annotators", "groups", "attributes") if facts is not None else ():
        if key in known and not arguments.get(key):
            arguments[key] = getattr(facts, key)
    if prompt_size is not None and "prompt_size" in known:
        arguments.setdefault("prompt_size", prompt_size)
    for field in fields(cls):
        if isinstance(arguments.get(field.name), list):
            arguments[field.name] = tuple(arguments[field.name])
    try:
        return cls(hidden_size=hidden_size, **arguments)  # type: ignore[no-any-return]
    except (ValueError, TypeError) as error:
        raise InputError(str(error), field=f"preference_model.{name}") from error


def saved_spec(model: PreferenceModel) -> dict[str, Any]:
    """What `build_preference_model` needs to make an equal, untrained model: {slug: options}, and the size."""
    cls = type(model)
    slug = cls.__module__.rsplit(".", 1)[1]
    built_in = preference_model_classes().get(slug) is cls
    options = model.options()
    hidden_size = options.pop("hidden_size")
    return {
        "model": {slug if built_in else f"{cls.__module__}:{cls.__qualname__}": options},
        "hidden_size": hidden_size,
    }


def defaults_of(cls: type[Any]) -> dict[str, Any]:
    """A model's options with their defaults, for listings."""
    return {
        field.name: None if field.default is MISSING else field.default
        for field in fields(cls)
        if field.init and field.name != "hidden_size"
    }


def _parsed(spec: Spec) -> tuple[str, Mapping[str, Any]]:
    if isinstance(spec, str):
        return spec, {}
    if not isinstance(spec, Mapping) or len(spec) != 1:
        raise InputError(
            "a preference model is one name with its options",
            field="preference_model",
            found=repr(spec)[:80],
            expected="bradley_terry, or {gpm: {dimensions_per_candidate: 8}}",
        )
    ((name, options),) = spec.items()
    if options is not None and not isinstance(options, Mapping):
        raise InputError("options are a mapping", field=f"preference_model.{name}", found=repr(options)[:80])
    return str(name), options or {}


def _find(name: str) -> tuple[type[Any], dict[str, Any]]:
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute), {}
        except (ImportError, AttributeError) as error:
            raise InputError(
                f"cannot import `{name}`",
                field="preference_model",
                found=str(error),
                expected="package.module:Class",
            ) from error
    slug = name.replace("-", "_")
    classes = preference_model_classes()
    if slug in classes:
        return classes[slug], {}
    if slug in ALIASES:
        target, preset = ALIASES[slug]
        return classes[target], dict(preset)
    near = difflib.get_close_matches(slug, [*classes, *ALIASES], n=1)
    raise InputError(
        f"no preference model is called `{name}`",
        field="preference_model",
        expected=", ".join(classes),
        remedy=f"Did you mean `{near[0]}`?" if near else None,
    )
