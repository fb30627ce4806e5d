"""Every comparison that a run will ask a reference for, helpers that are drawn while training included."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from transformers import TrainingArguments

from assent.encoding import EncodedComparison
from assent.objectives import Needs
from assent.training.mismatched import ROLE, with_mismatched
from assent.training.order import StepOrder

HeldOut = Sequence[EncodedComparison] | Mapping[str, Sequence[EncodedComparison]] | None


def order_of(args: TrainingArguments, sizes: tuple[int, ...], weights: tuple[float, ...] | None = None) -> StepOrder:
    """Which records make each optimizer step of a run, as `TrainingArguments` that nobody has changed yet say it."""
    per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    seed = args.seed if args.data_seed is None else args.data_seed
    return StepOrder(sizes, per_step, seed, weights, args.dataloader_drop_last)


def steps_of(args: TrainingArguments, order: StepOrder) -> int:
    """Optimizer steps of the whole run."""
    return int(args.max_steps) if args.max_steps > 0 else math.ceil(args.num_train_epochs * len(order))


def with_helpers(
    comparisons: Sequence[EncodedComparison], needs: Needs, seed: int, number: int, spare: Sequence[EncodedComparison]
) -> Sequence[EncodedComparison]:
    """The comparisons of step `number` with the helpers that the objective wants drawn."""
    return with_mismatched(comparisons, seed, number, spare) if ROLE in needs.helpers else comparisons


def evaluation_groups(
    held_out: Sequence[EncodedComparison], needs: Needs, seed: int, size: int
) -> list[Sequence[EncodedComparison]]:
    """Held-out comparisons in groups as large as a step, each with its helpers."""
    starts = range(0, len(held_out), size)
    return [with_helpers(held_out[at : at + size], needs, seed, -1 - at, held_out) for at in starts]


def wanted_comparisons(
    train: Sequence[EncodedComparison], held_out: HeldOut, needs: Needs, order: StepOrder, steps: int, seed: int
) -> list[EncodedComparison]:
    """What a run of so many steps asks its reference, records that come again included."""
    sets = list(held_out.values()) if isinstance(held_out, Mapping) else [held_out or []]
    if ROLE not in needs.helpers:
        return [*train, *(comparison for part in sets for comparison in part)]
    found: list[EncodedComparison] = []
    for number in range(steps):
        chosen = [train[at] for at in order.step(*divmod(number, len(order)))]
        found += with_helpers(chosen, needs, seed, number, train)
    for part in sets:
        for group in evaluation_groups(part, needs, seed, order.per_step):
            found += group
    return found
