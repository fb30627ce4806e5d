"""Diffusion-DPO: DPO on denoising errors that share caption, timestep and noise.

Source: Wallace et al. 2023, arXiv 2311.12908, eq. 14; plus the winner's error: CRPO, arXiv 2412.21037; the safeguard:
Diffusion-SDPO, arXiv 2511.03317, as its released code has it.

    z = (beta / 2) [(m_l - r_l) - (m_w - r_w)]
    sigmoid   -log sigmoid(z)        hinge   max(0, 1 - z)        ipo   (2 z / beta - 1 / (2 beta))^2
    L = link(z) + winner_weight m_w

m, r = mean squared denoising errors of policy and reference, the negated likelihoods of a diffusion policy, averaged
over its draws. The authors' code halves beta; `halved: false` is what other scripts run.

The safeguard keeps the value of the loss and damps the gradient of the loser's error, so that a small step on the
network's output keeps at least the share mu of what the winner's gradient alone would take off the winner's error:

    m_l <- sg(m_l) + lambda (m_l - sg(m_l))
    lambda = min(1, (1 - mu) |g_w|^2 / (g_w . g_l)) where g_w . g_l > 0, else 1

g_w, g_l = gradients of the step's mean errors with respect to the network's output, sg = without gradient. Winner
and loser have outputs of their own; as in the released code, g_w . g_l pairs the rows of one comparison and draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import not_negative, one_of, positive
from assent.objectives.judged import Judged, Needs

WINNER_RESIDUAL = "winner_residual"
"""Statistic of a diffusion policy: w^2 <r, r_winner> / D of each row."""


@dataclass(frozen=True)
class DiffusionDPO:
    """DPO for diffusion and flow-matching models.

    Args:
        beta: inverse temperature; errors are means over all elements, hence its size.
        halved: whether beta is divided by 2, as in the authors' code.
        link: how the scaled margin is penalised: sigmoid, hinge or ipo.
        winner_weight: weight of the winner's own error, which keeps it from rising.
        safeguard: mu of the safeguard, in [0, 1]: larger damps the loser more; null: off.
    """

    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (500.0, 5000.0)}
    beta: float = 5000.0
    halved: bool = True
    link: Literal["sigmoid", "hinge", "ipo"] = "sigmoid"
    winner_weight: float = 0.0
    safeguard: float | None = None

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        not_negative(winner_weight=self.winner_weight)
        one_of(("sigmoid", "hinge", "ipo"), link=self.link)
        if self.safeguard is not None and not 0 <= self.safeguard <= 1:
            raise ValueError(f"safeguard must be in [0, 1], got {self.safeguard}")

    @property
    def needs(self) -> Needs:
        """Pairs and a reference; with the safeguard also the whole step and its residuals."""
        if self.safeguard is None:
            return Needs(pairs=True, reference=True)
        return Needs(pairs=True, reference=True, batch=True, statistics=(WINNER_RESIDUAL,))

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        margin = batch.margin(self._damped(batch))
        z = (self.beta / 2 if self.halved else self.beta) * margin
        if self.link == "ipo":
            loss = (margin - 1 / (2 * self.beta)).square()
        else:
            loss = -logsigmoid(z) if self.link == "sigmoid" else (1 - z).clamp(min=0)
        return loss - self.winner_weight * batch.policy.mean[:, 0]

    def _damped(self, batch: Judged) -> Tensor:
        """[B, K] mean log-ratios, the loser's gradient scaled."""
        ratio = batch.mean_log_ratio
        if self.safeguard is None:
            return ratio
        products = batch.policy.total(batch.policy.statistic(WINNER_RESIDUAL)).sum(dim=0)
        scale = loser_scale(products[0], products[1], self.safeguard)
        loser = ratio[:, 1].detach() + scale * (ratio[:, 1] - ratio[:, 1].detach())
        return torch.stack([ratio[:, 0], loser], dim=1)


def loser_scale(winner: Tensor, product: Tensor, safeguard: float) -> Tensor:
    """lambda, from |g_w|^2 and g_w . g_l (any common factor cancels); without gradient."""
    winner, product = winner.detach(), product.detach()
    opposed = product <= 0
    quotient = (1 - safeguard) * winner / torch.where(opposed, torch.ones_like(product), product)
    return torch.where(opposed, torch.ones_like(quotient), quotient.clamp(0, 1))
