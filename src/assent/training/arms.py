"""The runs of a comparison: objectives, options or user weights that differ, everything else alike.

Every run has its own folder below the run file's `output_dir`, the same number of optimizer steps, the same seed and
so the same order of records.
"""

from __future__ import annotations

import inspect
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assent.comparison import content_key
from assent.config import RunConfig, run_from
from assent.errors import InputError
from assent.objectives import build_objective
from assent.objectives.registry import find_objective
from assent.training.setting import objective_name

Grid = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Arm:
    """One run of a comparison.

    Args:
        name: of its folder.
        group: the objective it stands for in tables; runs of a grid share it.
        config: its complete configuration.
        settings: the grid point, by key.
    """

    name: str
    group: str
    config: RunConfig
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Its run folder."""
        return Path(self.config.output_dir)

    @property
    def key(self) -> str:
        """Content hash of everything that decides its outcome."""
        return content_key(self.config.resolved())


def arms_of(config: RunConfig, specs: Sequence[Any], grid: Grid | None = None, steps: int | None = None) -> list[Arm]:
    """The runs that compare objectives: each spec, at each point of the grid where it has such an option.

    Args:
        config: what all runs share; an objective named in it lends its options to the spec of the same name.
        specs: names, {name: options} or lists (sums).
        grid: values by key; a key with a dot is one of the run file, any other an option of the objectives.
        steps: optimizer steps of every run; default: `training.max_steps`.
    """
    _check_specs(specs, grid or {})
    arms = []
    for spec, label in zip(specs, _labels(specs), strict=True):
        for point in _points(spec, grid or {}):
            name = slug("-".join([label, *(f"{key}-{value}" for key, value in point.items())]))
            arms.append(make_arm(config, name, label, _lent(spec, config), point, steps))
    names = [arm.name for arm in arms]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(
            "two runs of the comparison would share a folder",
            field="--compare",
            found=twice,
            remedy="Name each objective once",
        )
    return arms


def make_arm(
    config: RunConfig,
    name: str,
    group: str,
    spec: Any,
    point: Mapping[str, Any],
    steps: int | None,
    values: Mapping[str, Any] | None = None,
) -> Arm:
    """One run: the shared configuration with its own objective, grid point, folder and further values."""
    changed = {**config.resolved(), **(values or {}), "objective": spec}
    changed["training"] = {**changed["training"], "output_dir": str(Path(config.output_dir) / name)}
    if steps is not None:
        changed["training"]["max_steps"] = steps
    overrides = []
    for key, value in point.items() if values is None else ():
        if "." in key:
            overrides.append(f"{key}={json.dumps(value)}")
        else:
            changed["objective"] = _with_option(changed["objective"], key, value)
    needs = build_objective(changed["objective"]).needs
    if not (needs.reference or needs.live_reference) and (changed["reference"] or {}).get("source") != "none":
        changed["reference"] = None  # where the reference is kept concerns only those that have one
    return Arm(name, group, run_from(changed, overrides), dict(point))


def _with_option(spec: Any, key: str, value: Any) -> Any:
    if isinstance(spec, str):
        return {spec: {key: value}}
    ((name, options),) = spec.items()
    return {name: {**(options or {}), key: value}}


def _lent(spec: Any, config: RunConfig) -> Any:
    """The run file's options where it names the same objective and the spec has none of its own."""
    own = config.objective
    return own if isinstance(spec, str) and isinstance(own, Mapping) and list(own) == [spec] else spec


def _labels(specs: Sequence[Any]) -> list[str]:
    """A name for each spec; variants of one objective are numbered, equal specs are not told apart."""
    names = [objective_name(spec) for spec in specs]
    variants: dict[str, list[str]] = {}
    for spec, name in zip(specs, names, strict=True):
        known = variants.setdefault(name, [])
        if (key := content_key(spec)) not in known:
            known.append(key)
    return [
        name if len(variants[name]) == 1 else f"{name}-{variants[name].index(content_key(spec)) + 1}"
        for spec, name in zip(specs, names, strict=True)
    ]


def _points(spec: Any, grid: Grid) -> list[dict[str, Any]]:
    """The grid points of one objective; options that it does not have are left out of its grid."""
    keys = [key for key in grid if "." in key or key in _options(spec)]
    return [dict(zip(keys, values, strict=True)) for values in itertools.product(*(grid[key] for key in keys))]


def _options(spec: Any) -> set[str]:
    if isinstance(spec, Sequence) and not isinstance(spec, str):
        return set()
    name = spec if isinstance(spec, str) else next(iter(spec))
    return set(inspect.signature(find_objective(str(name))[0]).parameters)


def _check_specs(specs: Sequence[Any], grid: Grid) -> None:
    for spec in specs:
        build_objective(spec)
    unknown = [key for key in grid if "." not in key and not any(key in _options(spec) for spec in specs)]
    if unknown:
        raise InputError(
            "no objective of the comparison has this option",
            field="--grid",
            found=unknown[0],
            remedy="A key of the run file is written with its dots, as training.learning_rate=1e-6,5e-6",
        )


def slug(text: str) -> str:
    """A name that is safe as a folder."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "-", text).strip("-.") or "run"
