"""Trains the runs of a comparison one after the other.

A run that has ended is never repeated; one that was cut off goes on. A run that fails, by a loss that is not finite
or by an error in an objective, counts as a failure of its objective and does not stop the others. Under torchrun all
ranks train every run together; the first one keeps the files.
"""

from __future__ import annotations

import gc
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from assent.comparison import Comparison
from assent.config import RunConfig
from assent.errors import AssentError, InputError, RunError
from assent.likelihood.policy import Policy
from assent.training import run_folder
from assent.training.arguments import training_arguments
from assent.training.arms import Arm
from assent.training.checkpoints import write_json
from assent.training.data import read_records
from assent.training.models import load_policy
from assent.training.progress import OnEvent
from assent.training.run import train
from assent.training.setting import Given, prepare
from assent.training.weights import load_weights

ENDED = "ended.json"
"""Stands in the folder of a run that is over, with what it was and how it ended."""

MEASURED = "measured.json"
"""What was measured on its policy afterwards."""


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


def common_steps(config: RunConfig, given: Sequence[Comparison] | None = None) -> int:
    """How many optimizer steps every run takes: `max_steps`, or the epochs over the records as they were read.

    Objectives make different numbers of comparisons of the same records (labels make two of a pair), so that equal
    epochs would be unequal budgets.
    """
    arguments = training_arguments(config)
    if arguments.max_steps > 0:
        return int(arguments.max_steps)
    count = sum(len(source) for source in read_records(config, given).train)
    per_step = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps * ranks()
    epochs: float = arguments.num_train_epochs
    steps: int = math.ceil(epochs * math.ceil(count / per_step))
    return steps


def run_arms(arms: Sequence[Arm], tell: OnEvent, given: Given = Given()) -> list[Ended]:
    """Trains what has not ended yet, in order; everything is checked before the first run starts.

    Raises:
        InputError: a configuration cannot be run, or a folder holds a run with another configuration.
        KeyboardInterrupt: it was interrupted; the run in progress has been saved.
    """
    tell = tell if first_rank() else _nobody
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
    except Exception as error:
        everywhere = isinstance(error, RunError)  # raised by all ranks at the same step
        if not everywhere and (ranks() > 1 or os.environ.get("ASSENT_DEBUG")):
            raise  # the other ranks wait in the middle of a step, and would wait for ever
        text = str(error) if isinstance(error, AssentError) else f"{type(error).__name__}: {error}"
        found = Ended(arm, 0, time.monotonic() - started, {}, text)
        tell({"event": "stage", "text": f"{arm.name} failed: {text}"})
        if not isinstance(error, AssentError):
            # Memory or a library may have failed: nothing is written down, so that --resume tries again.
            _free()
            return found
    if first_rank():
        arm.folder.mkdir(parents=True, exist_ok=True)
        facts = {"steps": found.steps, "seconds": found.seconds, "metrics": dict(found.metrics), "error": found.error}
        write_json(arm.folder / ENDED, {"key": arm.key, "name": arm.name, **facts})
    _free()
    return found


def _free() -> None:
    """Lets go of models and optimizers of the run just ended, before the next one is loaded."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def ranks() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def first_rank() -> bool:
    """Whether this process keeps the files and speaks."""
    return int(os.environ.get("RANK", "0")) == 0


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
    if first_rank():
        run_folder.claim(folder, resume)


def _nobody(event: Mapping[str, Any]) -> None:
    """Nobody listens."""
