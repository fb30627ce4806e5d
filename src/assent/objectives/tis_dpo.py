"""TIS-DPO: DPO in which each token counts by an estimate of its own reward.

Source: Liu et al. 2024, arXiv 2410.04350.

    L = l(beta [sum_t w_t h_t over the chosen - the same over the rejected answer]),
    w_t = k exp(mu clamp(d_t, low, high)) for chosen tokens, k exp(-mu clamp(d_t, low, high)) for rejected ones

h_t = log policy - log reference of a token, l(z) = -log sigmoid(z). d_t = log p+ - log p- of the token under two
frozen models: p+ was trained (by DPO) on the pairs as they are, p- on the pairs reversed. The run file names them in
`reference: {contrast: {positive: folder, negative: folder}}`; `data: {columns: {chosen: rejected, rejected: chosen}}`
reverses pairs. Equal models, or mu = 0, give DPO at k beta.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.errors import InputError
from assent.objectives.checks import not_negative, positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class TISDPO:
    """Token-level importance sampling DPO.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        scale: factor k of all weights.
        temper: how strongly a token's contrast counts (mu).
        low: lower bound of the contrast, in nats.
        high: upper bound of the contrast, in nats.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True, contrast=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.5)}
    beta: float = 0.1
    scale: float = 1.0
    temper: float = 1.0
    low: float = -0.5
    high: float = 1.5

    def __post_init__(self) -> None:
        positive(beta=self.beta, scale=self.scale)
        not_negative(temper=self.temper)
        if self.low > self.high:
            raise ValueError(f"low must not exceed high, got {self.low} and {self.high}")

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        policy, reference = batch.policy, batch.reference
        if reference is None:
            raise InputError("tis_dpo needs a reference, which carries the contrast of two models")
        contrast = reference.statistic("contrast").detach().clamp(self.low, self.high)
        # Column 0 is the chosen answer.
        sign = torch.where(policy.owner % policy.shape[1] == 0, 1.0, -1.0)
        weight = self.scale * (self.temper * sign * contrast).exp()
        ratios = policy.tokens - reference.tokens
        return -logsigmoid(self.beta * batch.margin(policy.total(weight * ratios, policy.completion_positions)))
