"""Makers of `Judged` batches from plain numbers, for tests of objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from assent.likelihood import Likelihoods
from assent.objectives import Judged

NAN = float("nan")


def columns(*values: Sequence[float] | Tensor) -> Tensor:
    """[B, K] from K columns of B numbers."""
    return torch.stack([torch.as_tensor(value, dtype=torch.float64) for value in values], dim=1)


def judged(
    policy: Tensor | Likelihoods,
    reference: Tensor | Likelihoods | None = None,
    *,
    lengths: Tensor | None = None,
    scores: Tensor | None = None,
    labels: Tensor | None = None,
    roles: Sequence[Sequence[str | None]] | None = None,
    mask: Tensor | None = None,
    **fields: Any,
) -> Judged:
    """A batch from [B, K] sums (or Likelihoods); by default every candidate is judged, K - 1 down to 0."""
    if isinstance(policy, Tensor):
        policy = Likelihoods.from_sums(policy, lengths, mask)
    if isinstance(reference, Tensor):
        reference = Likelihoods.from_sums(reference, lengths, mask)
    size, width = policy.shape
    dtype = policy.tokens.dtype
    if scores is None:
        scores = torch.arange(width - 1, -1, -1, dtype=dtype).expand(size, width)
        if labels is not None:
            scores = torch.full_like(scores, NAN)
    if roles is None:
        roles = [[None] * width for _ in range(size)]
    helpers = torch.tensor([[role is not None for role in row] for row in roles]).view(size, width)
    return Judged(
        policy=policy,
        reference=reference,
        scores=torch.where(policy.mask & ~helpers, scores.to(dtype), torch.full((), NAN, dtype=dtype)),
        labels=torch.full((size, width), -1) if labels is None else labels.long(),
        roles=tuple(tuple(row) for row in roles),
        mask=policy.mask,
        confidence=fields.pop("confidence", None),
        weight=fields.pop("weight", torch.ones(size, dtype=dtype)),
        **fields,
    )


def pairs(inputs: Mapping[str, Any], leaves: dict[str, Tensor], **fields: Any) -> Judged:
    """Pairs from a fixture's inputs; `leaves` receives the tensors whose gradients the fixture knows."""

    def leaf(name: str) -> Tensor:
        leaves[name] = torch.tensor(inputs[name], dtype=torch.float64, requires_grad=True)
        return leaves[name]

    policy = torch.stack([leaf("policy_chosen_logps"), leaf("policy_rejected_logps")], dim=1)
    reference = lengths = None
    if "ref_chosen_logps" in inputs:
        reference = columns(inputs["ref_chosen_logps"], inputs["ref_rejected_logps"])
    if "chosen_lengths" in inputs:
        lengths = columns(inputs["chosen_lengths"], inputs["rejected_lengths"]).long()
    return judged(policy, reference, lengths=lengths, **fields)
