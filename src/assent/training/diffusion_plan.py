"""What aligning a diffusion pipeline would do, need and take, before any weight is loaded."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from assent.comparison import Comparison
from assent.config import RolloutConfig, RunConfig
from assent.errors import InputError
from assent.objectives import Needs
from assent.training.order import StepOrder

ROWS_AT_ONCE = 16
"""Noisy pictures computed at once where the run file does not say; results do not depend on it."""


@dataclass(frozen=True)
class DiffusionPlan:
    """The resolved numbers of a run.

    Args:
        comparisons: to train on; `held_out` to measure on.
        per_step: comparisons of an optimizer step, over all ranks.
        steps: optimizer steps; `steps_per_epoch` of one pass.
        pictures: that are encoded once, and the prompts.
        rows: noisy pictures of one pass, all draws counted.
        budget: rows computed at once.
        parameters: of the network, and how many are trained.
        memory: bytes of weights, reference, gradients and optimizer; activations are not predicted.
        reference: where reference errors come from.
    """

    comparisons: int
    held_out: int
    per_step: int
    steps: int
    steps_per_epoch: int
    pictures: int
    rows: int
    budget: int
    parameters: int
    trained: int
    memory: dict[str, int]
    reference: str
    device: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-like data."""
        return asdict(self)


def plan_diffusion(
    config: RunConfig,
    args: TrainingArguments,
    train: Sequence[Sequence[Comparison]],
    held_out: int,
    weights: tuple[float, ...] | None,
    needs: Needs,
) -> DiffusionPlan:
    """The plan of a checked run; the network is looked at on the meta device, where it weighs nothing."""
    parameters, trained = network_size(config)
    order = StepOrder(
        tuple(map(len, train)),
        args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size,
        args.seed if args.data_seed is None else args.data_seed,
        weights,
        args.dataloader_drop_last,
    )
    everything = [comparison for source in train for comparison in source]
    live = needs.reference or needs.live_reference
    size = {"float64": 8, "bfloat16": 2, "float16": 2}.get(config.weights_dtype or "float32", 4)
    copied = live and config.peft is None
    return DiffusionPlan(
        comparisons=len(everything),
        held_out=held_out,
        per_step=order.per_step,
        steps=args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * len(order)),
        steps_per_epoch=len(order),
        pictures=0 if rollout_of(config) else sum(len(comparison.candidates) for comparison in everything),
        rows=rows_of(config, everything),
        budget=budget_of(config),
        parameters=parameters,
        trained=trained,
        memory={
            "weights": size * parameters,
            "reference": size * parameters if copied else 0,
            "gradients": 4 * trained,
            "optimizer": 8 * trained,
        },
        reference=_reference(config, needs) if live else "none",
        device=str(args.device),
    )


def keeps_errors(config: RunConfig, needs: Needs) -> bool:
    """Whether the reference's errors are kept on disk: its numbers must not change, nor the noise."""
    section, reference = config.diffusion, config.reference
    fixed = section is not None and section.noise != "fresh"
    asked = reference is None or (reference.sync is None and reference.store != "none")
    return fixed and asked and needs.reference and not needs.live_reference


def rollout_of(config: RunConfig) -> RolloutConfig | None:
    """`diffusion.rollout`, if the run makes its own pairs."""
    return None if config.diffusion is None else config.diffusion.rollout


def rows_of(config: RunConfig, comparisons: Sequence[Comparison]) -> int:
    """Noisy pictures that a pass shows the network, those of rollouts included and each guided one twice."""
    rollout = rollout_of(config)
    if rollout is None:
        return sum(len(comparison.candidates) for comparison in comparisons) * draws_of(config)
    tried = rollout.first + rollout.candidates * (rollout.steps - 1 - rollout.first) + 1
    return len(comparisons) * tried * (2 if rollout.guidance != 1 else 1)


def budget_of(config: RunConfig) -> int:
    """Rows computed at once."""
    given = config.max_tokens_per_micro_batch
    return ROWS_AT_ONCE if given == "auto" else int(given)


def draws_of(config: RunConfig) -> int:
    """Draws of timestep and noise for each comparison."""
    section = config.diffusion
    if section is None:
        return 1
    return section.draws if section.noise == "fresh" else section.noise.fixed


def network_size(config: RunConfig) -> tuple[int, int]:
    """(parameters of the network, parameters that are trained); a hub name cannot be looked at and gives zeros."""
    folder = Path(config.model.path)
    if not (folder / "model_index.json").is_file():
        return 0, 0
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        part = "transformer" if "transformer" in index else "unet"
        library, name = index[part]
        shape = json.loads((folder / part / "config.json").read_text(encoding="utf-8"))
        if library != "diffusers":
            raise ValueError(f"{part} comes from {library}")
        with torch.device("meta"):
            network = getattr(importlib.import_module("diffusers"), name).from_config(shape)
            total = sum(parameter.numel() for parameter in network.parameters())
            if config.peft is None:
                return total, total
            from peft import get_peft_model

            adapted = get_peft_model(network, diffusion_lora(config))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "the network's configuration cannot be read",
            where=config.where("model"),
            field="model",
            found=" ".join(str(error).split())[:300],
        ) from error
    return total, sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)


ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
"""What an adapter sits on where the run file does not say: the attention of every family."""


def diffusion_lora(config: RunConfig) -> Any:
    """The LoraConfig of `peft:`; dropout off unless the run keeps it."""
    from peft import LoraConfig

    options = {"target_modules": ATTENTION, **(config.peft or {})}
    if not config.dropout:
        options["lora_dropout"] = 0.0
    try:
        return LoraConfig(**options)
    except (ValueError, TypeError) as error:
        raise InputError(
            "peft refuses its options", where=config.where("peft"), field="peft", found=str(error)[:300]
        ) from error


def _reference(config: RunConfig, needs: Needs) -> str:
    given = config.reference
    source = "the starting network" if given is None or given.source == "model" else given.source
    if given is not None and given.sync is not None:
        return f"{source}, following the policy (live)"
    kept = "errors kept" if keeps_errors(config, needs) else "live"
    return f"{source} ({'its adapter off' if config.peft else 'a frozen copy'}, {kept})"
