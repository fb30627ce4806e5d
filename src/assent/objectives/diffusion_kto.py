"""Diffusion-KTO: each liked or disliked image against the step's mean, through a utility.

Source: Li et al. 2024, arXiv 2404.04465, eq. 9.

    L = w (1 - U(+-beta (g - Q))),    g = r - m,    Q = max(0, mean of g over the step) without gradient

m, r = mean squared denoising errors of policy and reference; + for liked, - for disliked images. U(u):

    sigmoid   s(u)        loss_averse   log s(u)        risk_seeking   -log s(-u)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import not_negative, one_of, positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class DiffusionKTO:
    """Kahneman-Tversky optimization of diffusion models.

    Args:
        beta: inverse temperature of the implicit reward.
        utility: shape of the value of gains and losses: sigmoid, loss_averse or risk_seeking.
        desirable_weight: weight of liked images.
        undesirable_weight: weight of disliked images.
    """

    needs: ClassVar[Needs] = Needs(labels=True, reference=True, batch=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (500.0, 5000.0)}
    beta: float = 5000.0
    utility: Literal["sigmoid", "loss_averse", "risk_seeking"] = "sigmoid"
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        not_negative(desirable_weight=self.desirable_weight, undesirable_weight=self.undesirable_weight)
        one_of(("sigmoid", "loss_averse", "risk_seeking"), utility=self.utility)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]; its mean is the mean over the labelled ones."""
        gain = batch.mean_log_ratio
        moved = batch.mean_labelled(gain.detach()).clamp(min=0)
        good = batch.labels == 1
        signed = self.beta * torch.where(good, gain - moved, moved - gain)
        if self.utility == "sigmoid":
            loss = (-signed).sigmoid()
        else:
            loss = 1 - logsigmoid(signed) if self.utility == "loss_averse" else 1 + logsigmoid(-signed)
        weight = torch.where(good, self.desirable_weight, self.undesirable_weight)
        return batch.labelled_mean(weight * loss) * batch.labelled_share()
