"""Diffusion-DPO: DPO on denoising errors that share caption, timestep and noise.

Source: Wallace et al. 2023, arXiv 2311.12908, eq. 14; plus the winner's error: CRPO, arXiv 2412.21037.

    z = (beta / 2) [(m_l - r_l) - (m_w - r_w)]
    sigmoid   -log sigmoid(z)        hinge   max(0, 1 - z)        ipo   (2 z / beta - 1 / (2 beta))^2
    L = link(z) + winner_weight m_w

m, r = mean squared denoising errors of policy and reference, the negated likelihoods of a diffusion policy, averaged
over its draws. The authors' code halves beta; `halved: false` is what other scripts run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import not_negative, one_of, positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class DiffusionDPO:
    """DPO for diffusion and flow-matching models.

    Args:
        beta: inverse temperature; errors are means over all elements, hence its size.
        halved: whether beta is divided by 2, as in the authors' code.
        link: how the scaled margin is penalised: sigmoid, hinge or ipo.
        winner_weight: weight of the winner's own error, which keeps it from rising.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (500.0, 5000.0)}
    beta: float = 5000.0
    halved: bool = True
    link: Literal["sigmoid", "hinge", "ipo"] = "sigmoid"
    winner_weight: float = 0.0

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        not_negative(winner_weight=self.winner_weight)
        one_of(("sigmoid", "hinge", "ipo"), link=self.link)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        margin = batch.margin(batch.mean_log_ratio)
        z = (self.beta / 2 if self.halved else self.beta) * margin
        if self.link == "ipo":
            loss = (margin - 1 / (2 * self.beta)).square()
        else:
            loss = -logsigmoid(z) if self.link == "sigmoid" else (1 - z).clamp(min=0)
        return loss - self.winner_weight * batch.policy.mean[:, 0]
