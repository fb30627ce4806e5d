"""Alpha-DPO: SimPO whose target margin adapts to how far each pair has moved from the reference.

Source: Wu et al. 2024, arXiv 2410.10148, eq. 10.

    L = l(beta (d - ratio - alpha g)),    d = log p_w / |y_w| - log p_l / |y_l|
    g = (d - d_ref) standardised over the step (unbiased deviation), without gradient

l(z) = -log sigmoid(z). alpha = 0 is SimPO with gamma = beta ratio. A step of one pair, or of equal gaps, has no
deviation: g = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import not_negative, positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class AlphaDPO:
    """SimPO with a reference-adapted margin.

    Args:
        beta: scale of the reward, in tokens per nat.
        margin_ratio: target margin in units of the reward difference (gamma / beta of SimPO), in nats per token.
        alpha: weight of the standardised gap to the reference.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True, batch=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (2.0, 10.0), "alpha": (0.01, 0.3)}
    beta: float = 2.5
    margin_ratio: float = 0.3
    alpha: float = 0.05

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        not_negative(margin_ratio=self.margin_ratio, alpha=self.alpha)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        gap = batch.margin(batch.mean_log_ratio).detach()
        spread = gap.std() if len(gap) > 1 else torch.zeros_like(gap).sum()
        standardised = torch.where(spread > 0, (gap - gap.mean()) / spread.clamp(min=1e-12), torch.zeros_like(gap))
        adapted = self.margin_ratio + self.alpha * standardised
        return -logsigmoid(self.beta * (batch.margin(batch.policy.mean) - adapted))
