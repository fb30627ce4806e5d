"""Aligns a diffusion pipeline as a run file says: any objective, full or LoRA, latents and embeddings kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from assent.comparison import content_key
from assent.config import DiffusionConfig, LatentsConfig, RunConfig
from assent.encoding.diffusion import DiffusionComparisons, Encoders, prompt_text
from assent.encoding.diffusion_prompts import DiffusionPrompts
from assent.errors import InputError
from assent.likelihood.adapters import add_adapter
from assent.likelihood.denoisers import Conditioning
from assent.likelihood.diffusion import DiffusionPolicy, Draws, EmptyPrompts
from assent.likelihood.inversion import Inversion, InvertedDiffusionPolicy
from assent.likelihood.pipelines import LoadedPipeline, PipelinePrompts, load_pipeline, weights_hash
from assent.likelihood.policy import Policy, Reference
from assent.likelihood.reference import FollowingReference, FrozenReference, start_reference
from assent.likelihood.sampler_steps import SamplerStepPolicy
from assent.likelihood.stored_errors import StoredErrors, reference_identity
from assent.likelihood.stored_reference import default_store
from assent.likelihood.weighting import Weighting
from assent.objectives import Needs
from assent.training import run_folder
from assent.training.alarms import Alarms
from assent.training.arguments import training_arguments
from assent.training.checkpoints import newest_complete
from assent.training.diffusion_plan import budget_of, diffusion_lora, draws_of, keeps_errors
from assent.training.diffusion_prompts import build_rollout, step_policy
from assent.training.diffusion_rollout import OnPolicyTrainer
from assent.training.diffusion_saving import PICTURES, first_prompts, save_pipeline, write_pictures
from assent.training.diffusion_setting import DiffusionSetting, Tell
from assent.training.gradients import build_combination
from assent.training.progress import Events
from assent.training.trainer import PreferenceTrainer
from assent.work.store import ArrayStore


def train_diffusion(setting: DiffusionSetting, tell: Tell, resume: bool = False) -> PreferenceTrainer:
    """Trains and leaves `model/` in the run folder; the caller has claimed the folder."""
    config, section, folder = setting.config, setting.section, Path(setting.config.output_dir)
    for line in setting.lines():
        tell({"event": "stage", "text": line})
    tell({"event": "stage", "text": f"loading {config.model.path}"})
    loaded = _load(config, config.model.path)
    arguments = training_arguments(config)
    if arguments.device.type != "cpu":
        loaded.pipeline.to(arguments.device)
    # What the model is told of no prompt at all; where there is none, nothing is emptied or guided.
    nothing = loaded.prompts.encode([""])[0] if isinstance(loaded.prompts, PipelinePrompts) else None
    nothing = None if nothing is None else {name: value.cpu() for name, value in nothing.items()}
    # Before an adapter is put on the network, which is then no part of the reference.
    keeping = keeps_errors(config, setting.objective.needs)
    weights = weights_hash(loaded.network) if keeping else ""
    trainer = _trainer(setting, loaded, nothing, tell)
    reference = open_diffusion_reference(config, trainer.policy, setting.objective.needs)
    if reference is not None and keeping:
        reference = _keeping(config, trainer, reference, weights)
    if reference is not None:
        trainer.use_reference(reference)
    first = trainer.is_world_process_zero()
    if first:
        facts = {**setting.records.facts, "plan": setting.plan.to_dict(), "encoded": trainer.train_dataset.encoded}
        facts |= {name: {"matched": matched.to_dict()} for name, matched in setting.matched.items()}
        run_folder.write_start(folder, config, facts, _sight(setting))
    if first and section.samples:
        _draw(setting, loaded, trainer, nothing, "before", tell)
    found = newest_complete(folder) if resume else None
    for path, reason in found.skipped if found else ():
        tell({"event": "stage", "text": f"{path} is passed over: {reason}"})
    if found is not None and found.path is not None:
        tell({"event": "stage", "text": f"going on from {found.path}"})
    try:
        trainer.train(str(found.path) if found and found.path else None)
    finally:
        if isinstance(reference, StoredErrors):
            reference.close()
            known = f"{reference.found:,} reference errors were kept, {reference.computed:,} computed"
            tell({"event": "stage", "text": known})
    if trainer.is_world_process_zero():
        if section.samples:
            _draw(setting, loaded, trainer, nothing, "after", tell)
        loading = save_pipeline(loaded, trainer.policy.model, folder / run_folder.MODEL)
        _write_card(setting, trainer, folder / run_folder.MODEL, loading)
    return trainer


def _trainer(
    setting: DiffusionSetting, loaded: LoadedPipeline, nothing: Conditioning | None, tell: Tell
) -> PreferenceTrainer:
    """The trainer of a run, everything it reads encoded, without its reference."""
    config, section = setting.config, setting.section
    shared: dict[str, Any] = {
        "max_tokens_per_micro_batch": budget_of(config),
        "combiner": None if config.gradients is None else build_combination(config.gradients, config.seed),
        "dropout": config.dropout,
        "facts": {"data": setting.records.facts["fingerprint"], "objective": content_key(config.objective)},
        "callbacks": [
            Alarms(config.alarms, lambda text: tell({"event": "stage", "text": f"warning: {text}"})),
            run_folder.MetricsFile(Path(config.output_dir)),
            Events(tell),
        ],
    }
    arguments = training_arguments(config)
    if section.rollout is not None:
        prompts = _encoded_prompts(setting, loaded, tell)
        rollout = build_rollout(loaded, section.rollout, arguments.device, budget_of(config))
        adapted = _adapted(config, loaded)
        policy: Policy = step_policy(adapted, section.rollout, nothing)
        _without_encoders(loaded, keep="vae")
        return OnPolicyTrainer(policy, setting.objective, arguments, prompts, rollout=rollout, **shared)
    train, evaluation = _encode(setting, loaded, tell)
    policy = _policy(config, _adapted(config, loaded))
    if nothing is not None:
        policy.empty = EmptyPrompts(section.empty_prompt, nothing)
    _without_encoders(loaded)
    return PreferenceTrainer(
        policy,
        setting.objective,
        arguments,
        train,
        evaluation.get("eval", evaluation or None),
        sources=(tuple(map(len, setting.train)), setting.records.weights),
        **shared,
    )


def open_diffusion_reference(config: RunConfig, policy: Policy, needs: Needs) -> Reference | None:
    """What margins are taken against: the adapter off, a frozen copy, another pipeline's network, or a follower.

    None where the objective needs none, and then nothing is copied or loaded.
    """
    if not (needs.reference or needs.live_reference):
        return None
    given = config.reference
    if given is not None and given.sync is not None:
        return FollowingReference(policy, given.sync.every, given.sync.mix)
    if given is None or given.source == "model":
        return start_reference(policy)
    other = _load(config, given.source)
    assert isinstance(policy, DiffusionPolicy | SamplerStepPolicy)
    return FrozenReference(policy.around(other.network))


def _keeping(config: RunConfig, trainer: PreferenceTrainer, reference: Reference, weights: str) -> StoredErrors:
    """The reference with its errors on disk; `weights` is a hash of the network as it was."""
    theirs = getattr(reference, "policy", None)
    assert isinstance(theirs, DiffusionPolicy)
    assert isinstance(trainer.policy, DiffusionPolicy)
    if config.reference is not None and config.reference.source != "model":
        weights = weights_hash(theirs.model)
    given = config.reference.store if config.reference is not None else None
    folder = Path(given) if given else default_store().parent / "diffusion-reference"
    # Mixed precision is no property of the weights, and moves the errors.
    precision = f"{weights} {trainer.args.bf16} {trainer.args.fp16} {trainer.args.device.type}"
    return StoredErrors(reference, trainer.policy, ArrayStore(folder), reference_identity(theirs, precision))


def _load(config: RunConfig, path: str) -> LoadedPipeline:
    section = config.diffusion or DiffusionConfig()
    dtype = config.weights_dtype or "float32"
    return load_pipeline(path, section.resolution, getattr(torch, dtype))


def _adapted(config: RunConfig, loaded: LoadedPipeline) -> LoadedPipeline:
    """The pipeline with the run's adapter on its network, everything else of which is frozen."""
    if config.peft is None:
        return loaded
    network: Any = loaded.network
    network.requires_grad_(False)
    try:
        return replace(loaded, network=add_adapter(network, diffusion_lora(config)))
    except ValueError as error:
        raise InputError(
            "peft cannot put this adapter on the network",
            where=config.where("peft"),
            field="peft",
            found=str(error)[:300],
        ) from error


