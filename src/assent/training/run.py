"""A run from its configuration to its folder: read, match, encode, load, train, save."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assent.comparison import Comparison
from assent.config import RunConfig, run_from
from assent.encoding import what_the_model_sees
from assent.errors import InputError
from assent.likelihood.policy import Policy
from assent.training import run_folder
from assent.training.checkpoints import newest_complete
from assent.training.label_noise import write_label_noise
from assent.training.plan import Plan
from assent.training.probes import write_probes
from assent.training.progress import OnEvent
from assent.training.setting import Given, Setting, build_trainer, is_diffusion, prepare, prepare_pictures
from assent.training.trainer import PreferenceTrainer
from assent.training.weights import save_weights

if TYPE_CHECKING:
    from assent.training.diffusion_plan import DiffusionPlan


@dataclass
class TrainResult:
    """What a run left.

    Args:
        folder: the run folder.
        plan: what was resolved before anything was loaded; None where there is nothing to plan (frozen features).
        steps: optimizer steps taken in total; 0 for a dry run.
        metrics: the last logged number of each name.
        resumed_from: the checkpoint that training went on from.
        skipped: checkpoints that were passed over, with the reason.
        policy: the trained policy; None for a dry run.
        tokenizer: its tokenizer.
    """

    folder: Path
    plan: Plan | DiffusionPlan | None
    steps: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    resumed_from: Path | None = None
    skipped: tuple[tuple[Path, str], ...] = ()
    policy: Policy | None = None
    tokenizer: Any = None

    @property
    def model(self) -> Any:
        """The trained model, as transformers or PEFT know it."""
        return None if self.policy is None else self.policy.model

    @property
    def model_folder(self) -> Path:
        """Where the trained model is saved."""
        return self.folder / run_folder.MODEL


def align(
    model: Any,
    data: Any,
    objective: Any,
    output_dir: str | Path = "out",
    *,
    tokenizer: Any = None,
    resume: bool = False,
    on_event: OnEvent | None = None,
    **settings: Any,
) -> TrainResult:
    """Aligns a model with preferences; the run file's keys are keyword arguments.

    Args:
        model: hub name or folder, or a loaded transformers model (then with `tokenizer`).
        data: a path or hub name, a list of them, or comparisons.
        objective: a name, {name: options}, or a list of them.
        output_dir: the run folder.
        tokenizer: of a loaded model.
        resume: go on from the newest complete checkpoint.
        on_event: is told what happens.
        settings: further keys of a run file: `training={...}`, `peft={...}`, `reference=...`.
    """
    given = Given()
    values: dict[str, Any] = {"objective": objective, **settings}
    values["training"] = {**values.get("training", {}), "output_dir": str(output_dir)}
    if isinstance(model, str | Path):
        values["model"] = str(model)
    else:
        if tokenizer is None:
            raise InputError("a loaded model needs its tokenizer", field="tokenizer")
        values["model"] = getattr(model, "name_or_path", "") or type(model).__name__
        given = Given(model=model, tokenizer=tokenizer)
    if _in_memory(data):
        given = Given(_comparisons(data), given.model, given.tokenizer)
    else:
        values["data"] = {**(settings.get("data") or {}), "train": data} if "data" in settings else data
    return train(run_from(values), resume=resume, on_event=on_event, given=given)


def _in_memory(data: Any) -> bool:
    if isinstance(data, str | Path | Mapping):
        return False
    return not (isinstance(data, Sequence) and data and all(isinstance(item, str | Path | Mapping) for item in data))


def _comparisons(data: Any) -> list[Comparison]:
    """Comparisons as they are, or those of a `datasets.Dataset`."""
    if isinstance(data, Sequence) and all(isinstance(item, Comparison) for item in data):
        return list(data)
    from assent.readers import read

    return read(data).comparisons


def train(
    config: RunConfig,
    *,
    resume: bool = False,
    dry_run: bool = False,
    on_event: OnEvent | None = None,
    given: Given = Given(),
) -> TrainResult:
    """Runs a configuration and leaves a run folder.

    Args:
        config: from `load_run` or `run_from`.
        resume: go on from the newest complete checkpoint of the run folder.
        dry_run: check everything and estimate memory, load no weights, train nothing.
        on_event: is told what happens, on rank 0.
        given: what a library user hands over.

    Raises:
        InputError: something in the configuration or the data cannot be used.
        RunError: the run could not go on.
        KeyboardInterrupt: it was interrupted, and has been saved.
    """
    folder = Path(config.output_dir)
    tell = on_event if on_event is not None and _first_rank() else _nobody
    if _first_rank() and not dry_run:
        run_folder.claim(folder, resume)
    if config.preference_model is not None:
        return _train_preference_model(config, tell, resume, dry_run, given)
    if is_diffusion(config):
        return _train_diffusion(config, tell, resume, dry_run, given)
    setting = prepare(config, tell, given)
    if dry_run:
        return TrainResult(folder, setting.plan)
    found = newest_complete(folder) if resume else None
    for path, reason in found.skipped if found else ():
        tell({"event": "stage", "text": f"{path} is passed over: {reason}"})
    trainer = build_trainer(setting, tell, given)
    if trainer.is_world_process_zero():
        _write_start(setting, trainer, folder)
    if found is not None:
        text = f"going on from {found.path}" if found.path else "no complete checkpoint; starting from the beginning"
        tell({"event": "stage", "text": text})
    trainer.train(str(found.path) if found and found.path else None)
    if trainer.is_world_process_zero():
        _save_result(setting, trainer, folder)
    return TrainResult(
        folder,
        setting.plan,
        steps=trainer.state.global_step,
        metrics=_last_metrics(trainer.state.log_history),
        resumed_from=found.path if found else None,
        skipped=found.skipped if found else (),
        policy=trainer.policy,
        tokenizer=setting.tokenizer,
    )


def _train_preference_model(
    config: RunConfig, tell: OnEvent, resume: bool, dry_run: bool, given: Given
) -> TrainResult:
    from assent.training.preference_run import train_on_backbone, train_on_features

    folder = Path(config.output_dir)
    if config.features is not None:
        numbers = {} if dry_run else train_on_features(config, config.features, tell, comparisons=given.comparisons)
        return TrainResult(folder, None, steps=int(numbers.get("step", 0)), metrics=dict(numbers))
    trainer, plan, tokenizer = train_on_backbone(
        config, tell, resume=resume, dry_run=dry_run, comparisons=given.comparisons
    )
    if trainer is None:
        return TrainResult(folder, plan)
    return TrainResult(
        folder,
        plan,
        steps=trainer.state.global_step,
        metrics=_last_metrics(trainer.state.log_history),
        policy=trainer.policy,
        tokenizer=tokenizer,
    )


def _train_diffusion(config: RunConfig, tell: OnEvent, resume: bool, dry_run: bool, given: Given) -> TrainResult:
    from assent.training.diffusion_run import train_diffusion

    setting = prepare_pictures(config, tell, given)
    folder = Path(config.output_dir)
    if dry_run:
        return TrainResult(folder, setting.plan)
    trainer = train_diffusion(setting, tell, resume)
    metrics = _last_metrics(trainer.state.log_history)
    return TrainResult(folder, setting.plan, trainer.state.global_step, metrics, policy=trainer.policy)


def _write_start(setting: Setting, trainer: PreferenceTrainer, folder: Path) -> None:
    facts = {**setting.records.facts, **setting.encoded.facts(), "plan": setting.plan.to_dict()}
    facts["route"] = getattr(trainer.policy, "route", type(trainer.policy).__name__)
    facts["max_tokens_per_micro_batch"] = trainer.step_function.budget
    sight = what_the_model_sees(setting.encoded.train, setting.tokenizer)
    run_folder.write_start(folder, setting.config, facts, sight)


def _save_result(setting: Setting, trainer: PreferenceTrainer, folder: Path) -> None:
    write_label_noise(folder, setting.objective, setting.encoded.matched["train"].comparisons)
    target = folder / run_folder.MODEL
    save_weights(trainer.policy.model, target)
    setting.tokenizer.save_pretrained(str(target))
    numbers = {"comparisons": len(setting.encoded.train), "optimizer steps": trainer.state.global_step}
    metrics = _last_metrics(trainer.state.log_history)
    numbers |= {
        name: round(metrics[name], 4) for name in ("loss", "rewards/accuracies", "eval_loss") if name in metrics
    }
    run_folder.write_model_card(target, setting.config, numbers)
    held_out = next(iter(setting.encoded.evaluation.values()), setting.encoded.train)
    write_probes(folder / run_folder.PROBES, trainer.policy, held_out, trainer.args.device)


def _last_metrics(history: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    last: dict[str, float] = {}
    for row in history:
        last |= {name: float(value) for name, value in row.items() if isinstance(value, int | float)}
    return last


def _first_rank() -> bool:
    return int(os.environ.get("RANK", "0")) == 0


def _nobody(event: Mapping[str, Any]) -> None:
    """Nobody listens."""
