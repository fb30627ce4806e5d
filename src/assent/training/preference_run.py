"""Trains a preference model as a run file says: on a backbone with the one trainer, or on frozen features.

The same run file trains both; `features:` chooses frozen features and needs no model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from assent.comparison import Comparison
from assent.config import RunConfig
from assent.encoding import CausalEncoder, EncodedComparison, what_the_model_sees
from assent.errors import InputError
from assent.likelihood.loading import load_tokenizer
from assent.preference_models import DataFacts, Embedded, Ensemble, PreferenceModel, build_preference_model
from assent.preference_models.backbone import batches, on_device
from assent.preference_models.context_aware import ContextAware, with_context
from assent.preference_models.fit import FitOptions, train_preference_model, usable
from assent.preference_models.more import MORE
from assent.preference_models.reward_folder import build_reward_policy, save_reward_policy
from assent.preference_models.reward_policy import PreferenceObjective, RewardPolicy
from assent.preference_models.text_pairs import TextPairEncoder
from assent.preference_models.whole_rows import sees_both_ways
from assent.training import run_folder
from assent.training.arguments import training_arguments
from assent.training.checkpoints import newest_complete
from assent.training.data import Encoded, Records, encode_records, read_records
from assent.training.plan import Plan, plan_run
from assent.training.trainer import PreferenceTrainer
from assent.training.tuning import tune_budget

Tell = Callable[[Mapping[str, Any]], None]

FROZEN_FIELDS = {
    "num_train_epochs": "epochs",
    "per_device_train_batch_size": "batch_size",
    "learning_rate": "learning_rate",
    "weight_decay": "weight_decay",
}
"""Training arguments that mean something to a head on frozen features."""
FIT_STATE = "fit.safetensors"
"""Where an unfinished training on frozen features stands, in the run folder."""
IGNORED_FIELDS = {"output_dir", "logging_steps", "report_to", "use_cpu", "disable_tqdm"}


def train_on_backbone(
    config: RunConfig, tell: Tell, *, resume: bool = False, dry_run: bool = False, comparisons: Any = None
) -> tuple[PreferenceTrainer | None, Plan, Any]:
    """Trains a head on a decoder or an encoder, fully or with an adapter; leaves `model/` in the run folder.

    Returns (trainer, plan, tokenizer); no trainer for a dry run. The caller has claimed the run folder.
    """
    spec = _spec(config)
    tell({"event": "stage", "text": "reading"})
    records = read_records(config, comparisons)
    everything = [c for source in records.train for c in source]
    facts = DataFacts.of(everything)
    shape = build_preference_model(spec, 1, None, facts)
    records = _fitting(records, shape, tell)
    tokenizer = load_tokenizer(
        config.model.path,
        trust_remote_code=config.model.trust_remote_code,
        revision=config.model.revision,
        tokenizer=config.model.tokenizer,
        any_kind=True,
    )
    tell({"event": "stage", "text": "encoding"})
    name = next(iter(spec)) if isinstance(spec, Mapping) else spec
    both_ways = sees_both_ways(config.model.path, trust_remote_code=config.model.trust_remote_code)
    kind = TextPairEncoder if both_ways else CausalEncoder
    encoded = encode_records(records, config, shape.needs, tokenizer, name, kind)
    for line in encoded.lines():
        tell({"event": "stage", "text": line})
    arguments = training_arguments(config)
    plan = plan_run(config, arguments, encoded, shape.needs, name)
    if dry_run:
        return None, plan, tokenizer
    tell({"event": "stage", "text": f"loading {config.model.path}"})
    torch.manual_seed(config.seed)
    policy = build_reward_policy(
        config.model.path,
        spec,
        facts,
        _adapter(config),
        config.model.layout != "padded",
        config.dropout,
        **({} if config.weights_dtype is None else {"dtype": getattr(torch, config.weights_dtype)}),
    )
    # The engine computes with the backbone's type; heads stay in float32.
    policy.head.float()
    trainer = PreferenceTrainer(
        policy,
        PreferenceObjective((policy.head,)),
        arguments,
        encoded.train,
        encoded.evaluation.get("eval", encoded.evaluation or None),
        processing_class=tokenizer,
        max_tokens_per_micro_batch=plan.budget,
        sources=(encoded.sizes, encoded.weights),
        dropout=config.dropout,
        facts={"data": records.facts["fingerprint"], "preference_model": json.dumps(spec, sort_keys=True)},
        callbacks=[run_folder.MetricsFile(Path(config.output_dir))],
    )
    budget = tune_budget(config, plan, trainer)
    tell({"event": "stage", "text": f"micro-batches of up to {budget:,} tokens"})
    if trainer.is_world_process_zero():
        notes = {**records.facts, **encoded.facts(), "plan": plan.to_dict(), "route": policy.route}
        run_folder.write_start(Path(config.output_dir), config, notes, what_the_model_sees(encoded.train, tokenizer))
    _run(trainer, policy, encoded, config, resume, tell)
    if trainer.is_world_process_zero():
        save_reward_policy(policy, Path(config.output_dir) / run_folder.MODEL, tokenizer)
    return trainer, plan, tokenizer


def train_on_features(
    config: RunConfig, features: Mapping[str, Any], tell: Tell, *, comparisons: Any = None
) -> dict[str, float]:
    """Trains a head on frozen features and returns its last numbers; leaves `model/` and `metrics.jsonl`.

    A run that was killed goes on after its last whole epoch (`--resume`); vectors of a model's folder are kept in the
    run folder as they are made, unless `features.cache` names another place.
    """
    spec = _spec(config)
    tell({"event": "stage", "text": "reading"})
    records = read_records(config, comparisons)
    train = [c for source in records.train for c in source]
    held_out = [c for part in records.evaluation.values() for c in part]
    folder = Path(config.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if features.get("encoder", "hashed_ngrams") != "hashed_ngrams":
        features = {"cache": str(folder / "features.sqlite"), **features}
    run_folder.write_start(folder, config, {**records.facts, "features": dict(features)}, [])
    options = _options(config, build_preference_model(spec, 1, 1, DataFacts.of(train)))
    aside = f", {len(held_out)} held out" if held_out else ""
    encoder = features.get("encoder", "hashed_ngrams")
    tell({"event": "stage", "text": f"{len(train)} comparisons{aside}; features: {encoder}"})
    if (folder / FIT_STATE).exists():
        tell({"event": "stage", "text": f"going on from {folder / FIT_STATE}"})
    with (folder / "metrics.jsonl").open("w", encoding="utf-8") as file:

        def report(numbers: Mapping[str, float]) -> None:
            file.write(json.dumps(dict(numbers)) + "\n")
            file.flush()
            accuracy = f", held-out accuracy {numbers['eval_accuracy']:.3f}" if "eval_accuracy" in numbers else ""
            text = f"epoch {numbers['epoch']:.0f} of {options.epochs}: loss {numbers['loss']:.4f}{accuracy}"
            tell({"event": "stage", "text": text})

        trained = train_preference_model(
            train, spec, features, options, held_out, folder / run_folder.MODEL, report, folder / FIT_STATE
        )
    (folder / FIT_STATE).unlink(missing_ok=True)
    for reason, count in trained.left_out.items():
        tell({"event": "stage", "text": f"{count} comparisons left out: {reason}"})
    return trained.history[-1]


def _spec(config: RunConfig) -> Any:
    if config.preference_model is None:
        raise InputError("no preference model in this run", where=config.where("preference_model"))
    return config.preference_model


def _options(config: RunConfig, shape: PreferenceModel) -> FitOptions:
    given = {}
    for name, value in config.training.items():
        if name in FROZEN_FIELDS:
            given[FROZEN_FIELDS[name]] = value
        elif name not in IGNORED_FIELDS:
            raise InputError(
                "a training argument that means nothing on frozen features",
                where=config.where(f"training.{name}"),
                field=f"training.{name}",
                expected=", ".join(FROZEN_FIELDS),
            )
    if "epochs" in given:
        given["epochs"] = max(1, round(given["epochs"]))
    return FitOptions(seed=config.seed, draw="by_group" if isinstance(shape, MORE) else "uniform", **given)


def _fitting(records: Records, shape: PreferenceModel, tell: Tell) -> Records:
    """The records a model can learn from, criteria written into the prompt, for MORE one source for each group."""

    def kept(comparisons: Sequence[Comparison], count: bool) -> list[Comparison]:
        found, left_out = usable(comparisons, shape)
        for reason, number in left_out.items() if count else ():
            tell({"event": "stage", "text": f"{number} comparisons left out: {reason}"})
        return [with_context(c, shape.template) for c in found] if isinstance(shape, ContextAware) else found

    train = [kept(source, True) for source in records.train]
    if not any(train):
        raise InputError("nothing to learn from", field="data.train")
    weights = records.weights
    if isinstance(shape, MORE):
        train = [[c for source in train for c in source if c.group == group] for group in shape.groups]
        weights = (1 / len(train),) * len(train)
    evaluation = {name: kept(part, False) for name, part in records.evaluation.items()}
    return replace(records, train=train, evaluation=evaluation, weights=weights)


def _adapter(config: RunConfig) -> Any:
    if config.peft is None:
        return None
    from peft import LoraConfig

    try:
        return LoraConfig(**{**config.peft, **({} if config.dropout else {"lora_dropout": 0.0})})
    except (ValueError, TypeError) as error:
        raise InputError("peft refuses its options", where=config.where("peft"), found=str(error)[:300]) from error


def _run(
    trainer: PreferenceTrainer, policy: RewardPolicy, encoded: Encoded, config: RunConfig, resume: bool, tell: Tell
) -> None:
    found = newest_complete(Path(config.output_dir)) if resume else None
    for path, reason in found.skipped if found else ():
        tell({"event": "stage", "text": f"{path} is passed over: {reason}"})
    if found is not None and found.path is not None:
        tell({"event": "stage", "text": f"going on from {found.path}"})
    trainer.train(str(found.path) if found and found.path else None)
    if isinstance(policy.head, Ensemble):
        _standardize(policy, policy.head, encoded.train)


@torch.no_grad()
def _standardize(
    policy: RewardPolicy, head: Ensemble, encoded: Sequence[EncodedComparison], most: int = 2000
) -> None:
    """Puts the members of an ensemble on one scale, by the rewards of (at most 2,000) training comparisons."""
    policy.eval()
    some = encoded[:: max(1, len(encoded) // most)]
    values = []
    for rows in batches(some, policy.cost, 8192):
        embedded = policy.embed(on_device(policy.collate([some[row] for row in rows]), policy))
        values.append(embedded.values[embedded.mask])
    table = torch.cat(values).unsqueeze(1)
    head.standardize(Embedded(table, table, None, torch.ones(table.shape[:2], dtype=torch.bool, device=table.device)))