def _policy(config: RunConfig, loaded: LoadedPipeline) -> DiffusionPolicy:
    section = config.diffusion or DiffusionConfig()
    told = None if section.timesteps is None else tuple(section.timesteps)
    draws = Draws("fresh" if section.noise == "fresh" else "fixed", draws_of(config), config.seed, told)
    weighting = Weighting(section.weighting, section.min_snr_gamma)
    if section.inversion is None:
        return DiffusionPolicy(loaded.network, loaded.noising, draws, weighting)
    inversion = Inversion(**section.inversion.model_dump())
    return InvertedDiffusionPolicy(loaded.network, loaded.noising, inversion, draws, weighting)


def _store(setting: DiffusionSetting) -> ArrayStore:
    given = setting.section.latents
    folder = given.folder if isinstance(given, LatentsConfig) else given
    return ArrayStore(Path(folder) if folder else default_store().parent / "latents")


def _encoding(tell: Tell) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        tell({"event": "stage", "text": f"encoding pictures and prompts: {done:,} of {total:,}"})

    return progress


def _encoded_prompts(setting: DiffusionSetting, loaded: LoadedPipeline, tell: Tell) -> DiffusionPrompts:
    texts = [prompt_text(comparison.prompt, "prompt") for comparison in setting.train[0]]
    return DiffusionPrompts(texts, loaded.prompts, _store(setting), _encoding(tell))


