"""Small worlds whose log-probabilities are functions of a few parameters, with the library's objectives on top."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from assent.likelihood import Likelihoods
from assent.objectives import Judged, build_objective

BETTER_FIRST = torch.tensor([[1.0, 0.0]])


def judged(
    policy: Tensor | Likelihoods, reference: Tensor | Likelihoods, scores: Tensor | None = None, **fields: Any
) -> Judged:
    """Comparisons with the given summed log-probabilities [B, K]; by default pairs with the better answer first."""
    ours = policy if isinstance(policy, Likelihoods) else Likelihoods.from_sums(policy)
    theirs = reference if isinstance(reference, Likelihoods) else Likelihoods.from_sums(reference)
    shape, like = ours.shape, ours.tokens
    return Judged(
        policy=ours,
        reference=theirs,
        scores=(BETTER_FIRST.expand(shape) if scores is None else scores).to(like),
        labels=fields.pop("labels", torch.full(shape, -1)),
        roles=fields.pop("roles", ((None,) * shape[1],) * shape[0]),
        mask=torch.ones(shape, dtype=torch.bool),
        confidence=None,
        weight=torch.ones(shape[0]).to(like),
        **fields,
    )


def fitted(
    spec: Any,
    make: Callable[..., Judged],
    start: Mapping[str, Tensor],
    steps: int,
    rate: float,
    weight: Tensor | None = None,
    decay: bool = False,
) -> dict[str, Tensor]:
    """The parameters after full-batch Adam on the objective's weighted mean.

    Args:
        spec: of the objective.
        make: from the parameters, by name, to comparisons.
        start: initial parameters.
        steps: how many.
        rate: learning rate.
        weight: [B] of the comparisons; default: equal.
        decay: let the rate fall to 0 along a cosine, where the very end of convergence is wanted.
    """
    objective = build_objective(spec)
    parameters = {name: value.clone().requires_grad_() for name, value in start.items()}
    optimizer = torch.optim.Adam(parameters.values(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps) if decay else None
    for _ in range(steps):
        optimizer.zero_grad()
        loss = objective(make(**parameters))
        loss = loss.sum(dim=1) if loss.dim() == 2 else loss
        (loss.mean() if weight is None else (loss * weight).sum() / weight.sum()).backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
    return {name: value.detach() for name, value in parameters.items()}
