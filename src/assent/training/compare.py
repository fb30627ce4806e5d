"""Several runs that differ in one thing: objectives, options or user weights, from one start on the same data.

Every run has its own folder below the run file's `output_dir`, the same number of optimizer steps, the same seed and
so the same order of records. A run that has ended is never repeated; one that was cut off goes on. A run whose loss
left the finite numbers counts as a failure of its objective and does not stop the others.
"""

from __future__ import annotations

import gc
import inspect
import itertools
import json
import math
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assent.comparison import Comparison, content_key
from assent.config import RunConfig, run_from
from assent.errors import InputError, RunError
from assent.likelihood.policy import Policy
from assent.objectives import build_objective
from assent.objectives.registry import find_objective
from assent.training import run_folder
from assent.training.arguments import training_arguments
from assent.training.checkpoints import write_json
from assent.training.data import read_records
from assent.training.models import load_policy
from assent.training.progress import OnEvent
from assent.training.run import train
from assent.training.setting import Given, objective_name, prepare
from assent.training.weights import load_weights

ENDED = "ended.json"
"""Stands in the folder of a run that is over, with what it was and how it ended."""

MEASURED = "measured.json"
"""What was measured on its policy afterwards."""

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


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Args:
        arm: the run.
        steps: optimizer steps taken.
        seconds: wall time of training, of the last start if it was resumed.
        metrics: the last logged numbers.
        error: why it failed; None if it did not.
        repeated: it had ended before, and was not run again.
    """

    arm: Arm
    steps: int
    seconds: float
    metrics: Mapping[str, float]
    error: str | None = None
    repeated: bool = False


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


def common_steps(config: RunConfig, given: Sequence[Comparison] | None = None) -> int:
    """How many optimizer steps every run takes: `max_steps`, or the epochs over the records as they were read.

    Objectives make different numbers of comparisons of the same records (labels make two of a pair), so that equal
    epochs would be unequal budgets.
    """
    arguments = training_arguments(config)
    if arguments.max_steps > 0:
        return int(arguments.max_steps)
    count = sum(len(source) for source in read_records(config, given).train)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    per_step = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps * world
    epochs: float = arguments.num_train_epochs
    steps: int = math.ceil(epochs * math.ceil(count / per_step))
    return steps


def run_arms(arms: Sequence[Arm], tell: OnEvent, given: Given = Given()) -> list[Ended]:
    """Trains what has not ended yet, in order; everything is checked before the first run starts.

    Raises:
        InputError: a configuration cannot be run, or a folder holds a run with another configuration.
        KeyboardInterrupt: it was interrupted; the run in progress has been saved.
    """
    ended = {arm.name: found for arm in arms if (found := read_ended(arm)) is not None}
    checked: set[str] = set()
    for arm in arms:
        if arm.name not in ended and arm.group not in checked:
            prepare(arm.config, _nobody, given)
            checked.add(arm.group)
    results = []
    for number, arm in enumerate(arms, start=1):
        if arm.name in ended:
            tell({"event": "stage", "text": f"run {number} of {len(arms)}: {arm.name} has ended before"})
        else:
            tell({"event": "stage", "text": f"run {number} of {len(arms)}: {arm.name}"})
            ended[arm.name] = _run(arm, tell, given)
        results.append(ended[arm.name])
    return results


def read_ended(arm: Arm) -> Ended | None:
    """How the run ended, or None; an InputError where its folder belongs to another configuration."""
    place = arm.folder / ENDED
    if place.is_file():
        facts = json.loads(place.read_text(encoding="utf-8"))
        if facts["key"] != arm.key:
            raise InputError(
                "the folder holds a run with another configuration",
                where=str(arm.folder),
                remedy="Choose another output_dir, or remove this folder to run it again",
            )
        return Ended(arm, facts["steps"], facts["seconds"], facts["metrics"], facts["error"], repeated=True)
    return None


def _run(arm: Arm, tell: OnEvent, given: Given) -> Ended:
    begun = arm.folder.is_dir() and any(arm.folder.iterdir())
    started = time.monotonic()
    try:
        result = train(arm.config, resume=begun, on_event=tell, given=given)
        found = Ended(arm, result.steps, time.monotonic() - started, result.metrics)
    except RunError as error:
        tell({"event": "stage", "text": f"{arm.name} failed: {error}"})
        found = Ended(arm, 0, time.monotonic() - started, {}, str(error))
    arm.folder.mkdir(parents=True, exist_ok=True)
    facts = {"steps": found.steps, "seconds": found.seconds, "metrics": dict(found.metrics), "error": found.error}
    write_json(arm.folder / ENDED, {"key": arm.key, "name": arm.name, **facts})
    gc.collect()  # models and optimizers of the run just ended, before the next one is loaded
    return found


def start_policy(config: RunConfig) -> Policy:
    """The policy that all runs started from; a fresh adapter on it changes nothing."""
    return load_policy(config)[0].to(training_arguments(config).device)


def policy_of_run(arm: Arm) -> Policy:
    """The policy that a run left in its folder."""
    policy = start_policy(arm.config)
    load_weights(policy.model, arm.folder / run_folder.MODEL)
    return policy


def claim(folder: Path, resume: bool) -> None:
    """Raises for a folder with files in it, unless the comparison in it is resumed."""
    run_folder.claim(folder, resume)


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


def _nobody(event: Mapping[str, Any]) -> None:
    """Nobody listens."""