def _encode(
    setting: DiffusionSetting, loaded: LoadedPipeline, tell: Tell
) -> tuple[DiffusionComparisons, dict[str, DiffusionComparisons]]:
    encoders = Encoders(loaded.images, loaded.prompts, _store(setting))
    everything = [comparison for source in setting.train for comparison in source]
    given = setting.section.latents
    variants = given.cache if isinstance(given, LatentsConfig) else 1
    train = DiffusionComparisons(everything, encoders, _encoding(tell), variants)
    tell({"event": "stage", "text": f"{train.encoded:,} pictures and prompts encoded, the others were kept"})
    return train, {name: DiffusionComparisons(part, encoders) for name, part in setting.evaluation.items()}


def _without_encoders(loaded: LoadedPipeline, keep: str | None = None) -> None:
    """Text encoders and VAE off the device: what they are needed for while training is on disk."""
    for name, part in loaded.pipeline.components.items():
        if isinstance(part, torch.nn.Module) and part is not loaded.network and name != keep:
            part.to("cpu")


def _draw(
    setting: DiffusionSetting,
    loaded: LoadedPipeline,
    trainer: PreferenceTrainer,
    nothing: Conditioning | None,
    when: str,
    tell: Tell,
) -> None:
    tell({"event": "stage", "text": f"drawing pictures {when} training"})
    path = Path(setting.config.output_dir) / PICTURES / f"{when}.png"
    prompts = first_prompts(trainer.train_dataset, setting.section.samples)
    write_pictures(loaded, trainer.policy.model, prompts, path, setting.section, nothing)


def _sight(setting: DiffusionSetting, records: int = 3) -> list[dict[str, Any]]:
    """Three records as the model sees them: prompts and the size of the pictures."""
    return [
        {
            "id": comparison.key[:12],
            "candidates": [
                {
                    "prompt": prompt_text(comparison.prompt_of(candidate), comparison.key[:12]),
                    "score": candidate.score,
                    "role": candidate.role,
                }
                for candidate in comparison.ordered()
            ],
        }
        for comparison in setting.train[0][:records]
    ]


def _write_card(setting: DiffusionSetting, trainer: PreferenceTrainer, folder: Path, loading: str) -> None:
    text = (
        f"---\nbase_model: {setting.config.model.path}\nlibrary_name: diffusers\n"
        f"tags: [assent, preference-optimization]\n---\n# {setting.config.model.path} aligned with preferences\n\n"
        f"Objective: `{setting.name}`, {trainer.state.global_step} steps "
        f"on {setting.plan.comparisons} comparisons.\n\n"
        f"```python\nfrom diffusers import DiffusionPipeline\n\n{loading}\n```\n\n"
        "The complete configuration stands beside this folder in `config.resolved.yaml`.\n"
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
