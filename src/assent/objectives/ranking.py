"""Numbers of learning to rank: labels of a list, discounted gains, and the Plackett-Luce likelihood of an order.

Letters: B comparisons, K candidates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from assent.errors import InputError
from assent.objectives.judged import Judged
from assent.objectives.lists import OUTSIDE, differences, judged_scores, kept


def list_labels(batch: Judged, source: str) -> Tensor:
    """[B, K] labels in [0, 1]: the scores (source `scores`), or each answer's share of wins in its list (`wins`)."""
    scores, judged = judged_scores(batch), batch.judged
    if source == "scores":
        if bool(((scores < 0) | (scores > 1)).any()):
            raise InputError(
                "ranking labels lie between 0 and 1; the objective needs them so",
                field="score",
                found=f"{float(scores.min()):g} to {float(scores.max()):g}",
                remedy="Set `labels: wins`, or rescale the scores",
            )
        return scores
    both = judged.unsqueeze(1) & judged.unsqueeze(2)
    won = kept((differences(scores).sign() + 1) / 2, both)
    return won.sum(dim=2) / judged.sum(dim=1, keepdim=True).clamp(min=1)


def ranks(values: Tensor, judged: Tensor) -> Tensor:
    """[B, K] 1-based ranks by value, highest first, ties by position; candidates outside come last."""
    order = torch.where(judged, values, torch.full_like(values, OUTSIDE)).argsort(dim=1, descending=True, stable=True)
    places = torch.arange(1, values.shape[1] + 1, device=values.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def lambda_weights(labels: Tensor, rewards: Tensor, judged: Tensor) -> Tensor:
    """[B, K, K] how much swapping two answers changes the discounted cumulative gain of the list ranked by reward."""
    gain = torch.pow(2.0, labels) - 1
    discount = 1 / (ranks(rewards, judged).to(labels.dtype) + 1).log()
    return differences(gain).abs() * differences(discount).abs()


def plackett_luce(rewards: Tensor, judged: Tensor) -> Tensor:
    """[B] minus the log-probability that answers are drawn in column order with chances e^reward."""
    order = torch.arange(rewards.shape[1], device=rewards.device)
    left = (order.unsqueeze(0) >= order.unsqueeze(1)) & judged.unsqueeze(1)
    remaining = torch.where(left, rewards.unsqueeze(1), torch.full_like(rewards, OUTSIDE).unsqueeze(1))
    return kept(remaining.logsumexp(dim=2) - rewards, judged).sum(dim=1)
