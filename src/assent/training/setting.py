"""A run that has been checked, and the trainer built of it.

Everything that can be checked without weights is checked here, before any are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assent.comparison import Comparison, content_key
from assent.config import RunConfig
from assent.errors import InputError
from assent.likelihood.loading import load_tokenizer
from assent.objectives import Objective, build_objective
from assent.training import run_folder
from assent.training.alarms import Alarms
from assent.training.arguments import training_arguments
from assent.training.combining import GradientCombiner
from assent.training.contrast import check_contrast, with_contrast
from assent.training.data import Encoded, Records, encode_records, read_records
from assent.training.gradients import build_combination
from assent.training.gradients.conflict_file import ConflictFile
from assent.training.models import load_policy, policy_of
from assent.training.plan import Plan, plan_run
from assent.training.progress import Events, OnEvent
from assent.training.references import check_reference, open_reference
from assent.training.trainer import PreferenceTrainer
from assent.training.tuning import tune_budget

if TYPE_CHECKING:
    from assent.training.diffusion_setting import DiffusionSetting


@dataclass(frozen=True)
class Given:
    """What a library user hands over in place of names in the configuration."""

    comparisons: Sequence[Comparison] | None = None
    model: Any = None
    tokenizer: Any = None


@dataclass
class Setting:
    """A run that has been checked: everything but the weights is there."""

    config: RunConfig
    objective: Objective
    name: str
    combiner: GradientCombiner | None
    records: Records
    encoded: Encoded
    tokenizer: Any
    plan: Plan


def prepare_pictures(config: RunConfig, tell: OnEvent, given: Given = Given()) -> DiffusionSetting:
    """Everything that can be checked of a diffusion pipeline's run before weights are loaded."""
    from assent.training.diffusion_setting import prepare_diffusion

    objective, name = _objective(config)
    return prepare_diffusion(config, objective, name, tell, given.comparisons)


def is_diffusion(config: RunConfig) -> bool:
    """Whether a run file is about a diffusion pipeline."""
    return config.diffusion is not None or (Path(config.model.path) / "model_index.json").is_file()


def prepare(config: RunConfig, tell: OnEvent, given: Given = Given()) -> Setting:
    """Everything that can be checked before weights are loaded, and the plan made of it."""
    objective, name = _objective(config)
    check_reference(config, objective.needs, name)
    check_contrast(config, objective.needs, name)
    combiner = None
    if config.gradients is not None:
        combiner = build_combination(config.gradients, config.seed)
    arguments = training_arguments(config)
    tell({"event": "stage", "text": "reading"})
    records = read_records(config, given.comparisons)
    tokenizer = given.tokenizer or load_tokenizer(
        config.model.path,
        trust_remote_code=config.model.trust_remote_code,
        revision=config.model.revision,
        tokenizer=config.model.tokenizer,
    )
    tell({"event": "stage", "text": "encoding"})
    encoded = encode_records(records, config, objective.needs, tokenizer, name)
    for line in encoded.lines():
        tell({"event": "stage", "text": line})
    plan = plan_run(config, arguments, encoded, objective.needs, name, given.model)
    return Setting(config, objective, name, combiner, records, encoded, tokenizer, plan)


def build_trainer(setting: Setting, tell: OnEvent, given: Given = Given()) -> PreferenceTrainer:
    """The trainer with its policy and reference, ready to start."""
    config, encoded = setting.config, setting.encoded
    tell({"event": "stage", "text": f"loading {config.model.path}"})
    policy = policy_of(given.model, config) if given.model is not None else load_policy(config)[0]
    facts = {"data": setting.records.facts["fingerprint"], "objective": content_key(config.objective)}
    trainer = PreferenceTrainer(
        policy,
        setting.objective,
        training_arguments(config),
        encoded.train,
        encoded.evaluation.get("eval", encoded.evaluation or None),
        processing_class=setting.tokenizer,
        max_tokens_per_micro_batch=setting.plan.budget,
        sources=(encoded.sizes, encoded.weights),
        combiner=setting.combiner,
        dropout=config.dropout,
        facts=facts,
        callbacks=[
            Alarms(config.alarms, lambda text: tell({"event": "stage", "text": f"warning: {text}"})),
            run_folder.MetricsFile(Path(config.output_dir)),
            *([ConflictFile(Path(config.output_dir), setting.combiner)] if setting.combiner is not None else []),
            Events(tell),
        ],
    )
    needs = setting.objective.needs
    opening = partial(
        open_reference,
        policy=policy,
        needs=needs,
        wanted=trainer.wanted() if needs.reference else [],
        device=trainer.args.device,
        progress=partial(_reference_progress, tell),
        in_memory=given.model is not None,
    )
    opened = opening(config)
    if opened is not None and needs.contrast:
        opened = with_contrast(opened, config, opening)
    if opened is not None:
        trainer.use_reference(opened.reference)
        setting.records.facts["reference"] = opened.facts
    budget = tune_budget(config, setting.plan, trainer)
    tell({"event": "stage", "text": f"micro-batches of up to {budget:,} tokens"})
    return trainer


def _reference_progress(tell: OnEvent, done: int, total: int) -> None:
    tell({"event": "reference", "done": done, "total": total})


def _objective(config: RunConfig) -> tuple[Objective, str]:
    if config.objective is None:
        raise InputError(
            "this run trains a preference model, not a policy",
            where=config.where("preference_model"),
            field="preference_model",
        )
    try:
        objective = build_objective(config.objective)
    except InputError as error:
        raise InputError(
            error.message,
            where=config.where(error.field or "objective"),
            field=error.field,
            found=error.found,
            expected=error.expected,
            remedy=error.remedy,
        ) from error
    return objective, objective_name(config.objective)


def objective_name(spec: Any) -> str:
    """An objective's specification in a few words."""
    if isinstance(spec, str):
        return spec
    if isinstance(spec, Mapping):
        return ", ".join(map(str, spec))
    return " + ".join(objective_name(part) for part in spec)
