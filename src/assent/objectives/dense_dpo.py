"""Dense DPO: tokens of corrected spans count more.

Source: Yu et al. 2023, arXiv 2312.00849, eq. 4 (DDPO of RLHF-V).

    L = l(beta (h_w - h_l)),    h = sum_t w_t (log p_t - log q_t) [ / sum_t w_t ],    l(z) = -log sigmoid(z)

w = gamma in marked spans (segments from 2 on), 1 elsewhere. gamma = 1 without averaging is DPO.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.likelihood import FIRST_STREAM
from assent.objectives.checks import positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class DenseDPO:
    """DPO with weights on marked spans.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        span_weight: weight gamma of a token in a marked span.
        average: whether the weighted sum is divided by the sum of weights.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"span_weight": (1.0, 5.0)}
    beta: float = 0.1
    span_weight: float = 3.0
    average: bool = False

    def __post_init__(self) -> None:
        positive(beta=self.beta, span_weight=self.span_weight)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        policy = batch.policy
        weight = torch.ones_like(policy.tokens)
        if policy.segment is not None:
            weight = torch.where(policy.segment >= FIRST_STREAM, self.span_weight, weight)
        ratios = policy.tokens if batch.reference is None else policy.tokens - batch.reference.tokens
        values = policy.total(weight * ratios, policy.completion_positions)
        if self.average:
            values = values / policy.total(weight, policy.completion_positions).clamp(min=1)
        return -logsigmoid(self.beta * batch.margin(values))
