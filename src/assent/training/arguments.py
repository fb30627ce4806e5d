"""`TrainingArguments` made fit for steps that are cut inside: what is refused, and what is taken out of its hands."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import Any

import torch
from transformers import TrainingArguments

from assent.config import TRAINING_FIELDS, RunConfig
from assent.config.foreign import training_argument_fields
from assent.errors import InputError
from assent.likelihood.policy import Policy

logger = logging.getLogger(__name__)


SET_BY_TRANSFORMERS = ("do_eval",)
"""Refused in a run file, but set by TrainingArguments itself when other fields ask for it."""


@dataclass(frozen=True)
class Prepared:
    """Arguments for the Trainer, and what they asked for that it must not do itself.

    Args:
        arguments: a changed copy.
        per_rank: comparisons of a step for each rank.
        data_seed: of the order of the data.
        drop_last: leave out the last, short step of an epoch.
    """

    arguments: TrainingArguments
    per_rank: int
    data_seed: int
    drop_last: bool


def training_arguments(config: RunConfig) -> TrainingArguments:
    """The arguments of a run file; transformers' own objections become InputErrors."""
    values: dict[str, Any] = {
        "output_dir": config.output_dir,
        "seed": config.seed,
        "logging_steps": 10,
        "save_total_limit": 2,
        "report_to": "none",
        **config.training,
    }
    if "eval_strategy" not in values and config.data.eval is not None:
        values["eval_strategy"] = "epoch"
    for older, newer in (
        ("gradient_checkpointing", "activation_checkpointing"),
        ("gradient_checkpointing_kwargs", "activation_checkpointing_kwargs"),
    ):
        # Versions that know the newer name warn of the older one.
        if older in values and newer in training_argument_fields():
            values[newer] = values.pop(older)
    try:
        return TrainingArguments(**values)
    except (ValueError, TypeError, ImportError, NotImplementedError) as error:
        raise InputError(
            "transformers refuses a training argument",
            where=config.where("training"),
            field="training",
            found=" ".join(str(error).split())[:300],
        ) from error


def prepared_arguments(args: TrainingArguments, policy: Policy) -> Prepared:
    """A copy for the Trainer; raises an InputError for a field that the table refuses."""
    _refuse(args)
    per_rank = args.per_device_train_batch_size * args.gradient_accumulation_steps
    data_seed = args.seed if args.data_seed is None else args.data_seed
    drop_last = args.dataloader_drop_last
    args = copy.copy(args)
    # The Trainer sees one batch per optimizer step: schedules, steps per epoch and resume counts come out right.
    args.gradient_accumulation_steps = 1
    args.dataloader_drop_last = False
    args.logging_nan_inf_filter = False
    args.remove_unused_columns = False
    args.disable_tqdm = True
    if args.ddp_find_unused_parameters is None:
        args.ddp_find_unused_parameters = False
    # Several devices in one process would be driven by DataParallel, which knows nothing of comparisons.
    if args.n_gpu > 1:
        logger.warning("one of %d devices is used; `torchrun --nproc-per-node %d` uses all", args.n_gpu, args.n_gpu)
        args._n_gpu = 1
    _checkpointing(args, policy)
    return Prepared(args, per_rank, data_seed, drop_last)


def _refuse(args: TrainingArguments) -> None:
    usual = TrainingArguments(output_dir=str(args.output_dir), report_to="none", use_cpu=args.use_cpu)
    for name, rule in TRAINING_FIELDS.items():
        if name in SET_BY_TRANSFORMERS:
            continue
        if rule.kind == "refused" and hasattr(args, name) and getattr(args, name) != getattr(usual, name):
            raise InputError(
                f"`{name}` is refused",
                field=f"training.{name}",
                found=repr(getattr(args, name))[:80],
                remedy=rule.note,
            )
    if args.fsdp and not torch.accelerator.is_available():
        raise InputError(
            "fsdp needs an accelerator",
            field="training.fsdp",
            found="a CPU, where accelerate would silently train with DDP instead",
            remedy="Leave `fsdp` out here",
        )


def _checkpointing(args: TrainingArguments, policy: Policy) -> None:
    """Switches checkpointing on in the wrapped model, under both spellings; the Trainer only knows its own model."""
    asked = False
    options: dict[str, Any] | None = None
    for spelling in ("gradient_checkpointing", "activation_checkpointing"):
        if getattr(args, spelling, None):
            asked = True
            setattr(args, spelling, False)
        if getattr(args, f"{spelling}_kwargs", None):
            options = dict(getattr(args, f"{spelling}_kwargs"))
    if not asked:
        return
    model: Any = policy.model
    options = {"use_reentrant": False, **(options or {})}
    if hasattr(model, "enable_input_require_grads"):
        model.enable_input_require_grads()
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=options)
    elif hasattr(model, "gradient_checkpointing_enable"):
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)
    elif hasattr(model, "enable_gradient_checkpointing"):
        # Networks of diffusers, which take no options.
        model.enable_gradient_checkpointing()
    else:
        raise InputError("the model cannot recompute activations", field="training.gradient_checkpointing")
