"""Loss and metrics of held-out comparisons: each once, whatever the number of ranks; nothing is learned from them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from assent.encoding import EncodedComparison
from assent.objectives import Judged
from assent.training.gathering import Part, gathered, joined, parts_of
from assent.training.metrics import Metrics
from assent.training.step import StepFunction, weighted


def evaluated(
    function: StepFunction, module: nn.Module, groups: Sequence[Sequence[EncodedComparison]], device: torch.device
) -> dict[str, float]:
    """Means over all comparisons.

    Args:
        function: the training step, whose policy, reference and objective are used.
        module: the policy, or what wraps it.
        groups: comparisons in groups of a training step's size; coupled losses see one group at a time.
        device: where sums are kept.
    """
    metrics = Metrics(function.objective, device)
    totals = torch.zeros(2, dtype=metrics.sums.dtype, device=device)
    learning = isinstance(function.objective, nn.Module) and function.objective.training
    if isinstance(function.objective, nn.Module):
        function.objective.eval()
    try:
        with torch.no_grad():
            for number, group in enumerate(groups):
                _add(function, module, group, -1 - number, metrics, totals)
    finally:
        if isinstance(function.objective, nn.Module):
            function.objective.train(learning)
    if function.engine.world > 1:
        dist.all_reduce(totals)
    total, count = totals.tolist()
    return {"loss": total / count, **metrics.take(function.engine.world > 1)}


def _add(
    function: StepFunction,
    module: nn.Module,
    group: Sequence[EncodedComparison],
    number: int,
    metrics: Metrics,
    totals: Tensor,
) -> None:
    function.policy.begin_step(function.seed, number)

    def count(judged: Judged, comparisons: Sequence[EncodedComparison]) -> None:
        losses = function.objective(judged)
        metrics.watch(judged, losses)
        # `weighted` divides by the number of comparisons; sums are what is added up here.
        totals[0] += weighted(losses, judged.weight, len(comparisons), None) * len(comparisons)
        totals[1] += len(comparisons)

    parts: dict[int, tuple[Part, Part | None]] = {}
    for places in function.groups(group):
        chosen = [group[place] for place in places] or [min(group, key=function.policy.cost)]
        policy, reference = function.score(module, chosen)
        if not places:
            continue
        if not function.objective.needs.batch:
            count(function.judged(chosen, policy, reference, number), chosen)
            continue
        references: Sequence[Part | None] = [None] * len(chosen) if reference is None else parts_of(reference)
        for place, part, other in zip(places, parts_of(policy), references, strict=True):
            parts[place] = (part, other)
    if function.objective.needs.batch:
        everyone = gathered(parts, function.engine.device)
        if function.engine.rank == 0:
            pairs = [everyone[place] for place in range(len(group))]
            others = [reference for _, reference in pairs if reference is not None]
            whole = joined([policy for policy, _ in pairs])
            count(function.judged(group, whole, joined(others) if others else None, number), group)
