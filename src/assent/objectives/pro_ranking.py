"""PRO: each answer of a ranked list against all worse ones, with rewards as temperatures.

Source: Song et al. 2023, arXiv 2306.17492, eq. 7 and 8.

    L = - sum_{k < n} log [ e^{p_k m_k} / (e^{p_k m_k} + sum_{i > k} e^{p_i d_ki}) ] - w (n - 1)^2 log pi(y_1)
    d_ki = s_k - s_i,    m_k = max over i > k of d_ki,    p = log pi / |y|,    s the judge's scores

p is negative, so a much worse answer has a small share: what is close behind is pushed first. Equal scores make a
term a constant. Without temperatures (all d = m = 1) the first part is list-MLE. The released code adds 1e-10
inside the logarithm, which turns wrong answers with high rewards into an unbounded pull; here it is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from assent.objectives.checks import not_negative, positive
from assent.objectives.judged import Judged, Needs
from assent.objectives.lists import OUTSIDE, differences, judged_scores, kept


@dataclass(frozen=True)
class PRORanking:
    """Preference ranking optimization, without a reference.

    Args:
        sft_weight: weight w of the best answer's negative log-likelihood, times (n - 1)^2.
        temperatures: whether score differences scale the terms.
        reward_scale: factor on the scores.
    """

    needs: ClassVar[Needs] = Needs(lists=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"sft_weight": (0.01, 0.5)}
    sft_weight: float = 0.05
    temperatures: bool = True
    reward_scale: float = 1.0

    def __post_init__(self) -> None:
        not_negative(sft_weight=self.sft_weight)
        positive(reward_scale=self.reward_scale)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        batch.require_lists()
        score, judged = batch.policy.mean, batch.judged
        width = score.shape[1]
        order = torch.arange(width, device=score.device)
        later = (order.unsqueeze(0) > order.unsqueeze(1)) & judged.unsqueeze(1) & judged.unsqueeze(2)
        gaps = kept(differences(self.reward_scale * judged_scores(batch)), later)
        if not self.temperatures:
            gaps = later.to(score.dtype)
        positive = score * gaps.amax(dim=2)
        rivals = torch.where(later, score.unsqueeze(1) * gaps, torch.full_like(gaps, OUTSIDE))
        total = torch.cat([positive.unsqueeze(2), rivals], dim=2).logsumexp(dim=2)
        ranking = kept(total - positive, later.any(dim=2)).sum(dim=1)
        weight = self.sft_weight * (judged.sum(dim=1) - 1).square()
        return ranking - weight * batch.policy.sum[:, 0]
