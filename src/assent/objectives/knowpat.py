"""KnowPAT: answers lifted and lowered one by one along a ranked list, plus imitation of the best.

Source: Zhang et al. 2023, arXiv 2311.06503, eq. 5 to 8.

    L = -S_1 + lambda / (l - 1) sum_{i < l} mu_i [ -log s(S_i) + sum over r_j < r_i of -log s(-S_j) ]
    mu_i = (S_i - min S) / (max S - min S), without gradient

S = log p per token, s the sigmoid, l the length of the list. No difference of two answers occurs, so there is no
margin to reach. mu switches an answer off where it is the least likely one: with two answers the align term is off
exactly when their order is wrong, and the imitation has to lift the best one first. A flat list has mu = 0. The
released code takes the mean over the worse answers and always divides by 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import not_negative
from assent.objectives.judged import Judged, Needs
from assent.objectives.lists import kept, ordered_pairs


@dataclass(frozen=True)
class KnowPAT:
    """Knowledgeable preference alignment over lists, without a reference.

    Args:
        align_weight: weight lambda of the align term.
        average_worse: mean over the worse answers (as in the released code) instead of their sum.
    """

    needs: ClassVar[Needs] = Needs(lists=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"align_weight": (0.001, 1.0)}
    align_weight: float = 0.1
    average_worse: bool = False

    def __post_init__(self) -> None:
        not_negative(align_weight=self.align_weight)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        batch.require_lists()
        score, judged = batch.policy.mean, batch.judged
        worse = ordered_pairs(batch).to(score.dtype)
        if self.average_worse:
            worse = worse / worse.sum(dim=2, keepdim=True).clamp(min=1)
        count = judged.sum(dim=1)
        positive = judged & (torch.arange(score.shape[1], device=score.device) < (count - 1).unsqueeze(1))
        each = -logsigmoid(score) + (worse @ -logsigmoid(-score).unsqueeze(2)).squeeze(2)
        align = kept(weights(score.detach(), judged) * each, positive).sum(dim=1) / (count - 1)
        return -score[:, 0] + self.align_weight * align


def weights(score: Tensor, judged: Tensor) -> Tensor:
    """[B, K] how likely each answer is within its list, from 0 (least) to 1 (most); 0 in a flat list."""
    lowest = torch.where(judged, score, torch.full_like(score, float("inf"))).amin(dim=1, keepdim=True)
    highest = torch.where(judged, score, torch.full_like(score, float("-inf"))).amax(dim=1, keepdim=True)
    spread = highest - lowest
    return kept((score - lowest) / torch.where(spread > 0, spread, torch.ones_like(spread)), judged)
