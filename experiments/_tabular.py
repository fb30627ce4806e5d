"""Policies that are tables, one logit for each answer of each prompt: they reach any optimum, so losses show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from assent.likelihood import Likelihoods
from assent.objectives import Judged, build_objective


def batch_of(
    logits: Tensor, prompts: Tensor, answers: Tensor, scores: Tensor, lengths: Tensor | None = None, **fields: Any
) -> Judged:
    """Judged lists: the policy's and a uniform reference's log-probabilities of answers [N, K] to prompts [N].

    With lengths ([P, A]) an answer's log-probability is its length times the log-softmax, as if every token had it.
    """
    size, width = logits.shape[1], answers.shape[1]
    rows = prompts.unsqueeze(1).expand_as(answers)
    factor = torch.ones_like(logits) if lengths is None else lengths.to(logits)
    policy = (factor * logits.log_softmax(dim=1))[rows, answers]
    uniform = -(factor * torch.log(torch.tensor(float(size))))[rows, answers]
    counts = None if lengths is None else lengths[rows, answers].long()
    mask = torch.ones(answers.shape, dtype=torch.bool)
    return Judged(
        policy=Likelihoods.from_sums(policy, counts),
        reference=Likelihoods.from_sums(uniform, counts),
        scores=scores.to(logits),
        labels=fields.pop("labels", torch.full(answers.shape, -1)),
        roles=((None,) * width,) * len(answers),
        mask=mask,
        confidence=fields.pop("confidence", None),
        weight=torch.ones(len(answers)).to(logits),
        **fields,
    )


def train(
    spec: Any, make: Callable[[Tensor], Judged], shape: tuple[int, int], steps: int, rate: float
) -> tuple[Tensor, Any]:
    """Logits after full-batch Adam from the uniform policy, and the objective with its state."""
    objective = build_objective(spec)
    logits = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = objective(make(logits))
        (loss.sum(dim=1) if loss.dim() == 2 else loss).mean().backward()
        optimizer.step()
    return logits.detach(), objective
