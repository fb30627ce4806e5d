"""What an objective does on pairs made for it: its curve over the margin, and whether its formula compiles back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from assent.errors import InputError
from assent.likelihood import Likelihoods
from assent.objectives.judged import Judged, Needs
from assent.objectives.logic.parts import Part
from assent.objectives.registry import Objective

TOKENS = 10
"""Length of each answer of the curve."""

LEVEL = -30.0
"""Log-probability of both answers under the reference, in nats."""


def curve(objective: Objective, margins: Sequence[float]) -> list[float]:
    """The loss of one pair at each margin of log-probabilities, in nats, the reference being indifferent.

    The margin is split evenly between the two answers. Losses that exist only over a step see a step of one pair.
    """
    if isinstance(objective, torch.nn.Module):
        objective.eval()
    losses = []
    for margin in margins:
        if abs(margin) > -2 * LEVEL:
            raise InputError(
                "a margin is too wide for the curve", found=str(margin), expected=f"at most {-2 * LEVEL}"
            )
        policy = torch.tensor([[LEVEL + margin / 2, LEVEL - margin / 2]], dtype=torch.float64)
        lengths = torch.full((1, 2), TOKENS)
        batch = pairs_for(objective.needs, policy, torch.full_like(policy, LEVEL), lengths)
        losses.append(float(objective(batch).detach().sum()))
    return losses


def compiled_difference(objective: Objective, parts: Sequence[Part], count: int = 1000, seed: int = 0) -> float:
    """Largest difference between the objective and its formulas, counted, over random pairs; relative above 1."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 12, (count, 2), generator=generator)
    means = -torch.rand(2, count, 2, generator=generator, dtype=torch.float64) * 3 - 0.02
    policy, reference = means * lengths
    batch = pairs_for(objective.needs, policy, reference, lengths)
    stated = torch.zeros(count, dtype=torch.float64)
    for part in parts:
        values, known = (means[0], means[1]) if part.per_token else (policy, reference)
        log_probs = {"w": values[:, 0], "l": values[:, 1], "rw": known[:, 0], "rl": known[:, 1]}
        stated = stated + part.loss(log_probs)
    loss = objective(batch).detach()
    loss = loss.sum(dim=1) if loss.dim() == 2 else loss
    return float(((loss - stated).abs() / stated.abs().clamp(min=1)).max())


def pairs_for(needs: Needs, policy: Tensor, reference: Tensor, lengths: Tensor) -> Judged:
    """Pairs with everything the needs ask for: helpers that the policy likes as the reference does, and labels."""
    size = len(policy)
    helpers = [role for role in needs.helpers for _ in range(2 if role in ("blank_image", "base_prompt") else 1)]
    width = 2 + len(helpers)
    for _ in helpers:
        policy, reference = (torch.cat([values, reference[:, :1]], dim=1) for values in (policy, reference))
        lengths = torch.cat([lengths, lengths[:, :1]], dim=1)
    mask = torch.ones(size, width, dtype=torch.bool)
    absent = torch.full((size, len(helpers)), math.nan, dtype=policy.dtype)
    scores = torch.cat([torch.tensor([[1.0, 0.0]], dtype=policy.dtype).expand(size, 2), absent], dim=1)
    labels = torch.cat([torch.tensor([[1, 0]]).expand(size, 2), torch.full((size, len(helpers)), -1)], dim=1)
    return Judged(
        policy=_likelihoods(policy, lengths, needs),
        reference=_likelihoods(reference, lengths, needs) if needs.reference else None,
        scores=scores,
        labels=labels,
        roles=((None, None, *helpers),) * size,
        mask=mask,
        confidence=None,
        weight=torch.ones(size, dtype=policy.dtype),
        dimensions=_Anything(scores),
    )


def _likelihoods(sums: Tensor, lengths: Tensor, needs: Needs) -> Likelihoods:
    plain = Likelihoods.from_sums(sums, lengths)
    # Statistics at which corrections vanish: no divergence, no contrast, the policy's own typical token.
    names = (*needs.statistics, *(("contrast",) if needs.contrast else ()))
    neutral = {name: torch.zeros_like(plain.tokens) for name in names}
    neutral |= {name: plain.tokens for name in needs.statistics if name.startswith(("extrapolated", "log_sum_p2"))}
    return Likelihoods(plain.tokens, plain.owner, plain.shape, plain.mask, statistics=neutral)


class _Anything(dict[str, Tensor]):
    """Scores by dimension that agree with the overall score, whatever the dimension is called."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = scores

    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> Tensor:
        return self.scores
