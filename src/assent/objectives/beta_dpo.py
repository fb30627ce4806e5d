"""Beta-DPO: beta follows the step's mean margin, and outlying pairs are left out of it.

Source: Wu et al. 2024, arXiv 2407.08639.

    L = mean over the kept pairs of l(b D),    b = max(1e-3, beta (1 + a (mean kept D - M))),    D = h_w - h_l

l(z) = -log sigmoid(z), h = log policy - log reference. M and S are moving averages of the step's mean and deviation
of D. Kept: (1 - `dropped`) of the step, drawn without replacement with weights exp(-(D - M)^2 / (2 S^2)). No gradient
through b. In evaluation nothing is dropped and the averages stand still. a = 0 with nothing dropped is DPO.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from assent.objectives.checks import not_negative, positive, share
from assent.objectives.judged import Judged, Needs

SMALLEST_BETA = 1e-3


@dataclass(eq=False)
class BetaDPO(nn.Module):
    """DPO with a dynamic beta and a filter on the step.

    Args:
        beta: inverse temperature at an average step, in 1/nat.
        sensitivity: relative change of beta for each nat of the step's mean margin (a).
        dropped: share of the step's pairs left out, in [0, 1).
        momentum: share of the old value in the moving averages.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True, batch=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.5)}
    beta: float = 0.1
    sensitivity: float = 0.6
    dropped: float = 0.2
    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__init__()
        positive(beta=self.beta)
        not_negative(sensitivity=self.sensitivity)
        share(dropped=self.dropped, momentum=self.momentum)
        if self.dropped == 1:
            raise ValueError("dropped must be below 1: something must be left to train on")
        self.center: Tensor
        self.spread: Tensor
        self.register_buffer("center", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    def forward(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]; left-out ones count 0 and the rest are scaled up."""
        margin = batch.margin()
        if not self.training:
            return self.loss(margin, torch.ones_like(margin, dtype=torch.bool))
        kept = self.drawn(margin.detach(), batch.generator)
        loss = self.loss(margin, kept)
        self.follow(margin.detach())
        return loss

    def loss(self, margin: Tensor, kept: Tensor) -> Tensor:
        """[B] the loss when the given pairs are kept; its mean is the mean over them."""
        mean = margin.detach()[kept].mean()
        beta = (self.beta * (1 + self.sensitivity * (mean - self.center))).clamp(min=SMALLEST_BETA)
        loss = -logsigmoid(beta * margin) * (len(kept) / kept.sum())
        return torch.where(kept, loss, torch.zeros_like(loss))

    def drawn(self, margin: Tensor, generator: torch.Generator | None) -> Tensor:
        """[B] which pairs are kept; at least one."""
        count = max(1, round(len(margin) * (1 - self.dropped)))
        # Gumbel keys draw without replacement in log space: far outliers have weight 0 in float32, not -inf here.
        log_weight = -((margin - self.center) / self.spread.clamp(min=1e-6)).square() / 2
        uniform = torch.rand(margin.shape, generator=generator, dtype=torch.float64).to(margin.device)
        keys = log_weight - (-uniform.clamp(min=1e-300).log()).log()
        return torch.zeros_like(margin, dtype=torch.bool).index_fill_(0, keys.topk(count).indices, True)

    def follow(self, margin: Tensor) -> None:
        """Moves the averages towards the step's mean and deviation."""
        deviation = margin.std() if len(margin) > 1 else self.spread
        for average, value in ((self.center, margin.mean()), (self.spread, deviation)):
            average.copy_(self.momentum * average + (1 - self.momentum) * value)
