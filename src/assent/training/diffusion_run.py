"""Aligns a diffusion pipeline as a run file says: any objective, full or LoRA, latents and embeddings kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from assent.comparison import Comparison, Media, content_key
from assent.config import DiffusionConfig, RunConfig
from assent.encoding.diffusion import DiffusionComparisons, Encoders, prompt_text
from assent.encoding.images import load_image
from assent.errors import InputError
from assent.likelihood.adapters import add_adapter
from assent.likelihood.diffusion import DiffusionPolicy, Draws, EmptyPrompts
from assent.likelihood.inversion import Inversion, InvertedDiffusionPolicy
from assent.likelihood.pipelines import LoadedPipeline, PipelinePrompts, load_pipeline
from assent.likelihood.policy import Reference
from assent.likelihood.reference import FollowingReference, FrozenReference, start_reference
from assent.likelihood.stored_reference import default_store
from assent.likelihood.weighting import Weighting
from assent.objectives import Needs, Objective
from assent.training import run_folder
from assent.training.alarms import Alarms
from assent.training.arguments import training_arguments
from assent.training.checkpoints import newest_complete
from assent.training.data import Records, derivations_of, read_records
from assent.training.diffusion_plan import DiffusionPlan, budget_of, diffusion_lora, draws_of, plan_diffusion
from assent.training.diffusion_saving import PICTURES, save_pipeline, write_pictures
from assent.training.gradients import build_combination
from assent.training.matching import Matched, match
from assent.training.models import check_reference
from assent.training.progress import Events
from assent.training.trainer import PreferenceTrainer
from assent.work.store import ArrayStore

Tell = Callable[[Mapping[str, Any]], None]


@dataclass
class DiffusionSetting:
    """A run that has been checked; no weights are loaded.

    Args:
        train: comparisons of each source; `evaluation` held-out ones by name.
        matched: what the objective's needs did to the data, by set.
    """

    config: RunConfig
    objective: Objective
    name: str
    records: Records
    train: list[list[Comparison]]
    evaluation: dict[str, list[Comparison]]
    matched: dict[str, Matched]
    plan: DiffusionPlan

    @property
    def section(self) -> DiffusionConfig:
        """`diffusion:` of the run file, or its defaults."""
        return self.config.diffusion or DiffusionConfig()

    def lines(self) -> list[str]:
        """What happened to the data, in sentences."""
        return [f"{name}: {line}" for name, matched in self.matched.items() for line in matched.lines()]


def prepare_diffusion(
    config: RunConfig, objective: Objective, name: str, tell: Tell, given: Sequence[Comparison] | None = None
) -> DiffusionSetting:
    """Everything that can be checked before weights are loaded: settings, data, every picture."""
    check_reference(config, objective.needs, name)
    _refuse(config)
    arguments = training_arguments(config)
    tell({"event": "stage", "text": "reading"})
    records = read_records(config, given)
    derivations = derivations_of(config.data)
    whole = match([c for source in records.train for c in source], objective.needs, derivations, name)
    train = [whole.comparisons]
    if len(records.train) > 1:
        train = [match(source, objective.needs, derivations, name).comparisons for source in records.train]
    matched, evaluation = {"train": whole}, {}
    for part, comparisons in records.evaluation.items():
        matched[part] = match(comparisons, objective.needs, derivations, name)
        evaluation[part] = matched[part].comparisons
    tell({"event": "stage", "text": "checking pictures"})
    for comparison in [c for source in [*train, *evaluation.values()] for c in source]:
        _check(comparison)
    held_out = sum(map(len, evaluation.values()))
    plan = plan_diffusion(config, arguments, train, held_out, records.weights, objective.needs)
    return DiffusionSetting(config, objective, name, records, train, evaluation, matched, plan)


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
    train, evaluation = _encode(setting, loaded, tell)
    # What the model is told of no prompt at all; where there is none, nothing is emptied or guided.
    nothing = loaded.prompts.encode([""])[0] if isinstance(loaded.prompts, PipelinePrompts) else None
    policy = _policy(config, loaded)
    if nothing is not None:
        policy.empty = EmptyPrompts(section.empty_prompt, {name: value.cpu() for name, value in nothing.items()})
    _without_encoders(loaded)
    trainer = PreferenceTrainer(
        policy,
        setting.objective,
        arguments,
        train,
        evaluation.get("eval", evaluation or None),
        max_tokens_per_micro_batch=budget_of(config),
        sources=(tuple(map(len, setting.train)), setting.records.weights),
        combiner=None if config.gradients is None else build_combination(config.gradients, config.seed),
        dropout=config.dropout,
        facts={"data": setting.records.facts["fingerprint"], "objective": content_key(config.objective)},
        callbacks=[
            Alarms(config.alarms, lambda text: tell({"event": "stage", "text": f"warning: {text}"})),
            run_folder.MetricsFile(folder),
            Events(tell),
        ],
    )
    reference = open_diffusion_reference(config, policy, setting.objective.needs)
    if reference is not None:
        trainer.use_reference(reference)
    first = trainer.is_world_process_zero()
    if first:
        facts = {**setting.records.facts, "plan": setting.plan.to_dict(), "encoded": train.encoded}
        facts |= {name: {"matched": matched.to_dict()} for name, matched in setting.matched.items()}
        run_folder.write_start(folder, config, facts, _sight(setting))
    if first and section.samples:
        _draw(setting, loaded, policy, train, "before", tell)
    found = newest_complete(folder) if resume else None
    for path, reason in found.skipped if found else ():
        tell({"event": "stage", "text": f"{path} is passed over: {reason}"})
    if found is not None and found.path is not None:
        tell({"event": "stage", "text": f"going on from {found.path}"})
    trainer.train(str(found.path) if found and found.path else None)
    if trainer.is_world_process_zero():
        if section.samples:
            _draw(setting, loaded, policy, train, "after", tell)
        loading = save_pipeline(loaded, policy.model, folder / run_folder.MODEL)
        _write_card(setting, trainer, folder / run_folder.MODEL, loading)
    return trainer


def open_diffusion_reference(config: RunConfig, policy: DiffusionPolicy, needs: Needs) -> Reference | None:
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
    return FrozenReference(DiffusionPolicy(other.network, policy.noising, policy.draws, policy.weighting))


def _load(config: RunConfig, path: str) -> LoadedPipeline:
    section = config.diffusion or DiffusionConfig()
    dtype = config.weights_dtype or "float32"
    return load_pipeline(path, section.resolution, getattr(torch, dtype))


def _policy(config: RunConfig, loaded: LoadedPipeline) -> DiffusionPolicy:
    section = config.diffusion or DiffusionConfig()
    told = None if section.timesteps is None else tuple(section.timesteps)
    draws = Draws("fresh" if section.noise == "fresh" else "fixed", draws_of(config), config.seed, told)
    weighting = Weighting(section.weighting, section.min_snr_gamma)
    network: Any = loaded.network
    if config.peft is not None:
        network.requires_grad_(False)
        try:
            network = add_adapter(network, diffusion_lora(config))
        except ValueError as error:
            raise InputError(
                "peft cannot put this adapter on the network",
                where=config.where("peft"),
                field="peft",
                found=str(error)[:300],
            ) from error
    if section.inversion is None:
        policy = DiffusionPolicy(network, loaded.noising, draws, weighting)
    else:
        inversion = Inversion(**section.inversion.model_dump())
        policy = InvertedDiffusionPolicy(network, loaded.noising, inversion, draws, weighting)
    return policy


def _encode(
    setting: DiffusionSetting, loaded: LoadedPipeline, tell: Tell
) -> tuple[DiffusionComparisons, dict[str, DiffusionComparisons]]:
    given = setting.section.latents
    folder = Path(given) if given else default_store().parent / "latents"
    encoders = Encoders(loaded.images, loaded.prompts, ArrayStore(folder))

    def progress(done: int, total: int) -> None:
        tell({"event": "stage", "text": f"encoding pictures and prompts: {done:,} of {total:,}"})

    everything = [comparison for source in setting.train for comparison in source]
    train = DiffusionComparisons(everything, encoders, progress)
    tell({"event": "stage", "text": f"{train.encoded:,} pictures and prompts encoded, the others were kept"})
    return train, {name: DiffusionComparisons(part, encoders) for name, part in setting.evaluation.items()}


def _without_encoders(loaded: LoadedPipeline) -> None:
    """Text encoders and VAE off the device: everything they are needed for while training is kept."""
    for part in loaded.pipeline.components.values():
        if isinstance(part, torch.nn.Module) and part is not loaded.network:
            part.to("cpu")


def _draw(
    setting: DiffusionSetting,
    loaded: LoadedPipeline,
    policy: DiffusionPolicy,
    data: DiffusionComparisons,
    when: str,
    tell: Tell,
) -> None:
    tell({"event": "stage", "text": f"drawing pictures {when} training"})
    path = Path(setting.config.output_dir) / PICTURES / f"{when}.png"
    nothing = None if policy.empty is None else policy.empty.conditioning
    write_pictures(loaded, policy.model, data, path, setting.section, nothing)


def _check(comparison: Comparison) -> None:
    """Raises for a record that is no comparison of pictures, or a picture that cannot be read."""
    where = comparison.key[:12]
    for candidate in comparison.candidates:
        if not isinstance(candidate.completion, Media):
            raise InputError(
                "a diffusion model is aligned on pictures", where=where, field="completion", expected="an image"
            )
        load_image(candidate.completion, where)
        prompt_text(comparison.prompt_of(candidate), where)


def _refuse(config: RunConfig) -> None:
    for field, value in (
        ("quantization", config.quantization),
        ("model.adapter", config.model.adapter),
        ("reference.adapter", config.reference.adapter if config.reference else None),
        ("reference.store", config.reference.store if config.reference else None),
    ):
        if value not in (None, "none"):
            raise InputError(
                "not available for diffusion pipelines", where=config.where(field), field=field, remedy="Leave it out"
            )


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
