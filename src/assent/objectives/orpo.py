"""ORPO: imitation of the chosen answer, plus a penalty on the odds ratio to the rejected one; no reference.

Source: Hong, Lee, Thorne 2024, arXiv 2403.07691, eq. 6 and 7.

    L = -m_w + lambda l(o),   o = logit(e^{m_w}) - logit(e^{m_l}),   logit(e^m) = m - log(1 - e^m)

m = log-probability per token, l(z) = -log sigmoid(z). The likelihood is that of the completion; the authors'
code takes prompt and completion together, which trains the prompt as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import not_negative
from assent.objectives.judged import Judged, Needs
from assent.objectives.logic import CHOSEN, ODDS, Part

# A certain answer (m = 0) has infinite odds; this is the nearest value whose log-odds are finite in float32.
LARGEST_MEAN = -1e-7


@dataclass(frozen=True)
class ORPO:
    """Odds ratio preference optimization: negative log-likelihood plus log-sigmoid of the log odds ratio.

    Args:
        odds_weight: weight of the odds-ratio term (the paper's lambda; `beta` elsewhere).
    """

    needs: ClassVar[Needs] = Needs(pairs=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"odds_weight": (0.1, 1.0)}
    odds_weight: float = 0.1

    def __post_init__(self) -> None:
        not_negative(odds_weight=self.odds_weight)

    @property
    def logic(self) -> tuple[Part, ...]:
        """Its preference structure."""
        return Part(CHOSEN, per_token=True), Part(ODDS, weight=self.odds_weight, per_token=True)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        log_odds_ratio = batch.margin(log_odds(batch.policy.mean))
        return -batch.policy.mean[:, 0] - self.odds_weight * logsigmoid(log_odds_ratio)


def log_odds(mean: Tensor) -> Tensor:
    """The log-odds of a probability given by its logarithm, any shape; in nats."""
    mean = mean.clamp(max=LARGEST_MEAN)
    return mean - log1mexp(mean)


def log1mexp(value: Tensor) -> Tensor:
    """log(1 - e^value) for negative values: by expm1 near 0 and by log1p far from it, where each is exact."""
    near = value > -log(2)
    by_expm1 = (-torch.where(near, value, -torch.ones_like(value)).expm1()).log()
    by_log1p = torch.log1p(-torch.where(near, -torch.ones_like(value), value).exp())
    return torch.where(near, by_expm1, by_log1p)
